"""The videos that ``route.py`` loads, their picks, and the clips that the CPU route makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from decoders import CROP, RESIZE, Video, frames_from_key_frames

from mgdali import MGDaliIterator, MotionGuided, MotionIndex, VideoDataset, build_index
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord

__all__ = ["NUM_FRAMES", "SAMPLER", "Workload", "find_workloads", "with_references"]

NUM_FRAMES = 8
SAMPLER = MotionGuided(num_frames=NUM_FRAMES)
"""The strategy that gives the picks of the other decoders."""
LONG = 100
"""Smallest number of frames of a long video."""
LARGEST_PIXELS = 640 * 360
_LONG_VIDEOS, _SHORT_VIDEOS, _QUICK_VIDEOS = 256, 1024, 96
# AVCOL_SPC_BT709 and AVCOL_RANGE_JPEG of FFmpeg's pixfmt.h.
_BT709, _FULL_RANGE = 1, 2


@dataclass(frozen=True)
class Workload:
    """The videos of an epoch; files are repeated.

    Attributes:
        name: Name in the report.
        videos: The videos, with their picks.
        index: Path of a motion index of the videos.
    """

    name: str
    videos: list[Video]
    index: Path

    @property
    def paths(self) -> list[str]:
        """Paths of the videos."""
        return [video.path for video in self.videos]

    @property
    def frames(self) -> int:
        """Number of frames of all videos together."""
        return sum(video.num_frames for video in self.videos)

    def facts(self) -> dict[str, Any]:
        """Return what a report tells about the videos, ready for JSON."""
        distinct = {video.path: video for video in self.videos}
        return {
            "videos": len(self.videos),
            "frames": self.frames,
            "distinct_files": len(distinct),
            "sizes": sorted({f"{video.width}x{video.height}" for video in distinct.values()}),
            "picks_each": NUM_FRAMES,
            "frames_from_key_frames": sum(video.from_key_frames for video in self.videos),
        }


def find_workloads(folder: Path, index: Path, *, quick: bool) -> list[Workload]:
    """Return workloads of long and short H.264 videos up to 640x360; only long ones with ``quick``, if there are any.

    Args:
        folder: Folder of MP4 files, which may be in subfolders.
        index: Path for a motion index of all of them, which is built.
        quick: Whether to return the smaller workloads.
    """
    paths = sorted(map(str, folder.rglob("*.mp4")))
    if not paths:
        return []
    build_index([Media(path) for path in paths], index)
    records = MotionIndex(index)
    found = [_video(path, record) for path in paths if (record := records.find(path)) is not None and _usable(record)]
    long = [video for video in found if video.num_frames >= LONG]
    short = [video for video in found if video.num_frames < LONG]
    loads = [Workload("long", list(_repeated(long, _QUICK_VIDEOS if quick else _LONG_VIDEOS)), index)]
    if not quick or not long:
        loads.append(Workload("short", list(_repeated(short, _QUICK_VIDEOS if quick else _SHORT_VIDEOS)), index))
    return [load for load in loads if load.videos]


def with_references(load: Workload, folder: Path) -> Workload:
    """Return the workload with the clips of the CPU route, which are written to a folder."""
    paths = list(dict.fromkeys(load.paths))
    dataset = VideoDataset(paths, [0] * len(paths))
    written: dict[str, str] = {}
    with MGDaliIterator(
        dataset,
        sampler=SAMPLER,
        index=load.index,
        device="cpu",
        dtype="uint8",
        resize=RESIZE,
        crop_size=CROP,
        return_meta=True,
    ) as loader:
        for clips, _, meta in loader:
            written[meta["path"][0]] = str(folder / f"{len(written)}.npy")
            np.save(written[meta["path"][0]], clips[0].numpy())
    return replace(load, videos=[replace(video, reference=written[video.path]) for video in load.videos])


def _usable(record: VideoRecord) -> bool:
    """Return whether all compared decoders decode a video."""
    return (
        record.error is None
        and record.codec == "h264"
        and record.pixel_format in ("yuv420p", "yuvj420p")
        and record.packets is not None
        and not (record.rotation or record.width % 2 or record.height % 2)
        and record.width * record.height <= LARGEST_PIXELS
    )


def _video(path: str, record: VideoRecord) -> Video:
    offsets = np.full(NUM_FRAMES, 0.5)
    picks = SAMPLER.pick(record.motion_of(SAMPLER.representation), record.num_frames, offsets).tolist()
    with av.open(path) as container:
        context = container.streams.video[0].codec_context
        bt709, full = context.colorspace == _BT709, context.color_range == _FULL_RANGE
    return Video(
        path=path,
        codec=record.codec,
        width=record.width,
        height=record.height,
        num_frames=record.num_frames,
        picks=tuple(picks),
        from_key_frames=frames_from_key_frames(picks, record.key_frames.tolist()),
        bt709=bt709,
        full_range=full or record.pixel_format == "yuvj420p",
    )


def _repeated(videos: Iterable[Video], count: int) -> Iterator[Video]:
    known = list(videos)
    return (known[i % len(known)] for i in range(count if known else 0))
