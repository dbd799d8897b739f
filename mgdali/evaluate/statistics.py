"""Accuracy, and paired differences between two strategies on the same videos."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Accuracy", "Difference", "accuracy_of", "difference_of"]

_ERRORS = 2.0


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a strategy.

    Attributes:
        mean: Share of right answers in percent, over all videos and seeds.
        error: Standard error over videos in percent points; NaN for one video.
        seeds: Accuracy with each seed in percent.
    """

    mean: float
    error: float
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class Difference:
    """Difference between the accuracies of a strategy and of the baseline.

    Attributes:
        mean: The difference in percent points.
        error: Its standard error over videos in percent points; NaN for one video.
        won, lost: Number of videos that the strategy gets right with more seeds, and with fewer seeds.
    """

    mean: float
    error: float
    won: int
    lost: int

    @property
    def is_clear(self) -> bool:
        """Whether the difference is larger than two standard errors."""
        return not math.isnan(self.error) and abs(self.mean) > _ERRORS * self.error


def accuracy_of(right: NDArray[np.bool_]) -> Accuracy:
    """Return the accuracy of a strategy.

    Args:
        right: Whether the answer is right, bool ``[S, V]``, for each seed and video.
    """
    return Accuracy(*_mean_and_error(100.0 * right.mean(0)), tuple((100.0 * right.mean(1)).tolist()))


def difference_of(right: NDArray[np.bool_], baseline: NDArray[np.bool_]) -> Difference:
    """Return the paired difference between a strategy and the baseline.

    The difference of a video is the mean over seeds. The standard error is that of the mean of these differences over
    videos, so it contains the choice of videos, and no further choice of folds.

    Args:
        right, baseline: Whether the answers are right, bool ``[S, V]``, for the same seeds and videos.
    """
    each = right.sum(0, dtype=np.int64) - baseline.sum(0, dtype=np.int64)
    mean, error = _mean_and_error(100.0 * each / len(right))
    return Difference(mean, error, int((each > 0).sum()), int((each < 0).sum()))


def _mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(error)
