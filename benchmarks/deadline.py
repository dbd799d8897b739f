"""The time limit of a command, which the command keeps by itself."""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["Deadline", "seconds_since_start"]

# Position of the start time in /proc/self/stat after the command's name, in clock ticks since the machine's start.
_START = 19


class Deadline:
    """A moment at which work must end.

    Args:
        seconds: Time from now, in seconds; None means that there is no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @classmethod
    def of_process(cls, seconds: float | None) -> Deadline:
        """Return a deadline that counts from the start of this process, which spends seconds with its imports."""
        return cls(None if seconds is None else seconds - seconds_since_start())

    @property
    def left(self) -> float:
        """Time that is left, in seconds; infinite without a limit, negative after the end."""
        return float("inf") if self._end is None else self._end - time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether the time is used up."""
        return self.left <= 0

    def share(self, part: float) -> Deadline:
        """Return the deadline of a piece of the work, which may use ``part`` (0 to 1) of the time that is left."""
        return Deadline(None if self._end is None else max(0.0, self.left) * part)


def seconds_since_start() -> float:
    """Return the age of this process, in seconds. The resolution is that of the system's clock ticks, 10 ms."""
    # The command's name may contain any character, including parentheses.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START]) / os.sysconf("SC_CLK_TCK")
