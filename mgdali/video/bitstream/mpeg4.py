"""MPEG-4 Part 2: its layer headers, and the coded frames in its packets (ISO/IEC 14496-2, 6.2).

The standard calls a frame a video object plane (VOP), and the header of a stream a video object layer (VOL).
"""

from __future__ import annotations

import re
from typing import Any

import av

from mgdali.video.bitstream.bits import Bits
from mgdali.video.bitstream.coded_frames import BAD_HEADER, CodedFrames
from mgdali.video.bitstream.nal_units import START_CODE
from mgdali.video.bitstream.sequence_header import SequenceHeader, padded

__all__ = ["B_FRAME", "FRAME", "I_FRAME", "MPEG4Frames", "frame_type", "mpeg4_header"]

FRAME = START_CODE + b"\xb6"
"""Start code of a frame."""

I_FRAME, B_FRAME = 0, 2
"""Results of :func:`frame_type`."""

_MACROBLOCK = 16
_LAYER = re.compile(re.escape(START_CODE) + rb"[\x20-\x2f]")
# Longest header of a layer that is compared and read, in bytes: two matrices and the fields around them.
_LAYER_BYTES = 192
# FFmpeg regards MPEG-4 packets up to this number of bytes as fillers without a picture.
_FILLER_BYTES = 19


def mpeg4_header(content: bytes) -> SequenceHeader:
    """Return the properties in the header of a video object layer.

    Args:
        content: The header, after its start code.

    Raises:
        ValueError: If the header is not valid.
    """
    bits = Bits(content)
    bits.skip(1 + 8)
    version = 1
    if bits.read():
        version = bits.read(4)
        bits.skip(3)
    if bits.read(4) == 15:
        bits.skip(16)
    if bits.read():
        bits.skip(3)
        if bits.read():
            bits.skip(79)
    if bits.read(2) != 0:
        raise ValueError("the picture is not a rectangle")
    bits.skip(1)
    resolution = bits.read(16)
    bits.skip(1)
    if bits.read():
        bits.skip(max(1, (resolution - 1).bit_length()))
    bits.skip(1)
    width = bits.read(13)
    bits.skip(1)
    height = bits.read(13)
    bits.skip(1)
    progressive = not bits.read()
    bits.skip(1)
    return SequenceHeader(
        width=padded(width, _MACROBLOCK),
        height=padded(height, _MACROBLOCK),
        progressive=progressive,
        tools=tuple(_tools(bits, version)),
    )


def frame_type(packet: bytes) -> int | None:
    """Return the coding type of the first frame in a packet: 0 for I, 1 for P, 2 for B, 3 for S; None without a frame.

    Args:
        packet: Content of the packet. If it ends after the frame's start code, the type is 0.
    """
    at = packet.find(FRAME)
    if at < 0:
        return None
    return int.from_bytes(packet[at + len(FRAME) :][:1], "big") >> 6


class MPEG4Frames(CodedFrames):
    """Coded frames of MPEG-4 Part 2. A packet may contain two or none."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()
        self._layer: bytes | None = None
        self._read_layer(stream.codec_context.extradata or b"")

    def add(self, packet: av.Packet[Any]) -> None:
        content = bytes(packet)
        self._read_layer(content.partition(FRAME)[0])
        self.b_frames |= frame_type(content) == B_FRAME
        self.note(content.count(FRAME) if len(content) > _FILLER_BYTES else 0)

    def _read_layer(self, content: bytes) -> None:
        """Note the first header of a layer in some bytes, if there is one."""
        found = _LAYER.search(content)
        if found is None:
            return
        # The header ends at the next start code.
        end = content.find(START_CODE, found.end())
        layer = content[found.end() : min(end if end >= 0 else len(content), found.end() + _LAYER_BYTES)]
        if self._layer is None:
            self._layer = layer
            try:
                self.header = mpeg4_header(layer)
            except ValueError:
                self.note_oddity(BAD_HEADER)
        self.changed |= self._layer != layer


def _tools(bits: Bits, version: int) -> list[str]:
    """Return the unusual tools that a header names, from its field ``sprite_enable``."""
    if bits.read(1 if version == 1 else 2):
        return ["global motion compensation"]
    if bits.read():
        return ["samples that do not have 8 bits"]
    if bits.read():
        for _ in range(2):
            if bits.read():
                count = 0
                while count < 64 and bits.read(8):
                    count += 1
    if version != 1:
        bits.skip(1)
    if not bits.read():
        return ["complexity estimation"]
    bits.skip(1)
    tools = []
    if bits.read():
        tools.append("data partitioning")
        bits.skip(1)
    if version != 1:
        if bits.read():
            return [*tools, "newpred"]
        if bits.read():
            tools.append("reduced resolution")
    if bits.read():
        tools.append("scalability")
    return tools
