"""Decoded frames that are kept until the picks are known, and checksums of frames that do not fit into memory."""

from __future__ import annotations

import zlib
from array import array

import av
import numpy as np

__all__ = ["KeptFrames", "frame_checksum"]


class KeptFrames:
    """The decoded frames of a video, as long as they do not exceed the memory budget.

    Args:
        budget: Largest size of the frames together, in bytes.
        note_checksums: Whether to note checksums if the frames exceed the budget.

    Attributes:
        frames: The frames; none if they exceed the budget.
        checksums: If they do, and checksums are noted, the checksum of each frame (:func:`frame_checksum`).
    """

    def __init__(self, budget: int, *, note_checksums: bool) -> None:
        self._budget = budget
        self._note_checksums = note_checksums
        self._most: int | None = None
        self._exceeded = False
        self.frames: list[av.VideoFrame] = []
        self.checksums = array("L")

    def add(self, frame: av.VideoFrame) -> None:
        """Keep a frame, or only its checksum. All frames must have one size and format."""
        if self._most is None:
            self._most = self._budget // sum(plane.buffer_size for plane in frame.planes)
        self.frames.append(frame)
        self._exceeded |= len(self.frames) > self._most
        if self._exceeded:
            if self._note_checksums:
                self.checksums.extend(map(frame_checksum, self.frames))
            self.frames.clear()


def frame_checksum(frame: av.VideoFrame) -> int:
    """Return a checksum of every sixteenth row of a frame's first plane, which is luma in most formats."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    # Padding behind the pixels is not initialized.
    return zlib.crc32(rows[: frame.height : 16, : frame.width].tobytes())
