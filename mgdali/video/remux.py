"""Copying packets of a video to a new Matroska file in memory, without decoding them, so that DALI decodes the copy.

The packets come from the video's container, or were read without it (:func:`~mgdali.video.joinable.read_needed`).

DALI's decoder decodes every packet up to the last requested frame, and orders frames by the times of their packets. A
copy therefore contains only packets that are needed, and the time of each packet is its place in display order. H.264
and HEVC headers may say that only a part of each coded picture is displayed (cropping). In a copy without cropping, the
frames have the coded size.

The functions raise a VideoDecodeError, so that the caller can decode the file in another way, if

- its codec is not one of :data:`~mgdali.video.bitstream.packet_headers.CODECS`;
- its parameter sets change within the stream: a packet that is left out may contain the sets of a later packet, and
  NVDEC gets the first sets again at each key frame;
- its frames have another size than its headers say, for example because the container specifies a cropping;
- the order of its packets differs more from display order than DALI's decoder can restore.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import av.error
import numpy as np
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.video.bare_stream import bare_stream
from mgdali.video.bitstream.packet_headers import CODECS, PacketHeaders
from mgdali.video.containers import open_container
from mgdali.video.frames import ffmpeg_message
from mgdali.video.joinable import NeededPackets, checked_picks, frames_to_decode
from mgdali.video.opening import NO_TRIAL_DECODING, video_stream
from mgdali.video.packets import read_packets
from mgdali.video.record import VideoRecord

__all__ = [
    "CROPPED_BY_HEADERS",
    "FRAME_STEP_MS",
    "MOST_REORDERED",
    "Remuxed",
    "remux_needed",
    "remux_picked",
    "remux_whole",
]

FRAME_STEP_MS = 40
"""Time from one frame to the next in copied files, in milliseconds, which is the unit of times in Matroska."""

_MILLISECOND = Fraction(1, 1000)
# By default FFmpeg's muxers shift all times if the first decoding time is negative, and the muxer of Matroska writes a
# random number into each file.
_WRITING = {"avoid_negative_ts": "disabled", "fflags": "+bitexact"}
_NO_CROP = {
    "h264": "h264_metadata=crop_left=0:crop_right=0:crop_top=0:crop_bottom=0",
    "hevc": "hevc_metadata=crop_left=0:crop_right=0:crop_top=0:crop_bottom=0",
}
CROPPED_BY_HEADERS = tuple(_NO_CROP)
"""FFmpeg's names of the codecs whose cropping is in the headers, where a copy can set it to 0."""

MOST_REORDERED = 7
"""Largest number of frames that may be stored before a frame that is displayed before them.

DALI 2.4 decodes until it holds 8 frames, and returns the one that is displayed first (``ReadNextFrameWithoutIndex`` of
``FramesDecoderGpu``). A frame that is decoded later than that is returned in the wrong place.
"""

# Codecs that cannot be decoded without the headers in the extradata.
_WITH_EXTRADATA = ("h264", "hevc", "mpeg4")


@dataclass(frozen=True, kw_only=True, eq=False)
class Remuxed:
    """A copied file, with P of its frames picked.

    Attributes:
        content: The file, in Matroska.
        num_frames: Number of packets in the file, which is the number of frames that a decoder returns.
        picks: Index of each picked frame among the frames of the file in display order, int64 ``[P]``.
    """

    content: bytes
    num_frames: int
    picks: NDArray[np.int64]


def remux_whole(content: bytes, path: str, *, order: NDArray[np.int32] | None, uncrop: bool) -> bytes:
    """Return all packets of a file's best video stream as a Matroska file, with times in display order.

    The time of each packet is its place in display order times :data:`FRAME_STEP_MS`.

    Args:
        content: The encoded file.
        path: Path of the file, for errors.
        order: Number of the packet of each frame, int32 ``[T]``, as :attr:`VideoRecord.packets`; None to order the
            packets by their own times, which must be known and different from each other.
        uncrop: Whether to set the cropping in the headers to 0. The frames then have the coded size. Their visible part
            begins at the left and top offsets of the original headers. Only for :data:`CROPPED_BY_HEADERS`.

    Raises:
        VideoDecodeError: If the file cannot be read, its number of packets is not T, times are missing or repeated, the
            headers cannot be changed, or the file is refused (see the list at the top of the module).
    """
    with _errors_of(path), _stream_of(content, path) as (container, stream):
        packets = list(_packets_of(container, stream))
        _check_headers(stream, dict(enumerate(packets)), path)
        if order is None:
            order = _order_of_times(packets, path)
        elif not np.array_equal(np.sort(order), np.arange(len(packets))):
            raise VideoDecodeError(
                path, 0, f"its {len(packets)} packets are not the {len(order)} packets of its index row"
            )
        return _write(stream, packets, np.argsort(order), path, uncrop=uncrop, frame_size=None)


def remux_picked(content: bytes, path: str, record: VideoRecord, picks: Sequence[int], *, uncrop: bool) -> Remuxed:
    """Return a Matroska file with only those packets of a video that the decoding of picked frames needs.

    These are the packets of :func:`~mgdali.video.joinable.frames_to_decode`. Decoding cannot begin at the key frame of
    an open group: frames that are stored after it may refer to frames before it, and H.264 decoders report that frames
    are missing.

    Args:
        content: The encoded file.
        path: Path of the file, for errors.
        record: Record of the video, which must match its content; its ``packets`` must not be None.
        picks: Indices of P >= 1 frames, in any order, also repeated.
        uncrop: As for :func:`remux_whole`.

    Raises:
        ValueError: If ``record.packets`` is None, or a pick is not a frame of the video.
        VideoDecodeError: If the file cannot be read or has fewer packets than the record, the headers cannot be
            changed, or the file is refused (see the list at the top of the module).
    """
    chosen = checked_picks(record, picks)
    assert record.packets is not None
    with _errors_of(path), _stream_of(content, path) as (container, stream):
        if container.format.name != record.container:
            raise VideoDecodeError(
                path, 0, f"FFmpeg opens it as {container.format.name}, but its record is of {record.container}"
            )
        num_packets = int(record.packets[chosen].max()) + 1
        packets = dict(enumerate(islice(_packets_of(container, stream), num_packets)))
        if len(packets) < num_packets:
            raise VideoDecodeError(path, 0, f"it has {len(packets)} packets, but frames up to {num_packets} are needed")
        headers = _check_headers(stream, packets, path)
        frames = frames_to_decode(record, chosen, packets, headers)
        kept = [packets[number] for number in np.sort(record.packets[frames]).tolist()]
        return _join(stream, kept, frames, chosen, record, path, uncrop=uncrop)


def remux_needed(needed: NeededPackets, path: str, record: VideoRecord, *, uncrop: bool) -> Remuxed:
    """Return the file of :func:`remux_picked`, from packets that were read without their container.

    Args:
        needed: The packets (:func:`~mgdali.video.joinable.read_needed`).
        path: Path of the file, for errors.
        record: Record of the video, with which the packets were read; of one of the codecs
            :data:`~mgdali.video.bare_stream.BARE_CODECS`.
        uncrop: As for :func:`remux_whole`.

    Raises:
        VideoDecodeError: If the headers cannot be changed, or the video is refused (see the list at the top of the
            module).
    """
    assert record.packets is not None
    size = {"width": record.width, "height": record.height}
    keys = set(record.packets[record.key_frames].tolist())
    with _errors_of(path), bare_stream(record.codec, record.extradata, **size, path=path) as stream:
        _check_codec(stream, path)
        headers = PacketHeaders(record.codec, record.extradata or b"")
        _check_parameter_sets(headers, needed.contents, path)
        kept: list[av.Packet[Any]] = []
        for number, content in zip(needed.numbers.tolist(), needed.decoded, strict=True):
            packet: av.Packet[Any] = av.Packet(content)
            packet.is_keyframe = number in keys
            kept.append(packet)
        if not kept[0].is_keyframe:
            raise VideoDecodeError(path, 0, "it does not begin with a key frame")
        return _join(stream, kept, needed.frames, needed.picks, record, path, uncrop=uncrop)


def _join(
    source: av.VideoStream,
    packets: list[av.Packet[Any]],
    frames: NDArray[np.int64],
    picks: NDArray[np.int64],
    record: VideoRecord,
    path: str,
    *,
    uncrop: bool,
) -> Remuxed:
    """Return a Matroska file with the packets of some frames.

    Args:
        source: The stream.
        packets: The packets, N, in their order in the stream. They are used up.
        frames: Indices of the frames, int64 ``[N]``, increasing.
        picks: Indices of P of these frames, int64 ``[P]``.
        record: Record of the video; its ``packets`` must not be None.
        path: Path of the source, for errors.
        uncrop: Whether to set the cropping to 0.
    """
    assert record.packets is not None
    # The frames in the order of their packets are, in display order, at these places.
    places = np.argsort(record.packets[frames])
    copy = _write(source, packets, places, path, uncrop=uncrop, frame_size=(record.width, record.height))
    return Remuxed(content=copy, num_frames=len(frames), picks=np.searchsorted(frames, picks))


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """Raise errors of FFmpeg as a VideoDecodeError."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        raise VideoDecodeError(path, 0, ffmpeg_message(error)) from error


@contextmanager
def _stream_of(content: bytes, path: str) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file, and yield its container and its best video stream, whose codec can be copied."""
    with open_container(io.BytesIO(content), path, options=NO_TRIAL_DECODING) as container:
        stream = video_stream(container, path)
        _check_codec(stream, path)
        yield container, stream


def _check_codec(stream: av.VideoStream, path: str) -> None:
    """Raise a VideoDecodeError if packets of a stream's codec cannot be copied, or if its headers are missing."""
    codec = stream.codec_context.codec.canonical_name
    if codec not in CODECS:
        raise VideoDecodeError(path, 0, f"packets of {codec} are not copied to another file")
    if codec in _WITH_EXTRADATA and not stream.codec_context.extradata:
        raise VideoDecodeError(path, 0, f"FFmpeg finds no headers of {codec} at its beginning")


def _packets_of(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet[av.VideoStream]]:
    """Yield the packets of a stream that have content."""
    yield from (packet for packet in read_packets(container, stream) if packet.size)


def _check_headers(
    stream: av.VideoStream, packets: Mapping[int, av.Packet[av.VideoStream]], path: str
) -> PacketHeaders:
    """Return the reader of the packets' headers; raise a VideoDecodeError if the packets cannot be copied.

    Args:
        stream: The stream.
        packets: Its packets by number, from the first one.
        path: Path of the file, for errors.
    """
    context = stream.codec_context
    extradata = context.extradata or b""
    headers = PacketHeaders(context.codec.canonical_name, extradata)
    if not packets or not packets[0].is_keyframe:
        raise VideoDecodeError(path, 0, "it does not begin with a key frame")
    for number, packet in packets.items():
        if packet.has_sidedata("new_extradata") and bytes(packet.get_sidedata("new_extradata")) != extradata:
            raise _changed(number, path)
    _check_parameter_sets(headers, packets, path)
    return headers


def _check_parameter_sets(headers: PacketHeaders, packets: Mapping[int, bytes | av.Packet[Any]], path: str) -> None:
    """Raise a VideoDecodeError if one of some packets contains other parameter sets than the extradata."""
    for number, packet in packets.items():
        if headers.changes_parameter_sets(bytes(packet)):
            raise _changed(number, path)


def _changed(number: int, path: str) -> VideoDecodeError:
    return VideoDecodeError(path, 0, f"its parameter sets change in packet {number}")


def _order_of_times(packets: list[av.Packet[av.VideoStream]], path: str) -> NDArray[np.int32]:
    """Return the numbers of packets in the order of their presentation times, int32 ``[T]``."""
    times = [packet.pts for packet in packets if packet.pts is not None]
    if len(times) < len(packets) or len(set(times)) < len(times):
        raise VideoDecodeError(path, 0, "the times of its packets are incomplete or not unique")
    return np.argsort(times).astype(np.int32)


def _write(
    source: av.VideoStream,
    packets: list[av.Packet[Any]],
    places: NDArray[np.intp],
    path: str,
    *,
    uncrop: bool,
    frame_size: tuple[int, int] | None,
) -> bytes:
    """Return a Matroska file with packets of a stream.

    Args:
        source: The stream.
        packets: N packets of the stream. They are used up.
        places: Place of each packet in display order, int ``[N]``, a permutation of 0 to N - 1.
        path: Path of the source, for errors.
        uncrop: Whether to set the cropping to 0.
        frame_size: Width and height of the decoded frames; None if they are unknown.
    """
    codec = source.codec_context.codec.canonical_name
    if uncrop and codec not in _NO_CROP:
        raise VideoDecodeError(path, 0, f"the cropping of {codec} cannot be changed in its headers")
    shown, coded = _sizes(source, packets[0], path)
    if frame_size not in (None, shown):
        raise VideoDecodeError(path, 0, f"its frames have size {frame_size}, but its headers say {shown}")
    # The decoding times must increase and be no later than the presentation times.
    delay = int(np.max(np.arange(len(packets)) - places))
    if delay > MOST_REORDERED:
        reason = f"a frame is stored {delay} packets after its place in display order, but DALI allows {MOST_REORDERED}"
        raise VideoDecodeError(path, 0, reason)
    target = io.BytesIO()
    with av.open(target, "w", format="matroska", container_options=_WRITING) as container:
        stream = container.add_stream_from_template(source, opaque=True)
        uncropping = BitStreamFilterContext(_NO_CROP[codec], source, stream) if uncrop and shown != coded else None
        context = stream.codec_context
        # A tag of another container is not valid in Matroska.
        context.codec_tag = "\0\0\0\0"
        context.width, context.height = coded if uncrop else shown
        for number, (packet, place) in enumerate(zip(packets, places.tolist(), strict=True)):
            copy = packet if uncropping is None else _filtered(uncropping, packet, path)
            copy.stream = stream
            copy.time_base = _MILLISECOND
            copy.pts = place * FRAME_STEP_MS
            copy.dts = (number - delay) * FRAME_STEP_MS
            copy.duration = FRAME_STEP_MS
            container.mux(copy)
    return target.getvalue()


def _filtered(uncropping: BitStreamFilterContext, packet: av.Packet[Any], path: str) -> av.Packet[Any]:
    """Return a packet after a bitstream filter, which must return one packet for each."""
    copies = uncropping.filter(packet)
    if len(copies) != 1:
        raise VideoDecodeError(path, 0, f"FFmpeg's filter returned {len(copies)} packets for one")
    return copies[0]


def _sizes(stream: av.VideoStream, packet: av.Packet[Any], path: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the width and height of the frames, and of the coded frames, according to the headers of a packet."""
    context = stream.codec_context
    if context.codec.canonical_name not in _WITH_EXTRADATA:
        shown = coded = (context.width, context.height)
    else:
        # The container's header may lack the size or differ from the codec's, which FFmpeg's parser reads without
        # decoding.
        parser = av.CodecContext.create(context.codec.canonical_name, "r")
        assert isinstance(parser, av.VideoCodecContext)
        parser.extradata = context.extradata
        parser.parse(bytes(packet))
        parser.parse(None)
        shown, coded = (parser.width, parser.height), (parser.coded_width, parser.coded_height)
    if not all((*shown, *coded)):
        raise VideoDecodeError(path, 0, "its headers do not contain the size of its frames")
    return shown, coded
