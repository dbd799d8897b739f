"""Progress bar and summary of ``mgdali index build``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mgdali.cli.console import one_line, say
from mgdali.index.build import BuildReport, Engine, build_index
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord

__all__ = ["build_with_progress"]

_FAILED_SHOWN = 20


def build_with_progress(
    media: Sequence[Media],
    path: str | os.PathLike[str],
    console: Console,
    *,
    representations: Sequence[Representation],
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
    with _Bar(console) as bar:
        report = build_index(
            media,
            path,
            representations=representations,
            engine=engine,
            num_workers=num_workers,
            timeout=timeout,
            prune=prune,
            retry_failed=retry_failed,
            on_start=bar.start,
            on_record=bar.count,
        )
    _print_summary(report, path, time.perf_counter() - started, console)
    return report


class _Bar:
    """Progress bar that counts videos and shows the speed."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"))
        rest = (TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[failed]}"))
        self._console = console
        self._progress = Progress(*columns, *rest, console=console)
        self._task = self._progress.add_task("Comparing", total=None, rate="", failed="")
        self._started = 0.0
        self._done = self._todo = self._frames = self._failed = 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.update(self._task, description="Ended" if any(error) else "Done")
        self._progress.stop()

    def start(self, todo: int, kept: int) -> None:
        """Set the number of videos to measure, once the index has been compared with the videos."""
        if kept:
            say(self._console, f"{_videos(kept)} unchanged since measured, {todo} to measure")
        self._started = time.perf_counter()
        self._todo = todo
        self._progress.update(self._task, description="Measuring" if todo else "Writing", total=todo)

    def count(self, record: VideoRecord) -> None:
        """Count a measured video."""
        self._done += 1
        self._frames += record.num_frames
        self._failed += record.error is not None
        seconds = time.perf_counter() - self._started
        self._progress.update(
            self._task,
            completed=self._done,
            description="Measuring" if self._done < self._todo else "Writing",
            rate=f"{self._done / seconds:.1f} videos/s, {self._frames / seconds:.0f} frames/s",
            failed=f"{self._failed} failed" if self._failed else "",
        )


def _print_summary(report: BuildReport, path: str | os.PathLike[str], seconds: float, console: Console) -> None:
    say(
        console,
        f"Measured {_videos(report.measured)} ({report.frames} frames) in {seconds:.1f} s, kept {report.kept}; "
        f"{len(report.failed)} cannot be decoded",
    )
    say(console, f"{os.fspath(path)}: {report.rows} rows, {decimal(os.stat(path).st_size)}")
    if not report.failed:
        return
    say(console, f"\n{_videos(len(report.failed))} cannot be decoded:")
    for name, reason in sorted(report.failed.items())[:_FAILED_SHOWN]:
        say(console, f"  {name}: {one_line(reason)}")
    if len(report.failed) > _FAILED_SHOWN:
        say(console, f"  and {len(report.failed) - _FAILED_SHOWN} more: mgdali index show {os.fspath(path)} --failed")


def _videos(count: int) -> str:
    return "1 video" if count == 1 else f"{count} videos"
