"""The way in which a video is decoded where a GPU is used: by DALI on the GPU, or by PyAV on the CPU.

DALI passes the packets of a file to NVDEC, and orders the pictures that NVDEC returns by the times of the packets. It
checks nothing else, and reports no error if the result is wrong. A file therefore goes to DALI only if DALI returns the
same frames as PyAV. The rules follow from the machine code and the published source of DALI 2.4.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mgdali.errors import VideoDecodeError
from mgdali.gpu.driver import DecoderCaps
from mgdali.video.colour import MATRICES
from mgdali.video.opening import TIMED_CONTAINERS
from mgdali.video.record import VideoRecord
from mgdali.video.remux import CROPPED_BY_HEADERS, MOST_REORDERED, remux_whole
from mgdali.video.stream_facts import StreamFacts, reordering_of

__all__ = ["ANY_GPU", "GPU_CODECS", "NvdecTable", "Way", "choose_way", "reason_of_codec", "tried_way"]

GPU_CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4")
"""FFmpeg's names of the codecs that ``fn.decoders.video`` of DALI decodes with NVDEC."""

NvdecTable = Mapping[str, DecoderCaps]
"""FFmpeg's names of the codecs that a GPU decodes (4:2:0, 8 bits per sample), with its limits."""

ANY_GPU: NvdecTable = {
    codec: DecoderCaps(codec, "4:2:0", 8, 0, 0, 0, 1 << 16, 1 << 16, 1 << 32) for codec in GPU_CODECS
}
"""A GPU that decodes all codecs that DALI decodes, without limits; for machines without a GPU."""

# Profiles that NVDEC decodes, by their numbers in the standards. H.264: Baseline, Main, High; HEVC: Main, Main 10 and
# Main Still Picture; VP9 and AV1: the profile with 8 bits and 4:2:0.
_PROFILES = {"h264": (66, 77, 100), "hevc": (1, 2, 3), "vp9": (0,), "av1": (0,)}
# DALI stores the number of bytes of a file in memory in 32 bits.
_MOST_BYTES = (1 << 31) - 1


@dataclass(frozen=True)
class Way:
    """The way in which a video is decoded.

    Attributes:
        kind: ``"as is"``: DALI decodes the unchanged file. ``"remuxed"``: DALI decodes the packets of the file, copied
            into a new file. ``"pyav"``: PyAV decodes the file on the CPU.
        reason: Reason that DALI cannot decode the unchanged file, as a clause; empty for ``"as is"``.
    """

    kind: Literal["as is", "remuxed", "pyav"]
    reason: str = ""


def choose_way(facts: StreamFacts, table: NvdecTable, *, record: VideoRecord | None = None) -> Way:
    """Return the way in which a video is decoded.

    Args:
        facts: Facts about the file (:func:`~mgdali.video.stream_facts.probe`).
        table: Codecs and limits of the GPU.
        record: Valid record of the video in the motion index, which contains the order of its packets; None if the
            video has no valid record.
    """
    for reason in _not_for_nvdec(facts, table, record):
        return Way("pyav", reason)
    order = next(_without_order(facts, record), "")
    if order and (record is None or record.packets is None):
        return Way("pyav", f"{order}, and no motion index has the order of its frames")
    reason = order or next(_not_as_it_is(facts), "")
    return Way("remuxed", reason) if reason else Way("as is")


def reason_of_codec(codec: str, table: NvdecTable) -> str:
    """Return the reason that a GPU decodes no video of a codec, as a clause; empty if it decodes the codec.

    Args:
        codec: FFmpeg's name of the codec.
        table: Codecs and limits of the GPU.
    """
    if codec not in GPU_CODECS:
        return f"DALI does not decode {codec} on a GPU"
    return "" if codec in table else f"NVDEC of this GPU does not decode {codec}"


def tried_way(
    content: bytes, path: str, facts: StreamFacts, table: NvdecTable, *, record: VideoRecord | None = None
) -> Way:
    """Return the way in which a video is decoded. If its packets must be copied, copy them to see whether it succeeds.

    Args:
        content: Content of the file.
        path: Path of the file, for errors.
        facts: Facts about the file.
        table: Codecs and limits of the GPU.
        record: Valid record of the video in the motion index; None if it has no valid record.

    Returns:
        The way of :func:`choose_way`; PyAV if the packets cannot be copied.
    """
    way = choose_way(facts, table, record=record)
    if way.kind != "remuxed":
        return way
    try:
        remux_whole(content, path, order=None if record is None else record.packets, uncrop=facts.cropped)
    except VideoDecodeError as error:
        return Way("pyav", f"{way.reason}, and it cannot be copied: {error.reason}")
    return way


def _not_for_nvdec(facts: StreamFacts, table: NvdecTable, record: VideoRecord | None) -> Iterator[str]:
    """Yield the reasons that DALI cannot decode the packets of a video, in whatever container."""
    size, coded = _sizes(facts)
    reason = reason_of_codec(facts.codec, table)
    if reason:
        yield reason
    elif facts.profile not in _PROFILES.get(facts.codec, (facts.profile,)):
        yield f"NVDEC does not decode profile {facts.profile} of {facts.codec}"
    if facts.streams > 1:
        # Which one FFmpeg chooses depends on how much of the file it has analyzed.
        yield f"it has {facts.streams} video streams"
    if facts.chroma != "4:2:0" or facts.bit_depth != 8:
        yield f"NVDEC does not decode {facts.chroma} with {facts.bit_depth} bits to 8-bit RGB"
    if facts.rotation:
        yield f"it is rotated by {facts.rotation} degrees"
    if facts.width % 2 or facts.height % 2:
        yield f"its width or height is odd: {size}"
    if not facts.progressive:
        yield "it is interlaced, or its headers allow interlaced frames"
    if facts.oddity:
        yield facts.oddity
    if facts.coded_frames != facts.num_packets:
        yield f"it has {facts.coded_frames} coded frames in {facts.num_packets} packets"
    if facts.odd_packets:
        yield f"{facts.odd_packets} of its {facts.num_packets} packets do not contain exactly one displayed frame"
    if facts.discarded:
        yield f"its container marks {facts.discarded} packets to be discarded"
    if facts.corrupt:
        yield f"its container marks {facts.corrupt} packets as corrupt"
    if facts.declared_frames not in (0, facts.num_packets):
        yield f"its container declares {facts.declared_frames} frames but has {facts.num_packets} packets"
    if record is not None and record.num_frames != facts.num_packets:
        yield f"its index row has {record.num_frames} frames but the file has {facts.num_packets} packets"
    if facts.headers_change:
        yield "its headers or its size change within the stream"
    if facts.codec not in CROPPED_BY_HEADERS and facts.cropped:
        yield f"its coded size {coded} differs from its displayed size {size}"
    if facts.matrix not in MATRICES:
        yield f"its colour matrix {facts.matrix} is not supported"
    reordering = facts.reordering if record is None or record.packets is None else reordering_of(record.packets)
    if reordering > MOST_REORDERED:
        words = "frames are stored before a frame that is displayed earlier"
        yield f"{reordering} {words}, but DALI can reorder only {MOST_REORDERED}"
    if facts.codec in table and not table[facts.codec].fits(facts.coded_width, facts.coded_height):
        yield f"NVDEC of this GPU does not decode {facts.codec} of {coded} pixels"


def _without_order(facts: StreamFacts, record: VideoRecord | None) -> Iterator[str]:
    """Yield the reasons that the times in the container do not give the order of the frames."""
    if facts.container not in TIMED_CONTAINERS:
        yield f"its container {facts.container} does not have reliable presentation times"
    if facts.times:
        yield facts.times
    if record is None and facts.b_frames and not facts.reordering:
        yield "its presentation times are in the order of the packets although it has B-frames"
    known = None if record is None else record.packets
    if known is not None and facts.order is not None and known.tolist() != facts.order.tolist():
        yield "its presentation times give another order of its frames than its index row"


def _not_as_it_is(facts: StreamFacts) -> Iterator[str]:
    """Yield the reasons that DALI can decode the packets of a video, but not in its container."""
    size, coded = _sizes(facts)
    if facts.cropped:
        yield f"its coded size {coded} differs from its displayed size {size}"
    if 0 in (facts.declared_width, facts.declared_height):
        yield "its container does not declare its size"
    elif (facts.declared_width, facts.declared_height) != (facts.width, facts.height):
        yield f"its container declares {facts.declared_width}x{facts.declared_height} pixels but it has {size}"
    if facts.num_bytes > _MOST_BYTES:
        yield f"its file has {facts.num_bytes} bytes, but DALI reads at most {_MOST_BYTES}"


def _sizes(facts: StreamFacts) -> tuple[str, str]:
    """Return the displayed and the coded size of a video, in pixels, as text."""
    return f"{facts.width}x{facts.height}", f"{facts.coded_width}x{facts.coded_height}"
