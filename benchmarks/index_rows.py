"""Synthetic index rows, for an index of a million videos that do not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mgdali.index.schema import SCHEMA

__all__ = ["PART_ROWS", "make_up", "path_of", "write_parts"]

PART_ROWS = 4096
"""Number of rows per part."""


def path_of(number: int) -> str:
    """Return the path of a synthetic video. Such paths compress about as badly as real ones."""
    return f"/data/videos/class_{number % 400:03}/{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}_{number % 300:06}.mp4"


def make_up(rng: np.random.Generator, first: int, videos: int, mean_frames: int) -> pa.RecordBatch:
    """Return rows of synthetic H.264 videos.

    Each video has a key frame every 48 frames, and three of four frames are B-frames. S is random.

    Args:
        rng: Generator of lengths, sizes and S.
        first: Number of the first video.
        videos: Number of videos.
        mean_frames: Mean number of frames per video. Lengths range from half of it to one and a half times it.
    """
    counts = rng.integers(max(1, mean_frames // 2), mean_frames + mean_frames // 2, videos, endpoint=True)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    t = np.arange(counts.sum()) - starts
    group, place = (t - 1) // 4, (t - 1) % 4
    whole = (t > 0) & (4 * group + 4 < np.repeat(counts, counts))
    motion = np.where(t == 0, 0, np.rint(rng.gamma(0.8, 2e5, len(t)))).astype(np.float32)
    numbers = range(first, first + videos)
    heads = rng.bytes(16 * videos).hex()
    plain = {"width": 340, "height": 256, "rotation": 0, "rate": 25.0, "codec": "h264", "pixel_format": "yuv420p"}
    plain |= {"container": "mov,mp4,m4a,3gp,3g2,mj2", "time_base_num": 1, "time_base_den": 12800}
    columns: dict[str, Any] = {
        "path": [path_of(number) for number in numbers],
        "size": rng.integers(50_000, 2_000_000, videos),
        "mtime_ns": rng.integers(1_600_000_000, 1_700_000_000, videos) * 10**9,
        "head": [heads[32 * i : 32 * i + 32] for i in range(videos)],
        "num_frames": counts,
        **{name: [value] * videos for name, value in plain.items()},
        "times": _lists(512 * t, counts),
        "packets": _lists(np.where(whole, 1 + 4 * group + np.array([2, 1, 3, 0])[place], t).astype(np.int32), counts),
        "referenced": _lists(~(whole & (place % 2 == 0)), counts),
        "key_frames": _lists(t[t % 48 == 0].astype(np.int32), -(-counts // 48)),
        "motion_image": _lists(motion, counts),
    }
    arrays = [_column(columns.get(field.name), field.type, videos) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _lists(values: NDArray[Any], counts: NDArray[np.int64]) -> pa.Array:
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), pa.array(values))


def _column(values: Any, kind: Any, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, kind)
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def write_parts(index: Path, videos: int, mean_frames: int) -> int:
    """Write the unmerged parts that a build of synthetic videos would leave, and return their number of frames."""
    rng = np.random.default_rng(0)
    folder = Path(f"{index}.parts")
    folder.mkdir(parents=True)
    frames = 0
    for first in range(0, videos, PART_ROWS):
        batch = make_up(rng, first, min(PART_ROWS, videos - first), mean_frames)
        with pq.ParquetWriter(folder / f"{first:09}.part.parquet", SCHEMA, compression="zstd") as writer:
            writer.write_batch(batch)
        frames += int(np.sum(batch.column("num_frames").to_numpy(), dtype=np.int64))
    return frames
