"""Output of ``mgdali pack show`` and ``mgdali pack check``, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.filesize import decimal

from mgdali.cli.console import say
from mgdali.datasets.pack_format import part_name
from mgdali.index.report_lines import one_line
from mgdali.packing.report import PICKS, PackSummary, Quality
from mgdali.packing.verify import PackCheck
from mgdali.quantities import counted

__all__ = ["print_check", "print_left_out", "print_summary", "to_json"]

_PROBLEMS_SHOWN = 20


def to_json(found: PackSummary | PackCheck) -> str:
    """Return a summary or check as a JSON object whose keys are the attributes of its class."""
    return json.dumps(asdict(found), indent=2)


def print_summary(summary: PackSummary, console: Console) -> None:
    """Print one line per property of a pack."""
    size = decimal(summary.bytes)
    if summary.origin_bytes:
        size += f", {summary.bytes / summary.origin_bytes:.1%} of the originals' {decimal(summary.origin_bytes)}"
    settings = summary.settings
    properties = {
        "pack": f"{summary.path}, version {settings['version']}",
        "videos": f"{summary.videos}{_segments(summary.segments)} in {counted(summary.shards, 'shard')}"
        + (f", {counted(summary.classes, 'class', 'classes')}" if summary.classes else ""),
        "frames": f"{summary.frames}",
        "encoding": f"{settings['preset']}: {settings['encoder']}, gop {settings['gop']}, "
        f"quality {settings['quality']}, short side {settings['short_side']}",
        "motion": ", ".join(map(str, settings["motion"])) if isinstance(settings["motion"], list) else "",
        "bytes": size,
        "left out": str(len(summary.left_out)),
    }
    if summary.quality is not None:
        properties["luma PSNR"] = _quality(summary.quality)
    if summary.decoded_frames is not None:
        properties["clip"] = f"{summary.decoded_frames:.1f} decoded frames for {PICKS} picks"
    for name, text in properties.items():
        say(console, f"{name:10}  {text}")


def print_left_out(summary: PackSummary, console: Console) -> None:
    """Print one line per original that could not be decoded."""
    for each in summary.left_out:
        say(console, f"{part_name(each.path, each.part)}: {one_line(each.error)}")


def print_check(check: PackCheck, console: Console) -> None:
    """Print the result of a check, with the first problems."""
    videos = f"{counted(check.videos)}{_segments(check.segments)}"
    say(console, f"{check.path}: {videos} in {counted(check.shards, 'shard')}, {decimal(check.bytes)}")
    for problem in check.problems[:_PROBLEMS_SHOWN]:
        say(console, f"  {problem.name}: {one_line(problem.reason)}")
    if len(check.problems) > _PROBLEMS_SHOWN:
        say(console, f"  and {len(check.problems) - _PROBLEMS_SHOWN} more: use --json to list all")
    if check.problems:
        say(console, "Damaged: copy these files again, or pack the data set into an empty folder.")
    else:
        say(console, "Complete.")


def _segments(count: int) -> str:
    return f" ({counted(count, 'segment')} of files)" if count else ""


def _quality(quality: Quality) -> str:
    missing = f"; {quality.missing} originals are missing or have changed" if quality.missing else ""
    if quality.mean is None:
        return f"not known{missing}"
    worst = f"{quality.worst:.1f} dB worst ({quality.worst_video})"
    return f"{quality.mean:.1f} dB mean, {worst}, of {counted(quality.videos)}{missing}"
