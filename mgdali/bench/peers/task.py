"""The task that every peer does, and the form of its batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Task:
    """The task: luma difference of every frame, picks, resizing, centre crop, normalization and batches.

    Attributes:
        num_frames, mu: Number of frames to pick and exponent of motion-guided sampling; its offsets are 0.5.
        resize: Length of the shorter side of a picked frame after resizing, in pixels.
        crop_size: Side of the square cut from its centre, in pixels.
        batch_size: Number of clips per batch. Clips are in the data set's order.
        workers: Number of processes or threads that decode.
        index: Path of a motion index of the videos, for peers that use one.
        pack: Folder or URL of a packed data set of the videos, for peers that load one.
        pack_places: Place of each video in it; None if it contains each video once, in the order of
            :func:`mgdali.bench.peers.packs.distinct`.
        longest: Number of frames of the longest video, for peers that need it.
        least_seconds: Shortest duration of a timed epoch. A fast peer repeats the data set until then.
        on_error: What this project's loader does with a video that cannot be decoded. Other peers fail on it.
    """

    num_frames: int = 8
    mu: float = 0.5
    resize: int = 256
    crop_size: int = 224
    batch_size: int = 8
    workers: int = 1
    index: str | None = None
    pack: str | None = None
    pack_places: Sequence[int] | None = None
    longest: int = 0
    least_seconds: float = 0.0
    on_error: Literal["raise", "replace"] = "raise"


class Batch(NamedTuple):
    """A batch of a peer.

    Attributes:
        size: Number of clips N.
        clips: Float32 ``[N, T, 3, crop_size, crop_size]``; None if the peer only decodes.
        picks: Int64 ``[N, T]``; None if the peer only decodes.
    """

    size: int
    clips: torch.Tensor | None
    picks: torch.Tensor | None


class Loader(Protocol):
    """The loader of a peer. Its workers live until it is closed."""

    def epoch(self) -> Iterator[Batch]:
        """All videos once, in order."""

    def close(self) -> None:
        """End the workers."""
