"""The crop window of decoded frames: cut out as decoded, then resized and made RGB in one pass of libswscale."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from mgdali.choices import Draw
from mgdali.transforms import SpatialTransform, Window
from mgdali.video.frames import quarter_turns

__all__ = ["Cropper"]


class Cropper:
    """Makes clips' pictures of frames.

    Only the window's pixels are converted, and only to as many as the clip has. libswscale's bilinear filter widens
    with the reduction, so frames that shrink are antialiased, as by DALI's resize on the GPU route.

    RGB is made in planes: where libswscale resizes, its packed RGB is 1 to 2 darker than it should be (of 255), gives
    two pixels of a row the same chroma, and takes up to twice as long.

    Args:
        transform: where windows lie, and the size of the clips.
    """

    def __init__(self, transform: SpatialTransform) -> None:
        self._transform = transform
        # Each keeps its tables, which cost more to make than a frame to convert.
        self._resizer = VideoReformatter()
        self._graph: Graph | None = None
        self._graph_of: tuple[int, int, str, Window] | None = None

    def crop(self, frame: av.VideoFrame, choices: Draw) -> NDArray[np.uint8]:
        """The window of a frame, upright, as the clip has it: uint8 RGB ``[3, S, S]``."""
        turns = quarter_turns(frame)
        height, width = frame.height, frame.width
        upright = (width, height) if turns % 2 else (height, width)
        window = self._transform.window(*upright, choices)
        cut = self._cut_out(frame, _as_decoded(window, height, width, turns))
        size = self._transform.crop_size
        # Where it does not resize, libswscale writes planes in blocks of 16 columns, and none of what is left over.
        whole = (cut.height, cut.width) != (size, size) or size % 16 == 0
        resized = self._resizer.reformat(
            cut, width=size, height=size, format="gbrp" if whole else "rgb24", interpolation="BILINEAR", threads=1
        )
        return np.rot90(_channels(resized), k=turns, axes=(1, 2))

    def _cut_out(self, frame: av.VideoFrame, window: Window) -> av.VideoFrame:
        """The window of a frame, in the frame's own memory."""
        if (window.bottom - window.top, window.right - window.left) == (frame.height, frame.width):
            return frame
        wanted = (frame.width, frame.height, frame.format.name, window)
        if self._graph is None or self._graph_of != wanted:
            self._graph, self._graph_of = _cropping_graph(frame, window), wanted
        self._graph.vpush(frame)
        return self._graph.vpull()


def _channels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """R, G and B of a frame that has them, in planes or packed: uint8 ``[3, H, W]``."""
    if frame.format.name == "rgb24":
        return frame.to_ndarray().astype(np.uint8, copy=False).transpose(2, 0, 1)
    green, blue, red = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)[:, : frame.width]
        for plane in frame.planes
    )
    return np.stack([red, green, blue])


def _cropping_graph(frame: av.VideoFrame, window: Window) -> Graph:
    """FFmpeg's crop filter, which moves the pointers to a frame's planes: nothing is copied."""
    graph = Graph()
    frames = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
    )
    # exact: odd sizes are not rounded, as windows that take a whole side have them.
    size = f"{window.right - window.left}:{window.bottom - window.top}"
    crop = graph.add("crop", f"{size}:{window.left}:{window.top}:exact=1")
    out = graph.add("buffersink")
    frames.link_to(crop)
    crop.link_to(out)
    graph.configure()
    return graph


def _as_decoded(window: Window, height: int, width: int, turns: int) -> Window:
    """The window of an upright frame within the ``height`` by ``width`` frame that was decoded."""
    top, left, bottom, right = window
    if turns == 1:
        return Window(left, width - bottom, right, width - top)
    if turns == 2:
        return Window(height - bottom, width - right, height - top, width - left)
    if turns == 3:
        return Window(height - right, top, height - left, bottom)
    return window
