"""Mixing data sets: weights with which each data set has a given share of the videos that an epoch draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.video_dataset import VideoDataset

__all__ = ["mixing_weights"]


def mixing_weights(datasets: Sequence[VideoDataset], shares: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    """Return weights with which each data set has a given share of the draws, whatever its number of videos.

    All videos of a data set have the same weight. The weights are for the data sets in this order, joined by
    :meth:`VideoDataset.concat`, and for the loader's argument ``weights``.

    Args:
        datasets: The data sets, ``[K]``.
        shares: Share of the draws of each, ``[K]``: finite numbers >= 0, not all 0. They need not add up to 1.

    Returns:
        float64 ``[M]``, one weight per video of the joined data set. Their sum is 1.

    Raises:
        ValueError: If an argument is something else, or there is not one share per data set.

    Example:
        >>> few = VideoDataset(["a.mp4"], ["run"])
        >>> many = VideoDataset(["b.mp4", "c.mp4", "d.mp4"], ["jump", "run", "jump"])
        >>> weights = mixing_weights([few, many], [0.7, 0.3])
        >>> weights.round(2).tolist()
        [0.7, 0.1, 0.1, 0.1]
        >>> loader = MGDaliIterator(few.concat(many), weights=weights, sampler=Segment())  # doctest: +SKIP
    """
    advice = "give a list of data sets and a list of shares, as in mixing_weights([first, second], [0.7, 0.3])"
    for name, given in (("datasets", datasets), ("shares", shares)):
        if not isinstance(given, Sequence | np.ndarray):
            raise ValueError(f"{name} must be a list, got {given!r}: {advice}")
    for dataset in datasets:
        if not isinstance(dataset, VideoDataset):
            raise ValueError(f"datasets contains a {type(dataset).__name__}: {advice}")
    if len(datasets) != len(shares):
        raise ValueError(f"shares must have one number per data set, got {len(shares)} for {len(datasets)} data sets")
    values: list[Any] = list(shares)
    for share in values:
        if not isinstance(share, Real) or not math.isfinite(share) or share < 0:
            raise ValueError(f"shares must be finite numbers >= 0, got {share!r}")
    largest = max(values, default=0)
    if not largest:
        raise ValueError(f"shares must not all be 0, got {values!r}")
    # Relative to the largest share, so that the sum does not overflow.
    parts = np.array([share / largest for share in values], np.float64)
    lengths = [len(dataset) for dataset in datasets]
    weights: NDArray[np.float64] = np.repeat(parts / parts.sum() / lengths, lengths)
    return weights
