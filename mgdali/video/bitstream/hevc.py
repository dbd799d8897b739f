"""HEVC: its sequence parameter sets, and the coded frames in its packets (ITU-T H.265, 7.3)."""

from __future__ import annotations

import av

from mgdali.video.bitstream.bits import Bits
from mgdali.video.bitstream.coded_frames import DAMAGED
from mgdali.video.bitstream.nal_frames import NalFrames, read_cropping, read_matrix
from mgdali.video.bitstream.nal_units import SLICES, header_units, unit_type, without_emulation_prevention
from mgdali.video.bitstream.sequence_header import SequenceHeader

__all__ = ["HEVCFrames", "hevc_header"]

# Types of units: leading pictures that are dropped if decoding begins at the random access picture before them (RASL);
# random access pictures; of these, the ones that mark a cut (BLA).
_LOST = (8, 9)
_RANDOM_ACCESS = range(16, 24)
_BROKEN_LINKS = (16, 17, 18)
_SEQUENCE_SET, _PICTURE_SET = 33, 34
# End of a sequence, and end of the bitstream.
_ENDS = (36, 37)


def hevc_header(unit: bytes) -> SequenceHeader:
    """Return the properties in a sequence parameter set.

    Args:
        unit: The NAL unit without start code, from its header of two bytes.

    Raises:
        ValueError: If the set is not valid.
    """
    bits = Bits(without_emulation_prevention(unit[2:]))
    bits.skip(4)
    sub_layers = bits.read(3)
    bits.skip(1 + 3)
    profile = bits.read(5)
    bits.skip(32)
    progressive_source, interlaced_source = bits.read(), bits.read()
    bits.skip(46 + 8)
    present = [(bits.read(), bits.read()) for _ in range(sub_layers)]
    if sub_layers:
        bits.skip(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.skip(88 * has_profile + 8 * has_level)
    bits.golomb()
    chroma = bits.golomb()
    if chroma == 3:
        bits.skip(1)
    width, height = bits.golomb(), bits.golomb()
    left, right, top, bottom = read_cropping(bits, chroma)
    try:
        _skip_tools(bits, sub_layers)
        matrix: int | None = read_matrix(bits)
    except ValueError:
        matrix = None
    return SequenceHeader(
        width=width,
        height=height,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        profile=profile,
        progressive=bool(progressive_source) or not interlaced_source,
        matrix=matrix,
    )


class HEVCFrames(NalFrames):
    """Coded frames of HEVC."""

    def __init__(self, stream: av.VideoStream) -> None:
        extradata = stream.codec_context.extradata or b""
        super().__init__("hevc", extradata)
        self._after_first_access = True
        self._extra_bits = 0
        for unit in header_units("hevc", extradata):
            if len(unit) > 2 and unit_type("hevc", unit[0]) in (_SEQUENCE_SET, _PICTURE_SET):
                self._read_unit(unit, 0, len(unit))

    def _read_header(self, unit: bytes) -> SequenceHeader:
        return hevc_header(unit)

    def _read_unit(self, content: bytes, start: int, end: int) -> int:
        if end < start + 3:
            return 0
        kind = unit_type("hevc", content[start])
        # The number of the layer has six bits, in both bytes of the unit's header.
        if content[start] & 1 or content[start + 1] >> 3:
            self.note_oddity("it has a second layer or view")
        elif kind in SLICES["hevc"]:
            self._check_access(kind)
            # The first bit says whether this is the first slice of a picture.
            if content[start + 2] >> 7:
                self._read_slice(kind, content[start + 2 : start + 8])
                return 1
        elif kind == _SEQUENCE_SET:
            self._add_set(kind, content[start:end])
        elif kind == _PICTURE_SET:
            self._read_picture_set(content[start + 2 : min(end, start + 16)])
        elif kind in _ENDS:
            self.note_oddity("it was joined from several streams")
        return 0

    def _check_access(self, kind: int) -> None:
        """Note pictures that cannot be decoded, because the stream begins or continues after a cut."""
        if not self._begun:
            self._begun = True
            if kind not in _RANDOM_ACCESS:
                self.note_oddity("it does not begin with a frame at which decoding can begin")
        elif kind in _RANDOM_ACCESS:
            self._after_first_access = False
        if kind in _BROKEN_LINKS:
            self.note_oddity("it was joined from several streams")
        elif kind in _LOST and self._after_first_access:
            self.note_oddity("its first frames refer to missing frames")

    def _read_picture_set(self, content: bytes) -> None:
        """Note what the headers of slices depend on."""
        try:
            bits = Bits(content)
            bits.golomb()
            bits.golomb()
            bits.skip(1)
            if bits.read():
                self.note_oddity("some of its frames may not be displayed")
            self._extra_bits = bits.read(3)
        except ValueError:
            self.note_oddity("its picture parameter set cannot be read")

    def _read_slice(self, kind: int, content: bytes) -> None:
        """Note the type of the first slice of a picture."""
        try:
            bits = Bits(content)
            bits.skip(2 if kind in _RANDOM_ACCESS else 1)
            bits.golomb()
            bits.skip(self._extra_bits)
            self.b_frames |= bits.golomb() == 0
        except ValueError:
            self.note_oddity(DAMAGED)


def _skip_tools(bits: Bits, sub_layers: int) -> None:
    """Skip the fields of a sequence parameter set between the cropping and ``vui_parameters_present_flag``.

    Args:
        bits: The set, from ``bit_depth_luma_minus8``.
        sub_layers: ``sps_max_sub_layers_minus1`` of the set.
    """
    for _ in range(2):
        bits.golomb()
    order_bits = bits.golomb() + 4
    for _ in range(sub_layers + 1 if bits.read() else 1):
        for _ in range(3):
            bits.golomb()
    for _ in range(6):
        bits.golomb()
    # Scaling lists are enabled, and are in this set.
    if bits.read() and bits.read():
        _skip_scaling_lists(bits)
    bits.skip(2)
    # PCM blocks are enabled.
    if bits.read():
        bits.skip(8)
        bits.golomb()
        bits.golomb()
        bits.skip(1)
    _skip_reference_sets(bits, bits.golomb())
    if bits.read():
        for _ in range(bits.golomb()):
            bits.skip(order_bits + 1)
    bits.skip(2)


def _skip_scaling_lists(bits: Bits) -> None:
    """Skip ``scaling_list_data`` (7.3.4)."""
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.read():
                bits.golomb()
                continue
            for _ in range(min(64, 16 << 2 * size) + (size > 1)):
                bits.golomb()


def _skip_reference_sets(bits: Bits, count: int) -> None:
    """Skip all ``st_ref_pic_set`` of a sequence parameter set (7.3.7)."""
    pictures = 0
    for number in range(count):
        if number and bits.read():
            # The set is coded as differences from the set before it.
            bits.skip(1)
            bits.golomb()
            # For each picture of that set and one more: whether it is used, or else whether it is kept.
            pictures = sum(bits.read() or bits.read() for _ in range(pictures + 1))
        else:
            pictures = bits.golomb() + bits.golomb()
            for _ in range(pictures):
                bits.golomb()
                bits.skip(1)
