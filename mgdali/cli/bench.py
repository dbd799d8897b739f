"""The command ``mgdali bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mgdali.cli.console import INTERRUPTED, errors_as_messages
from mgdali.datasets.tables.endings import TABLE_ENDINGS
from mgdali.interrupts import ctrl_c_held

__all__ = ["bench"]


def bench(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Videos to load: a folder, a text file with one line 'path label' or 'folder frames label' per video, "
            f"a table with a column 'path' ({TABLE_ENDINGS}), tar shards (a file, a URL, or a pattern such as "
            "name{000..099}.tar), or a packed data set.",
        ),
    ],
    batch_size: Annotated[int, typer.Option(min=1, help="Number of clips per batch.")] = 16,
    num_frames: Annotated[int, typer.Option(min=1, help="Number of frames to pick per video.")] = 8,
    num_workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes or threads of each loader.", show_default="number of CPU cores"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Number of timed epochs of each loader.")] = 3,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="About the duration of an epoch of decoding alone.")
    ] = 5.0,
    max_videos: Annotated[
        int, typer.Option(min=1, metavar="N", help="Largest number of videos; of more, a random sample is used.")
    ] = 200,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write the results to, as JSON.")] = None,
) -> None:
    """Compare this loader with other loaders on your own videos, and say what limits it.

    All loaders do the same work: they decode, measure motion, pick frames, crop and normalize them, without random
    choices. Loaders that are not installed are named.

    The exit code is 1 if this loader cannot load the videos.
    """
    with errors_as_messages():
        with ctrl_c_held():
            from mgdali.bench.run import BenchOptions
            from mgdali.cli.bench_report import bench_with_progress, print_report
            from mgdali.cli.console import live_console
            from mgdali.cli.report_file import write_report

        options = BenchOptions(
            data=data,
            batch_size=batch_size,
            num_frames=num_frames,
            num_workers=num_workers,
            rounds=rounds,
            seconds=seconds,
            max_videos=max_videos,
        )
        console = live_console()
        report = bench_with_progress(options, console)
        if json is not None:
            write_report(report, json)
        print_report(report, console)
        if report["interrupted"]:
            typer.echo("interrupted: the complete rounds are reported", err=True)
            raise typer.Exit(INTERRUPTED)
        if report["bound"] is None:
            raise typer.Exit(1)
