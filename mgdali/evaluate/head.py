"""The heads: linear classifiers of a clip's frames in order, on principal components of the frames' features."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits
except ImportError as error:
    raise ImportError(f"the evaluation needs scikit-learn: pip install 'mgdali[evaluate]' ({error})") from error

__all__ = ["Head", "Projection", "fit_head", "fit_projection", "one_thread"]

_MOST_STEPS = 2000


@dataclass(frozen=True, eq=False)
class Projection:
    """Principal components of frames, scaled so that the mean variance of a component is 1.

    Attributes:
        mean: Mean of the features, float64 ``[F]``.
        components: Directions, scaled, float64 ``[F, D]``.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the components of frames, float64 ``[T, D]``, from their features ``[T, F]``."""
        found: NDArray[np.float64] = (features - self.mean) @ self.components
        return found


@dataclass(frozen=True, eq=False)
class Head:
    """A trained classifier.

    Attributes:
        model: The classifier of scikit-learn.
        converged: Whether its training reached its optimum.
    """

    model: LogisticRegression
    converged: bool

    def predict(self, clips: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the class index of each clip, int64 ``[M]``, from components ``[M, N, D]``."""
        found: NDArray[np.int64] = self.model.predict(_flat(clips))
        return found


def fit_projection(features: NDArray[np.float32], components: int) -> Projection:
    """Fit the principal components of frames.

    Args:
        features: Features of frames of the training videos, float32 ``[M, F]``.
        components: Number of components D; fewer if there are fewer frames or features.
    """
    # If all frames are equal, scikit-learn divides by their variance, which is 0.
    with np.errstate(invalid="ignore"):
        found = PCA(min(components, *features.shape), svd_solver="covariance_eigh").fit(features.astype(np.float64))
    scale = np.sqrt(found.explained_variance_.mean()) or 1.0
    return Projection(found.mean_, found.components_.T / scale)


def fit_head(clips: NDArray[np.float64], labels: NDArray[np.int64], c: float) -> Head:
    """Train a logistic regression on clips.

    Args:
        clips: Components of the frames of each clip in order, float64 ``[M, N, D]``.
        labels: Class indices, int64 ``[M]``, at least two different ones.
        c: Inverse strength of the regularization, > 0, for clips of one frame and components of variance 1. It is
            divided by N D, so that longer clips are not regularized less.
    """
    _, length, width = clips.shape
    model = LogisticRegression(C=c / (length * width), max_iter=_MOST_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_flat(clips), labels)
    return Head(model, int(np.max(model.n_iter_)) < _MOST_STEPS)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let linear algebra use one thread: the order of its sums, and so the result, depends on their number."""
    with threadpool_limits(1):
        yield


def _flat(clips: NDArray[np.float64]) -> NDArray[np.float64]:
    return clips.reshape(len(clips), -1)
