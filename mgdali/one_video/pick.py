"""Picking frames of one video: a path, a URL, bytes or an open file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import draw
from mgdali.datasets.video_dataset import Video
from mgdali.errors import VideoDecodeError, check_integer
from mgdali.one_video.clip import PickedClip
from mgdali.one_video.pictures import ClipPictures
from mgdali.one_video.source import AnyVideo, opened
from mgdali.samplers import MotionGuided, Representation, Sampler, check_sampler, needs_times, sampled_picks
from mgdali.video.decoder import DecodedVideo, Decoder, motion_of_part
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord
from mgdali.video.time_range import TimeRange, frame_seconds
from mgdali.workers.clip_job import ClipJob, reason_unindexed

if TYPE_CHECKING:
    from mgdali.index.reader import MotionIndex

__all__ = ["CHECK_FILE", "pick_frames"]

CHECK_FILE = "Check that the file exists, can be read, and is a video."
"""Advice for the user who looks at one video, if decoding it fails before its first frame."""

_DEFAULT_FRAMES = 8

# Decoded frames that are kept until the picks are known. A video that needs more is decoded twice.
_MEMORY_BUDGET = 64 << 20


def pick_frames(
    video: AnyVideo,
    num_frames: int | None = None,
    *,
    sampler: Sampler | None = None,
    start: float | None = None,
    end: float | None = None,
    size: int | None = None,
    index: str | os.PathLike[str] | MotionIndex | None = None,
    seed: int | None = None,
) -> PickedClip:
    """Pick frames of one video by motion, and return them with their indices and times.

    All frames are decoded once, for their motion; decoded frames use at most 64 MiB. If the video has more frames, the
    picked ones are decoded again from the key frames before them. Several threads may call it at the same time.

    Args:
        video: One of

            - a path or a URL in any form that :class:`~mgdali.video.media.Media` accepts. ``<tar>::<member>`` needs no
              span here. URLs are read in parts;
            - the content of a file, as bytes;
            - a file that is open for reading in binary mode. It is read from its beginning, is not closed, and has its
              position restored. If it cannot seek, the rest of it is read into memory. Threads cannot share one;
            - a :class:`~mgdali.Video` of a data set.
        num_frames: Number of frames to pick, N >= 1; by default that of ``sampler``, or 8.
        sampler: The strategy; by default :class:`~mgdali.MotionGuided`.
        start, end: The part of the video to pick from, in seconds after its first frame: ``start <= time < end``. By
            default the whole video.
        size: Length of the shorter side of the frames in pixels, >= 1; by default they keep their size. Smaller videos
            are enlarged. The aspect ratio stays the same.
        index: Motion index that contains the video: a path, a URL, or a :class:`~mgdali.MotionIndex`. Only the frames
            that the picks need are then decoded. It changes no result.
        seed: Seed of random offsets, an integer >= 0, as in training; by default all offsets are 0.5, as in testing.

    Returns:
        The clip: ``frames`` uint8 ``[N, H, W, 3]``, ``indices`` int64 ``[N]``, ``seconds`` float64 ``[N]``, and
        ``motion`` float64 ``[T]``.

    Raises:
        ValueError: If an argument is out of range or two arguments contradict each other.
        VideoDecodeError: If the video cannot be read or decoded, or has no frame from ``start`` to ``end``.
        DatasetError: If the index cannot be read.
        ImportError: If a URL, or a strategy with filters of your own, needs a package that is not installed.
        MemoryError: If the picked frames do not fit into memory.

    Warns:
        RuntimeWarning: If the index has no valid row of the video. All frames are then decoded.

    Example:
        >>> clip = pick_frames("videos/run/a.mp4", 4)
        >>> clip.frames.shape, clip.motion.shape
        ((4, 48, 64, 3), (48,))
        >>> clip.indices.tolist()
        [5, 17, 27, 39]
    """
    strategy = _strategy(num_frames, sampler)
    time_range = _time_range(video, start, end)
    if size is not None:
        check_integer("size", size, least=1)
    if seed is not None:
        check_integer("seed", seed, least=0)
    motion_index = None if index is None else _open_index(index, video)
    measured = strategy if strategy.representation is not None else _Measured(strategy)
    with _memory_for(strategy.num_frames, size), _errors_of_one_video(video, time_range), opened(video) as media:
        offsets = draw(seed or 0, 0, 0, strategy.num_frames, training=seed is not None).offsets
        known = None if motion_index is None else _indexed(media, motion_index, measured, time_range)
        pictures = ClipPictures(strategy.num_frames, size)
        decoder = Decoder(measured, memory_budget=_MEMORY_BUDGET, note_times=True)
        decoded = decoder.decode(
            media,
            offsets,
            picture=pictures,
            record=None if known is None else known.record,
            time_range=time_range,
            part=None if known is None else known.part,
        )
        return _clip(media.path, strategy, decoded, pictures, known)


@dataclass(frozen=True)
class _Measured:
    """A strategy that uses no motion, for which the image-level motion is measured."""

    sampler: Sampler

    @property
    def num_frames(self) -> int:
        return self.sampler.num_frames

    @property
    def representation(self) -> Representation:
        return Representation()

    @property
    def needs_times(self) -> bool:
        return needs_times(self.sampler)

    def pick(
        self,
        motion: NDArray[np.float64] | None,
        total: int,
        offsets: NDArray[np.float64],
        *,
        seconds: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        return sampled_picks(self.sampler, None, total, offsets, seconds)

    def __repr__(self) -> str:
        return repr(self.sampler)


@dataclass(frozen=True)
class _Known:
    """What an index tells about a video.

    Attributes:
        record: The record.
        part: The part to pick from, as indices of frames: first frame and end.
        seconds: Time of each frame of the video, float64 ``[T]``.
        motion: S of the part, float64.
    """

    record: VideoRecord
    part: tuple[int, int]
    seconds: NDArray[np.float64]
    motion: NDArray[np.float64]


def _strategy(num_frames: int | None, sampler: Sampler | None) -> Sampler:
    if num_frames is not None:
        check_integer("num_frames", num_frames, least=1)
    if sampler is None:
        return MotionGuided(_DEFAULT_FRAMES if num_frames is None else int(num_frames))
    check_sampler(sampler)
    if num_frames not in (None, sampler.num_frames):
        raise ValueError(
            f"num_frames={num_frames!r} and sampler={sampler!r} contradict each other: leave out num_frames"
        )
    return sampler


def _open_index(index: str | os.PathLike[str] | MotionIndex, video: object) -> MotionIndex:
    from mgdali.index.reader import MotionIndex

    if not isinstance(index, str | os.PathLike | MotionIndex):
        raise ValueError(f"index must be a path, a URL or a MotionIndex, got {index!r}")
    if not _is_named(video):
        raise ValueError(f"index={index!r} needs the path or URL of the video, got {type(video).__name__}")
    return index if isinstance(index, MotionIndex) else MotionIndex(index)


def _is_named(video: object) -> bool:
    """Return whether a video is given by its location, and not by its content."""
    return isinstance(video, str | os.PathLike | Media | Video)


def _time_range(video: object, start: float | None, end: float | None) -> TimeRange | None:
    own = video.time_range if isinstance(video, Video) else None
    if start is None and end is None:
        return own
    if own is not None:
        raise ValueError(f"start={start!r} and end={end!r} are not possible for the segment {own} of {video!r}")
    return TimeRange(0.0 if start is None else start, end)


@contextmanager
def _memory_for(num_frames: int, size: int | None) -> Iterator[None]:
    """Name the arguments if the memory is not sufficient."""
    try:
        yield
    except MemoryError as error:
        reason = f": {error}" if str(error) else ""
        raise MemoryError(
            f"num_frames={num_frames!r} and size={size!r} need more memory than there is; pick fewer or smaller frames"
            f"{reason}"
        ) from error


@contextmanager
def _errors_of_one_video(video: object, time_range: TimeRange | None) -> Iterator[None]:
    """Replace the advice in errors, which is for videos of a data set."""
    try:
        yield
    except VideoDecodeError as error:
        if error.frame == 0 and _is_named(video):
            advice = CHECK_FILE
        elif error.frame == 0:
            advice = "Check that it has the whole content of a video file."
        elif time_range is not None:
            advice = "Check that start= and end= are within the video, and encode it again if it is damaged."
        else:
            advice = "Encode it again, or pick from the frames before the damage with end=."
        raise VideoDecodeError(error.path, error.frame, error.reason, advice) from error


def _indexed(media: Media, index: MotionIndex, sampler: Sampler, time_range: TimeRange | None) -> _Known | None:
    """Return what an index tells about a video; warn and return None if this is not sufficient."""
    record = index.find(media.path)
    reason = "is not in the index"
    if record is not None:
        choices = draw(0, 0, 0, sampler.num_frames, training=False)
        reason = reason_unindexed(ClipJob(media, choices, record), sampler.representation) or ""
        if not reason:
            known = _known(record, sampler, time_range)
            if known is not None:
                return known
            reason = "has frames whose times are not in the index"
    warnings.warn(f"{media.path} {reason}: decoding all of its frames", RuntimeWarning, stacklevel=3)
    return None


def _known(record: VideoRecord, sampler: Sampler, time_range: TimeRange | None) -> _Known | None:
    seconds = frame_seconds(record)
    part = (0, record.num_frames) if time_range is None else time_range.frames(record)
    assert sampler.representation is not None
    motion = record.motion_of(sampler.representation)
    if seconds is None or part is None or motion is None:
        return None
    return _Known(record, part, seconds, motion_of_part(motion, *part))


def _clip(
    name: str, sampler: Sampler, decoded: DecodedVideo, pictures: ClipPictures, known: _Known | None
) -> PickedClip:
    if decoded.motion is not None and decoded.seconds is not None:
        motion, seconds = decoded.motion, decoded.seconds[decoded.picks - decoded.first]
    else:
        assert known is not None
        motion, seconds = known.motion, known.seconds[decoded.picks]
    return PickedClip(
        frames=pictures.of(decoded.picks),
        indices=decoded.picks,
        seconds=seconds,
        motion=motion,
        first_frame=decoded.first,
        sampler=sampler,
        name=name,
        frame_rate=decoded.rate if known is None else known.record.rate,
    )
