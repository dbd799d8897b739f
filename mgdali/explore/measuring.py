"""The motion of one video: taken from its record, or measured in a background thread that can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.video_dataset import Video
from mgdali.errors import VideoDecodeError
from mgdali.explore.frames import KnownFrames
from mgdali.one_video.pick import CHECK_FILE
from mgdali.one_video.source import opened
from mgdali.samplers import Motion, Representation
from mgdali.video.measured_part import measure_part, motion_of_part
from mgdali.video.media import Fingerprint, Media
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord
from mgdali.video.time_range import frame_seconds

if TYPE_CHECKING:
    from mgdali.explore.collection import Entry

__all__ = [
    "Measured",
    "Measurement",
    "Stopped",
    "VideoMotion",
    "errors_of_video",
    "frames_of_record",
    "motion_of_record",
    "usable_record",
]


@dataclass(frozen=True, eq=False)
class VideoMotion:
    """Motion of a video or a segment.

    Attributes:
        motion: S, float64 ``[T]``, the same as that of :func:`mgdali.pick_frames`.
        seconds: Times of the frames in the file in seconds, float64 ``[T]``, rising; None if they are unknown.
        first_frame: Index in the file of the frame that ``motion[0]`` belongs to.
        frame_rate: Average number of frames per second according to the container; 0 if it is unknown.
        width, height: Size of the upright picture in pixels.
        cost: Number of bytes in memory.
    """

    motion: NDArray[np.float64]
    seconds: NDArray[np.float64] | None
    first_frame: int
    frame_rate: float
    width: int
    height: int
    cost: int


@dataclass(frozen=True, eq=False)
class Measured:
    """Result of a measurement.

    Attributes:
        fingerprint: Fingerprint of the content, taken before it was read; None if it cannot be read.
        motion: The motion; None with an error.
        frames: What is known about the frames; None with an error.
        error: Reason why the video cannot be measured.
    """

    fingerprint: Fingerprint | None
    motion: VideoMotion | None = None
    frames: KnownFrames | None = None
    error: Exception | None = None

    def result(self) -> VideoMotion:
        """Return the motion, or raise the error."""
        if self.motion is not None:
            return self.motion
        assert self.error is not None
        if isinstance(self.error, VideoDecodeError):
            # A copy, because several threads may raise it, and each adds its traceback.
            raise VideoDecodeError(*self.error.args)
        raise self.error


class Stopped(Exception):
    """Decoding was stopped because nobody needs its result any more."""


class Measurement:
    """A measurement that is queued, in progress or done.

    Args:
        entry: The video.
        level: How motion is measured.
        check: Function that is called with the measurement before each packet. It raises :class:`Stopped` to end it.

    Attributes:
        key: ``id`` of the entry, and the level.
        wanted_until: Time of the monotonic clock after which nobody is interested in the result, in seconds.
        done: Set when :attr:`measured` has its value, or the measurement was stopped.
        measured: The result; None until it is known, or if the measurement was stopped.
    """

    def __init__(self, entry: Entry, level: Motion, check: Callable[[Measurement], None]) -> None:
        self.key = (entry.id, level)
        self.wanted_until = 0.0
        self.done = threading.Event()
        self.measured: Measured | None = None
        self._video = entry.video
        self._level = level
        self._check = check
        self._log = _WatchedLog(self.check)

    @property
    def frames(self) -> int:
        """Number of frames that were decoded so far."""
        return self._log.num_frames

    def check(self) -> None:
        """Raise :class:`Stopped` if nobody needs the result any more."""
        self._check(self)

    def run(self) -> Measured:
        """Decode the video up to its end or the end of the segment, and measure its motion.

        Raises:
            Stopped: If the function that was given so decides.
        """
        fingerprint = None
        try:
            with errors_of_video(self._video):
                fingerprint = self._video.media.fingerprint()
                with opened(self._video) as media:
                    return Measured(fingerprint, *self._decode(media))
        except Stopped:
            raise
        except Exception as error:
            # The traceback refers to decoded frames.
            return Measured(fingerprint, error=error.with_traceback(None))

    def _decode(self, media: Media) -> tuple[VideoMotion, KnownFrames]:
        found = measure_part(
            media,
            Representation(motion=self._level),
            time_range=self._video.time_range,
            log=self._log,
            memory_budget=0,
            note_times=True,
        )
        record = VideoRecord.from_log(self._video.path, None, self._log, [])
        assert found.motion is not None
        motion = _video_motion(record, found.motion, found.first, found.seconds)
        return motion, KnownFrames((found.first, found.end), record, found.checksums)


class _WatchedLog(StreamLog):
    """A log that calls a function before each packet."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def add_packet(self, packet: av.Packet[Any]) -> None:
        self._check()
        super().add_packet(packet)


def usable_record(entry: Entry) -> VideoRecord | None:
    """Return the record of a video; None if it is missing or only tells that the video could not be decoded."""
    record = entry.record
    return None if record is None or record.error is not None or record.fingerprint is None else record


def motion_of_record(entry: Entry, record: VideoRecord, level: Motion) -> VideoMotion | None:
    """Return the motion according to the record of a video; None if the record is not sufficient.

    Raises:
        VideoDecodeError: If the video is packed and the record lacks this level, or the segment contains no frame.
    """
    whole = record.motion_of(Representation(motion=level))
    part = frames_of_record(entry.video, record).part
    if whole is None and record.origin is not None:
        raise VideoDecodeError(
            entry.video.path,
            0,
            f"the index of the packed data set has no S at the {level} level",
            f"Pack it again with --motion {level}, or choose the other level.",
        )
    if whole is None or part is None:
        return None
    if entry.video.time_range is not None:
        with errors_of_video(entry.video):
            entry.video.time_range.check_frames(part, entry.video.path)
    first, end = part
    seconds = frame_seconds(record)
    return _video_motion(
        record, motion_of_part(whole, first, end), first, None if seconds is None else seconds[first:end]
    )


def frames_of_record(video: Video, record: VideoRecord) -> KnownFrames:
    """Return what the record of a video tells about its frames."""
    part = (0, record.num_frames) if video.time_range is None else video.time_range.frames(record)
    return KnownFrames(part, record, None)


@contextmanager
def errors_of_video(video: Video) -> Iterator[None]:
    """Give errors of one video the advice for a user who looks at it; raise lack of memory and packages as such errors.

    Raises:
        VideoDecodeError: In place of these errors.
    """
    try:
        yield
    except VideoDecodeError as error:
        if error.frame == 0:
            advice = CHECK_FILE
        elif video.time_range is not None:
            advice = "Check that its start and end are within the video, and encode it again if it is damaged."
        else:
            advice = "Encode it again."
        raise VideoDecodeError(error.path, error.frame, error.reason, advice) from error
    except ImportError as error:
        raise VideoDecodeError(video.path, 0, str(error), "Install it, and start mgdali explore again.") from error
    except MemoryError as error:
        raise VideoDecodeError(
            video.path, 0, f"it needs more memory than there is {error}".rstrip(), "Encode it in a smaller size."
        ) from error


def _video_motion(
    record: VideoRecord, motion: NDArray[np.float64], first: int, seconds: NDArray[np.float64] | None
) -> VideoMotion:
    """Return the motion of a part that begins at frame ``first``; ``seconds`` may contain NaN."""
    if seconds is not None and (np.isnan(seconds).any() or np.any(np.diff(seconds) <= 0)):
        seconds = None
    turned = record.rotation % 180 != 0
    return VideoMotion(
        motion=motion,
        seconds=seconds,
        first_frame=first,
        frame_rate=record.rate,
        width=record.height if turned else record.width,
        height=record.width if turned else record.height,
        cost=motion.nbytes + (0 if seconds is None else seconds.nbytes),
    )
