"""Decoding on the CPU with PyAV: frames, their motion from the luma plane as they come, and RGB of those asked for."""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

import av
import av.error
import av.logging
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.motion import luma_from_rgb
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.opening import open_video
from mgdali.video.packets import StreamLog, decode_packets

cv2: ModuleType | None
try:
    # 2 microseconds a 340x256 frame against NumPy's 25, for the same integer.
    cv2 = importlib.import_module("cv2")
except ImportError:
    cv2 = None

__all__ = [
    "RGBConverter",
    "as_media",
    "decoder_words",
    "keep_decoder_messages",
    "luma_bits",
    "luma_plane",
    "make_meter",
    "measure_motion",
    "quarter_turns",
    "read_frames",
]

# Formats whose first plane is luma, a byte a sample or two, without bits to shift away.
_LUMA_FIRST = re.compile(r"(?:yuvj?4\d\dp|yuva4\d\dp|gray)(?:(9|10|12|14|16)le)?|nv(?:12|16|21|24)")


def keep_decoder_messages() -> None:
    """Have FFmpeg's errors kept, so that a :class:`VideoDecodeError` can quote them, and print none.

    This sets the process's FFmpeg log level: for processes of our own.
    """
    logger = logging.getLogger("libav")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    av.logging.set_level(av.logging.ERROR)


def read_frames(video: str | os.PathLike[str] | Media, *, log: StreamLog | None = None) -> Iterator[av.VideoFrame]:
    """The frames of a video's best stream, in the order they are shown.

    Frames are counted, not timed, so variable frame rates need no care. Where a stream changes its size or format
    midway, later frames are converted to the first one's.

    Args:
        video: a path, as :class:`~mgdali.video.media.Media` takes them, or a member of a tar.
        log: where packets and frames are noted.

    Raises:
        VideoDecodeError: it cannot be opened, has no video, or its decoder fails.
    """
    media = as_media(video)
    name = media.path
    count = 0
    first: av.VideoFrame | None = None
    try:
        # What is noted is to be the same whatever the container.
        with open_video(media, thorough=log is not None) as (container, stream):
            for frame in decode_packets(container, stream, log):
                if first is None:
                    first = frame
                elif not _same_geometry(frame, first):
                    frame = frame.reformat(width=first.width, height=first.height, format=first.format.name)
                yield frame
                count += 1
    except (av.error.FFmpegError, OSError) as error:
        raise VideoDecodeError(name, count, decoder_words(error)) from error
    if count == 0:
        raise VideoDecodeError(name, 0, "it holds no frame that can be shown")


def as_media(video: str | os.PathLike[str] | Media) -> Media:
    """A video by where it lies."""
    return video if isinstance(video, Media) else Media(os.fspath(video))


@lru_cache
def luma_bits(format_name: str) -> int | None:
    """Bits a luma sample, or None where the format has no luma plane to read."""
    match = _LUMA_FIRST.fullmatch(format_name)
    return None if match is None else int(match[1] or 8)


def quarter_turns(frame: av.VideoFrame) -> int:
    """How often a frame is to be turned counterclockwise by a right angle, as NumPy's ``rot90`` does, to be upright."""
    return round(frame.rotation / 90) % 4


def luma_plane(frame: av.VideoFrame) -> NDArray[Any]:
    """A frame's luma, as decoded: uint8 or, above 8 bits, uint16 ``[H, W]``; of RGB formats :func:`luma_from_rgb`."""
    if luma_bits(frame.format.name) is None:
        return luma_from_rgb(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
    plane = frame.planes[0]
    samples = np.frombuffer(memoryview(plane), np.uint8 if luma_bits(frame.format.name) == 8 else np.uint16)
    return samples.reshape(-1, plane.line_size // samples.itemsize)[: frame.height, : frame.width]


def measure_motion(video: str | os.PathLike[str] | Media, representation: Representation) -> NDArray[np.float64]:
    """S of a whole video, float64 ``[T]``: on 8-bit video with luma exactly :func:`mgdali.motion.image_difference`.

    Luma is the decoder's own plane; of more than 8 bits S is given in 8-bit units.

    Raises:
        VideoDecodeError: the file cannot be decoded.
    """
    meter = make_meter(representation)
    for frame in read_frames(video):
        meter.add(frame)
    return np.array(meter.motion)


class RGBConverter:
    """Frames to upright RGB; keeps its libswscale context, which costs more to make than a frame to convert."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)
        return np.rot90(rgb, k=quarter_turns(frame))


class _ImageMeter:
    """S at the image level (Eq. 1), a frame at a time."""

    def __init__(self, representation: Representation) -> None:
        self.motion: list[float] = []
        self._plane_of = luma_plane if representation.channels == "luma" else RGBConverter()
        self._previous: NDArray[Any] | None = None

    def add(self, frame: av.VideoFrame) -> None:
        plane = self._plane_of(frame)
        motion = 0.0 if self._previous is None else _absolute_difference(plane, self._previous)
        if plane.dtype == np.uint16:
            motion /= 1 << ((luma_bits(frame.format.name) or 8) - 8)
        self.motion.append(motion)
        self._previous = plane


class _FeatureMeter:
    """S at the feature level (Eq. 2 and 3), a frame at a time, in float32; torch's convolution bounds the CPU route."""

    def __init__(self, representation: Representation) -> None:
        import torch

        self.motion: list[float] = []
        self._torch = torch
        self._filters = torch.from_numpy(representation.filters.copy())
        self._to_rgb = RGBConverter()
        self._previous: Any = None

    def add(self, frame: av.VideoFrame) -> None:
        torch = self._torch
        with torch.inference_mode():
            image = torch.from_numpy(self._to_rgb(frame).copy()).permute(2, 0, 1)[None].to(torch.float32)
            motion = 0.0
            if self._previous is not None:
                responses = torch.nn.functional.conv2d(image - self._previous, self._filters, padding=3)
                motion = float(torch.linalg.vector_norm(responses, dim=1).sum(dtype=torch.float64))
        self.motion.append(motion)
        self._previous = image


def make_meter(representation: Representation) -> _ImageMeter | _FeatureMeter:
    """What measures S of a video so, a frame at a time: its ``add`` takes each frame, its ``motion`` is S so far."""
    return (_ImageMeter if representation.motion == "image" else _FeatureMeter)(representation)


def _absolute_difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    if cv2 is not None:
        return float(cv2.norm(a, b, cv2.NORM_L1))
    return float((np.maximum(a, b) - np.minimum(a, b)).sum(dtype=np.uint64))


def _same_geometry(a: av.VideoFrame, b: av.VideoFrame) -> bool:
    return a.width == b.width and a.height == b.height and a.format.name == b.format.name


def decoder_words(error: Exception) -> str:
    """What FFmpeg said: its error, and the last line of its log where it was kept."""
    words = getattr(error, "strerror", None) or str(error)
    log = getattr(error, "log", None)
    return f"{words} ({log[1]}: {log[2].strip()})" if log else str(words)
