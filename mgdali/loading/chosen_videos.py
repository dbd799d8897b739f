"""The videos of an epoch where these are not simply all videos once: drawn by weights, or listed by a function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mgdali.choices import Purpose, generator
from mgdali.errors import check_integer

__all__ = [
    "ChosenVideos",
    "Indices",
    "ListedVideos",
    "OrderFunction",
    "WeightedVideos",
    "Weights",
    "choose_videos",
    "occurrences_of",
]

Weights: TypeAlias = Sequence[float] | NDArray[Any] | torch.Tensor
"""One number >= 0 per video, ``[M]``."""

Indices: TypeAlias = Sequence[int] | NDArray[Any] | torch.Tensor
"""Indices of videos in the data set, ``[S]``."""

OrderFunction: TypeAlias = Callable[[int], Indices]
"""A function that takes an epoch and returns the indices of its videos, in order."""

# The running epoch, and one that was chosen while it runs.
_KEPT_EPOCHS = 2


class ChosenVideos(Protocol):
    """The videos of each epoch, over all ranks."""

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal in a resumed run: numbers and strings by name."""
        ...

    def num_samples(self, epoch: int) -> int:
        """Return the number of videos in an epoch, repetitions included, >= 1."""
        ...

    def indices(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the indices of an epoch's videos, in order, int64 ``[S]``. A video may occur several times."""
        ...

    def digest(self, epoch: int) -> str | None:
        """Return a digest of an epoch's indices; None if they follow from the identity, the seed and the epoch."""
        ...


@dataclass(frozen=True, eq=False)
class WeightedVideos:
    """Videos that are drawn with replacement, with probabilities in proportion to weights.

    Each epoch is a new draw, which depends on the seed and the epoch only. The distribution is that of torch's
    ``WeightedRandomSampler``.

    Args:
        weights: One number >= 0 per video, ``[M]``, not all 0. A video with weight 0 is never drawn.
        samples: Number of videos per epoch, >= 1.

    Raises:
        ValueError: If a weight is negative, infinite or NaN, all are 0, or ``samples`` is out of range.
    """

    weights: NDArray[np.float64]
    samples: int

    def __post_init__(self) -> None:
        check_integer("samples_per_epoch", self.samples, least=1)
        wrong = np.flatnonzero(~(np.isfinite(self.weights) & (self.weights >= 0)))
        if len(wrong):
            value = float(self.weights[wrong[0]])
            raise ValueError(f"weights must be finite numbers >= 0, got {value!r} for the video at index {wrong[0]}")
        if not self.weights.any():
            raise ValueError(f"all {len(self.weights)} weights are 0: give at least one video a weight above 0")

    @property
    def identity(self) -> dict[str, Any]:
        """Number of videos per epoch and a digest of the weights."""
        return {"samples_per_epoch": int(self.samples), "weights": _digest(self.weights)}

    def num_samples(self, epoch: int) -> int:
        """Return the number of videos in an epoch."""
        return self.samples

    def indices(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the indices of the videos that an epoch draws, int64 ``[S]``."""
        positions = generator(Purpose.WEIGHTED, seed, epoch).random(self.samples) * self._cumulative[-1]
        drawn: NDArray[np.intp] = np.searchsorted(self._cumulative, positions, side="right")
        return drawn.astype(np.int64)

    def digest(self, epoch: int) -> None:
        """Return None: the identity, the seed and the epoch decide what is drawn."""
        return

    @cached_property
    def _cumulative(self) -> NDArray[np.float64]:
        # Relative to the largest weight, so that the sum does not overflow.
        return np.cumsum(self.weights / self.weights.max())


@dataclass(frozen=True, eq=False)
class ListedVideos:
    """Videos that a function of the epoch lists. It is called once per epoch.

    Args:
        function: Takes an epoch and returns the indices of its videos, in order: a list, an array or a tensor of
            integers in ``[0, num_videos)``, of any length >= 1. An index may occur several times.
        num_videos: Number of videos in the data set.

    Raises:
        ValueError: If ``function`` cannot be called. Also by the methods, if it returns something else.
    """

    function: OrderFunction
    num_videos: int

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(
                "order must be a function that takes an epoch and returns indices of the data set, such as "
                f"order=lambda epoch: indices; got {_shown(self.function)}"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """That a function is used. The digests of its epochs tell whether it is the same one."""
        return {"order": True}

    def num_samples(self, epoch: int) -> int:
        """Return the number of videos in an epoch."""
        return len(self._listed(epoch))

    def indices(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the indices of an epoch's videos, int64 ``[S]``. The array cannot be written to."""
        return self._listed(epoch)

    def digest(self, epoch: int) -> str:
        """Return a digest of an epoch's indices."""
        return _digest(self._listed(epoch))

    @cached_property
    def _listed(self) -> Callable[[int], NDArray[np.int64]]:
        return lru_cache(maxsize=_KEPT_EPOCHS)(self._list)

    def _list(self, epoch: int) -> NDArray[np.int64]:
        """Call the function and check what it returns."""
        returned = self.function(epoch)
        allowed = f"indices of the data set, integers in [0, {self.num_videos})"
        values = _array(returned)
        if values is None or values.ndim != 1 or (len(values) and not np.issubdtype(values.dtype, np.integer)):
            raise ValueError(f"order({epoch}) must return a list or an array of {allowed}; got {_shown(returned)}")
        if not len(values):
            raise ValueError(f"order({epoch}) returned no index: each epoch needs at least one video")
        outside = np.flatnonzero((values < 0) | (values >= self.num_videos))
        if len(outside):
            place = int(outside[0])
            raise ValueError(f"order({epoch}) must return {allowed}; got {values[place]} at position {place}")
        # A copy, because the caller may change its array later.
        listed = values.astype(np.int64)
        listed.flags.writeable = False
        return listed


def choose_videos(
    num_videos: int,
    *,
    weights: Weights | None,
    order: OrderFunction | None,
    samples_per_epoch: int | None,
    shuffle: bool,
) -> ChosenVideos | None:
    """Return the videos of each epoch according to a loader's arguments; None for all videos once.

    Args:
        num_videos: Number of videos in the data set, M.
        weights: One number >= 0 per video, ``[M]``; None to draw none.
        order: A function of the epoch that returns indices; None for no such function.
        samples_per_epoch: With weights, the number of videos per epoch; None for M.
        shuffle: Whether the loader shuffles, which contradicts ``order``.

    Raises:
        ValueError: If an argument is out of range, or contradicts another one.
    """
    if samples_per_epoch is not None and weights is None:
        raise ValueError(
            f"samples_per_epoch={samples_per_epoch!r} needs weights=, because it is the number of videos that are "
            "drawn: pass weights=, or order= for epochs of any length"
        )
    if order is not None:
        if weights is not None:
            raise ValueError("order and weights both choose the videos of an epoch: pass one of them")
        if shuffle:
            raise ValueError("shuffle=True contradicts order=: remove it, and let order return shuffled indices")
        return ListedVideos(order, num_videos)
    if weights is None:
        return None
    samples = num_videos if samples_per_epoch is None else samples_per_epoch
    return WeightedVideos(_weights(weights, num_videos), samples)


def occurrences_of(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each index has occurred before its position, int64 ``[S]``: 0 for the first time.

    Example:
        >>> occurrences_of(np.array([5, 2, 5, 5])).tolist()
        [0, 0, 1, 2]
    """
    places = np.argsort(indices, kind="stable")
    ordered = indices[places]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    lengths = np.diff(starts, append=len(ordered))
    occurrences = np.empty(len(indices), np.int64)
    occurrences[places] = np.arange(len(ordered)) - np.repeat(starts, lengths)
    return occurrences


def _weights(given: Weights, num_videos: int) -> NDArray[np.float64]:
    """Return weights as float64 ``[M]``."""
    values = _array(given)
    if values is None or values.dtype.kind not in "biuf" or values.shape != (num_videos,):
        raise ValueError(f"weights must be {num_videos} numbers >= 0, one per video, got {_shown(given)}")
    # A copy, because the caller may change its array later.
    return values.astype(np.float64)


def _array(given: Any) -> NDArray[Any] | None:
    """Return numbers as an array, or None if they are no array."""
    if isinstance(given, torch.Tensor):
        # NumPy has no bfloat16.
        given = given.detach().cpu()
        return np.asarray(given.double() if given.is_floating_point() else given)
    try:
        return np.asarray(given)
    except (TypeError, ValueError):
        return None


def _shown(given: Any) -> str:
    """Return a short description of a wrong argument."""
    shape = getattr(given, "shape", None)
    if shape is not None:
        return f"{given.dtype} of shape {list(shape)}"
    count = f" of length {len(given)}" if isinstance(given, Sequence) else ""
    text = repr(given)
    return f"a {type(given).__name__}{count}: {text if len(text) <= 60 else text[:57] + '...'}"


def _digest(values: NDArray[Any]) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]
