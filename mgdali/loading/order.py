"""The order of an epoch: which videos this rank loads, and in which batches.

The order is a function of the seed and the epoch. No state is kept, so a run can be resumed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import Purpose, generator
from mgdali.errors import check_integer

__all__ = ["EpochOrder"]


@dataclass(frozen=True, kw_only=True)
class EpochOrder:
    """Videos that this rank loads in an epoch, in order and in batches.

    The ranks take turns over one order of all videos. If the videos cannot be divided evenly among the ranks, the first
    videos of the order are repeated at its end, as in torch's ``DistributedSampler``. Every rank then loads the same
    number of videos.

    Args:
        num_videos: Number of videos in the data set, >= 1.
        batch_size: Number of videos per batch, >= 1.
        shuffle: Whether each epoch has a new random order; otherwise it is the order of the data set.
        drop_last: Whether to drop the last batch if it is incomplete.
        seed: Seed of all random choices, >= 0.
        rank: Rank of this process, in ``[0, world_size)``.
        world_size: Number of processes that share the data set, >= 1.

    Raises:
        ValueError: If an argument is out of range.
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
        """Number of videos per epoch on this rank, before ``drop_last``."""
        return -(-self.num_videos // self.world_size)

    def __len__(self) -> int:
        """Return the number of batches per epoch on this rank."""
        return self.num_samples // self.batch_size if self.drop_last else -(-self.num_samples // self.batch_size)

    def indices(self, epoch: int) -> NDArray[np.int64]:
        """Return the indices of this rank's videos in an epoch, in order: int64 ``[num_samples]``."""
        order = np.arange(self.num_videos)
        if self.shuffle:
            generator(Purpose.SHUFFLE, self.seed, epoch).shuffle(order)
        padded = np.resize(order, self.num_samples * self.world_size)
        return padded[self.rank :: self.world_size]

    def replacements(self, epoch: int, index: int) -> Iterator[int]:
        """Yield the indices of other videos of this rank, in the order in which they replace a video that is broken.

        Args:
            epoch: The epoch.
            index: Index of the video that cannot be decoded.
        """
        others = np.unique(self.indices(epoch))
        others = others[others != index]
        generator(Purpose.REPLACE, self.seed, epoch, index).shuffle(others)
        yield from others.tolist()
