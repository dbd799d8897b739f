"""What a stream tells while it is decoded once, so that later only a part of it need be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

__all__ = ["StreamLog", "decode_packets", "mark_packet", "number_packets", "packet_of"]

_H264_SLICES = (1, 5)
_HEVC_SLICES = range(32)
_START = b"\0\0\1"


def number_packets(stream: av.VideoStream) -> None:
    """Have frames carry their packet's mark: the decoder says which packet gave which frame."""
    context = stream.codec_context
    context.flags |= int(Flags.copy_opaque)


def mark_packet(packet: av.Packet[Any], number: int) -> None:
    """Give a packet its number, before it is decoded."""
    # In an object of its own: PyAV finds it by its address and drops it with the first packet or frame that had it,
    # while Python has one object for all small integers that are equal.
    packet.opaque = [number]


def packet_of(frame: av.VideoFrame) -> int | None:
    """The number of the packet that gave a frame, or None where that had none."""
    mark = frame.opaque
    return mark[0] if isinstance(mark, list) else None


class StreamLog:
    """Notes the packets and frames of one video stream as they pass; what follows from all of them is asked at the end.

    Attributes:
        container: FFmpeg's name of the container's format.
        codec: FFmpeg's name of the codec.
        time_base: seconds a tick of :attr:`times`.
        rate: frames a second on average, as the container says; 0 where it does not.
        rotation: degrees that the picture is to be turned counterclockwise when shown.
        width, height: of the stored picture, in pixels.
        pixel_format: FFmpeg's name of it.
    """

    def __init__(self) -> None:
        self.container = self.codec = self.pixel_format = ""
        self.time_base = Fraction(0)
        self.rate = 0.0
        self.width = self.height = self.rotation = 0
        self._length_bytes = 0
        self._timed = True
        self._times: list[int | None] = []
        self._packet_of: list[int | None] = []
        self._keys: list[int] = []
        self._spare: list[int | None] = []
        self._packed = False

    def begin(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        """Note what holds for the whole stream."""
        context = stream.codec_context
        self.container = container.format.name
        self.codec = context.codec.canonical_name
        self.time_base = stream.time_base or Fraction(0)
        self.rate = float(stream.average_rate or 0)
        extra = context.extradata or b""
        # MP4's and Matroska's way to part a packet's units: each is preceded by its length.
        if self.codec == "h264" and extra[:1] == b"\1":
            self._length_bytes = (extra[4] & 3) + 1
        elif self.codec == "hevc" and extra[:1] == b"\1":
            self._length_bytes = (extra[21] & 3) + 1

    def packet(self, packet: av.Packet[Any]) -> None:
        """Note a packet before it is decoded."""
        number = len(self._spare)
        mark_packet(packet, number)
        if packet.is_keyframe:
            self._keys.append(number)
        self._timed &= packet.pts is not None
        self._spare.append(self._layer_if_spare(packet))

    def frame(self, frame: av.VideoFrame) -> None:
        """Note a frame that came out."""
        if not self._times:
            self.width, self.height, self.pixel_format = frame.width, frame.height, frame.format.name
            self.rotation = round(frame.rotation / 90) * 90
        self._times.append(frame.pts)
        self._packet_of.append(packet_of(frame))

    @property
    def num_frames(self) -> int:
        """Frames noted so far."""
        return len(self._times)

    @property
    def times(self) -> NDArray[np.int64] | None:
        """When each frame is shown, int64 ``[T]`` in ``time_base``; None where the container does not say."""
        times = np.array([time for time in self._times if time is not None], np.int64)
        known = self._timed and len(times) == len(self._times) and bool(np.all(np.diff(times) > 0))
        return times if known else None

    @cached_property
    def packets(self) -> NDArray[np.int32] | None:
        """The packet that gave each frame, int32 ``[T]``; None unless packets and frames are one to one."""
        numbers = [number for number in self._packet_of if number is not None]
        if self._packed or sorted(numbers) != list(range(len(self._spare))) or len(numbers) != len(self._packet_of):
            return None
        return np.array(numbers, np.int32)

    @property
    def referenced(self) -> NDArray[np.bool_]:
        """Whether other frames may refer to a frame, bool ``[T]``: False where the stream says that none does."""
        packets = self.packets
        if packets is None:
            return np.ones(len(self._times), bool)
        # Frames of a lower temporal layer may be referred to from a higher one.
        top = max((layer for layer in self._spare if layer is not None), default=0)
        return np.array([layer != top for layer in self._spare], bool)[packets]

    @property
    def key_frames(self) -> NDArray[np.int32]:
        """Frames at which decoding can begin, int32 ``[K]``; none where packets and frames are not one to one."""
        packets = self.packets
        if packets is None:
            return np.empty(0, np.int32)
        frame_of = np.argsort(packets)
        return np.sort(frame_of[self._keys]).astype(np.int32)

    def _layer_if_spare(self, packet: av.Packet[Any]) -> int | None:
        """The packet's temporal layer where nothing in that layer refers to it, else None."""
        if self.codec == "h264":
            header = self._first_slice(packet, _H264_SLICES, 31, 0)
            return 0 if header is not None and header[0] >> 5 & 3 == 0 else None
        if self.codec == "hevc":
            header = self._first_slice(packet, _HEVC_SLICES, 63, 1)
            # Sub-layer non-reference pictures have even types below 16.
            unit = 1 if header is None else header[0] >> 1 & 63
            return (header[1] & 7) - 1 if header is not None and unit < 16 and unit % 2 == 0 else None
        if self.codec in ("mpeg4", "mpeg1video", "mpeg2video"):
            return 0 if self._is_mpeg_b_frame(packet) else None
        return None

    def _first_slice(
        self, packet: av.Packet[Any], slices: tuple[int, ...] | range, mask: int, shift: int
    ) -> bytes | None:
        """The header, two bytes, of the first unit that holds a part of the picture."""
        content = memoryview(packet)
        for start in self._units(content):
            header = bytes(content[start : start + 2])
            if len(header) == 2 and header[0] >> shift & mask in slices:
                return header
        return None

    def _units(self, content: memoryview) -> Iterator[int]:
        """Where the units of a packet begin."""
        if not self._length_bytes:
            whole = bytes(content)
            start = whole.find(_START)
            while start >= 0:
                yield start + len(_START)
                start = whole.find(_START, start + len(_START))
            return
        start = self._length_bytes
        while start < len(content):
            yield start
            start += int.from_bytes(content[start - self._length_bytes : start], "big") + self._length_bytes

    def _is_mpeg_b_frame(self, packet: av.Packet[Any]) -> bool:
        content = bytes(packet)
        code = b"\xb6" if self.codec == "mpeg4" else b"\0"
        at = content.find(_START + code)
        # Old encoders packed two frames into one packet and left the next one empty.
        if self.codec == "mpeg4" and content.find(_START + code, at + 4) >= 0:
            self._packed = True
        kind = content[at + 4 : at + 6]
        if at < 0 or len(kind) < 2:
            return False
        return kind[0] >> 6 == 2 if self.codec == "mpeg4" else kind[1] >> 3 & 7 == 3


def decode_packets(
    container: av.container.InputContainer, stream: av.VideoStream, log: StreamLog | None
) -> Iterator[av.VideoFrame]:
    """The frames of a stream in the order they are shown, noted in ``log`` where there is one."""
    if log is None:
        yield from container.decode(stream)
        return
    number_packets(stream)
    log.begin(container, stream)
    for packet in container.demux(stream):
        if packet.size:
            log.packet(packet)
        for frame in stream.codec_context.decode(packet):
            log.frame(frame)
            yield frame
