"""Packed data sets of a workload's videos, for peers that load them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali import VideoDataset
from mgdali.index.reader import MotionIndex
from mgdali.packing.encoding import Encoding
from mgdali.packing.pack import pack
from mgdali.samplers import Representation
from mgdali.video.record import VideoRecord
from peers.registry import Preset

__all__ = ["distinct", "make_pack", "motion_of_copies", "places_in_pack", "read_records", "unpack"]


def distinct(paths: Sequence[str]) -> list[str]:
    """Return each path once, in the order in which they first occur: the videos of a pack."""
    return list(dict.fromkeys(paths))


def places_in_pack(paths: Sequence[str]) -> list[int]:
    """Return the place of each path's video in a pack of ``distinct(paths)``."""
    place = {path: number for number, path in enumerate(distinct(paths))}
    return [place[path] for path in paths]


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


def unpack(root: str, to: Path) -> list[str]:
    """Write the videos of a pack to files, in the order of the pack, and return their paths.

    Args:
        root: Folder of the pack.
        to: Existing folder for the files.
    """
    files = []
    for number, video in enumerate(VideoDataset.from_pack(root)):
        file = to / f"{number:06}.mp4"
        file.write_bytes(video.media.read())
        files.append(str(file))
    return files


def read_records(root: str) -> list[VideoRecord]:
    """Return the index rows of a pack's videos, in the order of the pack."""
    dataset = VideoDataset.from_pack(root)
    assert dataset.pack is not None
    index = MotionIndex(dataset.pack.index, root=dataset.pack.root)
    found = [index.find(path) for path in dataset.paths]
    assert all(found)
    return [record for record in found if record is not None]


def motion_of_copies(root: str) -> list[NDArray[np.float64]]:
    """Return S of the originals at the image level, ``[T]`` each, in the order of the pack."""
    motions = [record.motion_of(Representation()) for record in read_records(root)]
    return [motion for motion in motions if motion is not None]
