"""Progress and results of ``mgdali evaluate``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mgdali.bench.machine import facts
from mgdali.cli.console import say
from mgdali.cli.video_bar import say_failed
from mgdali.evaluate.conclusions import signed
from mgdali.evaluate.options import EvaluateOptions
from mgdali.evaluate.report import report_of
from mgdali.evaluate.run import run_evaluation
from mgdali.quantities import counted

__all__ = ["evaluate_with_progress", "print_report"]

_FOLDS = {
    "blocks": "{count} folds of blocks of neighbouring names within each class",
    "column": "{count} folds by the column {column!r}",
    "random": "{count} random folds, other ones with each seed",
}


def evaluate_with_progress(options: EvaluateOptions, console: Console) -> dict[str, Any]:
    """Call :func:`mgdali.evaluate.run.run_evaluation` with a progress bar, and return the report."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    started = time.perf_counter()
    with Progress(*columns, *times, console=console, transient=True) as progress:
        task = progress.add_task("Finding the videos", total=None)
        doing = ""

        def watch(text: str, done: int, total: int) -> None:
            nonlocal doing
            if text != doing:
                # The time that remains is that of this kind of work.
                progress.reset(task, total=total, description=text)
                doing = text
            progress.update(task, completed=done, total=total)

        evaluation = run_evaluation(options, watch)
    seconds = round(time.perf_counter() - started, 1)
    return {**report_of(evaluation), "seconds": seconds, "machine": facts()}


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print the videos, the table, the videos that were left out, and what follows."""
    data, folds, head = report["data"], report["folds"], report["head"]
    drawn = data["videos"] + len(data["failed"])
    sample = f" ({drawn} of {data['videos_found']}, drawn at random)" if drawn < data["videos_found"] else ""
    say(
        console,
        f"{data['data']}: {counted(data['videos'])}{sample} of {counted(len(data['classes']), 'class', 'classes')}, "
        f"{_frames(data['frames'])}. {report['network']['name']} has described "
        f"{counted(report['computed'])} now; features of {data['videos'] - report['computed']} are from the cache",
    )
    say(
        console,
        f"{_FOLDS[folds['made_by']].format(**folds)}; {counted(report['seeds'], 'seed')}; heads of "
        f"{head['components']} components per frame; {report['seconds']:.0f} s",
    )
    console.print(_table(report))
    say_failed(console, data["failed"], "see --json")
    if data["failed"]:
        say(console, "They are left out for all strategies.")
    for line in report["conclusions"]:
        say(console, f"- {line}")


def _frames(frames: Mapping[str, Any]) -> str:
    least, most = frames["least"], frames["most"]
    return counted(least, "frame") if least == most else f"{least} to {most} frames"


def _table(report: Mapping[str, Any]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
        caption="Accuracy in percent, then differences to segment sampling in points with standard errors over videos "
        "(*: more than two of them), and the numbers of videos won and lost.",
        caption_justify="left",
    )
    table.add_column("frames per video", no_wrap=True)
    for count in report["num_frames"]:
        table.add_column(str(count), justify="right")
    for name in report["strategies"]:
        rows = [row for row in report["rows"] if row["strategy"] == name]
        table.add_row(name, *map(_cell, rows))
    return table


def _cell(row: Mapping[str, Any]) -> str:
    difference = row["difference"]
    if difference is None:
        return f"{row['accuracy']:.1f}"
    mark = "*" if difference["clear"] else ""
    # Without spaces, so that four columns fit a terminal of 80 characters.
    change = signed(difference["mean"], difference["error"]).replace(" ", "")
    return f"{change}{mark}\n{difference['won']}:{difference['lost']}"
