"""Output of ``mgdali index show``, ``check`` and ``merge``, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.console import Console
from rich.filesize import decimal

from mgdali.cli.console import examples, say
from mgdali.index.inspect import IndexCheck, IndexSummary
from mgdali.index.merge import MergeReport
from mgdali.index.report_lines import one_line
from mgdali.index.still import StillVideo

__all__ = [
    "failures_to_json",
    "print_check",
    "print_failures",
    "print_merge",
    "print_still",
    "print_summary",
    "still_to_json",
    "to_json",
]

_TOP = 5

_ADVICE = (
    "Not current: mgdali index build measures new and changed videos. --prune removes rows of videos that are not in "
    "DATA; --retry-failed measures videos again that could not be decoded."
)


def to_json(found: IndexSummary | IndexCheck) -> str:
    """Return a summary or check as a JSON object whose keys are the attributes of its class."""
    return json.dumps(asdict(found), indent=2)


def failures_to_json(failures: Iterable[tuple[str, str]]) -> str:
    """Return failed videos as a JSON list of objects with the keys ``path`` and ``error``."""
    return json.dumps([{"path": name, "error": error} for name, error in failures], indent=2)


def print_summary(summary: IndexSummary, console: Console) -> None:
    """Print one line per property of an index."""
    untimed = f" (without {summary.untimed} videos of unknown duration)" if summary.untimed else ""
    properties = {
        "index": f"{summary.path}, {decimal(summary.size)}",
        "root": summary.root or "none: all names are absolute",
        "videos": f"{summary.videos}",
        "failed": f"{summary.failed}",
        "frames": f"{summary.frames}",
        "hours": f"{summary.hours:.3g}{untimed}",
        "motion": _most_frequent(summary.representations),
        "codecs": _most_frequent(summary.codecs),
        "sizes": _most_frequent(summary.sizes),
        "pixel formats": _most_frequent(summary.pixel_formats),
    }
    for name, text in properties.items():
        say(console, f"{name:13}  {text}")


def print_failures(failures: Iterable[tuple[str, str]], console: Console) -> None:
    """Print one line per failed video."""
    for name, error in failures:
        say(console, f"{name}: {one_line(error)}")


def still_to_json(videos: Iterable[StillVideo]) -> str:
    """Return videos with little motion as a JSON list of objects whose keys are the attributes of ``StillVideo``."""
    return json.dumps([asdict(video) for video in videos], indent=2)


def print_still(videos: Iterable[StillVideo], console: Console) -> None:
    """Print one line per video: its motion, the share of its unchanged frames, its number of frames, its path."""
    say(console, "motion  unchanged  frames  video")
    for video in videos:
        say(console, f"{video.motion:6.3f}  {video.unchanged:9.1%}  {video.num_frames:6}  {video.path}")


def print_merge(report: MergeReport, path: str, console: Console) -> None:
    """Print what was merged."""
    united = f", {report.united} with motion of several of them" if report.united else ""
    root = f"root {report.root}" if report.root else "without a root"
    say(console, f"Merged {report.read} rows into {report.rows}{united}")
    say(console, f"{path}: {report.rows} rows, {root}")


def print_check(check: IndexCheck, console: Console) -> None:
    """Print the result of a check, with examples of each problem."""
    say(console, f"{check.path}: {check.current} of {check.videos} rows are current")
    problems = {
        "Missing or cannot be read": check.missing,
        "Changed since they were measured": check.changed,
        "Cannot be decoded": check.failed,
    }
    if check.not_in_index is not None:
        problems["Not in the index"] = check.not_in_index
    for problem, names in problems.items():
        for line in examples(problem, names):
            say(console, line)
    say(console, "Current." if check.complete else _ADVICE)


def _most_frequent(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:_TOP]]
    if len(counts) > _TOP:
        shown.append(f"{len(counts) - _TOP} others ({sum(list(counts.values())[_TOP:])})")
    return ", ".join(shown) or "none"
