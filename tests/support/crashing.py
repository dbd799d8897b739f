"""A sampling strategy that ends its worker process on certain videos, and videos that never end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Crashing:
    """Evenly spread picks, but videos of certain lengths end the worker.

    Attributes:
        at: Signal by number of frames. In place of a signal, 0 lets the worker sleep for a long time.
        once: Folder in which a file notes that a length has ended a worker; a length in it does no harm. None to end a
            worker each time.
        num_frames: Number of picks per video.
    """

    at: Mapping[int, int] = field(default_factory=dict)
    once: str | None = None
    num_frames: int = 4

    @property
    def representation(self) -> None:
        return None

    def pick(self, motion: Any, total: int, offsets: Any) -> Any:
        if total in self.at and self._is_first(total):
            if self.at[total]:
                os.kill(os.getpid(), self.at[total])
            time.sleep(600)
        return np.arange(self.num_frames) * total // self.num_frames

    def _is_first(self, total: int) -> bool:
        if self.once is None:
            return True
        try:
            Path(self.once, str(total)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


SEGFAULT, KILLED, STUCK = int(signal.SIGSEGV), int(signal.SIGKILL), 0
