"""Pictures of a video's picked frames: upright, RGB, resized, in one array."""

from __future__ import annotations

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from mgdali.video.crop import colour_planes
from mgdali.video.frames import RGBConverter, quarter_turns

__all__ = ["ClipPictures", "UprightRGB"]


class ClipPictures:
    """Converts picked frames to upright RGB and writes them into one array, so that no picture is in memory twice.

    Only one thread may use it at a time.

    Args:
        count: Largest number of pictures of a clip, N.
        size: Length of the shorter side of the pictures in pixels, >= 1; None for the size of the frames. The longer
            side keeps the aspect ratio, rounded down.
    """

    def __init__(self, count: int, size: int | None) -> None:
        self._count = count
        self._size = size
        self._upright = UprightRGB()
        self._pictures: NDArray[np.uint8] | None = None
        self._made = 0

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the picture of a frame, uint8 RGB ``[H, W, 3]``: a view of the array."""
        picture = self._picture(frame)
        if self._pictures is None:
            self._pictures = np.empty((self._count, *picture.shape), np.uint8)
        # If the picks are decoded a second time, because the first attempt failed, the new pictures follow the old
        # ones and overwrite them when the array is full.
        slot: NDArray[np.uint8] = self._pictures[self._made % self._count]
        self._made += 1
        slot[:] = picture
        return slot

    def of(self, picks: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the pictures of all picks, uint8 RGB ``[N, H, W, 3]``.

        Args:
            picks: The picks, ``[N]``. The latest pictures must be those of the different ones among them, by index.
        """
        assert self._pictures is not None
        different, places = np.unique(picks, return_inverse=True)
        slots = (self._made - len(different) + places) % self._count
        if np.array_equal(slots, np.arange(self._count)):
            return self._pictures
        return self._pictures[slots]

    def _picture(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        width, height = (frame.width, frame.height) if self._size is None else _resized(frame, self._size)
        try:
            return self._upright(frame, width, height)
        except (av.error.FFmpegError, OverflowError) as error:
            raise ValueError(
                f"size={self._size!r}: FFmpeg cannot make frames of {width} x {height} pixels from {frame.width} x "
                f"{frame.height} ({error}); give another size"
            ) from error


class UprightRGB:
    """Resizes decoded frames, and then converts them to upright RGB.

    Only one thread may use it at a time.
    """

    def __init__(self) -> None:
        self._to_rgb = RGBConverter()
        self._resizer = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Return the picture of a frame, uint8 RGB ``[H, W, 3]``.

        Args:
            frame: The frame.
            width, height: Size of the picture before it is turned, in pixels, >= 1.

        Raises:
            av.error.FFmpegError: If FFmpeg cannot make a picture of this size.
            OverflowError: If the size is too large for FFmpeg.
        """
        if (width, height) == (frame.width, frame.height):
            return self._to_rgb(frame)
        # In planes, as in Cropper: libswscale's packed RGB is darker if it resizes.
        planes = self._resizer.reformat(
            frame, width=width, height=height, format="gbrp", interpolation="BILINEAR", threads=1
        )
        return np.rot90(colour_planes(planes).transpose(1, 2, 0), k=quarter_turns(frame))


def _resized(frame: av.VideoFrame, size: int) -> tuple[int, int]:
    """Return the width and height of a frame whose shorter side has ``size`` pixels."""
    short, long = sorted((frame.width, frame.height))
    longer = max(size * long // short, 1)
    return (size, longer) if frame.width <= frame.height else (longer, size)
