"""Estimating the space that a pack needs, by encoding the beginning of a few videos."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from typing import TypeVar

import av
import av.error

from mgdali.errors import VideoDecodeError
from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Encoding
from mgdali.video.media import Media, frames_stream
from mgdali.video.opening import open_video
from mgdali.video.remote import is_url

__all__ = ["estimate_bytes"]

_VIDEOS = 8
_PACKETS = 48
_SIZES = 512
_DURATION = Fraction(1, 25)

_T = TypeVar("_T")


def estimate_bytes(media: Sequence[Media], encoding: Encoding) -> int | None:
    """Return the estimated size of the copies of videos, in bytes; None if no video could be tried.

    The first frames of up to 8 videos, which are spread evenly, are encoded. The ratio of their sizes is applied to the
    sizes of all videos.

    Args:
        media: The videos.
        encoding: How they are encoded.
    """
    sizes = [size for each in _spread(media, _SIZES) if (size := _size(each)) is not None]
    tried = [
        (size, ratio)
        for each in _spread(media, _VIDEOS)
        if (size := _size(each)) is not None and (ratio := _ratio(each, encoding)) is not None
    ]
    if not sum(size for size, _ in tried):
        return None
    ratio = sum(size * ratio for size, ratio in tried) / sum(size for size, _ in tried)
    return round(sum(sizes) / len(sizes) * len(media) * ratio)


def _ratio(media: Media, encoding: Encoding) -> float | None:
    """Return the size of a copy of the first frames relative to the original's; None without a result."""
    try:
        content, original = _beginning(media)
        with tempfile.NamedTemporaryFile(suffix=".mkv") as file:
            file.write(content)
            file.flush()
            return len(encode_video(Media(file.name), encoding, ()).content) / original
    except (VideoDecodeError, ValueError, ZeroDivisionError, OSError, av.error.FFmpegError):
        return None


def _beginning(media: Media) -> tuple[bytes, int]:
    """Return the first frames of a video as a Matroska file, and their size in the original, in bytes."""
    files = media.frame_files()
    if files is not None:
        return frames_stream(files[:_PACKETS], media.path), sum(map(os.path.getsize, files[:_PACKETS]))
    target, size, count = BytesIO(), 0, 0
    with open_video(media) as (source, stream), av.open(target, "w", format="matroska") as container:
        out = container.add_stream_from_template(stream, opaque=True)
        for packet in source.demux(stream):
            if not packet.size:
                continue
            size += packet.size
            packet.stream = out
            # Some containers, such as AVI, have no times. Frames are counted in the order of decoding.
            packet.time_base = _DURATION
            packet.pts = packet.dts = count
            container.mux(packet)
            count += 1
            if count == _PACKETS:
                break
    return target.getvalue(), size


def _size(media: Media) -> int | None:
    """Return the size of a video in bytes; None if it cannot be read."""
    try:
        if media.span is not None:
            return media.span[1]
        if is_url(media.path) or os.path.isdir(media.path) or not os.path.exists(media.path):
            return media.fingerprint().size
        return os.path.getsize(media.path)
    except (VideoDecodeError, OSError):
        return None


def _spread(values: Sequence[_T], count: int) -> list[_T]:
    """Return up to ``count`` values, spread evenly."""
    if len(values) <= count:
        return list(values)
    return [values[i * len(values) // count] for i in range(count)]
