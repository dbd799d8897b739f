"""Motion meters: S of a video, measured frame by frame while it is decoded (Eq. 1 to 3)."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from mgdali.filter_bank import SeparableBank
from mgdali.motion import luma_from_rgb
from mgdali.samplers import Representation
from mgdali.video.frames import RGBConverter, quarter_turns, read_frames
from mgdali.video.media import Media
from mgdali.video.separable_motion import PlaneMotion, luma_bank

__all__ = ["Meter", "luma_bits", "luma_plane", "make_meter", "measure_motion"]

# Pixel formats whose first plane is luma, with one or two bytes per sample and no padding bits below the value.
_LUMA_FIRST = re.compile(r"(?:yuvj?4\d\dp|yuva4\d\dp|gray)(?:(9|10|12|14|16)le)?|nv(?:12|16|21|24)")


@lru_cache
def luma_bits(format_name: str) -> int | None:
    """Return the number of bits per luma sample, or None if the pixel format has no luma plane that can be read."""
    match = _LUMA_FIRST.fullmatch(format_name)
    return None if match is None else int(match[1] or 8)


def luma_plane(frame: av.VideoFrame) -> NDArray[Any]:
    """Return a frame's luma ``[H, W]``, as stored: uint8, or uint16 if there are more than 8 bits per sample.

    It is a view of the decoder's plane. For formats without a luma plane, such as RGB, it is computed by
    :func:`mgdali.motion.luma_from_rgb`.
    """
    if luma_bits(frame.format.name) is None:
        return luma_from_rgb(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
    plane = frame.planes[0]
    samples = np.frombuffer(memoryview(plane), np.uint8 if luma_bits(frame.format.name) == 8 else np.uint16)
    return samples.reshape(-1, plane.line_size // samples.itemsize)[: frame.height, : frame.width]


def measure_motion(video: str | os.PathLike[str] | Media, representation: Representation) -> NDArray[np.float64]:
    """Decode a whole video and return its motion S, float64 ``[T]``.

    - At the image level, the result equals :func:`mgdali.motion.image_difference` of the decoder's luma planes, or of
      RGB frames with ``channels="rgb"``.
    - At the feature level, it is :func:`mgdali.motion.feature_difference` of the decoder's luma planes, turned upright,
      within 1e-6 of each value, if :func:`mgdali.video.separable_motion.luma_bank` has the bank. With another bank, it
      is that of upright RGB frames, within 1e-5.

    The luma of video with more than 8 bits per sample is scaled to 8-bit units.

    Args:
        video: Path as :class:`~mgdali.video.media.Media` takes it, or the media.
        representation: How S is measured.

    Raises:
        VideoDecodeError: If the video cannot be decoded.
    """
    meter = make_meter(representation)
    for frame in read_frames(video):
        meter.add(frame)
    return np.array(meter.motion)


class Meter(Protocol):
    """Measures S of one video: :meth:`add` takes each frame in order.

    Attributes:
        motion: S of the frames added so far, one number >= 0 per frame; ``motion[0]`` is 0.
    """

    motion: list[float]

    def add(self, frame: av.VideoFrame) -> None:
        """Measure the motion from the previous frame to ``frame`` and append it to :attr:`motion`."""
        ...


class _ImageMeter:
    """S at the image level (Eq. 1)."""

    def __init__(self, representation: Representation) -> None:
        self.motion: list[float] = []
        self._plane_of = luma_plane if representation.channels == "luma" else RGBConverter()
        self._previous: NDArray[Any] | None = None

    def add(self, frame: av.VideoFrame) -> None:
        plane = self._plane_of(frame)
        motion = 0.0 if self._previous is None else float(cv2.norm(plane, self._previous, cv2.NORM_L1))
        self.motion.append(motion / _eight_bit_unit(frame, plane))
        self._previous = plane


class _LumaFeatureMeter:
    """S at the feature level (Eq. 2 and 3), measured on luma planes by a separable bank."""

    def __init__(self, bank: SeparableBank) -> None:
        self.motion: list[float] = []
        self._motion_between = PlaneMotion(bank)
        self._previous: NDArray[Any] | None = None

    def add(self, frame: av.VideoFrame) -> None:
        # The filters are oriented: they are for the upright picture.
        plane = np.ascontiguousarray(np.rot90(luma_plane(frame), k=quarter_turns(frame)))
        motion = 0.0 if self._previous is None else self._motion_between(plane, self._previous)
        self.motion.append(motion / _eight_bit_unit(frame, plane))
        self._previous = plane


class _RGBFeatureMeter:
    """S at the feature level (Eq. 2 and 3), measured on RGB by any bank, in float32. torch's convolution is slow."""

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


def make_meter(representation: Representation) -> Meter:
    """Return a new meter for one video, which measures S as ``representation`` specifies."""
    if representation.motion == "image":
        return _ImageMeter(representation)
    bank = luma_bank(representation.filters)
    return _RGBFeatureMeter(representation) if bank is None else _LumaFeatureMeter(bank)


def _eight_bit_unit(frame: av.VideoFrame, plane: NDArray[Any]) -> int:
    """Return the size of a unit of 8-bit video in units of a frame's plane: 1 for 8 bits, 4 for 10 bits, and so on."""
    return 1 << ((luma_bits(frame.format.name) or 8) - 8) if plane.dtype == np.uint16 else 1
