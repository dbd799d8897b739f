"""Made-up index records, for tests of code that stores them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from mgdali.video.media import Fingerprint
from mgdali.video.record import VideoRecord


def make_record(path: str, num_frames: int = 5, seed: int = 0, **changes: Any) -> VideoRecord:
    """Return a record with a value in every field."""
    rng = np.random.default_rng(seed)
    facts: dict[str, Any] = {
        "fingerprint": Fingerprint(1000 + seed, 10**18 + seed, f"{seed:032x}"),
        "num_frames": num_frames,
        "width": 96,
        "height": 64,
        "rotation": 270,
        "rate": 29.97,
        "codec": "h264",
        "pixel_format": "yuv420p",
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "time_base": (1, 15360),
        "times": np.arange(num_frames, dtype=np.int64) * 512,
        "packets": rng.permutation(num_frames).astype(np.int32),
        "referenced": np.arange(num_frames) % 2 == 0,
        "key_frames": np.arange(0, num_frames, 12, dtype=np.int32),
        "motion": {"image": rng.random(num_frames, np.float32), "feature": rng.random(num_frames, np.float32)},
        "filters": "ab" * 16,
        "origin": "/originals/a.mp4",
        "extradata": bytes(range(20)),
        "packet_offsets": np.arange(num_frames, dtype=np.int64) * 2**33,
        "packet_sizes": rng.integers(1, 2**20, num_frames, np.int32),
    }
    return VideoRecord(path=path, **(facts | changes))


def contents(record: VideoRecord, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return all values of a record for comparison; arrays include their type."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.dtype.name, value.tolist()
        return {key: plain(each) for key, each in value.items()} if isinstance(value, dict) else value

    named = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in without}
    return {name: plain(value) for name, value in named.items()}
