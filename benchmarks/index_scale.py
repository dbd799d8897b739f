"""``index.py scale``: time and memory that an index of a million synthetic videos takes; ``project`` extrapolates."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from figures import heading, spread, table, target, target_rows, with_spread
from index_build import index_sizes
from index_processes import ask, look_up, merge_parts, read_all_rows, write_rows
from index_rows import PART_ROWS, write_parts

from mgdali.bench import machine

PROCESSES = 4
"""Number of processes that open the index at the same time."""
_ALL_ROWS = "reading all rows at the start of a build"


def measure_scale(folder: Path, videos: int, mean_frames: int, finds: int, rounds: int) -> dict[str, Any]:
    """Return the report: writing, merging, opening and looking up, each in separate processes.

    Args:
        folder: Empty folder for the files.
        videos: Number of synthetic videos.
        mean_frames: Mean number of frames per video.
        finds: Number of videos to look up.
        rounds: Number of times that the index is opened with its files in memory, and without.
    """
    index = folder.resolve() / "scale.parquet"
    start = time.perf_counter()
    frames = write_parts(index, videos, mean_frames)
    made_up = time.perf_counter() - start
    parts = sum(part.stat().st_size for part in Path(f"{index}.parts").iterdir())
    (written,) = ask(write_rows, str(index), min(videos, 2 * PART_ROWS), mean_frames)
    (merged,) = ask(merge_parts, str(index))
    if merged["rows"] != videos:
        raise SystemExit(f"index.py: the index has {merged['rows']} rows, expected {videos}")
    (known,) = ask(read_all_rows, str(index))
    # The first opening makes the memory-mapped copy.
    (copied,) = ask(look_up, str(index), videos, 1, False)
    found: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        for name, answers in found.items():
            answers += ask(look_up, str(index), videos, finds, name == "cold")
    together = ask(look_up, str(index), videos, finds, False, processes=PROCESSES)
    opening = {name: _opening(each) for name, each in found.items()}
    return {
        "benchmark": "index scale",
        "machine": machine.facts(),
        "rounds": rounds,
        "videos": videos,
        "frames": frames,
        "finds": finds,
        "made_up_s": made_up,
        "sizes": {"parts_bytes": parts, **index_sizes(index)},
        "written": written,
        "merge": merged,
        "known": known,
        "copy": {"seconds": copied["seconds"], "peak": copied["opened"]["peak"], "before": copied["before"]},
        "opening": opening,
        "together": [own["memory"] for own in together],
        "targets": [
            target("seconds to open, nothing in memory", opening["cold"]["seconds"]["median"], "<=", 2),
            target("peak MB to open", opening["cold"]["peak"]["median"] / 1e6, "<=", 500),
            target(
                f"private MB per process, of {PROCESSES} that have it open",
                statistics.mean(own["memory"]["private"] for own in together) / 1e6,
                "<=",
                500,
            ),
            target("peak MB to open and create the copy", copied["opened"]["peak"] / 1e6, "<=", 500),
        ],
    }


def _opening(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the spreads of several openings of the same kind."""
    return {
        "seconds": spread([own["seconds"] for own in answers]),
        "opening_bytes_read": spread([own["bytes_read"] for own in answers]),
        "before": answers[-1]["before"],
        "opened": answers[-1]["opened"],
        "after_finds": answers[-1]["memory"],
        "peak": spread([own["opened"]["peak"] for own in answers]),
        **{
            name: {key: spread([own[name][key] for own in answers]) for key in answers[0][name]}
            for name in ("first", "again")
        },
    }


# --- Tables ----------------------------------------------------------------------------------------------------------


def render_scale(report: dict[str, Any]) -> str:
    """Return the report as Markdown tables."""
    about = f"{heading(report)}; {report['videos']} videos, {report['frames']} frames"
    return "\n\n".join(
        [about, _sizes_table(report), _opening_table(report), _memory_table(report), target_rows(report)]
    )


def _sizes_table(report: dict[str, Any]) -> str:
    names = {
        "parts_bytes": "parts, before they are merged",
        "parquet_bytes": "Parquet file",
        "copy_bytes": "mapped copy",
    }
    sizes = [
        [
            names[name],
            f"{size / 1e6:.0f} MB",
            f"{size / report['videos']:.0f}",
            f"{size / report['frames']:.2f}",
        ]
        for name, size in report["sizes"].items()
    ]
    return table(["", "size", "bytes per video", "bytes per frame"], sizes)


def _opening_table(report: dict[str, Any]) -> str:
    rows = [
        ["write a row", f"{1e6 / report['written']['rows_per_s']:.0f} us", "-", "-"],
        ["merge of all parts", f"{report['merge']['seconds']:.1f} s", _mb(report["merge"]["memory"]["peak"]), "-"],
        [
            _ALL_ROWS,
            f"{report['known']['seconds']:.1f} s",
            _mb(report["known"]["memory"]["peak"]),
            "-",
        ],
        ["open, which creates the copy", f"{report['copy']['seconds']:.1f} s", _mb(report["copy"]["peak"]), "-"],
    ]
    for name, words in (("cold", "nothing in memory"), ("warm", "files in memory")):
        own = report["opening"][name]
        read = _mb(own["opening_bytes_read"]["median"])
        rows.append([f"open, {words}", f"{with_spread(own['seconds'], '.2f')} s", _mb(own["peak"]["median"]), read])
        rows.append([f"find, {words}", *_find_cells(own["first"])])
    rows.append(["find, again", *_find_cells(report["opening"]["warm"]["again"])])
    return table(["", "time", "most memory", "read from disk"], rows)


def _find_cells(own: dict[str, Any]) -> list[str]:
    middle, nearly_all, most = (own[key]["median"] for key in ("median_us", "p99_us", "most_us"))
    took = f"{middle:.0f} us, 99 % within {nearly_all:.0f} us, all within {most / 1e3:.1f} ms"
    return [took, "-", _mb(own["bytes_read"]["median"])]


def _memory_table(report: dict[str, Any]) -> str:
    keys = ("resident", "proportional", "private", "anonymous")
    own = report["opening"]["warm"]
    rows = [
        [words, *(_mb(own[name][key]) for key in keys)]
        for name, words in (
            ("before", "one process, before it opens"),
            ("opened", "with the index open"),
            ("after_finds", f"after {report['finds']} finds"),
        )
    ]
    together = report["together"]
    rows.append(
        [f"each of {len(together)} at once", *(_mb(sum(o[key] for o in together) / len(together)) for key in keys)]
    )
    rows.append(["all of them together", "-", *(_mb(sum(o[key] for o in together)) for key in keys[1:])])
    return table(["memory", "resident", "proportional share (PSS)", "private", "not of a file"], rows)


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


# --- More videos -----------------------------------------------------------------------------------------------------


def render_project(built: dict[str, Any], scale: dict[str, Any], videos: int, mean_frames: int, cores: int) -> str:
    """Return a table of the time, disk and memory that an index of more videos takes, with the arithmetic.

    Args:
        built: Report of ``index.py build``.
        scale: Report of ``index.py scale``.
        videos: Number of videos.
        mean_frames: Mean number of frames per video.
        cores: Number of cores per machine.
    """
    frames, times = videos * mean_frames, videos / scale["videos"]
    rate = built["rows"]["build"]["frames_per_s"]["median"] / built["workers"]
    hours = frames / rate / 3600
    lines = [["frames, billions", f"{videos:,} videos x {mean_frames}", f"{frames / 1e9:g}"]]
    lines.append(["core hours to measure", f"{frames / 1e9:g} billion / {rate:.0f} per second / 3600", f"{hours:,.0f}"])
    for machines in (1, 10, 100):
        arithmetic = f"{hours:,.0f} / {machines * cores} cores / 24"
        lines.append([f"days on {machines} x {cores} cores", arithmetic, f"{hours / machines / cores / 24:.2f}"])
    for name, words in (("parquet_bytes", "Parquet"), ("copy_bytes", "mapped copy")):
        per_frame = scale["sizes"][name] / scale["frames"]
        lines.append(
            [f"{words}, GB", f"{frames / 1e9:g} billion x {per_frame:.2f} bytes", f"{frames * per_frame / 1e9:,.0f}"]
        )
    for name, words in (
        ("merge", "merge"),
        ("known", _ALL_ROWS),
        ("copy", "creating the copy"),
    ):
        # The time to read all rows grows with the number of videos, the other two with the number of frames.
        by_frames = 1.0 if name == "known" else frames / videos / (scale["frames"] / scale["videos"])
        seconds, factor = scale[name]["seconds"], times * by_frames
        lines.append([f"{words}, hours", f"{factor:,.0f} x {seconds:.1f} s / 3600", f"{factor * seconds / 3600:.2f}"])
    known = scale["known"]["memory"]["anonymous"] / 1e9
    lines.append(["memory for reading all rows, GB", f"{times:,.0f} x {known:.2f} GB", f"{times * known:,.0f}"])
    return table(["", "arithmetic", ""], lines)
