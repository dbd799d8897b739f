"""The job of a worker: preparing one video for the DALI graph.

The result is the clip, decoded by PyAV, or the encoded file, which the GPU decodes.
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
from mgdali.errors import VideoDecodeError
from mgdali.gpu.decoder_memory import decoding_bytes
from mgdali.gpu.nvdec import NvdecTable, choose_way
from mgdali.samplers import Representation, Sampler
from mgdali.transforms import SpatialTransform, Window
from mgdali.video.colour import colour_correction
from mgdali.video.crop import Cropper
from mgdali.video.decoder import Decoder, known_picks
from mgdali.video.media import Fingerprint, Media
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord, index_name, representation_key
from mgdali.video.remux import remux_picked, remux_whole
from mgdali.video.stream_facts import StreamFacts, probe

__all__ = [
    "GRAPH_FAILED",
    "ClipConfig",
    "ClipJob",
    "ClipLoader",
    "ClipResult",
    "EncodedLoader",
    "EncodedResult",
    "Result",
]

GRAPH_FAILED = "the GPU's decoder failed on it or on a video of its batch"
"""Why a video is decoded by PyAV after the graph has failed (:attr:`ClipJob.on_gpu`)."""

Allocate = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Function that returns memory for a result: uint8 of the given shape."""

Visible = tuple[int, int, int, int]
"""The visible part of stored frames, in pixels: top, left, height, width."""


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Settings that all clips of a loader share. They are pickled once for each worker.

    Attributes:
        sampler: Sampling strategy.
        transform: Crop window, clip size and flip.
        memory_budget: Number of bytes of decoded frames that a worker may hold for one video.
        nvdec: Streams that the GPU decodes; None if PyAV decodes every video.
        gpu_memory_budget: Number of bytes of decoded frames that fit into the GPU's memory at a time.
        make_records: Whether to return a record for the motion index with each video that has no valid one.
        keep_damaged: Whether to make a damaged video's clip of the frames before the damage, if these are at least N.
    """

    sampler: Sampler
    transform: SpatialTransform
    memory_budget: int
    nvdec: NvdecTable | None = None
    gpu_memory_budget: float = math.inf
    make_records: bool = False
    keep_damaged: bool = False

    def make_loader(self) -> ClipLoader | EncodedLoader:
        """Return the object that does the jobs in a worker."""
        return ClipLoader(self) if self.nvdec is None else EncodedLoader(self, self.nvdec)


@dataclass(frozen=True)
class ClipJob:
    """One video to load.

    Attributes:
        media: The video.
        choices: Random choices for it.
        record: Its record in the motion index; None if the index has no record of it.
        on_gpu: Whether the GPU may decode it; if not, PyAV decodes it although NVDEC could.
    """

    media: Media
    choices: Draw
    record: VideoRecord | None = None
    on_gpu: bool = True

    @property
    def path(self) -> str:
        """Path of the video, for messages."""
        return self.media.path


@dataclass(frozen=True)
class ClipResult:
    """Facts about a clip that PyAV decoded. Its pixels are in the memory that the loader allocated.

    Attributes:
        shape: Shape of the pixels, uint8 RGB ``[N, 3, S, S]``, for N picks and clips of size S.
        flip: Whether the graph must mirror the clip.
        picks: Indices of the picked frames, int64 ``[N]``.
        num_frames: Number of frames in the video, T.
        frames_decoded: Number of frames that the decoder returned.
        seconds: CPU time that making the clip took, in seconds.
        unindexed: Reason the record was rejected; None if it was used or absent.
        record: New record for the motion index; None unless it was requested and the whole video was measured.
        damage: Error at which decoding ended after T frames, if these were kept; None if the whole video was decoded.
        not_on_gpu: Reason the GPU did not decode it, in a loader whose GPU decodes; otherwise None.
    """

    shape: tuple[int, int, int, int]
    flip: bool
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int
    seconds: float
    unindexed: str | None = None
    record: VideoRecord | None = None
    damage: VideoDecodeError | None = None
    not_on_gpu: str | None = None


@dataclass(frozen=True)
class EncodedResult:
    """Facts about an encoded file that the GPU decodes. Its bytes are in the memory that the loader allocated.

    Attributes:
        shape: Shape of the file, uint8 ``[bytes]``.
        window: Crop window, in pixels of the visible part of the frames.
        flip: Whether the graph must mirror the clip.
        offsets: Position of each pick within its part of the cumulative distribution, float64 ``[N]`` in [0, 1).
        num_frames: Number of frames in the video, T; without a record, the number of packets.
        decoded_bytes: Number of bytes of the decoded frames as 8-bit RGB.
        frames_decoded: Number of frames that the GPU's decoder will return.
        visible: Visible part of the decoded frames.
        colours: Matrix that corrects the colours of the decoded frames, float32 ``[9]``
            (:func:`~mgdali.video.colour.colour_correction`).
        picks: Indices of the picked frames in the video, int64 ``[N]``, if the index has them. None if the graph
            measures the motion.
        places: Indices of the picked frames among the decoded ones, int64 ``[N]``; None if ``picks`` is None.
        unindexed: Reason the record was rejected; None if it was used or absent.
        frame_bytes: Number of bytes of one decoded frame as 8-bit RGB.
    """

    shape: tuple[int]
    window: Window
    flip: bool
    offsets: NDArray[np.float64]
    num_frames: int
    decoded_bytes: int
    frames_decoded: int
    visible: Visible
    colours: NDArray[np.float32]
    picks: NDArray[np.int64] | None = None
    places: NDArray[np.int64] | None = None
    unindexed: str | None = None
    frame_bytes: int = 0


Result = ClipResult | EncodedResult


class ClipLoader:
    """Decodes videos with PyAV and makes their clips.

    Args:
        config: Settings of the loader.
    """

    def __init__(self, config: ClipConfig) -> None:
        self._transform = config.transform
        self._representation = config.sampler.representation
        self._make_records = config.make_records
        self._cropper = Cropper(config.transform)
        self._decoder = Decoder(config.sampler, memory_budget=config.memory_budget, keep_damaged=config.keep_damaged)

    def load(self, job: ClipJob, allocate: Allocate) -> ClipResult:
        """Decode a video and write its clip into allocated memory.

        Args:
            job: The video.
            allocate: Function that returns the memory for the clip.

        Raises:
            VideoDecodeError: If the video cannot be decoded.
            ValueError: If the sampler does not return N indices of frames of the video.
        """
        started = time.thread_time()
        return self.make_clip(job, allocate, reason_unindexed(job, self._representation), started)

    def make_clip(self, job: ClipJob, allocate: Allocate, unindexed: str | None, started: float) -> ClipResult:
        """Make the clip of a video whose record was compared with the video before.

        Args:
            job: The video.
            allocate: Function that returns the memory for the clip.
            unindexed: Reason the job's record was rejected, from :func:`reason_unindexed`.
            started: CPU time of this thread when the job began, in seconds.

        Raises:
            VideoDecodeError: If the video cannot be decoded.
            ValueError: If the sampler does not return N indices of frames of the video.
        """
        log, fingerprint = None, None
        if self._make_records and (job.record is None or unindexed is not None):
            # Taken before the content is read: a file that changes in between must not look unchanged later.
            log, fingerprint = StreamLog(), job.media.fingerprint()
        record = job.record if unindexed is None else None
        picture = partial(self._cropper.crop, choices=job.choices)
        video = self._decoder.decode(job.media, job.choices.offsets, picture=picture, record=record, log=log)
        size = self._transform.crop_size
        shape = (len(video.picks), 3, size, size)
        clip = allocate(shape)
        for i, pick in enumerate(video.picks.tolist()):
            clip[i] = video.frames[pick]
        new_record = None
        if log is not None and fingerprint is not None and video.damage is None:
            new_record = self._record(job, fingerprint, log, video.motion)
        return ClipResult(
            shape=shape,
            flip=self._transform.flip(job.choices),
            picks=video.picks,
            num_frames=video.num_frames,
            frames_decoded=video.frames_decoded,
            seconds=time.thread_time() - started,
            unindexed=unindexed,
            record=new_record,
            damage=video.damage,
        )

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


class EncodedLoader:
    """Reads encoded files for the GPU to decode, and makes the clips of files that the GPU cannot decode.

    Args:
        config: Settings of the loader.
        nvdec: Codecs and limits of the GPU's decoder.
    """

    def __init__(self, config: ClipConfig, nvdec: NvdecTable) -> None:
        self._transform = config.transform
        self._sampler = config.sampler
        self._make_records = config.make_records
        self._nvdec = nvdec
        self._gpu_memory_budget = config.gpu_memory_budget
        self._clips = ClipLoader(config)

    def load(self, job: ClipJob, allocate: Allocate) -> Result:
        """Write a video's file into allocated memory, or its clip if NVDEC rejects the file or it is too large.

        A file that falls back to PyAV is read and probed once: PyAV decodes the bytes that were read here.

        Args:
            job: The video.
            allocate: Function that returns the memory for the file or the clip.

        Raises:
            VideoDecodeError: If the file cannot be read or decoded.
            ValueError: If the sampler does not return N indices of frames of the video.
        """
        started = time.thread_time()
        unindexed = reason_unindexed(job, self._sampler.representation)
        if not job.on_gpu:
            return replace(self._clips.make_clip(job, allocate, unindexed, started), not_on_gpu=GRAPH_FAILED)
        record = job.record if unindexed is None else None
        picks = known_picks(self._sampler, record, job.choices.offsets)
        reason = self._not_read(job, picks)
        if reason is None:
            job = replace(job, media=job.media.loaded())
            encoded = self._encode(job, record, picks)
            if not isinstance(encoded, str):
                return self._result(job, encoded, allocate, picks, unindexed)
            reason = encoded
        return replace(self._clips.make_clip(job, allocate, unindexed, started), not_on_gpu=reason)

    def _not_read(self, job: ClipJob, picks: NDArray[np.int64] | None) -> str | None:
        """Return the reason that the GPU does not decode a video whatever is in it; None if there is no such reason."""
        if picks is None and self._make_records:
            # The index stores S of PyAV's luma planes, which DALI's decoder does not return.
            return "PyAV measures it for the index"
        if job.media.frame_files() is not None:
            return "DALI does not decode JPEG frames on a GPU"
        return None

    def _encode(self, job: ClipJob, record: VideoRecord | None, picks: NDArray[np.int64] | None) -> _Encoded | str:
        """Return what the GPU decodes of a video, or the reason that it does not decode it.

        Args:
            job: The video, whose content was read.
            record: Its valid record; None if it has none.
            picks: Its picks; None if they are not known.
        """
        content = job.media.read()
        facts = probe(content, job.path)
        way = choose_way(facts, self._nvdec, record=record)
        if way.kind == "pyav":
            return way.reason
        uncrop = (facts.coded_width, facts.coded_height) != (facts.width, facts.height)
        encoded = _Encoded(content, facts, facts.num_packets, picks, uncrop)
        try:
            if picks is not None and record is not None and record.packets is not None:
                part = remux_picked(content, job.path, record, picks.tolist(), uncrop=uncrop)
                encoded = replace(encoded, content=part.content, num_frames=part.num_frames, places=part.picks)
            elif way.kind == "remuxed":
                order = None if record is None else record.packets
                encoded = replace(encoded, content=remux_whole(content, job.path, order=order, uncrop=uncrop))
        except VideoDecodeError as error:
            return error.reason
        needed = encoded.needed_bytes
        if needed > self._gpu_memory_budget:
            return f"its {needed} bytes of frames exceed gpu_memory_budget={self._gpu_memory_budget:.0f}"
        return encoded

    def _result(
        self,
        job: ClipJob,
        encoded: _Encoded,
        allocate: Allocate,
        picks: NDArray[np.int64] | None,
        unindexed: str | None,
    ) -> EncodedResult:
        facts, shape = encoded.facts, (len(encoded.content),)
        allocate(shape)[:] = np.frombuffer(encoded.content, np.uint8)
        return EncodedResult(
            shape=shape,
            window=self._transform.window(facts.height, facts.width, job.choices),
            flip=self._transform.flip(job.choices),
            offsets=job.choices.offsets,
            num_frames=facts.num_packets,
            decoded_bytes=encoded.num_frames * encoded.frame_bytes,
            frames_decoded=encoded.num_frames,
            visible=encoded.visible,
            colours=colour_correction(facts.matrix),
            picks=picks,
            places=encoded.places,
            unindexed=unindexed,
            frame_bytes=encoded.frame_bytes,
        )


@dataclass(frozen=True)
class _Encoded:
    """What the GPU decodes of a video.

    Attributes:
        content: The encoded file.
        facts: Facts about the video.
        num_frames: Number of frames in the file.
        places: Index of each pick among these frames, int64 ``[N]``; None if the picks are not known.
        uncropped: Whether the decoded frames have the coded size.
    """

    content: bytes
    facts: StreamFacts
    num_frames: int
    places: NDArray[np.int64] | None
    uncropped: bool

    @property
    def visible(self) -> Visible:
        """The visible part of the decoded frames."""
        facts = self.facts
        top, left = (facts.top, facts.left) if self.uncropped else (0, 0)
        return top, left, facts.height, facts.width

    @property
    def frame_bytes(self) -> int:
        """Number of bytes of a decoded frame as 8-bit RGB."""
        facts = self.facts
        return 3 * facts.coded_height * facts.coded_width if self.uncropped else facts.frame_bytes

    @property
    def needed_bytes(self) -> int:
        """Number of bytes that decoding takes on the GPU."""
        return decoding_bytes(self.num_frames * self.frame_bytes, self.frame_bytes)


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
