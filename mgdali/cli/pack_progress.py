"""Progress bar and summary of ``mgdali pack``."""

from __future__ import annotations

import os
import time
from typing import Any

from rich.console import Console
from rich.filesize import decimal

from mgdali.cli.console import say
from mgdali.cli.video_bar import VideoBar, say_failed
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.index.report_lines import one_line
from mgdali.packing.pack import PackReport, PackStart, pack
from mgdali.quantities import counted

__all__ = ["pack_with_progress"]

_CHANGED_SHOWN = 5


def pack_with_progress(
    dataset: VideoDataset, out: str | os.PathLike[str], console: Console, **options: Any
) -> PackReport:
    """Call :func:`mgdali.packing.pack.pack` with a progress bar, then print a summary.

    Args:
        dataset: The videos.
        out: Folder or URL of the pack.
        console: Where progress and summary are shown.
        **options: Arguments of :func:`mgdali.packing.pack.pack`.

    Raises:
        DatasetError: If the pack cannot be written.
        WorkerError: If workers cannot be started.
    """
    started = time.perf_counter()
    with VideoBar(console, "Packing", "Packed") as bar:

        def start(found: PackStart) -> None:
            _print_start(found, console)
            bar.start(found.todo)

        report = pack(dataset, out, on_start=start, on_record=bar.count, **options)
    _print_summary(report, os.fspath(out), time.perf_counter() - started, console)
    return report


def _print_start(found: PackStart, console: Console) -> None:
    if found.kept:
        say(console, f"{counted(found.kept)} packed or tried before, {found.todo} to pack")
    if found.todo:
        need = "unknown" if found.estimated_bytes is None else f"about {decimal(found.estimated_bytes)} (an estimate)"
        free = "" if found.free_bytes is None else f"; free: {decimal(found.free_bytes)}"
        say(console, f"Space for {counted(found.todo)}: {need}{free}")


def _print_summary(report: PackReport, out: str, seconds: float, console: Console) -> None:
    say(
        console,
        f"Packed {counted(report.packed)} ({report.frames} frames) in {seconds:.1f} s, kept {report.kept}; "
        f"{len(report.failed)} cannot be decoded",
    )
    say(console, f"{out}: {_size(report)}")
    if report.changed:
        names = ", ".join(one_line(name) for name in report.changed[:_CHANGED_SHOWN])
        more = ", …" if len(report.changed) > _CHANGED_SHOWN else ""
        say(
            console,
            f"Changed since they were packed ({len(report.changed)}): {names}{more}. Their copies were kept; to "
            "replace them, pack into an empty folder",
        )
    say_failed(console, report.failed, f"mgdali pack show {out} --failed")


def _size(report: PackReport) -> str:
    """Return the size of the pack, also compared with the originals if their size is known."""
    if not report.videos:
        return "no video could be packed"
    size = f"{counted(report.videos)} in {counted(report.shards, 'shard')}, {decimal(report.bytes)}"
    if not report.origin_bytes:
        return size
    return f"{size}, {report.bytes / report.origin_bytes:.0%} of the originals' {decimal(report.origin_bytes)}"
