"""What follows from an evaluation and what does not, in sentences: rules on the numbers of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["conclusions", "signed"]

_HIGH = 95.0
_FEW_VIDEOS = 300


def conclusions(report: Mapping[str, Any]) -> list[str]:
    """Return sentences that say what follows from a report, and what does not.

    Args:
        report: As :func:`mgdali.evaluate.report.report_of` makes it, without this entry.
    """
    guided = [row for row in report["rows"] if row["strategy"] in report["guided"]]
    return [
        *_verdict(guided),
        *(_line(strategy, [row for row in guided if row["strategy"] == strategy]) for strategy in report["guided"]),
        *_limits(report),
        f"{len(guided)} differences of motion-guided sampling were compared. Of 20 differences that are only chance, "
        "about one is larger than two standard errors.",
        "A linear head on frozen features is not a trained video model. A model that is trained on the picked frames "
        "can gain more from them, or less. Train it with both strategies before you decide.",
    ]


def signed(mean: float, error: float | None) -> str:
    """Return a difference and its standard error as text."""
    return f"{mean:+.1f} ± {'?' if error is None else f'{error:.1f}'}"


def _verdict(guided: Sequence[Mapping[str, Any]]) -> list[str]:
    ahead = [row for row in guided if row["difference"]["clear"] and row["difference"]["mean"] > 0]
    behind = [row for row in guided if row["difference"]["clear"] and row["difference"]["mean"] < 0]
    if ahead and behind:
        return [
            "The result is mixed: motion-guided sampling is more accurate than segment sampling in "
            f"{len(ahead)} of {len(guided)} comparisons and less accurate in {len(behind)}, each by more than two "
            "standard errors."
        ]
    if ahead:
        return [
            f"In {len(ahead)} of {len(guided)} comparisons, motion-guided sampling is more accurate than segment "
            f"sampling by more than two standard errors, and in none less accurate.{_alone(ahead)}"
        ]
    if behind:
        return [
            f"In {len(behind)} of {len(guided)} comparisons, motion-guided sampling is less accurate than segment "
            "sampling by more than two standard errors, and in none more accurate."
            + (_alone(behind) or " Segment sampling is the better choice here.")
        ]
    possible = [_end(row["difference"]) for row in guided if row["difference"]["error"] is not None]
    return [
        "No gain of motion-guided sampling over segment sampling is shown: all differences are within two standard "
        "errors."
        + (f" A gain of up to {max(0.0, max(possible)):.1f} points is not excluded either." if possible else "")
    ]


def _alone(rows: Sequence[Mapping[str, Any]]) -> str:
    return " A single one can be chance." if len(rows) == 1 else ""


def _end(difference: Mapping[str, Any]) -> float:
    return float(difference["mean"] + 2 * difference["error"])


def _line(strategy: str, rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for what, chosen in (
        ("more accurate than segment sampling", [row for row in rows if _sign(row) > 0]),
        ("less accurate", [row for row in rows if _sign(row) < 0]),
        ("within the error", [row for row in rows if _sign(row) == 0]),
    ):
        if chosen:
            counts = ", ".join(
                f"{row['num_frames']} ({signed(row['difference']['mean'], row['difference']['error'])})"
                for row in chosen
            )
            parts.append(f"{what} with frames per video of {counts}")
    return f"{strategy}: {'; '.join(parts)}."


def _sign(row: Mapping[str, Any]) -> int:
    difference = row["difference"]
    return 0 if not difference["clear"] else 1 if difference["mean"] > 0 else -1


def _limits(report: Mapping[str, Any]) -> list[str]:
    baseline = [row for row in report["rows"] if row["strategy"] == report["baseline"]]
    best = max(baseline, key=lambda row: float(row["accuracy"]))
    videos = report["data"]["videos"]
    found = []
    if best["error"] is None or best["accuracy"] - report["largest_class"] <= 2 * best["error"]:
        found.append(
            f"Segment sampling is right for {best['accuracy']:.1f} % of the videos at most, and always answering with "
            f"the largest class for {report['largest_class']:.1f} %. The features hardly show the classes, so this "
            "comparison says little about the strategies. Try another --network."
        )
    elif best["accuracy"] >= _HIGH:
        found.append(
            f"Segment sampling is right for up to {best['accuracy']:.1f} % of the videos, which leaves little to gain."
        )
    errors = [row["difference"]["error"] for row in report["rows"] if row["strategy"] in report["guided"]]
    known = [error for error in errors if error is not None]
    if known and videos < _FEW_VIDEOS:
        found.append(
            f"There are {videos} videos. A difference can be told from chance here if it is larger than "
            f"{2 * min(known):.1f} to {2 * max(known):.1f} points, depending on the row."
        )
    if report["folds"]["made_by"] == "random":
        found.append(
            "Folds are random: if several videos show the same person, scene or recording, the accuracies are too "
            "high, and the differences are not those of new recordings."
        )
    found.append(
        "A standard error contains the choice of the videos, as if they were independent. If several of them show the "
        "same scene, the true error is larger."
    )
    if report["head"]["not_converged"]:
        found.append(
            f"{report['head']['not_converged']} of {report['head']['heads']} heads did not reach their optimum: a "
            "smaller --c helps."
        )
    return found
