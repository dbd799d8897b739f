"""Progress and results of ``mgdali bench``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mgdali.bench.figures import heading
from mgdali.bench.run import BenchOptions, run_bench
from mgdali.cli.console import say
from mgdali.cli.video_bar import say_failed
from mgdali.quantities import counted

__all__ = ["bench_with_progress", "print_report"]

_HEADS = ("clips/s", "least", "most", "over\npeer", "over\ndecode", "CPU ms\nper clip")


def bench_with_progress(options: BenchOptions, console: Console) -> dict[str, Any]:
    """Call :func:`mgdali.bench.run.run_bench` with a progress bar, and return its report."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Finding the videos", total=None)
        return run_bench(
            options,
            lambda text, done, total: progress.update(task, description=text, completed=done, total=total),
        )


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print what was measured, a row per loader, the loaders without one, the limit and the advice."""
    task = report["task"]
    say(console, heading(report))
    say(console, f"Route of a loader with default arguments: {report['route']}")
    _print_data(report["data"], console)
    say(
        console,
        f"Clips of {counted(task['num_frames'], 'frame')}, batches of {task['batch_size']}, "
        f"{counted(task['workers'], 'worker')}; {counted(report['rounds'], 'round')} of at least "
        f"{report['seconds']:g} s per loader, in turn",
    )
    console.print(_table(report))
    for name, reason in report["refused"].items():
        say(console, f"{name} {reason}")
    if report["no_gpu"]:
        say(console, report["no_gpu"])
    _print_advice(report, console)


def _print_data(data: Mapping[str, Any], console: Console) -> None:
    tried = data["videos"] + len(data["failed"])
    found = counted(data["videos_found"])
    if tried < data["videos_found"]:
        found += f", {tried} of them drawn at random (seed {data['seed']})"
    if data["copied"]:
        found += f", {data['copied']} copied to a temporary folder, because other loaders open files"
    say(
        console,
        f"{data['data']}: {found}; {data['videos']} were loaded, with {data['frames']} frames and "
        f"{decimal(data['bytes'])}. Their index was built in {data['index_seconds']:.1f} s",
    )
    say_failed(console, data["failed"], "see --json")
    if data["failed"]:
        say(console, "No loader loads them.")


def _table(report: dict[str, Any]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
        caption=_caption(report),
        caption_justify="left",
    )
    table.add_column("loader", no_wrap=True)
    for name in _HEADS:
        table.add_column(name, justify="right")
    for row in report["rows"]:
        speed = row["clips_per_s"]
        name = row["name"] + (" (by hand)" if row["kind"] == "by hand" else "")
        table.add_row(
            name,
            *(f"{speed[key]:.1f}" for key in ("median", "least", "most")),
            *(f"{row[key]['median']:.2f}" if row[key] else "-" for key in ("over_fastest_peer", "over_decoding_alone")),
            f"{1e3 * row['cpu_seconds_a_clip']['median']:.1f}",
        )
    return table


def _caption(report: Mapping[str, Any]) -> str:
    peer = "no peer was measured" if report["fastest_peer"] is None else f"the fastest peer, {report['fastest_peer']}"
    return f"Medians of the rounds; files are in memory. Ratios are relative to {peer}, and to decoding alone."


def _print_advice(report: Mapping[str, Any], console: Console) -> None:
    if report["bound"] is None:
        say(console, "\nThis loader was not measured, so its limit is not known.")
        return
    say(console, f"\nWhat limits this loader on the CPU: {report['bound']['text']}")
    if not report["advice"]:
        say(console, "The measurements suggest no change of arguments.")
        return
    say(console, "What to change:")
    for advice in report["advice"]:
        say(console, f"  {advice['change']}: {advice['reason']}.")
