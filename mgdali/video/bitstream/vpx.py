"""VP8 and VP9: the coded frames in their packets (RFC 6386, 9.1; VP9 bitstream specification, 6.2)."""

from __future__ import annotations

from typing import Any

import av
from av.bitstream import BitStreamFilterContext

from mgdali.video.bitstream.bits import Bits
from mgdali.video.bitstream.coded_frames import CodedFrames
from mgdali.video.bitstream.sequence_header import UNSPECIFIED, SequenceHeader, padded

__all__ = ["VP8Frames", "VP9Frames"]

_VP8_BLOCK, _VP9_BLOCK = 16, 8
_VP8_KEY_HEADER, _VP8_HEADER = 10, 3
# Number of bytes in which the fields of a VP9 frame header are that are read here.
_VP9_HEADER = 16
_RGB = 7
# The value of SequenceHeader.matrix for each value of color_space (7.2.2): unspecified, BT.601, BT.709, SMPTE 170M,
# SMPTE 240M, BT.2020, reserved, RGB.
_MATRICES = (UNSPECIFIED, 5, 1, 6, 7, 9, UNSPECIFIED, 0)


class VP8Frames(CodedFrames):
    """Coded frames of VP8, one per packet. Some are not displayed: other frames refer to them."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()
        self._size: tuple[int, int] | None = None

    def add(self, packet: av.Packet[Any]) -> None:
        content = bytes(memoryview(packet)[:_VP8_KEY_HEADER])
        is_key = not content[0] & 1
        if len(content) < (_VP8_KEY_HEADER if is_key else _VP8_HEADER):
            self.note(0)
            return
        if is_key:
            width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (6, 8))
            if self.header is None:
                self.header = SequenceHeader(
                    width=padded(width, _VP8_BLOCK), height=padded(height, _VP8_BLOCK), profile=content[0] >> 1 & 7
                )
                self._size = width, height
            self.changed |= self._size != (width, height)
        self.note(1, shown=bool(content[0] >> 4 & 1))


class VP9Frames(CodedFrames):
    """Coded frames of VP9. A packet contains several if it is a superframe."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()
        self._filter = BitStreamFilterContext("vp9_superframe_split", stream)
        self._size: tuple[int, int] | None = None

    def add(self, packet: av.Packet[Any]) -> None:
        frames = self.split(self._filter, packet)
        shown = [self._read_frame(bytes(memoryview(frame)[:_VP9_HEADER])) for frame in frames if frame.size]
        self.note(len(shown), shown=all(shown))

    def _read_frame(self, content: bytes) -> bool:
        """Note the size in the header of a frame. Return whether the frame is coded here and displayed."""
        bits = Bits(content)
        try:
            bits.skip(2)
            profile = bits.read() | bits.read() << 1
            if profile == 3:
                bits.skip(1)
            # show_existing_frame: a frame that was decoded before is displayed.
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
        """Note the size in the header of a key frame, from the field ``frame_sync_code``."""
        bits.skip(24)
        if profile >= 2:
            bits.skip(1)
        colours = bits.read(3)
        if colours != _RGB:
            bits.skip(1)
            if profile in (1, 3):
                bits.skip(3)
        elif profile in (1, 3):
            bits.skip(1)
        size = bits.read(16) + 1, bits.read(16) + 1
        if self.header is None:
            width, height = (padded(side, _VP9_BLOCK) for side in size)
            self.header = SequenceHeader(width=width, height=height, profile=profile, matrix=_MATRICES[colours])
            self._size = size
        self.changed |= self._size != size
