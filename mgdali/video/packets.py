"""Facts about a stream's packets and frames, noted while it is decoded, so that later a part can be decoded alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import av
import av.error
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from mgdali.video.bitstream.mpeg4 import B_FRAME, FRAME, frame_type
from mgdali.video.bitstream.nal_units import SLICES, START_CODE, read_length_bytes, unit_starts, unit_type

__all__ = [
    "StreamLog",
    "decode_packets",
    "mark_packet",
    "number_packets",
    "packet_decoder",
    "packet_of",
    "read_packets",
]

_MPEG_VIDEO = ("mpeg1video", "mpeg2video")
# In MPEG-1 and MPEG-2: the start code of a picture, and the coding type of a B-frame.
_PICTURE = START_CODE + b"\0"
_MPEG_B_PICTURE = 3


def number_packets(stream: av.VideoStream) -> None:
    """Make the decoder copy each packet's number to the frame decoded from it, for :func:`packet_of`."""
    context = stream.codec_context
    context.flags |= int(Flags.copy_opaque)


def packet_decoder(codec: str, extradata: bytes | None) -> av.VideoCodecContext:
    """Return a decoder for packets that were read without their container, for :func:`mark_packet`.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: Headers that the decoder gets before the first packet; None if the codec needs none.
    """
    context = av.CodecContext.create(_decoder_of(codec), "r")
    assert isinstance(context, av.VideoCodecContext)
    if extradata:
        context.extradata = extradata
    context.thread_type = "NONE"
    context.flags |= int(Flags.copy_opaque)
    return context


@cache
def _decoder_of(codec: str) -> str:
    """Return the name of the decoder that FFmpeg uses for a codec in a container."""
    # The decoder that has the name of the codec needs a GPU.
    return "libdav1d" if codec == "av1" and "libdav1d" in av.codecs_available else codec


def mark_packet(packet: av.Packet[Any], number: int) -> None:
    """Set the number of a packet that is about to be decoded."""
    # PyAV identifies the opaque object by its address and drops it with the first packet or frame that refers to it.
    # Python shares one object among equal small integers, so each packet needs a separate list.
    packet.opaque = [number]


def packet_of(frame: av.VideoFrame) -> int | None:
    """Return the number of the packet that a frame was decoded from; None if that packet has no number."""
    mark = frame.opaque
    return mark[0] if isinstance(mark, list) else None


class StreamLog:
    """Log of the packets and frames of one video stream, T frames and K key frames.

    It is filled by :meth:`begin`, :meth:`add_packet` and :meth:`add_frame` during decoding, and read after the last
    frame. After :meth:`stop` it describes the beginning of the stream.

    Attributes:
        container: FFmpeg's name of the container format.
        codec: FFmpeg's name of the codec.
        time_base: Duration of a tick of :attr:`times`, in seconds; 0 if the container does not specify it.
        rate: Average number of frames per second according to the container; 0 if it does not specify it.
        rotation: Angle by which to turn the stored picture counterclockwise for display, in degrees, a multiple of 90.
        width, height: Size of the stored picture, in pixels.
        pixel_format: FFmpeg's name of the pixel format.
        stopped: Whether :meth:`stop` was called.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.container = self.codec = self.pixel_format = ""
        self.time_base = Fraction(0)
        self.rate = 0.0
        self.width = self.height = self.rotation = 0
        self._length_bytes = 0
        self._timed = True
        self._times: list[int | None] = []
        self._packet_of: list[int | None] = []
        self._key_packets: list[int] = []
        # Per packet: its temporal layer if no frame of that layer refers to it, else None.
        self._unreferenced_layers: list[int | None] = []
        self._packed = self._new_headers = False

    def begin(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        """Note the properties of the whole stream."""
        context = stream.codec_context
        self.container = container.format.name
        self.codec = context.codec.canonical_name
        self.time_base = stream.time_base or Fraction(0)
        self.rate = float(stream.average_rate or 0)
        self._length_bytes = read_length_bytes(self.codec, context.extradata or b"")

    def add_packet(self, packet: av.Packet[Any]) -> None:
        """Note and number a packet that is about to be decoded."""
        number = len(self._unreferenced_layers)
        mark_packet(packet, number)
        if packet.is_keyframe:
            self._key_packets.append(number)
        self._timed &= packet.pts is not None
        # A decoder that skips the packet would decode later ones with the old headers.
        self._new_headers |= packet.has_sidedata("new_extradata")
        self._unreferenced_layers.append(self._layer_if_unreferenced(packet))

    def add_frame(self, frame: av.VideoFrame) -> None:
        """Note a decoded frame. Frames must be added in display order."""
        if not self._times:
            self.width, self.height, self.pixel_format = frame.width, frame.height, frame.format.name
            self.rotation = round(frame.rotation / 90) * 90
        self._times.append(frame.pts)
        self._packet_of.append(packet_of(frame))

    def stop(self) -> None:
        """Make :func:`decode_packets` read no more packets.

        The frames that the decoder delays are noted as at the end of a stream, so that each packet has its frame.
        """
        self.stopped = True

    @property
    def num_frames(self) -> int:
        """Number of frames noted so far."""
        return len(self._times)

    @property
    def times(self) -> NDArray[np.int64] | None:
        """Presentation times, int64 ``[T]`` in ticks of ``time_base``; None unless all are known and increasing."""
        times = np.array([time for time in self._times if time is not None], np.int64)
        known = self._timed and len(times) == len(self._times) and bool(np.all(np.diff(times) > 0))
        return times if known else None

    @cached_property
    def packets(self) -> NDArray[np.int32] | None:
        """Number of the packet of each frame, int32 ``[T]``.

        None unless each packet contains exactly one frame, and the container does not change the codec's headers.
        """
        numbers = [number for number in self._packet_of if number is not None]
        num_packets = len(self._unreferenced_layers)
        if (
            self._packed
            or self._new_headers
            or sorted(numbers) != list(range(num_packets))
            or len(numbers) != len(self._packet_of)
        ):
            return None
        return np.array(numbers, np.int32)

    @property
    def referenced(self) -> NDArray[np.bool_]:
        """Whether other frames may refer to each frame, bool ``[T]``: False only if the stream excludes it."""
        packets = self.packets
        if packets is None:
            return np.ones(len(self._times), bool)
        # Frames of a higher temporal layer may refer to a frame of a lower layer.
        top = max((layer for layer in self._unreferenced_layers if layer is not None), default=0)
        return np.array([layer != top for layer in self._unreferenced_layers], bool)[packets]

    @property
    def key_frames(self) -> NDArray[np.int32]:
        """Frames at which decoding can begin, int32 ``[K]``, increasing; empty if :attr:`packets` is None."""
        packets = self.packets
        if packets is None:
            return np.empty(0, np.int32)
        frame_of = np.argsort(packets)
        return np.sort(frame_of[self._key_packets]).astype(np.int32)

    def _layer_if_unreferenced(self, packet: av.Packet[Any]) -> int | None:
        """Return the packet's temporal layer if no frame of that layer refers to it, else None."""
        if self.codec in SLICES:
            header = self._first_slice(packet)
            if header is None:
                return None
            if self.codec == "h264":
                return 0 if header[0] >> 5 & 3 == 0 else None
            # Sub-layer non-reference pictures have even types below 16.
            kind = unit_type("hevc", header[0])
            return (header[1] & 7) - 1 if kind < 16 and kind % 2 == 0 else None
        if self.codec == "mpeg4":
            return 0 if self._is_mpeg4_b_frame(bytes(packet)) else None
        if self.codec in _MPEG_VIDEO:
            return 0 if _is_mpeg_b_picture(bytes(packet)) else None
        return None

    def _first_slice(self, packet: av.Packet[Any]) -> bytes | None:
        """Return the header, two bytes, of the first unit that contains a slice; None if no unit contains one."""
        content = memoryview(packet)
        for start in unit_starts(content, self._length_bytes):
            header = bytes(content[start : start + 2])
            if len(header) == 2 and unit_type(self.codec, header[0]) in SLICES[self.codec]:
                return header
        return None

    def _is_mpeg4_b_frame(self, packet: bytes) -> bool:
        """Return whether a packet of MPEG-4 contains a B-frame; note if it contains two frames."""
        # Some old encoders store two frames in one packet, and leave the next packet empty.
        self._packed |= packet.count(FRAME) > 1
        return frame_type(packet) == B_FRAME


def _is_mpeg_b_picture(packet: bytes) -> bool:
    """Return whether a packet of MPEG-1 or MPEG-2 contains a B-frame."""
    at = packet.find(_PICTURE)
    # The coding type follows ten bits of the picture's number.
    header = packet[at + len(_PICTURE) :][:2]
    return at >= 0 and len(header) == 2 and header[1] >> 3 & 7 == _MPEG_B_PICTURE


def read_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet[av.VideoStream]]:
    """Yield the packets of a stream, and at the end an empty packet, which makes the decoder return its last frames.

    Args:
        container: The open container.
        stream: A video stream of the container.

    Raises:
        av.error.FFmpegError: If a packet cannot be read.
    """
    try:
        yield from container.demux(stream)
    except IndexError:
        # After the empty packet of this stream, PyAV looks for the streams that FFmpeg has found while reading, as in
        # damaged MPEG-TS files, and fails because it does not know them (InputContainer.demux, PyAV 17.1 and 18.1).
        return


def decode_packets(
    container: av.container.InputContainer, stream: av.VideoStream, log: StreamLog | None
) -> Iterator[av.VideoFrame]:
    """Decode all frames of a stream; with a log, until :meth:`StreamLog.stop` is called.

    If a packet cannot be read or decoded, the frames before it are yielded first, as if the stream ended there. Their
    number therefore does not depend on how many frames the decoder delays for reordering.

    Args:
        container: The open container.
        stream: A video stream of the container.
        log: Log in which packets and frames are noted; None to note nothing.

    Yields:
        The frames in display order.

    Raises:
        av.error.FFmpegError: If a packet cannot be read or decoded.
    """
    try:
        yield from _decode(container, stream) if log is None else _decode_and_note(container, stream, log)
    except (av.error.FFmpegError, OSError):
        with suppress(av.error.FFmpegError):
            for frame in stream.codec_context.decode(None):
                if log is not None:
                    log.add_frame(frame)
                yield frame
        raise


def _decode(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    for packet in read_packets(container, stream):
        yield from stream.codec_context.decode(packet)


def _decode_and_note(
    container: av.container.InputContainer, stream: av.VideoStream, log: StreamLog
) -> Iterator[av.VideoFrame]:
    """Decode all frames of a stream, or those until the log is stopped; note its packets and frames in the log."""
    number_packets(stream)
    log.begin(container, stream)
    for packet in read_packets(container, stream):
        if packet.size:
            log.add_packet(packet)
        for frame in stream.codec_context.decode(packet):
            log.add_frame(frame)
            yield frame
        if log.stopped:
            # An error, as at the end of the stream, leaves packets without frames, which the log notices.
            with suppress(av.error.FFmpegError):
                for frame in stream.codec_context.decode(None):
                    log.add_frame(frame)
            return
