"""Coded frames in the packets of a stream: how many there are, whether all are displayed, whether headers change.

FFmpeg hides all of this from its users: it merges fields, drops frames that are not displayed, and follows new headers.
DALI's decoder on the GPU does none of it. So the headers are read here, without decoding: some bytes per packet.
"""

from __future__ import annotations

import re
from typing import Any

import av
import av.error
from av.bitstream import BitStreamFilterContext

from mgdali.video.sequence_headers import Bits, SequenceHeader, av1_header, mpeg4_header

__all__ = ["DAMAGED", "AV1Frames", "CodedFrames", "MPEG4Frames", "VP8Frames", "VP9Frames"]

DAMAGED = "a packet is damaged"
"""Description of packets whose parts cannot be told apart."""

_START_CODE = b"\0\0\1"
_VOP = b"\0\0\1\xb6"
_VOL = re.compile(rb"\x00\x00\x01[\x20-\x2f]")
# Longest header of a video object layer that is compared and read, in bytes: two matrices and the fields around them.
_VOL_BYTES = 192
# FFmpeg takes MPEG-4 packets of up to this size for fillers without a picture.
_MPEG4_FILLER = 19
_OBU_SEQUENCE, _OBU_FRAME_HEADER, _OBU_FRAME = 1, 3, 6


class CodedFrames:
    """Coded frames of a stream, noted packet by packet.

    Attributes:
        header: First sequence header; None if none was found or it could not be read.
        count: Number of coded frames, or fields, so far.
        odd: Number of packets so far that do not contain exactly one frame that is displayed.
        changed: Whether a later header differs from the first one, or there are several.
        b_frames: Whether a frame was found that may refer to frames that are displayed later (for VP8, VP9 and AV1
            always False).
        oddity: Description of something that decoders treat differently; empty if nothing was found.
    """

    def __init__(self) -> None:
        self.header: SequenceHeader | None = None
        self.count = 0
        self.odd = 0
        self.changed = False
        self.b_frames = False
        self.oddity = ""

    def add(self, packet: av.Packet[Any]) -> None:
        """Note a packet that is not empty. The packet may be empty afterwards."""
        raise NotImplementedError

    def note(self, frames: int, *, shown: bool = True) -> None:
        """Count the coded frames of a packet; one of them is displayed if ``shown``."""
        self.count += frames
        self.odd += frames != 1 or not shown

    def note_oddity(self, words: str) -> None:
        """Note something that decoders treat differently, unless something was noted before."""
        self.oddity = self.oddity or words

    def _parts(self, split: BitStreamFilterContext, packet: av.Packet[Any]) -> list[av.Packet[Any]]:
        """Return the parts into which a filter splits a packet; the packet is empty afterwards."""
        try:
            return split.filter(packet)
        except av.error.FFmpegError:
            self.note_oddity(DAMAGED)
            return []


class VP8Frames(CodedFrames):
    """Coded frames of VP8, one per packet. Some are only references for others."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()
        self._size: tuple[int, int] | None = None

    def add(self, packet: av.Packet[Any]) -> None:
        content = bytes(memoryview(packet)[:10])
        is_key = not content[0] & 1
        if len(content) < (10 if is_key else 3):
            self.note(0)
            return
        if is_key:
            size = tuple(int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (6, 8))
            if self.header is None:
                width, height = (-(-side // 16) * 16 for side in size)
                self.header = SequenceHeader(width=width, height=height, profile=content[0] >> 1 & 7)
                self._size = size[0], size[1]
            self.changed |= self._size != size
        self.note(1, shown=bool(content[0] >> 4 & 1))


class VP9Frames(CodedFrames):
    """Coded frames of VP9. A packet contains several if it is a superframe."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()
        self._split = BitStreamFilterContext("vp9_superframe_split", stream)
        self._size: tuple[int, int] | None = None

    def add(self, packet: av.Packet[Any]) -> None:
        frames = self._parts(self._split, packet)
        shown = [self._read_frame(bytes(memoryview(frame)[:16])) for frame in frames if frame.size]
        self.note(len(shown), shown=all(shown))

    def _read_frame(self, content: bytes) -> bool:
        """Note the size in the header of a frame. Return whether the frame is coded here and displayed."""
        bits = Bits(content)
        try:
            bits.skip(2)
            profile = bits.read() | bits.read() << 1
            if profile == 3:
                bits.skip(1)
            if bits.read():
                return False
            inter, shown, resilient = bits.read(), bits.read(), bits.read()
            if not inter:
                self._read_size(bits, profile)
            else:
                intra_only = 0 if shown else bits.read()
                bits.skip(0 if resilient else 2)
                # Frames that are coded alone within a stream may have another size; they are also rare.
                if intra_only:
                    self.changed = True
                else:
                    # The frame has the size of its first reference, or else it may change the size.
                    bits.skip(8 + 3 * 4)
                    self.changed |= not bits.read()
        except ValueError:
            return False
        return bool(shown)

    def _read_size(self, bits: Bits, profile: int) -> None:
        bits.skip(24)
        if profile >= 2:
            bits.skip(1)
        if bits.read(3) != 7:
            bits.skip(1)
            if profile in (1, 3):
                bits.skip(3)
        elif profile in (1, 3):
            bits.skip(1)
        size = bits.read(16) + 1, bits.read(16) + 1
        if self.header is None:
            width, height = (-(-side // 8) * 8 for side in size)
            self.header = SequenceHeader(width=width, height=height, profile=profile)
            self._size = size
        self.changed |= self._size != size


class MPEG4Frames(CodedFrames):
    """Coded frames of MPEG-4 Part 2. A packet may contain two or none."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()
        self._layer: bytes | None = None
        self._read_layer(stream.codec_context.extradata or b"")

    def add(self, packet: av.Packet[Any]) -> None:
        content = bytes(packet)
        first = content.find(_VOP)
        self._read_layer(content[: first if first >= 0 else len(content)])
        # The type of the frame is in two bits, 2 for a B-frame.
        kind = content[first + len(_VOP) :][:1] if first >= 0 else b""
        self.b_frames |= b"\x80" <= kind < b"\xc0"
        self.note(content.count(_VOP) if len(content) > _MPEG4_FILLER else 0)

    def _read_layer(self, content: bytes) -> None:
        found = _VOL.search(content)
        if found is None:
            return
        # The header ends at the next start code.
        end = content.find(_START_CODE, found.end())
        layer = content[found.end() : min(end if end >= 0 else len(content), found.end() + _VOL_BYTES)]
        if self._layer is None:
            self._layer = layer
            try:
                self.header = mpeg4_header(layer)
            except ValueError:
                self.note_oddity("its sequence header cannot be read")
        self.changed |= self._layer != layer


class AV1Frames(CodedFrames):
    """Coded frames of AV1, whose packets consist of units (OBUs)."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()
        self._split = BitStreamFilterContext("av1_frame_split", stream)
        self._sequence: bytes | None = None
        extradata = stream.codec_context.extradata or b""
        # In MP4 and Matroska, four bytes precede the units. Encoders write the headers again, with other details, into
        # the first packet; decoders follow these.
        self._read_units(extradata[4:] if extradata[:1] == b"\x81" else extradata)
        self._sequence = None

    def add(self, packet: av.Packet[Any]) -> None:
        self._read_units(bytes(packet))
        self.note(len(self._parts(self._split, packet)))

    def _read_units(self, content: bytes) -> None:
        at = 0
        while at < len(content):
            kind, extended, sized = content[at] >> 3 & 15, content[at] >> 2 & 1, content[at] >> 1 & 1
            start = at + 1 + extended
            length = len(content) - start
            if sized:
                length, start = _leb128(content, start)
            at = start + length
            if kind == _OBU_SEQUENCE:
                self._read_sequence(content[start:at])
            elif kind in (_OBU_FRAME_HEADER, _OBU_FRAME):
                try:
                    self._read_frame(content[start : min(at, start + 16)])
                except ValueError:
                    self.note_oddity(DAMAGED)

    def _read_sequence(self, payload: bytes) -> None:
        if self._sequence is None:
            self._sequence, before = payload, self.header
            try:
                self.header = av1_header(payload)
            except ValueError:
                self.note_oddity("its sequence header cannot be read")
                return
            if before is not None:
                self.changed |= (before.width, before.height) != (self.header.width, self.header.height)
        self.changed |= self._sequence != payload

    def _read_frame(self, payload: bytes) -> None:
        """Note whether a frame may have another size than the sequence header says."""
        if self.header is None:
            return
        fields = dict(self.header.frame_headers)
        bits = Bits(payload)
        if fields["reduced"] or bits.read():
            return
        kind, shown = bits.read(2), bits.read()
        bits.skip(fields["timed"] if shown else 1)
        # 0: key frame; 3: switch frame.
        if kind != 3 and not (kind == 0 and shown):
            bits.skip(1)
        bits.skip(1)
        screen_content = bits.read() if fields["screen_content"] == 2 else fields["screen_content"]
        if screen_content and fields["integer_motion"] == 2:
            bits.skip(1)
        bits.skip(fields["id_bits"])
        self.changed |= kind == 3 or bool(bits.read())


def _leb128(content: bytes, at: int) -> tuple[int, int]:
    """Return a number of AV1 in 7 bits a byte, and the position after it."""
    value = shift = 0
    while at < len(content):
        byte = content[at]
        value |= (byte & 127) << shift
        shift += 7
        at += 1
        if not byte & 128:
            break
    return value, at
