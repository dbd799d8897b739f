"""From a video to what enters the DALI graph: its clip, decoded here, or the file as it is, for the GPU to decode.

This is the work of one worker for one video; it knows nothing of processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import Draw
from mgdali.gpu.nvdec import NvdecTable, nvdec_refusal, probe, recorded_facts
from mgdali.samplers import Representation, Sampler
from mgdali.transforms import SpatialTransform, Window
from mgdali.video.crop import Cropper
from mgdali.video.decoder import Decoder, known_picks
from mgdali.video.media import Fingerprint, Media
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord, index_name, representation_key

__all__ = ["ClipConfig", "ClipJob", "ClipLoader", "ClipResult", "EncodedResult", "Result"]

Allocate = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Gives the memory for what a loader makes, uint8 of the shape asked for."""


@dataclass(frozen=True)
class ClipConfig:
    """What is the same for all clips of a loader; pickled once to each worker.

    Attributes:
        memory_budget: bytes of decoded frames to hold here.
        nvdec: what the GPU decodes; None where everything is decoded here.
        decoded_budget: bytes of decoded frames that the GPU has room for.
        survey: whether to make a record of each video of which none holds.
    """

    sampler: Sampler
    transform: SpatialTransform
    memory_budget: int
    nvdec: NvdecTable | None = None
    decoded_budget: float = math.inf
    survey: bool = False

    def make_loader(self) -> ClipLoader | EncodedLoader:
        """What a worker does its jobs with."""
        return ClipLoader(self) if self.nvdec is None else EncodedLoader(self, self.nvdec)


@dataclass(frozen=True)
class ClipJob:
    """One video to make a clip of, the random choices for it, and what a motion index knows of it."""

    media: Media
    choices: Draw
    record: VideoRecord | None = None

    @property
    def path(self) -> str:
        """The video, for messages."""
        return self.media.path


@dataclass(frozen=True)
class ClipResult:
    """What is known of a clip beside its pixels.

    Attributes:
        shape: of the pixels, uint8 ``[N, 3, S, S]`` with the clip's size S.
        flip: whether the clip is to be mirrored.
        picks: int64 ``[N]``.
        num_frames: T, frames in the video.
        frames_decoded: frames the decoder put out for it.
        seconds: of a processor that making it took.
        unindexed: why the record that came with the job was of no use; None where it was, or where none came.
        record: of a video that was measured for a growing index.
    """

    shape: tuple[int, int, int, int]
    flip: bool
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int
    seconds: float
    unindexed: str | None = None
    record: VideoRecord | None = None


@dataclass(frozen=True)
class EncodedResult:
    """What is known of a video whose file goes to the GPU as it is.

    Attributes:
        shape: of the file, uint8 ``[bytes]``.
        window: the crop window: top, left, bottom, right.
        flip: whether the clip is to be mirrored.
        offsets: where frames are to be picked, float64 ``[N]``.
        num_frames: T, as far as is known before decoding.
        decoded_bytes: what the decoded frames take, likewise.
        picks: int64 ``[N]`` where they are known beforehand, so that only these frames are decoded; None where motion
            is to be measured.
        frames_decoded: frames that the GPU's decoder will put out for it.
        unindexed: why the record that came with the job was of no use; None where it was, or where none came.
    """

    shape: tuple[int]
    window: Window
    flip: bool
    offsets: NDArray[np.float64]
    num_frames: int
    decoded_bytes: int
    frames_decoded: int
    picks: NDArray[np.int64] | None = None
    unindexed: str | None = None


Result = ClipResult | EncodedResult


class ClipLoader:
    """Makes clips, one after another."""

    def __init__(self, config: ClipConfig) -> None:
        self._transform = config.transform
        self._representation = config.sampler.representation
        self._survey = config.survey
        self._cropper = Cropper(config.transform)
        self._decoder = Decoder(config.sampler, memory_budget=config.memory_budget)

    def load(self, job: ClipJob, allocate: Allocate) -> ClipResult:
        """Decode a video and write its clip.

        Raises:
            VideoDecodeError: the file cannot be decoded.
        """
        started = time.thread_time()
        unindexed = why_unindexed(job, self._representation)
        log, fingerprint = None, None
        if self._survey and (job.record is None or unindexed is not None):
            # Before the content: a file that is written to meanwhile will not look unchanged.
            log, fingerprint = StreamLog(), job.media.fingerprint()
        record = job.record if unindexed is None else None
        picture = partial(self._cropper.crop, choices=job.choices)
        video = self._decoder.decode(job.media, job.choices.offsets, picture=picture, record=record, log=log)
        size = self._transform.crop_size
        shape = (len(video.picks), 3, size, size)
        clip = allocate(shape)
        for i, pick in enumerate(video.picks.tolist()):
            clip[i] = video.frames[pick]
        return ClipResult(
            shape=shape,
            flip=self._transform.flip(job.choices),
            picks=video.picks,
            num_frames=video.num_frames,
            frames_decoded=video.frames_decoded,
            seconds=time.thread_time() - started,
            unindexed=unindexed,
            record=None if log is None or fingerprint is None else self._record(job, fingerprint, log, video.motion),
        )

    def _record(
        self, job: ClipJob, fingerprint: Fingerprint, log: StreamLog, motion: NDArray[np.float64] | None
    ) -> VideoRecord:
        """What is now known of a video, and what was known of it in other representations."""
        measured = [] if self._representation is None or motion is None else [(self._representation, motion)]
        record = VideoRecord.of_log(index_name(job.path), fingerprint, log, measured)
        before = job.record
        if before is None or before.fingerprint != fingerprint:
            return record
        return replace(record, motion={**before.motion, **record.motion}, filters=record.filters or before.filters)


class EncodedLoader:
    """Hands files over for the GPU to decode, and makes the clips of those that it cannot."""

    def __init__(self, config: ClipConfig, nvdec: NvdecTable) -> None:
        self._transform = config.transform
        self._sampler = config.sampler
        self._survey = config.survey
        self._nvdec = nvdec
        self._decoded_budget = config.decoded_budget
        self._clips = ClipLoader(config)

    def load(self, job: ClipJob, allocate: Allocate) -> Result:
        """Read a video and write its file, or its clip where NVDEC does not take it or it is too large.

        Raises:
            VideoDecodeError: the file cannot be read or decoded.
        """
        unindexed = why_unindexed(job, self._sampler.representation)
        record = job.record if unindexed is None else None
        picks = known_picks(self._sampler, record, job.choices.offsets)
        if picks is None and self._survey:
            # An index holds S of the decoder's luma, which DALI does not hand out.
            return self._clips.load(job, allocate)
        content = job.media.read()
        facts = probe(content, job.path) if record is None else recorded_facts(record)
        frames_out = facts.num_frames if picks is None else len(picks)
        decoded_bytes = facts.frame_bytes * frames_out
        if nvdec_refusal(facts, self._nvdec) is not None or decoded_bytes > self._decoded_budget:
            return self._clips.load(job, allocate)
        shape = (len(content),)
        allocate(shape)[:] = np.frombuffer(content, np.uint8)
        return EncodedResult(
            shape=shape,
            window=self._transform.window(facts.height, facts.width, job.choices),
            flip=self._transform.flip(job.choices),
            offsets=job.choices.offsets,
            num_frames=facts.num_frames,
            decoded_bytes=decoded_bytes,
            frames_decoded=frames_out,
            picks=picks,
            unindexed=unindexed,
        )


def why_unindexed(job: ClipJob, representation: Representation | None) -> str | None:
    """Why the record that came with a job is of no use for it; None where it is, or where none came.

    Raises:
        VideoDecodeError: the video is not there.
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
