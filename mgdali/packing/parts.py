"""The parts of a video that a frame belongs to, told while the video is decoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import av

from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.packets import StreamLog
from mgdali.video.time_range import FrameClock, TimeRange

__all__ = ["PartFinder", "frames_of_part"]


class PartFinder:
    """Finds out which parts of a video each frame belongs to, while the video is decoded from its first frame.

    Parts may overlap. A part that contains no frame begins and ends before the same frame.

    Args:
        parts: The parts, all of one unit; None for the whole video.
        log: Log of the stream, in which its properties are noted before its first frame.
        path: Path of the video, for errors.

    Attributes:
        open: Numbers of the parts that the latest frame belongs to, in the order of their beginnings.

    Raises:
        ValueError: If the parts have different units.
    """

    def __init__(self, parts: Sequence[TimeRange | None], log: StreamLog, path: str) -> None:
        units = {None if part is None else part.unit for part in parts}
        if len(units) > 1:
            raise ValueError(f"parts of one video must have the same unit, got {sorted(map(str, units))}")
        self._parts = [part or TimeRange(unit="frames") for part in parts]
        # The part that begins first is the last one of the list.
        self._waiting = sorted(range(len(parts)), key=lambda number: (self._parts[number].start, number), reverse=True)
        self._in_seconds = "seconds" in units
        self._log, self._path = log, path
        self._clock: FrameClock | None = None
        self._count = 0
        self.open: list[int] = []

    @property
    def finished(self) -> bool:
        """Whether no later frame belongs to a part."""
        return not (self.open or self._waiting)

    def advance(self, frame: av.VideoFrame) -> list[int]:
        """Update :attr:`open` for the next frame, and return the numbers of the parts that ended before it.

        Raises:
            VideoDecodeError: If the parts are in seconds, and the time of the frame is not known.
        """
        place = self._place(frame)
        while self._waiting and self._parts[self._waiting[-1]].start <= place:
            self.open.append(self._waiting.pop())
        ended = [number for number in self.open if self._has_ended(number, place)]
        if ended:
            self.open = [number for number in self.open if number not in ended]
        return ended

    def _has_ended(self, number: int, place: float) -> bool:
        end = self._parts[number].end
        return end is not None and place >= end

    def _place(self, frame: av.VideoFrame) -> float:
        number, self._count = self._count, self._count + 1
        if not self._in_seconds:
            return number
        # The properties of the stream are known when it has returned a frame.
        self._clock = self._clock or FrameClock(self._log, self._path)
        return self._clock.tick(frame)


def frames_of_part(media: Media, part: TimeRange | None) -> Iterator[av.VideoFrame]:
    """Decode a video up to the end of a part, and yield the frames of the part.

    Args:
        media: The video.
        part: The part; None for the whole video.

    Raises:
        VideoDecodeError: If the video cannot be decoded up to there.
    """
    log = StreamLog()
    finder = PartFinder([part], log, media.path)
    for frame in read_frames(media, log=log):
        finder.advance(frame)
        if finder.finished:
            return
        if finder.open:
            yield frame
