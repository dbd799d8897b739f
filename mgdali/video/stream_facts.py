"""Facts about a video stream that decide how it can be decoded, found without decoding more than one frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.video.bare_stream import bare_stream
from mgdali.video.bitstream.av1 import AV1Frames
from mgdali.video.bitstream.coded_frames import CodedFrames, UncountedFrames
from mgdali.video.bitstream.h264 import H264Frames
from mgdali.video.bitstream.hevc import HEVCFrames
from mgdali.video.bitstream.mpeg4 import MPEG4Frames
from mgdali.video.bitstream.sequence_header import UNSPECIFIED, SequenceHeader
from mgdali.video.bitstream.vpx import VP8Frames, VP9Frames
from mgdali.video.containers import open_container
from mgdali.video.frames import ffmpeg_message
from mgdali.video.media import NamedContent
from mgdali.video.opening import ONLY_HEADER, TIMED_CONTAINERS, video_stream
from mgdali.video.packets import read_packets
from mgdali.video.record import VideoRecord

__all__ = ["StreamFacts", "coded_frames_of", "facts_of_packets", "probe", "reordering_of"]

_CHROMA = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4"}
_CODED_FRAMES: dict[str, Callable[[av.VideoStream], CodedFrames]] = {
    "h264": H264Frames,
    "hevc": HEVCFrames,
    "vp8": VP8Frames,
    "vp9": VP9Frames,
    "mpeg4": MPEG4Frames,
    "av1": AV1Frames,
}
# The matrix that libswscale applies for each value of AVColorSpace; BT.601 for streams without a value (2).
_MATRICES = {0: "bt601", 1: "bt709", 2: "bt601", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
# DALI stores presentation times in 32 bits.
_TIMES = np.iinfo(np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamFacts:
    """Properties of a file's best video stream.

    Attributes:
        container: FFmpeg's name of the container format.
        codec: FFmpeg's name of the codec.
        profile: Number of the profile in the codec's standard; 0 if unknown.
        chroma: Chroma subsampling, ``"4:2:0"``, ``"4:2:2"`` or ``"4:4:4"``; FFmpeg's name of any other pixel format.
        bit_depth: Number of bits per sample.
        width, height: Size of the displayed picture before rotation, in pixels.
        coded_width, coded_height: Size of the coded picture, in pixels; 0 if unknown.
        left, top: Position of the displayed picture in the coded picture, in pixels.
        declared_width, declared_height: Size of the picture according to the container, in pixels; 0 if unknown.
        rotation: Angle by which to turn the picture counterclockwise for display, in degrees, a multiple of 90.
        matrix: Matrix by which libswscale converts the frames to RGB: ``"bt601"``, also for untagged streams,
            ``"bt709"``, ``"bt2020"``, ``"smpte240m"`` or ``"fcc"``; ``"number "`` and the value of AVColorSpace if
            libswscale cannot convert by it.
        progressive: Whether every coded picture is a whole frame. False also if the headers allow fields.
        num_bytes: Size of the file, in bytes; 0 if unknown.
        num_packets: Number of packets that are not empty.
        declared_frames: Number of frames according to the container; 0 if unknown.
        coded_frames: Number of frames, or fields, that the packets contain, displayed or not; 0 if unknown.
        odd_packets: Number of packets that do not contain exactly one frame that is displayed.
        discarded, corrupt: Number of packets that the container marks to be discarded after decoding, and as corrupt.
        headers_change: Whether the stream has several sequence headers, or changes its size.
        b_frames: Whether the stream has frames that may refer to frames that are displayed later; False for VP8, VP9
            and AV1.
        oddity: What decoders treat differently in this stream, as a clause such as ``"a packet is damaged"``; empty if
            nothing was found.
        streams: Number of video streams in the file.
        times: What is wrong with the presentation times of the packets, as a clause; empty if every packet has one, no
            two are equal, and DALI can store them.
        order: Numbers of the packets, from 0, in the order of their presentation times, int32 ``[num_packets]``; None
            if ``times`` is not empty.
        reordering: Largest number of frames that are coded before a frame but displayed after it; 0 if ``order`` is
            None.
    """

    container: str = ""
    codec: str
    profile: int = 0
    chroma: str
    bit_depth: int
    width: int
    height: int
    coded_width: int = 0
    coded_height: int = 0
    left: int = 0
    top: int = 0
    declared_width: int = 0
    declared_height: int = 0
    rotation: int = 0
    matrix: str = "bt601"
    progressive: bool = True
    num_bytes: int = 0
    num_packets: int
    declared_frames: int = 0
    coded_frames: int = 0
    odd_packets: int = 0
    discarded: int = 0
    corrupt: int = 0
    headers_change: bool = False
    b_frames: bool = False
    oddity: str = ""
    streams: int = 1
    times: str = ""
    order: NDArray[np.int32] | None = None
    reordering: int = 0

    @property
    def cropped(self) -> bool:
        """Whether the displayed picture is smaller than the coded picture; also if the coded size is unknown."""
        return (self.coded_width, self.coded_height) != (self.width, self.height)

    @property
    def frame_bytes(self) -> int:
        """Number of bytes of a displayed frame as 8-bit RGB."""
        return 3 * self.height * self.width


def probe(content: bytes, path: str) -> StreamFacts:
    """Return the facts about an encoded file.

    The headers in all packets are read. The first frame is decoded for two reasons: FFmpeg reports the rotation and the
    colours with frames only, and a file may have no frame that can be decoded.

    Args:
        content: Content of the file.
        path: Path of the file, for errors.

    Raises:
        VideoDecodeError: If the file cannot be opened, has no video stream, or has no frame that can be decoded.
    """
    try:
        with _opened(content, path) as (container, stream):
            return replace(_read(container, stream, path), num_bytes=len(content))
    except (av.error.FFmpegError, OSError) as error:
        raise VideoDecodeError(path, 0, ffmpeg_message(error)) from error


def facts_of_packets(record: VideoRecord, packets: Sequence[bytes], path: str) -> StreamFacts:
    """Return the facts about a video from some of its packets, which were read without its container.

    The record tells what the container would tell, and the pixel format. Nothing is decoded: the colours are in the
    headers. The facts about coded frames are those of the packets that were read, which alone will be decoded; each of
    the others counts as one frame, because the record is of a video whose packets contain one frame each.

    Args:
        record: Record of the video, which must match its content; its ``packets`` must not be None, and its codec must
            be one of :data:`~mgdali.video.bare_stream.BARE_CODECS`.
        packets: Contents of the packets, at least one, in their order in the file. Decoding must be able to begin at
            the first one.
        path: Path of the video, for errors.

    Raises:
        VideoDecodeError: If FFmpeg cannot read the headers in the record.
    """
    size = {"width": record.width, "height": record.height}
    try:
        with bare_stream(record.codec, record.extradata, **size, path=path) as stream:
            frames = coded_frames_of(stream)
            for content in packets:
                frames.add(av.Packet(content))
    except (av.error.FFmpegError, OSError) as error:
        raise VideoDecodeError(path, 0, ffmpeg_message(error)) from error
    header = frames.header or SequenceHeader(width=0, height=0)
    unread = "its headers end before the description of its colours" if header.matrix is None else ""
    chroma, bit_depth = _pixels(av.VideoFormat(record.pixel_format))
    return StreamFacts(
        container=record.container,
        codec=record.codec,
        profile=header.profile,
        chroma=chroma,
        bit_depth=bit_depth,
        width=record.width,
        height=record.height,
        coded_width=header.width,
        coded_height=header.height,
        left=header.left,
        top=header.top,
        declared_width=record.width,
        declared_height=record.height,
        rotation=record.rotation,
        matrix=_matrix(UNSPECIFIED if header.matrix is None else header.matrix),
        progressive=header.progressive,
        num_bytes=0 if record.fingerprint is None else record.fingerprint.size,
        num_packets=record.num_frames,
        coded_frames=record.num_frames - len(packets) + frames.count,
        odd_packets=frames.odd,
        headers_change=frames.changed,
        b_frames=frames.b_frames,
        oddity=frames.oddity or unread or _oddity(header, record.width, record.height),
        order=record.packets,
        reordering=0 if record.packets is None else reordering_of(record.packets),
    )


def reordering_of(order: NDArray[np.int32]) -> int:
    """Return the largest number of frames that are coded before a frame but displayed after it.

    Args:
        order: Number of the packet of each frame in display order, int32 ``[T]``.
    """
    return int(np.max(order - np.arange(len(order)), initial=0))


def coded_frames_of(stream: av.VideoStream) -> CodedFrames:
    """Return the reader of the coded frames in a stream's packets."""
    return _CODED_FRAMES.get(stream.codec_context.codec.canonical_name, UncountedFrames)(stream)


@contextmanager
def _opened(content: bytes, path: str) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a file. If its container has presentation times, take them from the container alone, as DALI does."""
    file = NamedContent(content, path)
    with open_container(file, path, options=ONLY_HEADER) as container:
        if container.format.name in TIMED_CONTAINERS and len(container.streams.video) == 1:
            yield container, video_stream(container, path)
            return
    with open_container(file, path) as container:
        yield container, video_stream(container, path)


def _read(container: InputContainer, stream: av.VideoStream, path: str) -> StreamFacts:
    context = stream.codec_context
    declared = context.width, context.height
    frames = coded_frames_of(stream)
    first = _FirstFrame(context)
    times: list[int | None] = []
    discarded = corrupt = 0
    extra_headers = False
    for packet in read_packets(container, stream):
        if packet.size == 0:
            continue
        times.append(packet.pts)
        discarded += packet.is_discard
        corrupt += packet.is_corrupt
        extra_headers |= packet.has_sidedata("new_extradata") and len(times) > 1
        first.decode(packet)
        frames.add(packet)
    frame = first.finish()
    if frame is None:
        raise VideoDecodeError(path, 0, "it contains no frame that can be displayed")
    chroma, bit_depth = _pixels(frame.format)
    header = frames.header or SequenceHeader(width=0, height=0)
    problem, order = _order(times)
    return StreamFacts(
        container=container.format.name,
        codec=context.codec.canonical_name,
        profile=header.profile,
        chroma=chroma,
        bit_depth=bit_depth,
        width=frame.width,
        height=frame.height,
        coded_width=header.width,
        coded_height=header.height,
        left=header.left,
        top=header.top,
        declared_width=declared[0],
        declared_height=declared[1],
        rotation=round(frame.rotation / 90) * 90,
        matrix=_matrix(int(frame.colorspace)),
        progressive=header.progressive and not frame.interlaced_frame,
        num_packets=len(times),
        declared_frames=stream.frames,
        coded_frames=frames.count,
        odd_packets=frames.odd,
        discarded=discarded,
        corrupt=corrupt,
        headers_change=extra_headers or frames.changed,
        b_frames=frames.b_frames,
        oddity=frames.oddity or _oddity(header, frame.width, frame.height),
        streams=len(container.streams.video),
        times=problem,
        order=order,
        reordering=0 if order is None else reordering_of(order),
    )


class _FirstFrame:
    """Decodes packets until the decoder returns a frame. It does not wait for frames that are displayed before it."""

    def __init__(self, context: av.VideoCodecContext) -> None:
        self._context = context
        self._frame: av.VideoFrame | None = None
        self._begun = False

    def decode(self, packet: av.Packet[Any]) -> None:
        """Decode the packet, if there is no frame yet."""
        if self._frame is not None:
            return
        frames = self._context.decode(packet)
        if not self._begun:
            # The decoder delays the first frame if it expects reordered ones. An empty packet, as at the end of a file,
            # makes it return the frame.
            self._begun = True
            if not frames:
                frames = self._context.decode(None)
                self._context.flush_buffers()
        self._frame = next(iter(frames), None)

    def finish(self) -> av.VideoFrame | None:
        """Return the frame; None if the stream has no frame."""
        if self._frame is None:
            self._frame = next(iter(self._context.decode(None)), None)
        return self._frame


def _order(times: list[int | None]) -> tuple[str, NDArray[np.int32] | None]:
    """Return what is wrong with the times of packets, and the packets in the order of their times."""
    known = np.array([time for time in times if time is not None], np.int64)
    if len(known) < len(times):
        return f"{len(times) - len(known)} of its {len(times)} packets have no presentation time", None
    order = np.argsort(known, kind="stable")
    repeated = int(np.count_nonzero(np.diff(known[order]) == 0))
    if repeated:
        return f"{repeated} of its {len(times)} packets have the presentation time of another packet", None
    # DALI marks unused memory with the time -1.
    if known.size and (known.min() < _TIMES.min or known.max() > _TIMES.max or np.any(known == -1)):
        return f"its presentation times, {known.min()} to {known.max()}, contain -1 or exceed 32 bits", None
    return "", order.astype(np.int32)


def _matrix(number: int) -> str:
    """Return :attr:`StreamFacts.matrix` for a value of AVColorSpace."""
    return _MATRICES.get(number, f"number {number}")


def _oddity(header: SequenceHeader, width: int, height: int) -> str:
    """Return what a header contains that decoders treat differently, as a clause; empty if nothing was found.

    Args:
        header: The header.
        width, height: Size of the frames that PyAV returns, in pixels.
    """
    if header.tools:
        return f"it uses {header.tools[0]}"
    # FFmpeg crops the left edge only to a multiple of several pixels, because decoders need aligned memory. If the
    # container declares a slightly smaller picture than the header, FFmpeg uses the container's size.
    shown = header.width - header.left - header.right, header.height - header.top - header.bottom
    if (header.left or header.top or header.right or header.bottom) and shown != (width, height):
        return f"PyAV returns {width}x{height} of the {shown[0]}x{shown[1]} pixels that are displayed"
    return ""


def _pixels(pixels: av.VideoFormat) -> tuple[str, int]:
    """Return the chroma subsampling and the number of bits per sample of a pixel format."""
    halved = (pixels.chroma_width(16) == 8, pixels.chroma_height(16) == 8)
    planar = not pixels.is_rgb and len(pixels.components) >= 3
    chroma = _CHROMA.get((int(halved[0]), int(halved[1])), pixels.name) if planar else pixels.name
    return chroma, pixels.components[0].bits
