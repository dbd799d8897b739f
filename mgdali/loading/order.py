"""The order of an epoch and every random choice in it, as functions of seed, epoch and video.

Nothing here keeps a state: whichever worker takes a video, and wherever a run is resumed, the choices are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.errors import check_integer

__all__ = ["Draw", "EpochOrder", "draw"]

# One stream of random numbers a purpose, so that no two choices share numbers.
_SHUFFLE, _REPLACE, _DRAW = range(3)


@dataclass(frozen=True)
class Draw:
    """The random choices for one video in one epoch, each a uniform number in [0, 1), 0.5 in testing.

    Attributes:
        offsets: where in its part of the y-axis each frame is picked, float64 ``[N]``.
        crop: which crop size and which place, float64 ``[2]``.
        flip: whether the clip is mirrored.
    """

    offsets: NDArray[np.float64]
    crop: NDArray[np.float64]
    flip: float


def draw(seed: int, epoch: int, index: int, num_frames: int, *, training: bool) -> Draw:
    """The random choices for the video at ``index`` of the data set."""
    if not training:
        return Draw(np.full(num_frames, 0.5), np.full(2, 0.5), 0.5)
    numbers = np.random.default_rng([_DRAW, seed, epoch, index]).random(num_frames + 3)
    return Draw(numbers[3:], numbers[:2], float(numbers[2]))


@dataclass(frozen=True, kw_only=True)
class EpochOrder:
    """Which videos this rank sees in an epoch, in which order and batches.

    Ranks take turns over one order of all videos. Where they don't come out even, the first videos are repeated at
    the end, as torch's ``DistributedSampler`` does, so that every rank has equally many.

    Args:
        num_videos: videos in the data set, >= 1.
        batch_size: videos a batch, >= 1.
        shuffle: a new order each epoch; otherwise the data set's own.
        drop_last: leave out the last batch where it is smaller.
        seed: of all random choices, >= 0.
        rank: this process's place, in ``[0, world_size)``.
        world_size: processes that share the data set, >= 1.

    Raises:
        ValueError: an argument is out of range.
    """

    num_videos: int
    batch_size: int = 1
    shuffle: bool = False
    drop_last: bool = False
    seed: int = 0
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        for name, least in (("num_videos", 1), ("batch_size", 1), ("seed", 0), ("rank", 0), ("world_size", 1)):
            check_integer(name, getattr(self, name), least=least)
        if self.rank >= self.world_size:
            raise ValueError(f"rank must be in [0, {self.world_size}), got {self.rank}")

    @property
    def num_samples(self) -> int:
        """Videos an epoch on this rank, before ``drop_last``."""
        return -(-self.num_videos // self.world_size)

    def __len__(self) -> int:
        """Batches an epoch on this rank."""
        return self.num_samples // self.batch_size if self.drop_last else -(-self.num_samples // self.batch_size)

    def indices(self, epoch: int) -> NDArray[np.int64]:
        """This rank's videos of an epoch, in order: int64 ``[num_samples]``."""
        order = np.arange(self.num_videos)
        if self.shuffle:
            np.random.default_rng([_SHUFFLE, self.seed, epoch]).shuffle(order)
        padded = np.resize(order, self.num_samples * self.world_size)
        return padded[self.rank :: self.world_size]

    def replacements(self, epoch: int, index: int) -> Iterator[int]:
        """Other videos of this rank, to take the place of ``index`` where it cannot be decoded, in turn."""
        others = np.unique(self.indices(epoch))
        others = others[others != index]
        np.random.default_rng([_REPLACE, self.seed, epoch, index]).shuffle(others)
        yield from others.tolist()
