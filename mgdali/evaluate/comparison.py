"""Comparison of strategies on videos with known motion and features: one head per fold, seed and number of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.evaluate import folds as fold_rules
from mgdali.evaluate.features import FrameFeatures
from mgdali.evaluate.head import fit_head, fit_projection, one_thread
from mgdali.evaluate.options import EvaluateOptions, Watch
from mgdali.evaluate.strategies import Strategy, picks_of, strategies_of
from mgdali.evaluate.threads import in_threads
from mgdali.evaluate.videos import MeasuredVideo

__all__ = ["Answers", "Comparison", "compare"]

_MOST_FRAMES = 20_000
"""Largest number of frames that principal components are fitted on."""

Answers = dict[tuple[str, int], NDArray[np.bool_]]
"""Whether the answers of a strategy with a number of frames are right, bool ``[S, V]``, for each seed and video."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The answers of all heads.

    Attributes:
        strategies: Names of the strategies, the baseline first.
        guided: Names of the motion-guided strategies.
        right: The answers.
        heads: Number of heads.
        not_converged: Number of heads whose training did not reach its optimum.
    """

    strategies: list[str]
    guided: list[str]
    right: Answers
    heads: int
    not_converged: int


def compare(
    options: EvaluateOptions,
    videos: Sequence[MeasuredVideo],
    features: FrameFeatures,
    classes: Sequence[str],
    num_workers: int,
    watch: Watch,
) -> Comparison:
    """Train and test a head for each strategy, number of frames, fold and seed.

    Args:
        options: Which strategies, folds, seeds and heads there are. The data and the network are not read.
        videos: The videos, ``[V]``, of at least two classes.
        features: Features of their frames.
        classes: Names of the classes.
        num_workers: Number of threads, >= 1. The answers do not depend on it.
        watch: Function that is told the progress.

    Raises:
        DatasetError: If the videos cannot be put into folds.
    """
    labels = np.array([each.video.label for each in videos], np.int64)
    splits = _splits(videos, labels, classes, options)
    strategies = strategies_of(options)
    bench = _Bench(options, strategies, videos, labels, features)
    right, not_converged = _answers(bench, splits, num_workers, watch)
    return Comparison(
        strategies=[each.name for each in strategies],
        guided=[each.name for each in strategies if each.guided],
        right=right,
        heads=len(right) * sum(len(each.seeds) for each in splits),
        not_converged=not_converged,
    )


@dataclass(frozen=True, eq=False)
class _Split:
    """A choice of training and test videos, places among all videos, and the seeds that use it."""

    training: NDArray[np.int64]
    test: NDArray[np.int64]
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Results:
    """Answers for the test videos of a split, bool ``[S, V_test]``, and the number of heads that did not converge."""

    right: Answers
    not_converged: int


def _splits(
    videos: Sequence[MeasuredVideo], labels: NDArray[np.int64], classes: Sequence[str], options: EvaluateOptions
) -> list[_Split]:
    names = [each.video.path for each in videos]
    every = tuple(range(options.seeds))
    if options.fold_column is not None:
        groups = [each.group for each in videos]
        assigned = {every: fold_rules.column_folds(groups, options.folds, options.fold_column)}
    elif options.random_folds:
        assigned = {(seed,): fold_rules.random_folds(names, labels, options.folds, seed) for seed in every}
    else:
        assigned = {every: fold_rules.block_folds(names, labels, options.folds)}
    found = []
    for seeds, fold_of in assigned.items():
        fold_rules.check_folds(fold_of, labels, classes)
        for fold in np.unique(fold_of):
            found.append(_Split(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold), seeds))
    return found


class _Bench:
    """Trains and tests the heads of one split at a time. Several threads may use it.

    Args:
        options: What is evaluated.
        strategies: The strategies.
        videos, labels, features: The videos, ``[V]``.
    """

    def __init__(
        self,
        options: EvaluateOptions,
        strategies: Sequence[Strategy],
        videos: Sequence[MeasuredVideo],
        labels: NDArray[np.int64],
        features: FrameFeatures,
    ) -> None:
        self.options, self.strategies, self.num_videos = options, strategies, len(videos)
        self._videos, self._labels, self._features = videos, labels, features
        self._starts = np.concatenate([[0], np.cumsum(features.lengths)[:-1]])

    def run(self, split: _Split, check: Callable[[], None]) -> _Results:
        """Return the answers of all strategies for the test videos of a split."""
        frames = self._components(split, check)
        right: Answers = {}
        not_converged = 0
        for strategy in self.strategies:
            for count in self.options.num_frames:
                answers = []
                for seed in split.seeds:
                    check()
                    training = self._clips(frames, strategy, count, split.training, seed)
                    labels = np.repeat(self._labels[split.training], self.options.train_clips)
                    head = fit_head(training, labels, self.options.c)
                    not_converged += not head.converged
                    test = self._clips(frames, strategy, count, split.test, None)
                    answers.append(head.predict(test) == self._labels[split.test])
                right[strategy.name, count] = np.stack(answers)
        return _Results(right, not_converged)

    def _components(self, split: _Split, check: Callable[[], None]) -> NDArray[np.float64]:
        """Return the components of all frames of all videos, ``[sum of T, D]``, fitted on the training videos."""
        step = -(-int(self._features.lengths[split.training].sum()) // _MOST_FRAMES)
        projection = fit_projection(
            np.concatenate([self._features.of(int(video))[::step] for video in split.training]),
            self.options.components,
        )
        parts = []
        for video in range(self.num_videos):
            check()
            parts.append(projection(self._features.of(video)))
        return np.concatenate(parts)

    def _clips(
        self, frames: NDArray[np.float64], strategy: Strategy, count: int, videos: NDArray[np.int64], seed: int | None
    ) -> NDArray[np.float64]:
        """Return clips of videos, ``[M, N, D]``: several with random offsets; without a seed, one with 0.5."""
        sampler = strategy.make(count)
        repeats = 1 if seed is None else self.options.train_clips
        picks = [
            self._starts[video]
            + picks_of(sampler, self._videos[video], int(video), seed=seed or 0, clip=clip, training=seed is not None)
            for video in videos
            for clip in range(repeats)
        ]
        clips: NDArray[np.float64] = frames[np.stack(picks)]
        return clips


def _answers(bench: _Bench, splits: Sequence[_Split], workers: int, watch: Watch) -> tuple[Answers, int]:
    keys = [(each.name, count) for each in bench.strategies for count in bench.options.num_frames]
    right = {key: np.zeros((bench.options.seeds, bench.num_videos), np.bool_) for key in keys}
    not_converged = 0
    watch("Training heads", 0, len(splits))
    with one_thread(), closing(in_threads(bench.run, splits, workers)) as results:
        for done, (split, result) in enumerate(results, 1):
            for key in keys:
                right[key][np.ix_(np.array(split.seeds), split.test)] = result.right[key]
            not_converged += result.not_converged
            watch("Training heads", done, len(splits))
    return right, not_converged
