"""What a pack contains: its settings, its size against the originals, its quality, and what a clip costs."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mgdali.datasets.pack_format import (
    INDEX,
    TABLE,
    LeftOut,
    PackManifest,
    join,
    member_name,
    part_name,
    part_of,
    read_manifest,
)
from mgdali.datasets.shards import scan_shard
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.index.schema import records_of
from mgdali.packing.parts import frames_of_part
from mgdali.packing.rows import CompleteRows, Records, segments_in
from mgdali.packing.scaling import FrameScaler
from mgdali.packing.verify import local_file
from mgdali.samplers import MotionGuided
from mgdali.video.frames import read_frames
from mgdali.video.media import Fingerprint, Media
from mgdali.video.meters import luma_plane
from mgdali.video.picked_frames import frames_needed
from mgdali.video.record import VideoRecord
from mgdali.video.time_range import TimeRange

__all__ = ["PackSummary", "Quality", "luma_psnr", "summarize_pack"]

PICKS = 8
"""Number of picks per clip for which the decoded frames are counted."""

_CLIPS_PER_VIDEO = 4
_RECORDS = 256
_EQUAL = 100.0


@dataclass(frozen=True)
class Quality:
    """Quality of copies against their scaled originals.

    Attributes:
        videos: Number of videos that were compared.
        missing: Number of further videos of the sample whose originals are missing or have changed.
        mean: Mean of the videos' luma PSNR, in dB; None if no video was compared.
        worst: Lowest luma PSNR of a video, in dB.
        worst_video: Original of this video, with its part if it is a segment.
    """

    videos: int
    missing: int
    mean: float | None
    worst: float | None
    worst_video: str | None


@dataclass(frozen=True)
class PackSummary:
    """Contents of a pack.

    Attributes:
        path: Folder or URL.
        settings: How it was made: version, preset, codec, encoder, gop, quality, short_side, motion.
        videos, frames, shards, classes: Numbers of them.
        segments: Number of videos that are segments of files.
        bytes: Size of the shards, in bytes.
        origin_bytes: Size of the originals of its videos, in bytes.
        left_out: Originals that could not be decoded.
        quality: Quality of a sample; None if it was not measured.
        decoded_frames: Expected number of frames that are decoded for a clip of 8 picks; None for an empty pack.
    """

    path: str
    settings: dict[str, str | int | list[str]]
    videos: int
    segments: int
    frames: int
    shards: int
    classes: int
    bytes: int
    origin_bytes: int
    left_out: tuple[LeftOut, ...]
    quality: Quality | None
    decoded_frames: float | None


def summarize_pack(path: str | os.PathLike[str], *, sample: int = 8) -> PackSummary:
    """Return the contents of a pack.

    Args:
        path: Folder or URL of the pack.
        sample: Number of videos, spread evenly, that are decoded and compared with their originals; 0 for none.

    Raises:
        DatasetError: If it is not a complete pack, or its table or index cannot be read.
        ImportError: If a URL needs a package that is not installed.
    """
    root = os.fspath(path)
    manifest = read_manifest(root)
    with contextlib.ExitStack() as files:
        table, index = (files.enter_context(local_file(join(root, name))) for name in (TABLE, INDEX))
        source = CompleteRows(table, lambda: index, len(manifest.shards))
        decoded = _decoded_frames(_records(source), manifest)
        quality = _quality(root, manifest, source.videos(), sample) if sample else None
    names = ("version", "preset", "codec", "encoder", "gop", "quality", "short_side")
    return PackSummary(
        path=root,
        settings={**{name: getattr(manifest, name) for name in names}, "motion": list(manifest.motion)},
        videos=manifest.videos,
        segments=segments_in(source.videos()),
        frames=manifest.frames,
        shards=len(manifest.shards),
        classes=len(manifest.classes),
        bytes=manifest.total_bytes,
        origin_bytes=manifest.origin_bytes,
        left_out=manifest.left_out,
        quality=quality,
        decoded_frames=decoded,
    )


def luma_psnr(original: Media, copy: Media, short_side: int, part: TimeRange | None = None) -> float:
    """Return the luma PSNR of a copy in dB, from the mean squared error of all frames; 100 if they are equal.

    Args:
        original: The original, whose frames are scaled as for packing.
        copy: The copy.
        short_side: Largest length of the frames' short side, in pixels.
        part: The part of the original that was copied; None for the whole video.

    Raises:
        VideoDecodeError: If a video cannot be decoded, or their numbers of frames differ.
    """
    scaler: FrameScaler | None = None
    squares, count, frames = 0.0, 0, 0
    copies = read_frames(copy)
    for frame in frames_of_part(original, part):
        scaler = scaler or FrameScaler(frame, short_side)
        expected = luma_plane(scaler(frame)).astype(np.float64)
        packed = next(copies, None)
        plane = None if packed is None else luma_plane(packed)
        if plane is None or plane.shape != expected.shape:
            raise VideoDecodeError(copy.path, frames, "it has fewer or smaller frames than the original")
        squares += float(np.square(expected - plane).sum())
        count += expected.size
        frames += 1
    if next(copies, None) is not None:
        raise VideoDecodeError(copy.path, frames, "it has more frames than the original")
    return 10 * math.log10(255**2 * count / squares) if squares else _EQUAL


def _records(source: CompleteRows) -> Iterator[VideoRecord]:
    """Yield records that are spread evenly."""
    total = source.videos().num_rows
    for batch in Records([source]).take(_spread(total, _RECORDS)).combine_chunks().to_batches():
        yield from records_of(batch)


def _decoded_frames(records: Iterator[VideoRecord], manifest: PackManifest) -> float | None:
    """Return the mean number of frames that are decoded for a clip, with random picks."""
    level = manifest.motion[0]
    sampler = MotionGuided(num_frames=PICKS)
    random = np.random.default_rng(0)
    counts = []
    for record in records:
        motion = record.motion[level].astype(np.float64)
        for _ in range(_CLIPS_PER_VIDEO):
            picks = sampler.pick(motion, record.num_frames, random.random(PICKS))
            counts.append(frames_needed(record, sorted(set(picks.tolist()))))
    return float(np.mean(counts)) if counts else None


def _quality(root: str, manifest: PackManifest, videos: pa.Table, sample: int) -> Quality:
    found: list[tuple[float, str]] = []
    missing = 0
    for row in _spread(videos.num_rows, sample):
        video = videos.slice(row, 1).to_pylist()[0]
        original = _original(video["origin"])
        known = Fingerprint(video["origin_size"], video["origin_mtime_ns"], video["origin_head"])
        name = member_name(manifest.shards[video["shard"]].name, video["key"])
        copy = Media(join(root, name), (video["offset"], video["length"]))
        try:
            if original is None or not original.unchanged(known):
                raise VideoDecodeError(video["origin"], 0, "it has changed")
        except VideoDecodeError:
            missing += 1
            continue
        part = part_of(video)
        found.append((luma_psnr(original, copy, manifest.short_side, part), part_name(video["origin"], part)))
    if not found:
        return Quality(0, missing, None, None, None)
    worst, name = min(found)
    return Quality(len(found), missing, sum(value for value, _ in found) / len(found), worst, name)


def _original(name: str) -> Media | None:
    """Return the location of an original; None if it is a member that its tar no longer has."""
    tar, separator, member = name.rpartition("::")
    if not separator:
        return Media(name)
    try:
        members = {each.name: each for each in scan_shard(tar).members}
    except DatasetError:
        return None
    found = members.get(member)
    return None if found is None else Media(name, (found.offset, found.length))


def _spread(total: int, count: int) -> Sequence[int]:
    """Return up to ``count`` numbers below ``total``, spread evenly."""
    return range(total) if total <= count else [i * total // count for i in range(count)]
