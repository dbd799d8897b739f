"""Frames of a video by their indices, as small JPEG pictures."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import av
import av.error
import cv2
import numpy as np

from mgdali.datasets.video_dataset import Video
from mgdali.errors import VideoDecodeError
from mgdali.one_video.pictures import UprightRGB
from mgdali.one_video.source import opened
from mgdali.video.frames import quarter_turns, read_frames
from mgdali.video.media import Media
from mgdali.video.packets import StreamLog
from mgdali.video.part_bounds import PartBounds
from mgdali.video.picked_frames import Picked, read_checked, read_picked
from mgdali.video.record import VideoRecord

__all__ = ["KnownFrames", "check_range", "read_pictures"]

_QUALITY = 85


@dataclass(frozen=True, eq=False)
class KnownFrames:
    """What is known about the frames of a video or a segment.

    Attributes:
        part: First frame and end, as indices of frames in the file; None if they are not known.
        record: Record with which some frames can be decoded without the others; None if it is not known.
        checksums: Checksums of the frames of the part when all of them were decoded; None if they were not noted.
    """

    part: tuple[int, int] | None
    record: VideoRecord | None
    checksums: array[int] | None

    @property
    def cost(self) -> int:
        """Number of bytes of the arrays in memory, without S of a record."""
        values = [] if self.record is None else vars(self.record).values()
        arrays = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
        return arrays + (0 if self.checksums is None else len(self.checksums) * self.checksums.itemsize)


def check_range(frames: Iterable[int], part: tuple[int, int], path: str) -> None:
    """Raise ValueError if one of ``frames`` is outside a part."""
    first, end = part
    outside = [t for t in frames if not first <= t < end]
    if outside:
        raise ValueError(f"{path} has frames {first} to {end - 1}, but frame {min(outside)} was asked for")


def read_pictures(
    video: Video, frames: list[int], height: int, known: KnownFrames, check: Callable[[], None]
) -> dict[int, bytes]:
    """Return JPEG pictures of frames by index. At most one decoded frame is in memory at a time.

    Args:
        video: The video.
        frames: Indices of the frames in the file, increasing, without repetitions, at least one.
        height: Height of the pictures in pixels; of smaller videos, the pictures have the video's own height.
        known: What is known about the video's frames.
        check: Function that is called before each frame that is decoded. It raises an error to end the work.

    Raises:
        VideoDecodeError: If a frame cannot be decoded.
        ValueError: If a frame is outside the video.
    """
    picture = _JPEG(height, video.path)
    made: dict[int, bytes] = {}
    with opened(video) as media:
        record = known.record
        # Without packets, reading picks decodes from the first frame too.
        if record is not None and record.packets is not None:
            try:
                for t, frame in _picked(media, record, frames, known):
                    check()
                    made[t] = picture(frame)
                return made
            except VideoDecodeError:
                # S of a packed video is that of its original. Its frames must match the record.
                if record.origin is not None:
                    raise
                # The video may be damaged in a way that matters only if decoding begins in the middle.
        return made | _from_the_start(media, video, [t for t in frames if t not in made], picture, check)


def _picked(media: Media, record: VideoRecord, frames: list[int], known: KnownFrames) -> Iterator[Picked]:
    """Decode only what the frames need. Compare them with checksums of the whole decoding, if these were noted."""
    if known.part is None or known.checksums is None:
        return read_picked(media, record, frames)
    return read_checked(media, record, frames, known.checksums, first=known.part[0])


def _from_the_start(
    media: Media, video: Video, frames: list[int], picture: _JPEG, check: Callable[[], None]
) -> dict[int, bytes]:
    """Decode all frames up to the last wanted one, or to the end of the part."""
    log = None if video.time_range is None else StreamLog()
    bounds = PartBounds(video.time_range, log, media.path, note_times=False)
    missing = set(frames)
    made = {}
    with closing(read_frames(media, log=log)) as decoded:  # type: ignore[type-var]
        for t, frame in enumerate(decoded):
            check()
            inside = bounds.contains(frame)
            if inside and t in missing:
                made[t] = picture(frame)
                missing.remove(t)
            if not missing or bounds.passed:
                break
    if missing:
        bounds.check()
        check_range(frames, (bounds.first, bounds.end), media.path)
    return made


class _JPEG:
    """Makes JPEG pictures of decoded frames. Only one thread may use it at a time."""

    def __init__(self, height: int, path: str) -> None:
        self._height = height
        self._path = path
        self._upright = UprightRGB()

    def __call__(self, frame: av.VideoFrame) -> bytes:
        high, wide = frame.height, frame.width
        turned = quarter_turns(frame) % 2 == 1
        if turned:
            high, wide = wide, high
        height = min(self._height, high)
        width = max(round(wide * height / high), 1)
        try:
            rgb = self._upright(frame, *((height, width) if turned else (width, height)))
            written, content = cv2.imencode(
                ".jpg", np.ascontiguousarray(rgb[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
            )
        except (av.error.FFmpegError, OverflowError, cv2.error) as error:
            raise self._failure(width, height, str(error)) from error
        if not written:
            raise self._failure(width, height, "OpenCV gives no reason")
        return content.tobytes()

    def _failure(self, width: int, height: int, reason: str) -> VideoDecodeError:
        return VideoDecodeError(self._path, 0, f"no picture of {width} x {height} pixels can be made: {reason}")
