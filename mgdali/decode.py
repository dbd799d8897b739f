"""Decoding on the CPU with PyAV: motion from the luma plane as frames come, RGB only for the frames that are picked."""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
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
from mgdali.samplers import Representation, Sampler, checked_picks

cv2: ModuleType | None
try:
    # 2 microseconds a 340x256 frame against NumPy's 25, for the same integer.
    cv2 = importlib.import_module("cv2")
except ImportError:
    cv2 = None

__all__ = [
    "MEMORY_BUDGET",
    "DecodedVideo",
    "Decoder",
    "decoder_words",
    "keep_decoder_messages",
    "luma_plane",
    "measure_motion",
    "read_frames",
]

MEMORY_BUDGET = 512 << 20
"""Bytes of decoded frames that are held for a video's picks, unless the user says otherwise."""

# Formats whose first plane is luma, a byte a sample or two, without bits to shift away.
_LUMA_FIRST = re.compile(r"(?:yuvj?4\d\dp|yuva4\d\dp|gray)(?:(9|10|12|14|16)le)?|nv(?:12|16|21|24)")


@dataclass(frozen=True)
class DecodedVideo:
    """What decoding a video for its picks gives.

    Attributes:
        frames: the picked frames by index, upright, uint8 ``[H, W, 3]`` RGB.
        picks: int64 ``[N]`` in ``[0, num_frames)``.
        num_frames: T, frames in the video.
        frames_decoded: frames the decoder put out, more than T where a second pass was needed.
    """

    frames: dict[int, NDArray[np.uint8]]
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int


def keep_decoder_messages() -> None:
    """Have FFmpeg's errors kept, so that a :class:`VideoDecodeError` can quote them, and print none.

    This sets the process's FFmpeg log level: for processes of our own.
    """
    logger = logging.getLogger("libav")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    av.logging.set_level(av.logging.ERROR)


def read_frames(path: str | os.PathLike[str]) -> Iterator[av.VideoFrame]:
    """The frames of a file's best video stream, in the order they are shown.

    Frames are counted, not timed, so variable frame rates need no care. Where a stream changes its size or format
    midway, later frames are converted to the first one's.

    Raises:
        VideoDecodeError: the file cannot be opened, has no video, or its decoder fails.
    """
    name = os.fspath(path)
    count = 0
    first: av.VideoFrame | None = None
    try:
        with av.open(name, metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream):
                raise VideoDecodeError(name, 0, "it has no video stream")
            # Workers run side by side: threads within a decoder cost more CPU than they save.
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
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


def luma_plane(frame: av.VideoFrame) -> NDArray[Any]:
    """A frame's luma, as decoded: uint8 or, above 8 bits, uint16 ``[H, W]``; of RGB formats :func:`luma_from_rgb`."""
    if _luma_bits(frame.format.name) is None:
        return luma_from_rgb(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
    plane = frame.planes[0]
    samples = np.frombuffer(memoryview(plane), np.uint8 if _luma_bits(frame.format.name) == 8 else np.uint16)
    return samples.reshape(-1, plane.line_size // samples.itemsize)[: frame.height, : frame.width]


def measure_motion(path: str | os.PathLike[str], representation: Representation) -> NDArray[np.float64]:
    """S of a whole video, float64 ``[T]``: on 8-bit video with luma exactly :func:`mgdali.motion.image_difference`.

    Luma is the decoder's own plane; of more than 8 bits S is given in 8-bit units.

    Raises:
        VideoDecodeError: the file cannot be decoded.
    """
    meter = _meter(representation)
    for frame in read_frames(path):
        meter.add(frame)
    return np.array(meter.motion)


class Decoder:
    """Decodes videos one at a time: measures motion, lets the sampler pick, converts the picks to RGB.

    Args:
        sampler: the sampling strategy.
        memory_budget: bytes of decoded frames to hold while the picks are not yet known. A video that needs more is
            decoded twice: once for its motion, once for the picks.
    """

    def __init__(self, sampler: Sampler, *, memory_budget: int) -> None:
        self._sampler = sampler
        self._representation = sampler.representation
        self._memory_budget = memory_budget
        self._to_rgb = _RGBConverter()

    def decode(self, path: str, offsets: NDArray[np.float64]) -> DecodedVideo:
        """Decode one video for the frames its sampler picks.

        Args:
            path: the file.
            offsets: float64 ``[N]`` in [0, 1), for the sampler.

        Raises:
            VideoDecodeError: the file cannot be decoded.
            ValueError: the sampler picked frames that are not there.
        """
        meter = None if self._representation is None else _meter(self._representation)
        held: list[av.VideoFrame] = []
        total = held_bytes = 0
        for frame in read_frames(path):
            if meter is not None:
                meter.add(frame)
            total += 1
            held_bytes += sum(plane.buffer_size for plane in frame.planes)
            if held_bytes <= self._memory_budget:
                held.append(frame)
            else:
                held.clear()
        motion = None if meter is None else np.array(meter.motion)
        picks = checked_picks(self._sampler, self._sampler.pick(motion, total, offsets), total)
        wanted = np.unique(picks).tolist()
        if held:
            frames = {t: self._to_rgb(held[t]) for t in wanted}
            return DecodedVideo(frames, picks, total, total)
        frames = self._decode_again(path, wanted)
        return DecodedVideo(frames, picks, total, total + wanted[-1] + 1)

    def _decode_again(self, path: str, wanted: list[int]) -> dict[int, NDArray[np.uint8]]:
        frames = {}
        for t, frame in enumerate(read_frames(path)):
            if t in wanted:
                frames[t] = self._to_rgb(frame)
                if t == wanted[-1]:
                    return frames
        raise VideoDecodeError(path, t + 1, "it gave fewer frames when decoded again")


class _RGBConverter:
    """Frames to upright RGB; keeps its libswscale context, which costs more to make than a frame to convert."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)
        # Rotation metadata turns counterclockwise, as rot90 does.
        return np.rot90(rgb, k=round(frame.rotation / 90))


class _ImageMeter:
    """S at the image level (Eq. 1), a frame at a time."""

    def __init__(self, representation: Representation) -> None:
        self.motion: list[float] = []
        self._plane_of = luma_plane if representation.channels == "luma" else _RGBConverter()
        self._previous: NDArray[Any] | None = None

    def add(self, frame: av.VideoFrame) -> None:
        plane = self._plane_of(frame)
        motion = 0.0 if self._previous is None else _absolute_difference(plane, self._previous)
        if plane.dtype == np.uint16:
            motion /= 1 << ((_luma_bits(frame.format.name) or 8) - 8)
        self.motion.append(motion)
        self._previous = plane


class _FeatureMeter:
    """S at the feature level (Eq. 2 and 3), a frame at a time, in float32; torch's convolution bounds the CPU route."""

    def __init__(self, representation: Representation) -> None:
        import torch

        self.motion: list[float] = []
        self._torch = torch
        self._filters = torch.from_numpy(representation.filters.copy())
        self._to_rgb = _RGBConverter()
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


def _meter(representation: Representation) -> _ImageMeter | _FeatureMeter:
    return (_ImageMeter if representation.motion == "image" else _FeatureMeter)(representation)


def _absolute_difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    if cv2 is not None:
        return float(cv2.norm(a, b, cv2.NORM_L1))
    return float((np.maximum(a, b) - np.minimum(a, b)).sum(dtype=np.uint64))


@lru_cache
def _luma_bits(format_name: str) -> int | None:
    """Bits a luma sample, or None where the format has no luma plane to read."""
    match = _LUMA_FIRST.fullmatch(format_name)
    return None if match is None else int(match[1] or 8)


def _same_geometry(a: av.VideoFrame, b: av.VideoFrame) -> bool:
    return a.width == b.width and a.height == b.height and a.format.name == b.format.name


def decoder_words(error: Exception) -> str:
    """What FFmpeg said: its error, and the last line of its log where it was kept."""
    words = getattr(error, "strerror", None) or str(error)
    log = getattr(error, "log", None)
    return f"{words} ({log[1]}: {log[2].strip()})" if log else str(words)
