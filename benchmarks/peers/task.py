"""What every peer is to do, and the shape in which it hands it over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Task:
    """The job: every frame's luma difference, picks, resize, centre crop and normalization, in batches.

    Attributes:
        num_frames, mu: of motion-guided sampling, with offsets of 0.5.
        resize: what the shorter side of a picked frame is resized to.
        crop_size: side of the square that is cut out of its centre.
        batch_size: clips a batch; clips come in the data set's order.
        workers: processes or threads that decode.
        index: a motion index of the videos, for those that use one.
        longest: frames of the longest video, for those that have to be told.
    """

    num_frames: int = 8
    mu: float = 0.5
    resize: int = 256
    crop_size: int = 224
    batch_size: int = 8
    workers: int = 1
    index: str | None = None
    longest: int = 0


class Batch(NamedTuple):
    """Clips float32 ``[N, T, 3, crop_size, crop_size]`` and picks int64 ``[N, T]``; both None of what only decodes."""

    size: int
    clips: torch.Tensor | None
    picks: torch.Tensor | None


class Loader(Protocol):
    """A peer that is set up: its workers live until it is closed."""

    def epoch(self) -> Iterator[Batch]:
        """All videos once, in order."""

    def close(self) -> None:
        """End the workers."""
