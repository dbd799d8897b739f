"""What an index file holds, and whether it still holds: ``mgdali index show`` and ``mgdali index check``."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console

from mgdali.cli.build_progress import one_line, say, size_in_words
from mgdali.datasets.check import Names
from mgdali.datasets.named_videos import shard_videos
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.index.writer import open_parquet
from mgdali.video.media import Fingerprint, Media
from mgdali.video.record import index_name

__all__ = [
    "IndexCheck",
    "IndexSummary",
    "check_index",
    "failures",
    "failures_to_json",
    "render_check",
    "render_failures",
    "render_summary",
    "summarize_index",
    "to_json",
]

_BATCH_ROWS = 4096
_TOP = 5
# Looking at a video is waiting, for a disk or a store.
_LOOKED_AT_ONCE = 16

_KINDS = ("image", "image_rgb", "feature")
_FACTS = ("error", "num_frames", "width", "height", "rate", "codec", "pixel_format", "times")
_CLOCK = ("time_base_num", "time_base_den")

_ADVICE = (
    "Not current: mgdali index build measures what is new or changed; its --prune drops rows of videos that are not in "
    "DATA, --retry-failed tries again what could not be decoded."
)

_State = Literal["current", "missing", "changed", "failed"]


@dataclass(frozen=True)
class IndexSummary:
    """What an index holds. Its JSON has the same names as keys.

    Attributes:
        path, size: the file, and its bytes.
        videos: rows, those of failed videos too.
        failed: videos that could not be decoded.
        frames: of all videos together.
        hours: how long all videos are together, those of which it is known.
        untimed: videos of which it is not known.
        representations: how S was measured, and of how many videos.
        codecs, sizes, pixel_formats: what there is and of how many videos, the most frequent first.
    """

    path: str
    size: int
    videos: int
    failed: int
    frames: int
    hours: float
    untimed: int
    representations: dict[str, int]
    codecs: dict[str, int]
    sizes: dict[str, int]
    pixel_formats: dict[str, int]


@dataclass(frozen=True)
class IndexCheck:
    """Whether an index's rows hold for the videos as they are. Its JSON has the same names as keys.

    Attributes:
        path: the file.
        videos: its rows.
        current: rows that hold: the video is there and as it was when it was measured.
        missing: videos that are not there or cannot be read.
        changed: videos whose content is another now.
        failed: videos that have not changed and could not be decoded.
        not_in_index: videos of the data that the index has no row of; None where no data was given.
        complete: all rows are current, and no video lacks its row.
    """

    path: str
    videos: int
    current: int
    missing: Names
    changed: Names
    failed: Names
    not_in_index: Names | None
    complete: bool


def summarize_index(path: Path) -> IndexSummary:
    """What an index holds; some thousand rows are in memory at a time.

    Raises:
        DatasetError: the file is missing or no index.
    """
    counts: Counter[str] = Counter()
    representations: Counter[str] = Counter()
    codecs: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    pixel_formats: Counter[str] = Counter()
    seconds = 0.0
    for batch in _batches(path, [*_FACTS, *_CLOCK, *(f"motion_{kind}" for kind in _KINDS)]):
        fine = batch.filter(batch.column("error").is_null())
        lengths = _seconds(fine)
        seconds += float(lengths.sum())
        counts["videos"] += batch.num_rows
        counts["failed"] += batch.num_rows - fine.num_rows
        counts["frames"] += sum(fine.column("num_frames").to_pylist())
        counts["untimed"] += int((lengths == 0).sum())
        for kind in _KINDS:
            representations[kind] += fine.num_rows - fine.column(f"motion_{kind}").null_count
        codecs.update(fine.column("codec").to_pylist())
        pixel_formats.update(fine.column("pixel_format").to_pylist())
        widths, heights = (fine.column(name).to_pylist() for name in ("width", "height"))
        sizes.update(f"{width}x{height}" for width, height in zip(widths, heights, strict=True))
    return IndexSummary(
        path=os.fspath(path),
        size=path.stat().st_size,
        videos=counts["videos"],
        failed=counts["failed"],
        frames=counts["frames"],
        hours=seconds / 3600,
        untimed=counts["untimed"],
        representations={kind: count for kind, count in representations.items() if count},
        codecs=dict(codecs.most_common()),
        sizes=dict(sizes.most_common()),
        pixel_formats=dict(pixel_formats.most_common()),
    )


def failures(path: Path) -> Iterator[tuple[str, str]]:
    """The videos that could not be decoded, and why.

    Raises:
        DatasetError: the file is missing or no index.
    """
    for batch in _batches(path, ["path", "error"]):
        failed = batch.filter(batch.column("error").is_valid())
        yield from zip(failed.column("path").to_pylist(), failed.column("error").to_pylist(), strict=True)


def check_index(path: Path, media: Sequence[Media] | None = None) -> IndexCheck:
    """Compare an index with the videos as they are. Nothing is decoded.

    Args:
        path: the index.
        media: videos that ought to be in it; None where that is not asked.

    Raises:
        DatasetError: the file is missing or no index.
    """
    lacking = {} if media is None else {index_name(each.path): each for each in media}
    find = _Finder(dict(lacking))
    found: dict[_State, list[str]] = {"current": [], "missing": [], "changed": [], "failed": []}
    current = 0
    with ThreadPoolExecutor(_LOOKED_AT_ONCE) as pool:
        for batch in _batches(path, ["path", "size", "mtime_ns", "head", "error"]):
            rows = batch.to_pylist()
            media_now = [find(row["path"]) for row in rows]
            for row, state in zip(rows, pool.map(_state, rows, media_now), strict=True):
                lacking.pop(row["path"], None)
                if state == "current":
                    current += 1
                else:
                    found[state].append(row["path"])
    kinds = {state: Names.of(names) for state, names in found.items() if state != "current"}
    others = None if media is None else Names.of(lacking)
    wrong = sum(names.count for names in kinds.values())
    return IndexCheck(
        path=os.fspath(path),
        videos=current + wrong,
        current=current,
        missing=kinds["missing"],
        changed=kinds["changed"],
        failed=kinds["failed"],
        not_in_index=others,
        complete=wrong == 0 and not (others and others.count),
    )


def to_json(found: IndexSummary | IndexCheck) -> str:
    """What was found, for machines: an object with the keys of its class."""
    return json.dumps(asdict(found), indent=2)


def failures_to_json(path: Path) -> str:
    """The failures for machines: a list of objects with ``path`` and ``error``."""
    return json.dumps([{"path": name, "error": error} for name, error in failures(path)], indent=2)


def render_summary(summary: IndexSummary, console: Console) -> None:
    """Print a summary for people."""
    untimed = f" (without {summary.untimed} videos of unknown length)" if summary.untimed else ""
    facts = {
        "index": f"{summary.path}, {size_in_words(summary.size)}",
        "videos": f"{summary.videos}",
        "failed": f"{summary.failed}",
        "frames": f"{summary.frames}",
        "hours": f"{summary.hours:.3g}{untimed}",
        "motion": _top(summary.representations),
        "codecs": _top(summary.codecs),
        "sizes": _top(summary.sizes),
        "pixel formats": _top(summary.pixel_formats),
    }
    for name, words in facts.items():
        say(console, f"{name:13}  {words}")


def render_failures(path: Path, console: Console) -> None:
    """Print a line a failed video."""
    for name, error in failures(path):
        say(console, f"{name}: {one_line(error)}")


def render_check(check: IndexCheck, console: Console) -> None:
    """Print a comparison for people."""
    say(console, f"{check.path}: {check.current} of {check.videos} rows are current")
    _examples("Not there, or cannot be read", check.missing, console)
    _examples("Changed since they were measured", check.changed, console)
    _examples("Cannot be decoded", check.failed, console)
    if check.not_in_index is not None:
        _examples("Not in the index", check.not_in_index, console)
    say(console, "Current." if check.complete else _ADVICE)


class _Finder:
    """The media of rows. Where a tar's member lies is not in the index: its tar's headers are read for that, once."""

    def __init__(self, known: dict[str, Media]) -> None:
        self._known = known
        self._shards: set[str] = set()

    def __call__(self, name: str) -> Media | None:
        """A row's video; None where its tar has no such member any more, or is not there."""
        if "::" not in name or os.path.exists(name):
            return Media(name)
        shard = name.rpartition("::")[0]
        if name not in self._known and shard not in self._shards:
            self._shards.add(shard)
            self._known |= _members(shard)
        return self._known.get(name)


def _members(shard: str) -> dict[str, Media]:
    try:
        return {index_name(member.path): member for member in shard_videos([shard])}
    except DatasetError:
        return {}


def _state(row: dict[str, Any], media: Media | None) -> _State:
    if media is None:
        return "missing"
    try:
        if row["size"] is None:
            # It could not be read then.
            media.fingerprint()
            return "changed"
        if not media.unchanged(Fingerprint(row["size"], row["mtime_ns"], row["head"])):
            return "changed"
    except VideoDecodeError:
        return "missing"
    return "current" if row["error"] is None else "failed"


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with open_parquet(path) as parquet:
        yield from parquet.iter_batches(columns=columns, batch_size=_BATCH_ROWS)


def _seconds(batch: pa.RecordBatch) -> NDArray[np.float64]:
    """How long each video is, by its frames' times or else its rate, the last frame shown for an average time; or 0."""
    frames, rates, numerators, denominators = (
        batch.column(name).to_numpy(zero_copy_only=False) for name in ("num_frames", "rate", *_CLOCK)
    )
    seconds: NDArray[np.float64] = np.divide(frames, rates, out=np.zeros(len(frames)), where=rates > 0)
    offsets, times = batch.column("times").offsets.to_numpy(), batch.column("times").values.to_numpy()
    first, last = offsets[:-1], offsets[1:] - 1
    timed = np.flatnonzero(last > first)
    ticks = times[last[timed]] - times[first[timed]]
    seconds[timed] = ticks * (numerators / denominators)[timed] * (frames / (frames - 1.0))[timed]
    return seconds


def _top(counts: dict[str, int]) -> str:
    words = [f"{name} ({count})" for name, count in list(counts.items())[:_TOP]]
    if len(counts) > _TOP:
        words.append(f"{len(counts) - _TOP} others ({sum(list(counts.values())[_TOP:])})")
    return ", ".join(words) or "none"


def _examples(what: str, names: Names, console: Console) -> None:
    if names.count:
        more = ", …" if names.count > len(names.first) else ""
        say(console, f"{what} ({names.count}): {', '.join(names.first)}{more}")
