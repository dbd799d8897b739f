"""H.264: its sequence parameter sets, and the coded frames in its packets (ITU-T H.264, 7.3)."""

from __future__ import annotations

import av

from mgdali.video.bitstream.bits import Bits
from mgdali.video.bitstream.coded_frames import DAMAGED
from mgdali.video.bitstream.nal_frames import NalFrames, read_cropping, read_matrix
from mgdali.video.bitstream.nal_units import SLICES, header_units, unit_type, without_emulation_prevention
from mgdali.video.bitstream.sequence_header import SequenceHeader

__all__ = ["H264Frames", "h264_header"]

_MACROBLOCK = 16
# Profiles whose header describes the chroma format and the scaling matrices.
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
# Types of units.
_IDR = 5
_PARTITIONS = (2, 3, 4)
_SEQUENCE_SET, _SUBSET_SEQUENCE_SET = 7, 15
# Prefix, subset sequence parameter set, auxiliary picture, and slices of other layers and views.
_OTHER_LAYERS = (14, _SUBSET_SEQUENCE_SET, 19, 20, 21)


def h264_header(unit: bytes) -> SequenceHeader:
    """Return the properties in a sequence parameter set.

    Args:
        unit: The NAL unit without start code, from its header byte.

    Raises:
        ValueError: If the set is not valid.
    """
    bits = Bits(without_emulation_prevention(unit[1:]))
    profile = bits.read(8)
    bits.skip(16)
    bits.golomb()
    chroma, tools = 1, []
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            bits.skip(1)
        bits.golomb()
        bits.golomb()
        if bits.read():
            tools.append("lossless blocks")
        if bits.read():
            _skip_matrices(bits, 12 if chroma == 3 else 8)
    bits.golomb()
    _skip_order(bits)
    bits.golomb()
    bits.skip(1)
    columns, rows = bits.golomb() + 1, bits.golomb() + 1
    progressive = bool(bits.read())
    if not progressive:
        rows *= 2
        bits.skip(1)
    bits.skip(1)
    left, right, top, bottom = read_cropping(bits, chroma, fields=not progressive)
    try:
        matrix: int | None = read_matrix(bits)
    except ValueError:
        matrix = None
    return SequenceHeader(
        width=_MACROBLOCK * columns,
        height=_MACROBLOCK * rows,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        profile=profile,
        progressive=progressive,
        matrix=matrix,
        tools=tuple(tools),
    )


class H264Frames(NalFrames):
    """Coded frames, or fields, of H.264."""

    def __init__(self, stream: av.VideoStream) -> None:
        extradata = stream.codec_context.extradata or b""
        super().__init__("h264", extradata)
        for unit in header_units("h264", extradata):
            if unit and unit_type("h264", unit[0]) in (_SEQUENCE_SET, _SUBSET_SEQUENCE_SET):
                self._read_unit(unit, 0, len(unit))

    def _read_header(self, unit: bytes) -> SequenceHeader:
        return h264_header(unit)

    def _read_unit(self, content: bytes, start: int, end: int) -> int:
        kind = unit_type("h264", content[start])
        if kind in SLICES["h264"]:
            if not self._begun:
                self._begun = True
                if kind != _IDR:
                    self.note_oddity("it does not begin with an IDR frame")
            # The first slice of a picture begins with macroblock 0, which is coded as the bit 1.
            if end < start + 3 or not content[start + 1] >> 7:
                return 0
            self._read_slice(content[start + 1 : start + 4])
            return 1
        if kind == _SEQUENCE_SET:
            self._add_set(kind, content[start:end])
        elif kind in _PARTITIONS:
            self.note_oddity("its slices are split into partitions")
        elif kind in _OTHER_LAYERS:
            self.note_oddity("it has a second layer or view")
        return 0

    def _read_slice(self, content: bytes) -> None:
        """Note the type of the first slice of a picture."""
        try:
            bits = Bits(content)
            bits.skip(1)
            self.b_frames |= bits.golomb() % 5 == 1
        except ValueError:
            self.note_oddity(DAMAGED)


def _skip_matrices(bits: Bits, count: int) -> None:
    """Skip the scaling matrices."""
    for i in range(count):
        if not bits.read():
            continue
        last = following = 8
        for _ in range(16 if i < 6 else 64):
            if following:
                code = bits.golomb()
                change = (code + 1) // 2 if code % 2 else -(code // 2)
                following = (last + change) % 256
            last = following or last


def _skip_order(bits: Bits) -> None:
    """Skip the fields that describe the order of the pictures."""
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.skip(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
