"""Frames of a packed video: scaled down, upright, 8-bit 4:2:0, with the colours of the original."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from mgdali.video.frames import quarter_turns

__all__ = ["ColourTags", "FrameScaler"]

PIXEL_FORMAT = "yuv420p"
"""FFmpeg's name of the pixel format of the frames."""

_UNSPECIFIED = 2
_BT601 = 6


@dataclass(frozen=True)
class ColourTags:
    """Properties of colours, with the numbers of ITU-T H.273; a range of 2 means that luma takes all values 0 to 255.

    Attributes:
        range: 0 if unknown, 1 if luma takes the values 16 to 235, 2 if it takes all values.
        matrix, primaries, transfer: Matrix from RGB, primary colours and transfer function; 2 if unknown.
    """

    range: int
    matrix: int
    primaries: int
    transfer: int


class FrameScaler:
    """Makes the frames of a packed video of the frames of one video, which all have the same size and pixel format.

    Args:
        first: First frame of the video.
        short_side: Largest length of the short side, in pixels.

    Attributes:
        width, height: Size of the upright frames, in pixels; both are even. A side of one pixel becomes two.
        tags: Properties of their colours: those of the original. Grey frames have full range, because FFmpeg converts
            them to RGB as such. RGB becomes YCbCr by BT.601.
    """

    def __init__(self, first: av.VideoFrame, short_side: int) -> None:
        self._turns = quarter_turns(first)
        self._stored = _scaled_size(first.width, first.height, short_side)
        self.width, self.height = self._stored[:: -1 if self._turns % 2 else 1]
        rgb = first.format.is_rgb or first.format.name == "pal8"
        full = not rgb and (
            first.color_range == ColorRange.JPEG or first.format.name.startswith(("yuvj", "gray", "ya8", "ya16"))
        )
        colour_range = ColorRange.JPEG if full else ColorRange.MPEG
        # Equal properties on both sides: swscale converts only the size and the sampling.
        self._range = colour_range
        self._matrix = Colorspace.ITU601
        self.tags = ColourTags(
            range=int(colour_range) if full or rgb else int(first.color_range),
            matrix=_BT601 if rgb else int(first.colorspace),
            primaries=int(first.color_primaries),
            transfer=int(first.color_trc),
        )
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a new frame of the packed video. It has the pixels of ``frame`` and nothing else, such as captions."""
        width, height = self._stored
        scaled = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=PIXEL_FORMAT,
            interpolation=Interpolation.AREA,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=self._range,
            dst_color_range=self._range,
            threads=1,
        )
        upright = av.VideoFrame(self.width, self.height, PIXEL_FORMAT)
        for source, target in zip(scaled.planes, upright.planes, strict=True):
            _pixels(target)[:] = np.rot90(_pixels(source), self._turns)
        return upright


def _scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return the size of scaled frames: width and height, even."""
    short = min(width, height)
    if short > short_side:
        width, height = (round(side * short_side / short) for side in (width, height))
    return max(width // 2 * 2, 2), max(height // 2 * 2, 2)


def _pixels(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    """Return the samples of a plane, a view, uint8 ``[height, width]``."""
    samples = np.frombuffer(memoryview(plane), np.uint8)
    return samples.reshape(-1, plane.line_size)[: plane.height, : plane.width]
