"""The order of an epoch: which videos each rank loads, and in which batches.

The order is a function of the seed and the epoch. No state is kept, so a run can be resumed anywhere, on any number of
ranks. Usually an epoch contains all videos once; ``chosen_videos`` has the other cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import Purpose, generator
from mgdali.errors import check_integer
from mgdali.loading.chosen_videos import ChosenVideos, occurrences_of

__all__ = ["WHOLE", "EpochOrder", "Share"]


@dataclass(frozen=True)
class Share:
    """The part of the videos that one process loads.

    Args:
        rank: Rank of the process, in ``[0, world_size)``.
        world_size: Number of processes that share the data set, >= 1.

    Raises:
        ValueError: If an argument is out of range.
    """

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        check_integer("rank", self.rank, least=0)
        check_integer("world_size", self.world_size, least=1)
        if self.rank >= self.world_size:
            raise ValueError(f"rank must be in [0, {self.world_size}), got {self.rank}")


WHOLE = Share()
"""All videos, for a run of one process."""


@dataclass(frozen=True, kw_only=True)
class EpochOrder:
    """Videos of each epoch, in order, and how ranks divide them into batches.

    The ranks take turns over one order of the epoch's videos. So the videos that all ranks together have loaded after
    any batch are the first ones of the order, and their number (``taken`` below) is all that a resumed run needs to
    know. If the remaining videos cannot be divided evenly among the ranks, the first videos of the order are repeated
    at its end, as in torch's ``DistributedSampler``. Every rank then loads the same number of videos.

    Args:
        num_videos: Number of videos in the data set, >= 1.
        batch_size: Number of videos per batch on each rank, >= 1.
        shuffle: Whether each epoch has a new random order; otherwise it is the order of the data set. It has no effect
            on chosen videos.
        drop_last: Whether to drop the last batch if it is incomplete.
        seed: Seed of all random choices, >= 0.
        chosen: The videos of each epoch, in order; None for all videos once.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_videos: int
    batch_size: int = 1
    shuffle: bool = False
    drop_last: bool = False
    seed: int = 0
    chosen: ChosenVideos | None = None

    def __post_init__(self) -> None:
        for name, least in (("num_videos", 1), ("batch_size", 1), ("seed", 0)):
            check_integer(name, getattr(self, name), least=least)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal in a resumed run: numbers and strings by name."""
        own = {name: getattr(self, name) for name in ("num_videos", "shuffle", "drop_last", "seed")}
        return own if self.chosen is None else {**own, **self.chosen.identity}

    def num_samples(self, epoch: int) -> int:
        """Return the number of videos that all ranks together load in an epoch, before any are repeated or dropped."""
        return self.num_videos if self.chosen is None else self.chosen.num_samples(epoch)

    def num_batches(self, epoch: int, share: Share, taken: int = 0) -> int:
        """Return the number of batches of an epoch on each rank, after ``taken`` videos of all ranks."""
        samples = self._samples_of_rank(epoch, share, taken)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def indices(self, epoch: int, share: Share, taken: int = 0) -> NDArray[np.int64]:
        """Return the indices of one rank's videos in an epoch, in order.

        Args:
            epoch: The epoch.
            share: The rank.
            taken: Number of videos that all ranks together have loaded in this epoch, in ``[0, num_samples(epoch)]``.

        Returns:
            int64 ``[S]``. S is the same on each rank: the number of remaining videos divided by the number of ranks,
            rounded up.
        """
        return self._part(self._everything(epoch), epoch, share, taken)

    def occurrences(self, epoch: int, share: Share, taken: int = 0) -> NDArray[np.int64]:
        """Return how often each video of :meth:`indices` occurs before in the epoch's order, over all ranks.

        A video that is repeated only to divide the others evenly has the number of the occurrence that it repeats.

        Returns:
            int64 ``[S]``, all 0 if an epoch contains all videos once.
        """
        if self.chosen is None:
            return np.zeros(self._samples_of_rank(epoch, share, taken), np.int64)
        return self._part(occurrences_of(self._everything(epoch)), epoch, share, taken)

    def digest(self, epoch: int) -> str | None:
        """Return a digest of an epoch's order; None if it follows from the identity and the epoch."""
        return None if self.chosen is None else self.chosen.digest(epoch)

    def taken_after(self, epoch: int, share: Share, taken: int, batches: int) -> int:
        """Return the number of videos that all ranks have loaded after ``batches`` more batches on each rank.

        After the last batch it is ``num_samples(epoch)``, also if ``drop_last`` dropped some.
        """
        if batches >= self.num_batches(epoch, share, taken):
            return self.num_samples(epoch)
        return taken + batches * self.batch_size * share.world_size

    def replacements(self, epoch: int, index: int, share: Share, occurrence: int = 0) -> Iterator[int]:
        """Yield the indices of other videos of a rank, in the order in which they replace a video that is broken.

        Args:
            epoch: The epoch.
            index: Index of the video that cannot be decoded.
            share: The rank.
            occurrence: How often the video has occurred before in this epoch. Each occurrence has its own choice.
        """
        others = np.unique(self.indices(epoch, share))
        others = others[others != index]
        video = (index, occurrence) if occurrence else (index,)
        generator(Purpose.REPLACE, self.seed, epoch, *video).shuffle(others)
        yield from others.tolist()

    def _everything(self, epoch: int) -> NDArray[np.int64]:
        """Return the indices of an epoch's videos over all ranks, in order."""
        if self.chosen is not None:
            return self.chosen.indices(self.seed, epoch)
        order = np.arange(self.num_videos)
        if self.shuffle:
            generator(Purpose.SHUFFLE, self.seed, epoch).shuffle(order)
        return order

    def _part(self, values: NDArray[np.int64], epoch: int, share: Share, taken: int) -> NDArray[np.int64]:
        """Return the values of one rank's videos, from those of all videos of the epoch."""
        end = taken + self._samples_of_rank(epoch, share, taken) * share.world_size
        return np.resize(values, end)[taken + share.rank :: share.world_size]

    def _samples_of_rank(self, epoch: int, share: Share, taken: int) -> int:
        """Return the number of videos that each rank loads, before ``drop_last``."""
        return -(-(self.num_samples(epoch) - taken) // share.world_size)
