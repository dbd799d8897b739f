"""Packing the videos of a workload, for peers that load packed data sets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mgdali import VideoDataset
from mgdali.bench.peers.packs import distinct
from mgdali.bench.peers.registry import Preset
from mgdali.packing.encoding import Encoding
from mgdali.packing.pack import pack

__all__ = ["make_pack"]


def make_pack(paths: Sequence[str], to: Path, preset: Preset, workers: int) -> dict[str, Any]:
    """Pack the distinct videos of a workload.

    Returns:
        Duration in seconds, and the bytes of the shards and of the originals.
    """
    videos = distinct(paths)
    start = time.perf_counter()
    pack(VideoDataset(videos, [0] * len(videos)), to, encoding=Encoding(preset=preset), num_workers=workers)
    seconds = time.perf_counter() - start
    packed = VideoDataset.from_pack(to)
    assert packed.pack is not None
    manifest = packed.pack.manifest
    if manifest.left_out:
        raise SystemExit(f"a video cannot be packed: {manifest.left_out[0].path}: {manifest.left_out[0].error}")
    return {"seconds": seconds, "bytes": manifest.total_bytes, "origin_bytes": manifest.origin_bytes}
