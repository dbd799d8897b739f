"""A part of a video, given in seconds or in frames, and the frames that belong to it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord

__all__ = ["FrameClock", "TimeRange", "TimeUnit", "frame_seconds"]

TimeUnit = Literal["seconds", "frames"]

# FFmpeg's names of the containers that store no presentation times. Their frames are spaced evenly.
_UNTIMED = ("avi", "h264", "hevc", "m4v", "mjpeg", "mpegvideo")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A part of a video: its frames with ``start <= time < end``. Time 0 is the time of the video's first frame.

    Args:
        start: Beginning of the part, >= 0.
        end: End of the part, > ``start``, which does not belong to it; None for the end of the video.
        unit: ``"seconds"``, or ``"frames"`` if ``start`` and ``end`` are indices of frames, counted from 0.

    Raises:
        ValueError: If a value is out of range, or an index of a frame is not an integer.
    """

    start: float = 0.0
    end: float | None = None
    unit: TimeUnit = "seconds"

    def __post_init__(self) -> None:
        if self.unit not in get_args(TimeUnit):
            raise ValueError(f"unit must be one of {get_args(TimeUnit)}, got {self.unit!r}")
        for name, value in (("start", self.start), ("end", self.end)):
            if value is None and name == "end":
                continue
            if not isinstance(value, int | float | np.number) or not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of {self.unit} >= 0, got {value!r}")
            if self.unit == "frames" and value != int(value):
                raise ValueError(f"{name} must be the index of a frame, an integer, got {value!r}")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end must be greater than start, got start={self.start!r} and end={self.end!r}")

    def __str__(self) -> str:
        return f"{self.unit} {_text(self.start)} to {'the end' if self.end is None else _text(self.end)}"

    def frames(self, record: VideoRecord) -> tuple[int, int] | None:
        """Return the part as indices of frames, ``(first, end)``, by the record of a video.

        Args:
            record: Record of the whole video, with ``times`` if it has them.

        Returns:
            Indices in ``[0, T]``; ``first == end`` if the part contains no frame. None if the record does not tell the
            times of all frames; :class:`FrameClock` then tells them while the video is decoded.
        """
        total = record.num_frames
        if self.unit == "frames":
            end = total if self.end is None else min(int(self.end), total)
            return min(int(self.start), end), end
        seconds_of = _clock_of(record)
        if seconds_of is None:
            return None
        # A search needs the times of a few frames only, which matters for the main process and long files.
        first = bisect_left(range(total), self.start, key=seconds_of)
        end = total if self.end is None else bisect_left(range(total), self.end, key=seconds_of)
        return min(first, end), end

    def check_frames(self, frames: tuple[int, int], path: str) -> None:
        """Raise a VideoDecodeError unless the part contains frames.

        Args:
            frames: The part as indices of frames.
            path: Path of the video, for the error.
        """
        if frames[0] >= frames[1]:
            raise VideoDecodeError(
                path,
                frames[1],
                f"it has no frame in the part {self}",
                "Correct start and end of this part, or remove its row from the data set.",
            )


class FrameClock:
    """Tells the time of each frame of a stream while it is decoded.

    A frame's time is its presentation time after that of the first frame. A frame without a presentation time, or with
    one that is not later than the previous frame's time, follows the previous frame by one period of the average frame
    rate. In containers without presentation times, such as AVI, the time of frame t is t divided by the average frame
    rate.

    Args:
        log: Log in which the stream's properties were noted (:meth:`StreamLog.begin`).
        path: Path of the video, for errors.
    """

    def __init__(self, log: StreamLog, path: str) -> None:
        self._path = path
        self._time_base = log.time_base
        self._rate = log.rate
        self._untimed = _is_untimed(log.container)
        self._first: int | None = None
        self._seconds = 0.0
        self._count = 0

    def tick(self, frame: av.VideoFrame) -> float:
        """Return the time of the next frame, in seconds.

        Raises:
            VideoDecodeError: If neither the frame nor the container tells the time.
        """
        number, self._count = self._count, self._count + 1
        if self._untimed:
            return number * self._period()
        if number == 0:
            self._first = frame.pts
            return self._seconds
        seconds = None
        if frame.pts is not None and self._first is not None:
            seconds = _seconds(frame.pts - self._first, self._time_base)
        later = seconds is not None and seconds > self._seconds
        self._seconds = seconds if seconds is not None and later else self._seconds + self._period()
        return self._seconds

    def _period(self) -> float:
        if not self._rate:
            raise VideoDecodeError(
                self._path,
                self._count,
                "neither its frames nor its container tell the time",
                "Give start and end as indices of frames.",
            )
        return 1 / self._rate


def frame_seconds(record: VideoRecord) -> NDArray[np.float64] | None:
    """Return the time of each frame in seconds, float64 ``[T]``, as :class:`FrameClock` does; None if it is not known.

    Args:
        record: Record of the whole video, with ``times`` if it has them.
    """
    if _is_untimed(record.container):
        return np.arange(record.num_frames, dtype=np.float64) * (1 / record.rate) if record.rate else None
    if record.times is None or len(record.times) == 0:
        return None
    numerator, denominator = record.time_base
    return np.asarray((record.times - record.times[0]) * numerator / denominator, np.float64)


def _clock_of(record: VideoRecord) -> Callable[[int], float] | None:
    """Return the function that tells the time of a frame, as :func:`frame_seconds`; None if it is not known."""
    if _is_untimed(record.container):
        rate = record.rate
        return (lambda t: t * (1 / rate)) if rate else None
    times = record.times
    if times is None or len(times) == 0:
        return None
    first, time_base = int(times[0]), Fraction(*record.time_base)
    return lambda t: _seconds(int(times[t]) - first, time_base)


def _text(value: float) -> str:
    return str(int(value) if value == int(value) else float(value))


def _is_untimed(container: str) -> bool:
    return container in _UNTIMED


def _seconds(ticks: int, time_base: Fraction) -> float:
    return ticks * time_base.numerator / time_base.denominator
