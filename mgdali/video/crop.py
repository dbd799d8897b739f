"""Cutting the crop window out of decoded frames, then resizing and converting it to RGB in one pass of libswscale."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from mgdali.choices import Draw
from mgdali.transforms import SpatialTransform, Window
from mgdali.video.frames import OneThreadAtATime, quarter_turns
from mgdali.views import CropPlace

__all__ = ["Cropper", "colour_planes"]


class Cropper:
    """Cuts the crop window out of decoded frames, and resizes and converts it to the pictures of a clip.

    Only the pixels of the crop window are converted, directly to the clip's size. libswscale's bilinear filter becomes
    wider when a window shrinks, so the pictures are antialiased, like those of DALI's resize if the GPU decodes.

    libswscale writes planes of R, G and B. When it resizes to packed RGB, values are 1 to 2 (of 255) too dark, two
    pixels of a row share the same chroma, and it takes up to twice as long.

    Only one thread may use a cropper at a time.

    Args:
        transform: Crop window and size of the clips.
    """

    def __init__(self, transform: SpatialTransform) -> None:
        self._transform = transform
        # Both are kept: creating their tables takes longer than converting a frame.
        self._resizer = VideoReformatter()
        self._graph: Graph | None = None
        self._graph_key: tuple[int, int, str, Window] | None = None
        self._use = OneThreadAtATime(self)

    def crop(self, frame: av.VideoFrame, choices: Draw, place: CropPlace | None = None) -> NDArray[np.uint8]:
        """Return the crop window of a frame, upright and resized: uint8 RGB ``[3, H, W]``, values from 0 to 255.

        Args:
            frame: A decoded frame.
            choices: Random choices for the video.
            place: Place of the crop of a view, in testing; None for the usual crop.

        Raises:
            FrameSizeError: If the frame is not resized and is smaller than the clip.
            RuntimeError: If another thread is using the cropper.
        """
        with self._use:
            return self._crop(frame, choices, place)

    def _crop(self, frame: av.VideoFrame, choices: Draw, place: CropPlace | None) -> NDArray[np.uint8]:
        turns = quarter_turns(frame)
        height, width = frame.height, frame.width
        upright = (width, height) if turns % 2 else (height, width)
        if place is None:
            window = self._transform.window(*upright, choices)
        else:
            window = self._transform.test_window(*upright, along=place.along, corner=place.corner)
        cut = self._cut_out(frame, _as_decoded(window, height, width, turns))
        # The size before the frame is turned.
        high, wide = self._transform.size[::-1] if turns % 2 else self._transform.size
        # If libswscale does not resize, it writes planes in blocks of 16 columns and leaves the rest unwritten.
        in_planes = (cut.height, cut.width) != (high, wide) or wide % 16 == 0
        resized = self._resizer.reformat(
            cut, width=wide, height=high, format="gbrp" if in_planes else "rgb24", interpolation="BILINEAR", threads=1
        )
        return np.rot90(colour_planes(resized), k=turns, axes=(1, 2))

    def _cut_out(self, frame: av.VideoFrame, window: Window) -> av.VideoFrame:
        """Return the window of a frame as a frame that shares its memory."""
        if (window.bottom - window.top, window.right - window.left) == (frame.height, frame.width):
            return frame
        key = (frame.width, frame.height, frame.format.name, window)
        if self._graph is None or self._graph_key != key:
            self._graph, self._graph_key = _cropping_graph(frame, window), key
        self._graph.vpush(frame)
        return self._graph.vpull()


def colour_planes(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return R, G and B of a packed (rgb24) or planar (gbrp) frame: uint8 ``[3, H, W]``."""
    if frame.format.name == "rgb24":
        return frame.to_ndarray().astype(np.uint8, copy=False).transpose(2, 0, 1)
    green, blue, red = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)[:, : frame.width]
        for plane in frame.planes
    )
    return np.stack([red, green, blue])


def _cropping_graph(frame: av.VideoFrame, window: Window) -> Graph:
    """Return a graph with FFmpeg's crop filter. It moves the pointers to a frame's planes and copies nothing."""
    graph = Graph()
    # By default a graph starts a thread per core, which takes longer than cutting out the frames of a clip.
    graph.threads = 1
    frames = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
    )
    # A window that covers a whole side may have an odd size, which the filter rounds unless exact=1.
    size = f"{window.right - window.left}:{window.bottom - window.top}"
    crop = graph.add("crop", f"{size}:{window.left}:{window.top}:exact=1")
    out = graph.add("buffersink")
    frames.link_to(crop)
    crop.link_to(out)
    graph.configure()
    return graph


def _as_decoded(window: Window, height: int, width: int, turns: int) -> Window:
    """Return the place of an upright frame's window in the decoded frame, which is ``height`` by ``width`` pixels."""
    top, left, bottom, right = window
    if turns == 1:
        return Window(left, width - bottom, right, width - top)
    if turns == 2:
        return Window(height - bottom, width - right, height - top, width - left)
    if turns == 3:
        return Window(height - right, top, height - left, bottom)
    return window
