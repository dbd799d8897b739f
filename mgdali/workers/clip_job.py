"""The job of a worker: making the clip of one video with PyAV."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import Draw
from mgdali.errors import VideoDecodeError, VideoSizeError
from mgdali.samplers import Representation, Sampler
from mgdali.transforms import FrameSizeError, SpatialTransform
from mgdali.video.crop import Cropper
from mgdali.video.decoder import DecodedVideo, Decoder
from mgdali.video.media import Fingerprint, Media
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord, index_name, representation_key
from mgdali.video.time_range import TimeRange
from mgdali.views import View
from mgdali.workers.protocols import Loader

if TYPE_CHECKING:
    # Not imported by workers without a function, because it imports torch, which takes a second.
    from mgdali.workers.clip_function import ClipFunction

__all__ = [
    "Allocate",
    "ClipConfig",
    "ClipJob",
    "ClipLoader",
    "ClipResult",
    "JobTimer",
    "naming_small_frames",
    "reason_unindexed",
]

Allocate = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Function that returns memory for a result: uint8 of the given shape."""


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Settings that all clips of a loader share. They are pickled once for each worker.

    Attributes:
        sampler: Sampling strategy.
        transform: Crop window, clip size and flip.
        memory_budget: Number of bytes of decoded frames that a worker may hold for one video.
        make_records: Whether to return a record for the motion index with each video that has no valid one.
        keep_damaged: Whether to make a damaged video's clip of the frames before the damage, if these are at least N.
        function: The user's function, which changes each clip after it was cropped and resized; None for no function.
    """

    sampler: Sampler
    transform: SpatialTransform
    memory_budget: int
    make_records: bool = False
    keep_damaged: bool = False
    function: ClipFunction | None = None

    def make_loader(self) -> Loader:
        """Return the object that does the jobs in a worker."""
        return ClipLoader(self)


@dataclass(frozen=True)
class ClipJob:
    """One video to load.

    Attributes:
        media: The video.
        choices: Random choices for it.
        record: Its record in the motion index; None if the index has no record of it.
        on_gpu: Whether the GPU may decode it; if not, PyAV decodes it although NVDEC could.
        time_range: The part of the video that is the clip's source; None for the whole video.
        part: That part as indices of frames, if the record tells it: first frame and end; otherwise None.
        seed: Seed of the user's function for this clip; 0 if there is no function.
        views: The views to make of the video, in place of one clip with ``choices`` and ``seed``; None for one clip.
    """

    media: Media
    choices: Draw
    record: VideoRecord | None = None
    on_gpu: bool = True
    time_range: TimeRange | None = None
    part: tuple[int, int] | None = None
    seed: int = 0
    views: tuple[View, ...] | None = None

    @property
    def path(self) -> str:
        """Path of the video, for messages."""
        return self.media.path

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle's own way, which takes each object apart, takes four times as long.
        media = self.media
        source = (media.path, media.span, media.content)
        others = (self.choices, self.record, self.on_gpu, self.time_range, self.part, self.seed, self.views)
        return _unpickled_job, (source, *others)


def _unpickled_job(source: tuple[str, tuple[int, int] | None, bytes | None], *others: Any) -> ClipJob:
    return ClipJob(Media(*source), *others)


@dataclass(frozen=True)
class ClipResult:
    """Facts about a clip that PyAV decoded. Its pixels are in the memory that the loader allocated.

    Attributes:
        shape: Shape of the pixels, uint8 RGB ``[N, 3, H, W]``, for N picks; of V views ``[V, N, 3, H, W]``. The user's
            function may change H and W.
        flip: Whether the graph must mirror the clip; of V views, a tuple of V.
        picks: Indices of the picked frames in the video, int64 ``[N]``; of V views, ``[V, N]``.
        num_frames: Number of frames in the video or its part, T.
        frames_decoded: Number of frames that the decoder returned.
        seconds: CPU time that making the clip took, in seconds.
        unindexed: Reason the record was rejected; None if it was used or absent.
        record: New record for the motion index; None unless it was requested and the whole video was measured.
        damage: Error at which decoding ended after T frames, if these were kept; None if the whole video was decoded.
        not_on_gpu: Reason the GPU did not decode it, in a loader whose GPU decodes; otherwise None.
        wall_seconds: Time from the begin of the job to its end, in seconds.
    """

    shape: tuple[int, ...]
    flip: bool | tuple[bool, ...]
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int
    seconds: float
    unindexed: str | None = None
    record: VideoRecord | None = None
    damage: VideoDecodeError | None = None
    not_on_gpu: str | None = None
    wall_seconds: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        # As in ClipJob.
        shape, flip, picks, *others = vars(self).values()
        return _unpickled_result, (shape, flip, picks.tobytes(), *others)

    def single_clips(self) -> list[ClipResult]:
        """Return the result as one result per view; the result itself if it is one clip."""
        if isinstance(self.flip, bool):
            return [self]
        return [
            replace(self, shape=self.shape[1:], flip=flip, picks=picks)
            for flip, picks in zip(self.flip, self.picks, strict=True)
        ]


def _unpickled_result(shape: tuple[int, ...], flip: bool | tuple[bool, ...], picks: bytes, *others: Any) -> ClipResult:
    indices = np.frombuffer(picks, np.int64)
    return ClipResult(shape, flip, indices if isinstance(flip, bool) else indices.reshape(len(flip), -1), *others)


@dataclass(frozen=True)
class JobTimer:
    """Times of the moment at which a job began, in seconds.

    Attributes:
        cpu: CPU time of this thread.
        wall: Time on the clock, which also runs while the job waits for a disk or a network.
    """

    cpu: float = field(default_factory=time.thread_time)
    wall: float = field(default_factory=time.perf_counter)


class ClipLoader:
    """Decodes videos with PyAV and makes their clips.

    Args:
        config: Settings of the loader.
    """

    def __init__(self, config: ClipConfig) -> None:
        self._transform = config.transform
        self._representation = config.sampler.representation
        self._make_records = config.make_records
        self._function = config.function
        self._cropper = Cropper(config.transform)
        self._decoder = Decoder(config.sampler, memory_budget=config.memory_budget, keep_damaged=config.keep_damaged)

    def load(self, job: ClipJob, allocate: Allocate) -> ClipResult:
        """Decode a video and write its clip into allocated memory.

        Args:
            job: The video.
            allocate: Function that returns the memory for the clip.

        Raises:
            VideoDecodeError: If the video cannot be decoded.
            TransformError: If the user's function fails.
            ValueError: If the sampler does not return N indices of frames of the video.
        """
        started = JobTimer()
        return self.make_clip(job, allocate, reason_unindexed(job, self._representation), started)

    def make_clip(self, job: ClipJob, allocate: Allocate, unindexed: str | None, started: JobTimer) -> ClipResult:
        """Make the clip of a video whose record was compared with the video before.

        Args:
            job: The video.
            allocate: Function that returns the memory for the clip.
            unindexed: Reason the job's record was rejected, from :func:`reason_unindexed`.
            started: When the job began.

        Raises:
            VideoDecodeError: If the video cannot be decoded.
            TransformError: If the user's function fails.
            ValueError: If the sampler does not return N indices of frames of the video.
        """
        log, fingerprint = None, None
        if self._make_records and (job.record is None or unindexed is not None):
            # Taken before the content is read: a file that changes in between must not look unchanged later.
            log, fingerprint = StreamLog(), job.media.fingerprint()
        record = job.record if unindexed is None else None
        decode = partial(
            self._decoder.decode, job.media, record=record, time_range=job.time_range, part=job.part, log=log
        )
        flip: bool | tuple[bool, ...]
        with naming_small_frames(job.path):
            if job.views is None:
                video = decode(job.choices.offsets, picture=partial(self._cropper.crop, choices=job.choices))
                flip = self._transform.flip(job.choices)
                shape = self._write_clip(job, [video.frames[pick] for pick in video.picks.tolist()], allocate)
            else:
                # The frames themselves are kept: each view has its own window.
                offsets = np.stack([view.choices.offsets for view in job.views])
                video = decode(offsets, picture=lambda frame: frame)
                flip = tuple(self._is_mirrored(view) for view in job.views)
                shape = self._write_views(job, job.views, video, allocate)
        new_record = None
        if log is not None and fingerprint is not None and video.log_is_complete:
            new_record = self._record(job, fingerprint, log, video.whole_motion)
        return ClipResult(
            shape=shape,
            flip=flip,
            picks=video.picks,
            num_frames=video.num_frames,
            frames_decoded=video.frames_decoded,
            seconds=time.thread_time() - started.cpu,
            unindexed=unindexed,
            record=new_record,
            damage=video.damage,
            wall_seconds=time.perf_counter() - started.wall,
        )

    def _write_clip(self, job: ClipJob, pictures: list[NDArray[np.uint8]], allocate: Allocate) -> tuple[int, ...]:
        """Write a clip into allocated memory, changed by the user's function, and return its shape.

        Args:
            job: The video.
            pictures: Pictures of the picked frames, uint8 ``[3, H, W]`` each.
            allocate: Function that returns the memory for the clip.
        """
        if self._function is None:
            shape = (len(pictures), 3, *self._transform.size)
            np.stack(pictures, out=allocate(shape))
            return shape
        # The function may keep the clip, so it is not in the memory of the slot, which is used again for other clips.
        changed = self._function(np.stack(pictures), job.seed, job.path)
        allocate(changed.shape)[:] = changed
        return changed.shape

    def _write_views(
        self, job: ClipJob, views: tuple[View, ...], video: DecodedVideo, allocate: Allocate
    ) -> tuple[int, ...]:
        """Write the clips of all views into allocated memory, and return the shape of all together."""
        clips = []
        for view, picks in zip(views, video.picks.tolist(), strict=True):
            clip = np.stack([self._cropper.crop(video.frames[pick], view.choices, view.place) for pick in picks])
            clips.append(clip if self._function is None else self._function(clip, view.seed, job.path))
            if self._function is not None and clips[-1].shape != clips[0].shape:
                raise self._function.sizes_differ(job.path, clips[-1].shape[2:], job.path, clips[0].shape[2:])
        shape = (len(clips), *clips[0].shape)
        np.stack(clips, out=allocate(shape))
        return shape

    def _is_mirrored(self, view: View) -> bool:
        return self._transform.flip(view.choices) if view.place is None else view.place.mirrored

    def _record(
        self, job: ClipJob, fingerprint: Fingerprint, log: StreamLog, motion: NDArray[np.float64] | None
    ) -> VideoRecord:
        """Return the new record of a video, with the motion of other representations from its old record."""
        measured = [] if self._representation is None or motion is None else [(self._representation, motion)]
        record = VideoRecord.from_log(index_name(job.path), fingerprint, log, measured)
        before = job.record
        if before is None or before.fingerprint != fingerprint:
            return record
        return replace(record, motion={**before.motion, **record.motion}, filters=record.filters or before.filters)


@contextmanager
def naming_small_frames(path: str) -> Iterator[None]:
    """Let the error of frames that are too small for the clip name their video.

    Raises:
        VideoSizeError: In place of a FrameSizeError.
    """
    try:
        yield
    except FrameSizeError as error:
        advice = (
            'Pass resize="auto" or a number, or a smaller crop_size; with on_error="replace" the loader uses another '
            "video instead."
        )
        raise VideoSizeError(path, 0, str(error), advice) from error


def reason_unindexed(job: ClipJob, representation: Representation | None) -> str | None:
    """Return the reason a job's record must be rejected; None if it is valid or absent.

    Raises:
        VideoDecodeError: If the video is missing.
    """
    record = job.record
    if record is None:
        return None
    if record.error is not None or record.fingerprint is None:
        return "could not be decoded when it was measured"
    if not job.media.unchanged(record.fingerprint):
        return "has changed since it was measured"
    if representation is not None and record.motion_of(representation) is None:
        return f"was not measured as motion={representation_key(representation)!r} with these filters"
    return None
