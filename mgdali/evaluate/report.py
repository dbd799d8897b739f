"""The report of an evaluation: its numbers as a dict that is ready for JSON. It contains no names of good videos."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from mgdali.evaluate.comparison import Comparison
from mgdali.evaluate.conclusions import conclusions
from mgdali.evaluate.options import EvaluateOptions
from mgdali.evaluate.run import Evaluation
from mgdali.evaluate.statistics import accuracy_of, difference_of
from mgdali.evaluate.strategies import BASELINE

__all__ = ["report_of", "rows_of"]

_DIGITS = 3


def report_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return the report of an evaluation.

    Accuracies, differences and errors are in percent points. An error of a single video is None.
    """
    options, comparison = evaluation.options, evaluation.comparison
    counts = np.bincount(evaluation.labels, minlength=len(evaluation.classes))
    report = {
        "data": {
            "data": Path(options.data).name,
            "videos": len(evaluation.labels),
            "videos_found": evaluation.found,
            "failed": dict(evaluation.failed),
            "classes": dict(zip(evaluation.classes, counts.tolist(), strict=True)),
            "frames": {
                "least": int(evaluation.frames.min()),
                "median": float(np.median(evaluation.frames)),
                "most": int(evaluation.frames.max()),
            },
        },
        "largest_class": _rounded(100.0 * counts.max() / counts.sum()),
        "folds": {"count": options.folds, "made_by": _made_by(options), "column": options.fold_column},
        "seeds": options.seeds,
        "num_frames": list(options.num_frames),
        "network": {"name": options.network},
        "head": {
            "components": options.components,
            "c": options.c,
            "train_clips": options.train_clips,
            "heads": comparison.heads,
            "not_converged": comparison.not_converged,
        },
        "computed": evaluation.computed,
        "baseline": BASELINE,
        "strategies": comparison.strategies,
        "guided": comparison.guided,
        "rows": rows_of(comparison),
    }
    return report | {"conclusions": conclusions(report)}


def rows_of(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the accuracy of each strategy with each number of frames, and its difference to the baseline."""
    return [_row(comparison, strategy, count) for strategy, count in comparison.right]


def _made_by(options: EvaluateOptions) -> str:
    if options.fold_column is not None:
        return "column"
    return "random" if options.random_folds else "blocks"


def _row(comparison: Comparison, strategy: str, count: int) -> dict[str, Any]:
    right = comparison.right[strategy, count]
    accuracy = accuracy_of(right)
    row: dict[str, Any] = {
        "strategy": strategy,
        "num_frames": count,
        "accuracy": _rounded(accuracy.mean),
        "error": _rounded(accuracy.error),
        "accuracy_of_seeds": [_rounded(each) for each in accuracy.seeds],
        "difference": None,
    }
    if strategy != BASELINE:
        found = difference_of(right, comparison.right[BASELINE, count])
        row["difference"] = {
            "mean": _rounded(found.mean),
            "error": _rounded(found.error),
            "won": found.won,
            "lost": found.lost,
            "clear": found.is_clear,
        }
    return row


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), _DIGITS)
