"""Progress bar and summary of ``mgdali index build``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal

from mgdali.cli.console import say
from mgdali.cli.video_bar import VideoBar, say_failed
from mgdali.datasets.named_videos import Videos
from mgdali.index.build import BuildReport, Engine, build_index
from mgdali.quantities import counted
from mgdali.samplers import Representation

__all__ = ["build_with_progress"]


def build_with_progress(
    data: Videos,
    path: str | os.PathLike[str],
    console: Console,
    *,
    representations: Sequence[Representation],
    root: str | None,
    engine: Engine,
    num_workers: int | None,
    timeout: float,
    prune: bool,
    retry_failed: bool,
) -> BuildReport:
    """Call :func:`mgdali.index.build.build_index` with a progress bar, then print a summary.

    Raises:
        DatasetError: If the index cannot be read or written.
        WorkerError: If workers cannot be started.
    """
    started = time.perf_counter()
    with VideoBar(console, "Measuring", "Measured") as bar:

        def start(todo: int, kept: int) -> None:
            if kept:
                say(console, f"{counted(kept)} unchanged since measured, {todo} to measure")
            bar.start(todo)

        report = build_index(
            data,
            path,
            representations=representations,
            root=root,
            engine=engine,
            num_workers=num_workers,
            timeout=timeout,
            prune=prune,
            retry_failed=retry_failed,
            on_start=start,
            on_record=bar.count,
        )
    _print_summary(report, path, time.perf_counter() - started, console)
    return report


def _print_summary(report: BuildReport, path: str | os.PathLike[str], seconds: float, console: Console) -> None:
    matched = f", found {report.matched} under other names (same size and beginning)" if report.matched else ""
    say(
        console,
        f"Measured {counted(report.measured)} ({report.frames} frames) in {seconds:.1f} s, kept {report.kept}{matched};"
        f" {len(report.failed)} cannot be decoded",
    )
    say(console, f"{os.fspath(path)}: {report.rows} rows, {decimal(os.stat(path).st_size)}")
    say_failed(console, report.failed, f"mgdali index show {os.fspath(path)} --failed")
