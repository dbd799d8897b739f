"""Which frames belong to a part of a video, found while they are decoded, and the times of these frames."""

from __future__ import annotations

import math
from array import array

import av

from mgdali.errors import VideoDecodeError
from mgdali.video.packets import StreamLog
from mgdali.video.time_range import FrameClock, TimeRange

__all__ = ["PartBounds"]


class PartBounds:
    """Finds out which frames belong to a part, while they are decoded.

    Args:
        time_range: The part; None for the whole video.
        log: Log of the stream, in which its properties are noted before its first frame; it may be None if no times are
            needed.
        path: Path of the video, for errors.
        note_times: Whether to note the time of each frame of the part in :attr:`seconds`, NaN if it is not known.
    """

    def __init__(self, time_range: TimeRange | None, log: StreamLog | None, path: str, *, note_times: bool) -> None:
        self._time_range = time_range
        self._log = log
        self._path = path
        self._note_times = note_times
        self._needs_times = time_range is not None and time_range.unit == "seconds"
        self._clock: FrameClock | None = None
        self._decoded = 0
        self.seconds = array("d")
        self.first = self.end = 0
        self.passed = False

    @property
    def count(self) -> int:
        """Number of frames in the part so far."""
        return self.end - self.first

    def contains(self, frame: av.VideoFrame) -> bool:
        """Return whether the next frame belongs to the part. After its end, ``passed`` is True."""
        number, self._decoded = self._decoded, self._decoded + 1
        seconds = self._seconds(frame) if self._note_times or self._needs_times else math.nan
        place = seconds if self._needs_times else float(number)
        if not self._includes(place):
            if not self.passed:
                self.first = self.end = number + 1
            return False
        self.end = number + 1
        if self._note_times:
            self.seconds.append(seconds)
        return True

    def check(self) -> None:
        """Raise a VideoDecodeError if the part contained no frame."""
        if self._time_range is not None:
            self._time_range.check_frames((self.first, self.end), self._path)

    def _includes(self, place: float) -> bool:
        part = self._time_range
        if part is None:
            return True
        self.passed |= part.end is not None and place >= part.end
        return not self.passed and place >= part.start

    def _seconds(self, frame: av.VideoFrame) -> float:
        if self._clock is None:
            assert self._log is not None
            self._clock = FrameClock(self._log, self._path)
        try:
            return self._clock.tick(frame)
        except VideoDecodeError:
            if self._needs_times:
                raise
            return math.nan
