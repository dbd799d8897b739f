"""What H.264 and HEVC have in common: coded frames in NAL units, and fields of the sequence parameter sets."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import av

from mgdali.video.bitstream.bits import Bits
from mgdali.video.bitstream.coded_frames import BAD_HEADER, DAMAGED, CodedFrames
from mgdali.video.bitstream.nal_units import find_units, read_length_bytes
from mgdali.video.bitstream.sequence_header import UNSPECIFIED, SequenceHeader

__all__ = ["NalFrames", "read_cropping", "read_matrix"]

# Value of aspect_ratio_idc that is followed by a width and a height.
_OWN_ASPECT_RATIO = 255
# Values of chroma_format_idc, with the number of luma samples per crop unit: columns, rows.
_CROP_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}


class NalFrames(CodedFrames):
    """Coded frames in the packets of H.264 or HEVC.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: Headers outside the packets.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        super().__init__()
        self._length_bytes = read_length_bytes(codec, extradata)
        self._sets: dict[int, bytes] = {}
        self._begun = False

    def add(self, packet: av.Packet[Any]) -> None:
        content = bytes(packet)
        pictures = 0
        for start, end in find_units(content, self._length_bytes):
            if start >= end or end > len(content):
                self.note_oddity(DAMAGED)
                break
            pictures += self._read_unit(content, start, end)
        self._begun = True
        self.note(pictures)

    @abstractmethod
    def _read_unit(self, content: bytes, start: int, end: int) -> int:
        """Note the unit in a part of a packet. Return 1 if it begins a picture, otherwise 0."""

    @abstractmethod
    def _read_header(self, unit: bytes) -> SequenceHeader:
        """Return the properties in a sequence parameter set; raise a ValueError if it is not valid."""

    def _add_set(self, kind: int, unit: bytes) -> None:
        """Note a parameter set. All sets of its type must be equal."""
        unit = unit.rstrip(b"\0")
        if self._sets.setdefault(kind, unit) != unit:
            self.changed = True
        elif self.header is None:
            try:
                self.header = self._read_header(unit)
            except ValueError:
                self.note_oddity(BAD_HEADER)


def read_cropping(bits: Bits, chroma: int, *, fields: bool = False) -> tuple[int, int, int, int]:
    """Return how many luma samples of the coded picture are not displayed: left, right, top and bottom.

    Args:
        bits: The sequence parameter set, from the flag that says whether there is a cropping.
        chroma: ``chroma_format_idc`` of the set.
        fields: Whether rows are counted in fields.

    Raises:
        ValueError: If the set ends too early, or the chroma format is unknown.
    """
    sides = [bits.golomb() for _ in range(4)] if bits.read() else [0] * 4
    if chroma not in _CROP_UNITS:
        raise ValueError(f"the header contains the unknown chroma format {chroma}")
    columns, rows = _CROP_UNITS[chroma]
    rows *= 2 if fields else 1
    left, right, top, bottom = sides
    return left * columns, right * columns, top * rows, bottom * rows


def read_matrix(bits: Bits) -> int:
    """Return the matrix of the colours (:attr:`SequenceHeader.matrix`) in the description of how to use the video.

    Source: ITU-T H.264 (E.1.1) and ITU-T H.265 (E.2.1), which have the same fields up to the matrix.

    Args:
        bits: The sequence parameter set, from the flag ``vui_parameters_present_flag``.

    Raises:
        ValueError: If the set ends too early.
    """
    if not bits.read():
        return UNSPECIFIED
    if bits.read() and bits.read(8) == _OWN_ASPECT_RATIO:
        bits.skip(32)
    if bits.read():
        bits.skip(1)
    # video_signal_type_present_flag; then the format, the range, and colour_description_present_flag.
    if not bits.read():
        return UNSPECIFIED
    bits.skip(3 + 1)
    if not bits.read():
        return UNSPECIFIED
    bits.skip(8 + 8)
    return bits.read(8)
