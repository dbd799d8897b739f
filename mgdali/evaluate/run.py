"""One evaluation: videos, motion, features, and the comparison of the strategies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.errors import DatasetError
from mgdali.evaluate.comparison import Comparison, compare
from mgdali.evaluate.features import compute_features
from mgdali.evaluate.network import open_network
from mgdali.evaluate.options import EvaluateOptions, Watch
from mgdali.evaluate.videos import cache_of, find_videos, measure_videos
from mgdali.workers.pool import workers_for

__all__ = ["Evaluation", "run_evaluation"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of an evaluation.

    Attributes:
        options: What was evaluated.
        comparison: The answers of all heads.
        labels: Class index of each video, int64 ``[V]``.
        classes: Names of the classes.
        frames: Number of frames of each video, int64 ``[V]``.
        found: Number of videos that the data names.
        failed: Reasons of the videos that were left out for all strategies, by path.
        computed: Number of videos whose features were not in the cache.
    """

    options: EvaluateOptions
    comparison: Comparison
    labels: NDArray[np.int64]
    classes: list[str]
    frames: NDArray[np.int64]
    found: int
    failed: dict[str, str]
    computed: int


def run_evaluation(options: EvaluateOptions, watch: Watch = lambda text, done, total: None) -> Evaluation:
    """Evaluate all strategies on the user's videos.

    Motion and features are kept in the cache. After Ctrl-C, the next call continues with the other videos.

    Args:
        options: What is evaluated.
        watch: Function that is called with what is being done, the number of finished steps and of all steps.

    Raises:
        DatasetError: If the data or the index cannot be read, or if the videos cannot be put into folds.
        ValueError: If the network cannot be used.
        ImportError: If a package is missing.
        OSError: If the cache cannot be written.
        WorkerError: If workers cannot be started.
        KeyboardInterrupt: After Ctrl-C.
    """
    network = open_network(options)
    dataset, found = find_videos(options)
    workers = workers_for(len(dataset), options.num_workers)
    measured, failed = measure_videos(dataset, options, workers, watch)
    videos, features, undecoded = compute_features(measured, network, cache_of(options), workers, watch)
    failed |= undecoded
    labels = np.array([each.video.label for each in videos], np.int64)
    if len(np.unique(labels)) < 2:
        raise DatasetError(
            f"{options.data}: {len(failed)} videos cannot be used, and the others are of one class: "
            "give videos of at least two classes that can be decoded"
        )
    return Evaluation(
        options=options,
        comparison=compare(options, videos, features, dataset.classes, workers, watch),
        labels=labels,
        classes=list(dataset.classes),
        frames=features.lengths,
        found=found,
        failed=failed,
        computed=features.computed,
    )
