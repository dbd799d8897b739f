"""The job of a worker where a GPU decodes: preparing one video's encoded file for the GPU, or its clip."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.gpu.decoder_memory import decoding_bytes
from mgdali.gpu.nvdec import NvdecTable, choose_way, reason_of_codec
from mgdali.samplers import needs_times
from mgdali.transforms import Window
from mgdali.video.bare_stream import BARE_CODECS
from mgdali.video.colour import colour_correction
from mgdali.video.decoder import known_picks
from mgdali.video.joinable import read_needed
from mgdali.video.kept_parts import KeptParts
from mgdali.video.packet_bytes import knows_packets
from mgdali.video.record import VideoRecord
from mgdali.video.remux import Remuxed, remux_needed, remux_picked, remux_whole
from mgdali.video.stream_facts import StreamFacts, facts_of_packets, probe
from mgdali.workers.clip_job import (
    Allocate,
    ClipConfig,
    ClipJob,
    ClipLoader,
    ClipResult,
    JobTimer,
    naming_small_frames,
    reason_unindexed,
)
from mgdali.workers.protocols import Loader

__all__ = ["GRAPH_FAILED", "EncodedConfig", "EncodedLoader", "EncodedResult", "Result"]

GRAPH_FAILED = "the GPU's decoder failed on it or on a video of its batch"
"""Why a video is decoded by PyAV after the graph has failed (:attr:`ClipJob.on_gpu`)."""

Visible = tuple[int, int, int, int]
"""The visible part of stored frames, in pixels: top, left, height, width."""


@dataclass(frozen=True, kw_only=True)
class EncodedConfig(ClipConfig):
    """Settings that all clips of a loader share if a GPU decodes.

    Attributes:
        nvdec: Codecs and limits of the GPU's decoder.
        gpu_memory_budget: Number of bytes of decoded frames that fit into the GPU's memory at a time.
    """

    nvdec: NvdecTable
    gpu_memory_budget: float = math.inf

    def make_loader(self) -> Loader:
        """Return the object that does the jobs in a worker."""
        return EncodedLoader(self)


@dataclass(frozen=True)
class EncodedResult:
    """Facts about an encoded file that the GPU decodes. Its bytes are in the memory that the loader allocated.

    Attributes:
        shape: Shape of the file, uint8 ``[bytes]``.
        window: Crop window, in pixels of the visible part of the frames.
        flip: Whether the graph must mirror the clip.
        offsets: Position of each pick within its part of the cumulative distribution, float64 ``[N]`` in [0, 1).
        num_frames: Number of frames in the video or its part, T; without a record, the number of packets.
        frames_decoded: Number of frames that the GPU's decoder will return.
        frame_bytes: Number of bytes of one decoded frame as 8-bit RGB.
        visible: Visible part of the decoded frames.
        colours: Matrix that corrects the colours of the decoded frames, float32 ``[9]``
            (:func:`~mgdali.video.colour.colour_correction`).
        picks: Indices of the picked frames in the video, int64 ``[N]``, if the index has them. None if the graph
            measures the motion.
        places: Indices of the picked frames among the decoded ones, int64 ``[N]``; None if ``picks`` is None.
        unindexed: Reason the record was rejected; None if it was used or absent.
        wall_seconds: Time from the begin of the job to its end, in seconds. Decoding on the GPU comes later.
    """

    shape: tuple[int]
    window: Window
    flip: bool
    offsets: NDArray[np.float64]
    num_frames: int
    frames_decoded: int
    frame_bytes: int
    visible: Visible
    colours: NDArray[np.float32]
    picks: NDArray[np.int64] | None = None
    places: NDArray[np.int64] | None = None
    unindexed: str | None = None
    wall_seconds: float = 0.0

    @property
    def gpu_bytes(self) -> int:
        """Number of bytes that decoding and gathering take on the GPU."""
        return decoding_bytes(self.frames_decoded, len(self.offsets), self.frame_bytes)


Result = ClipResult | EncodedResult


class EncodedLoader:
    """Reads encoded files for the GPU to decode, and makes the clips of files that the GPU cannot decode.

    Args:
        config: Settings of the loader.
    """

    def __init__(self, config: EncodedConfig) -> None:
        self._transform = config.transform
        self._sampler = config.sampler
        self._make_records = config.make_records
        self._nvdec = config.nvdec
        self._gpu_memory_budget = config.gpu_memory_budget
        self._clips = ClipLoader(config)

    def load(self, job: ClipJob, allocate: Allocate) -> Result:
        """Write a video's file into allocated memory, or its clip if NVDEC rejects the file or it is too large.

        If the picks are known and the record tells where the packets are, only the packets that the picks need are
        read. Otherwise the whole file is read. A video that falls back to PyAV is read once: PyAV gets the bytes that
        were read here.

        Args:
            job: The video.
            allocate: Function that returns the memory for the file or the clip.

        Raises:
            VideoDecodeError: If the file cannot be read or decoded.
            ValueError: If the sampler does not return N indices of frames of the video.
        """
        started = JobTimer()
        unindexed = reason_unindexed(job, self._sampler.representation)
        if not job.on_gpu:
            return replace(self._clips.make_clip(job, allocate, unindexed, started), not_on_gpu=GRAPH_FAILED)
        if job.views is not None:
            clips = self._clips.make_clip(job, allocate, unindexed, started)
            return replace(clips, not_on_gpu="only PyAV makes several views from one decoding")
        record = job.record if unindexed is None else None
        picks = self._known_picks(job, record)
        joined = _Joined.of(record, picks)
        reason = self._not_read(job, picks, joined)
        if reason is None:
            job = replace(job, media=job.media.loaded() if joined is None else KeptParts.of(job.media))
            order = record
            if unindexed is not None and reason_unindexed(job, None) is None:
                # A record without the sampler's S still has the order of the packets.
                order = job.record
            encoded = self._encode(job, order, picks, joined)
            if not isinstance(encoded, str):
                return self._result(job, encoded, allocate, picks, unindexed, started)
            reason = encoded
        return replace(self._clips.make_clip(job, allocate, unindexed, started), not_on_gpu=reason)

    def _known_picks(self, job: ClipJob, record: VideoRecord | None) -> NDArray[np.int64] | None:
        """Return the picks of a video or its part, int64 ``[N]``; None if the record does not tell them."""
        if job.time_range is not None:
            if record is None or job.part is None:
                return None
            job.time_range.check_frames(job.part, job.path)
        return known_picks(self._sampler, record, job.choices.offsets, job.part)

    def _not_read(self, job: ClipJob, picks: NDArray[np.int64] | None, joined: _Joined | None) -> str | None:
        """Return the reason that the GPU does not decode a video, if it is known before it is read; else None."""
        if picks is None and self._make_records:
            # The index stores S of PyAV's luma planes, which DALI's decoder does not return.
            return "PyAV measures it for the index"
        if picks is None and job.time_range is not None:
            return "only PyAV measures a part of a video"
        if picks is None and needs_times(self._sampler):
            return "only PyAV tells the times of the frames"
        if job.media.frame_files() is not None:
            return "DALI does not decode JPEG frames on a GPU"
        return None if joined is None else reason_of_codec(joined.record.codec, self._nvdec) or None

    def _encode(
        self, job: ClipJob, record: VideoRecord | None, picks: NDArray[np.int64] | None, joined: _Joined | None
    ) -> _Encoded | str:
        """Return what the GPU decodes of a video, or the reason that it does not decode it.

        Args:
            job: The video, whose content was read if ``joined`` is None.
            record: Record of its content; None if it has none.
            picks: Its picks; None if they are not known.
            joined: What its needed packets are joined by; None if its file was read.
        """
        try:
            encoded = self._encode_file(job, record, picks) if joined is None else self._encode_packets(job, joined)
            if isinstance(encoded, str):
                return encoded
        except VideoDecodeError as error:
            # PyAV may still decode it, or a part of it. If not, its error counts frames.
            return error.reason
        needed = decoding_bytes(encoded.num_frames, len(job.choices.offsets), encoded.frame_bytes)
        if needed > self._gpu_memory_budget:
            return f"its {needed} bytes of frames exceed gpu_memory_budget={self._gpu_memory_budget:.0f}"
        return encoded

    def _encode_packets(self, job: ClipJob, joined: _Joined) -> _Encoded | str:
        """Return what the GPU decodes of a video, after reading only the packets that the picks need."""
        record = joined.record
        needed = read_needed(job.media, record, joined.picks.tolist())
        facts = facts_of_packets(record, needed.decoded, job.path)
        way = choose_way(facts, self._nvdec, record=record)
        if way.kind == "pyav":
            return way.reason
        return _Encoded.of_part(remux_needed(needed, job.path, record, uncrop=facts.cropped), facts)

    def _encode_file(self, job: ClipJob, record: VideoRecord | None, picks: NDArray[np.int64] | None) -> _Encoded | str:
        """Return what the GPU decodes of a video whose file was read."""
        content = job.media.read()
        facts = probe(content, job.path)
        way = choose_way(facts, self._nvdec, record=record)
        if way.kind == "pyav":
            return way.reason
        if picks is not None and record is not None and record.packets is not None:
            return _Encoded.of_part(
                remux_picked(content, job.path, record, picks.tolist(), uncrop=facts.cropped), facts
            )
        if way.kind == "remuxed":
            order = None if record is None else record.packets
            content = remux_whole(content, job.path, order=order, uncrop=facts.cropped)
        return _Encoded(content, facts, facts.num_packets, picks, facts.cropped)

    def _result(
        self,
        job: ClipJob,
        encoded: _Encoded,
        allocate: Allocate,
        picks: NDArray[np.int64] | None,
        unindexed: str | None,
        started: JobTimer,
    ) -> EncodedResult:
        facts, shape = encoded.facts, (len(encoded.content),)
        with naming_small_frames(job.path):
            window = self._transform.window(facts.height, facts.width, job.choices)
        allocate(shape)[:] = np.frombuffer(encoded.content, np.uint8)
        return EncodedResult(
            shape=shape,
            window=window,
            flip=self._transform.flip(job.choices),
            offsets=job.choices.offsets,
            num_frames=facts.num_packets if job.part is None else job.part[1] - job.part[0],
            frames_decoded=encoded.num_frames,
            frame_bytes=encoded.frame_bytes,
            visible=encoded.visible,
            colours=colour_correction(facts.matrix),
            picks=picks,
            places=encoded.places,
            unindexed=unindexed,
            wall_seconds=time.perf_counter() - started.wall,
        )


@dataclass(frozen=True)
class _Joined:
    """A video whose needed packets are read without its container and joined.

    Attributes:
        record: Its record, which tells where its packets are.
        picks: Indices of the picked frames, int64 ``[N]``.
    """

    record: VideoRecord
    picks: NDArray[np.int64]

    @classmethod
    def of(cls, record: VideoRecord | None, picks: NDArray[np.int64] | None) -> _Joined | None:
        """Return a video's record with its picks; None if they are unknown, or the packets cannot be read alone."""
        if record is None or picks is None or not knows_packets(record) or record.codec not in BARE_CODECS:
            return None
        return cls(record, picks)


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

    @classmethod
    def of_part(cls, part: Remuxed, facts: StreamFacts) -> _Encoded:
        """Return a file with the packets that picks need, copied without cropping if the video has one."""
        return cls(part.content, facts, part.num_frames, part.picks, facts.cropped)

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
