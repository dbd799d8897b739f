"""AV1: its units (OBUs), sequence headers, and the coded frames in its packets (AV1 bitstream specification, 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

from mgdali.video.bitstream.bits import Bits
from mgdali.video.bitstream.coded_frames import BAD_HEADER, DAMAGED, CodedFrames
from mgdali.video.bitstream.sequence_header import UNSPECIFIED, SequenceHeader, padded

__all__ = ["FRAME_UNITS", "AV1Frames", "AV1Header", "av1_header", "find_obus"]

FRAME_UNITS = (3, 6)
"""Types of the units that begin with a frame header."""

_SEQUENCE_UNIT = 1
# Number of bytes in which the fields of a frame header are that are read here.
_FRAME_HEADER = 16
_KEY_FRAME, _SWITCH_FRAME = 0, 3
# Value of a field of the sequence header: each frame header contains its own value.
_PER_FRAME = 2
_BLOCK = 8
# Colour primaries, transfer characteristics and matrix of sRGB.
_SRGB = (1, 13, 0)


@dataclass(frozen=True, kw_only=True)
class AV1Header(SequenceHeader):
    """Properties of an AV1 stream. Those that are added here tell how to read the headers of frames.

    Attributes:
        still: Whether frame headers are reduced to those of still pictures.
        time_bits: Number of bits of the presentation time in the header of a frame that is displayed.
        id_bits: Number of bits of a frame's number in its header.
        screen_content, integer_motion: Whether screen content tools and integer motion vectors are used: 0 or 1, or 2
            if each frame header says it.
    """

    still: bool
    time_bits: int
    id_bits: int
    screen_content: int
    integer_motion: int


def find_obus(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the type of each unit (OBU), and the start and the end of its payload in bytes.

    Args:
        content: A packet. If a length in it is wrong, the last end is beyond the packet.
    """
    at = 0
    while at < len(content):
        kind, extended, sized = content[at] >> 3 & 15, content[at] >> 2 & 1, content[at] >> 1 & 1
        start = at + 1 + extended
        length = len(content) - start
        if sized:
            length, start = _leb128(content, start)
        at = start + length
        yield kind, start, at


def av1_header(content: bytes) -> AV1Header:
    """Return the properties in a sequence header.

    Args:
        content: The payload of the unit.

    Raises:
        ValueError: If the header is not valid.
    """
    bits = Bits(content)
    profile = bits.read(3)
    bits.skip(1)
    still = bool(bits.read())
    tools: list[str] = []
    time_bits = 0
    if still:
        bits.skip(5)
    else:
        time_bits = _skip_operating_points(bits, tools)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    id_bits = 0
    if not still and bits.read():
        id_bits = bits.read(4) + 2
        id_bits += bits.read(3) + 1
    bits.skip(3)
    screen_content = integer_motion = _PER_FRAME
    if not still:
        bits.skip(4)
        order_hint = bits.read()
        if order_hint:
            bits.skip(2)
        screen_content = _PER_FRAME if bits.read() else bits.read()
        if screen_content:
            integer_motion = _PER_FRAME if bits.read() else bits.read()
        if order_hint:
            bits.skip(3)
    if bits.read():
        tools.append("superresolution")
    bits.skip(2)
    matrix = _read_colours(bits, profile)
    if bits.read():
        tools.append("film grain")
    return AV1Header(
        width=padded(width, _BLOCK),
        height=padded(height, _BLOCK),
        profile=profile,
        matrix=matrix,
        tools=tuple(tools),
        still=still,
        time_bits=time_bits,
        id_bits=id_bits,
        screen_content=screen_content,
        integer_motion=integer_motion,
    )


class AV1Frames(CodedFrames):
    """Coded frames of AV1. A packet may contain several, but only one is displayed."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()
        self._filter = BitStreamFilterContext("av1_frame_split", stream)
        self._sequence: bytes | None = None
        self._sequence_header: AV1Header | None = None
        extradata = stream.codec_context.extradata or b""
        # In MP4 and Matroska, four bytes precede the units. Encoders write the sequence header again into the first
        # packet, with other details. Decoders follow that one, so the first one may differ from the others.
        self._read_units(extradata[4:] if extradata[:1] == b"\x81" else extradata)
        self._sequence = None

    def add(self, packet: av.Packet[Any]) -> None:
        self._read_units(bytes(packet))
        self.note(len(self.split(self._filter, packet)))

    def _read_units(self, content: bytes) -> None:
        for kind, start, end in find_obus(content):
            if kind == _SEQUENCE_UNIT:
                self._read_sequence(content[start:end])
            elif kind in FRAME_UNITS:
                try:
                    self._read_frame(content[start : min(end, start + _FRAME_HEADER)])
                except ValueError:
                    self.note_oddity(DAMAGED)

    def _read_sequence(self, payload: bytes) -> None:
        """Note a sequence header."""
        if self._sequence is None:
            self._sequence, before = payload, self.header
            try:
                self.header = self._sequence_header = av1_header(payload)
            except ValueError:
                self.note_oddity(BAD_HEADER)
                return
            if before is not None:
                self.changed |= (before.width, before.height) != (self.header.width, self.header.height)
        self.changed |= self._sequence != payload

    def _read_frame(self, payload: bytes) -> None:
        """Note whether a frame may have another size than the sequence header says."""
        sequence = self._sequence_header
        if sequence is None:
            return
        bits = Bits(payload)
        # show_existing_frame: a frame that was decoded before is displayed.
        if sequence.still or bits.read():
            return
        kind, shown = bits.read(2), bits.read()
        bits.skip(sequence.time_bits if shown else 1)
        if kind != _SWITCH_FRAME and not (kind == _KEY_FRAME and shown):
            bits.skip(1)
        bits.skip(1)
        screen_content = bits.read() if sequence.screen_content == _PER_FRAME else sequence.screen_content
        if screen_content and sequence.integer_motion == _PER_FRAME:
            bits.skip(1)
        bits.skip(sequence.id_bits)
        self.changed |= kind == _SWITCH_FRAME or bool(bits.read())


def _skip_operating_points(bits: Bits, tools: list[str]) -> int:
    """Skip the fields on time and operating points. Return the number of bits of a time in the header of a frame."""
    time_bits = delay_bits = 0
    decoder_model = equal = 0
    if bits.read():
        bits.skip(64)
        equal = bits.read()
        if equal:
            bits.golomb()
        decoder_model = bits.read()
        if decoder_model:
            delay_bits = bits.read(5) + 1
            bits.skip(32 + 5)
            time_bits = bits.read(5) + 1
    delay_shown = bits.read()
    points = bits.read(5) + 1
    if points > 1:
        tools.append("layers")
    for _ in range(points):
        bits.skip(12)
        if bits.read(5) > 7:
            bits.skip(1)
        if decoder_model and bits.read():
            bits.skip(2 * delay_bits + 1)
        if delay_shown and bits.read():
            bits.skip(4)
    return time_bits if decoder_model and not equal else 0


def _read_colours(bits: Bits, profile: int) -> int:
    """Return the matrix of the colours, and skip the other fields of their description.

    Raises:
        ValueError: If the profile is the professional one, whose description is longer.
    """
    high = bits.read()
    if profile == 2 and high:
        bits.skip(1)
    grey = 0 if profile == 1 else bits.read()
    matrix, identity = UNSPECIFIED, False
    if bits.read():
        primaries, transfer, matrix = bits.read(8), bits.read(8), bits.read(8)
        identity = (primaries, transfer, matrix) == _SRGB
    bits.skip(1)
    if grey or identity:
        return matrix
    if profile == 2:
        raise ValueError("the header describes AV1's professional profile")
    if profile == 0:
        bits.skip(2)
    bits.skip(1)
    return matrix


def _leb128(content: bytes, at: int) -> tuple[int, int]:
    """Return a number with seven bits per byte, lowest first, in at most eight bytes, and the position after it."""
    value = 0
    for shift in range(0, 56, 7):
        part = int.from_bytes(content[at : at + 1], "big")
        value |= (part & 127) << shift
        at += 1
        if part < 128:
            break
    return value, at
