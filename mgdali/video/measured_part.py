"""Decoding a video from its first frame to the end of a part of it: the part's motion, times and decoded frames."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.kept_frames import KeptFrames
from mgdali.video.media import Media
from mgdali.video.meters import make_meter
from mgdali.video.packets import StreamLog
from mgdali.video.part_bounds import PartBounds
from mgdali.video.time_range import TimeRange

__all__ = ["MeasuredPart", "measure_part", "motion_of_part"]


@dataclass(frozen=True)
class MeasuredPart:
    """Result of decoding a video from its first frame to the end of a part.

    Attributes:
        kept: The frames of the part; none if they exceed the memory budget.
        checksums: If they do, and a log was given, the checksum of each frame of the part.
        first, end: The part as indices of frames.
        decoded: Number of frames that the decoder returned.
        seconds: Time of each frame of the part, float64 ``[T]``, NaN if it is not known; None unless times were noted.
        motion: S of the part, float64 ``[T]``, rounded to float32; None if it was not measured.
        whole_motion: S of the whole video, if it was measured to its end without damage; otherwise None.
        log_is_complete: Whether the whole video was decoded and nothing was damaged.
        damage: Error at which decoding ended, if the frames before it are used; otherwise None.
    """

    kept: list[av.VideoFrame]
    checksums: array[int]
    first: int
    end: int
    decoded: int
    seconds: NDArray[np.float64] | None
    motion: NDArray[np.float64] | None
    whole_motion: NDArray[np.float64] | None
    log_is_complete: bool
    damage: VideoDecodeError | None


def measure_part(
    media: Media,
    representation: Representation | None,
    *,
    time_range: TimeRange | None,
    log: StreamLog | None,
    memory_budget: int,
    note_times: bool,
    whole: bool = False,
    enough_frames: int | None = None,
) -> MeasuredPart:
    """Decode a video up to the end of a part, or to its last frame, and measure the motion.

    Args:
        media: The video.
        representation: How S is measured; None to measure nothing.
        time_range: The part; None for the whole video.
        log: Log in which packets and frames are noted. A part and times need one.
        memory_budget: Number of bytes of decoded frames of the part to keep.
        note_times: Whether to note the time of each frame of the part.
        whole: Whether to decode and measure to the last frame, although only a part may be wanted.
        enough_frames: Number of frames of the part from which on a video that is damaged later counts as if it ended
            before the damage; None to raise the error in any case.

    Raises:
        VideoDecodeError: If the video cannot be decoded up to the end of the part, or the part contains no frame.
    """
    bounds = PartBounds(time_range, log, media.path, note_times=note_times)
    meter = None if representation is None else make_meter(representation)
    kept = KeptFrames(memory_budget, note_checksums=log is not None)
    decoded = 0
    all_measured = whole
    damage: VideoDecodeError | None = None
    try:
        for frame in read_frames(media, log=log):
            decoded += 1
            inside = bounds.contains(frame)
            if bounds.passed and not whole:
                assert log is not None
                log.stop()
                continue
            if meter is not None and (inside or whole):
                meter.add(frame)
            if inside:
                kept.add(frame)
    except VideoDecodeError as error:
        # Damage after the part matters only to the log.
        all_measured = False
        if not bounds.passed:
            if enough_frames is None or bounds.count < enough_frames:
                raise
            # A copy without the traceback, which refers to all kept frames.
            damage = VideoDecodeError(*error.args)
    bounds.check()
    # An index stores S as float32. It is rounded here too, so that the picks are equal with and without an index.
    motion = None if meter is None else np.array(meter.motion, np.float32).astype(np.float64)
    own = motion
    if motion is not None and whole:
        own = motion_of_part(motion, bounds.first, bounds.end)
    return MeasuredPart(
        kept=kept.frames,
        checksums=kept.checksums,
        first=bounds.first,
        end=bounds.end,
        decoded=decoded,
        seconds=np.array(bounds.seconds) if note_times else None,
        motion=own,
        whole_motion=motion if all_measured else None,
        log_is_complete=all_measured,
        damage=damage,
    )


def motion_of_part(motion: NDArray[np.float64], first: int, end: int) -> NDArray[np.float64]:
    """Return S of a part of a video: that of the video, with 0 for the first frame."""
    if (first, end) == (0, len(motion)):
        return motion
    own = motion[first:end].copy()
    own[:1] = 0.0
    return own
