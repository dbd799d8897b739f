"""Coded frames in the packets of H.264 and HEVC, which consist of units (NAL units)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

from mgdali.video.coded_frames import DAMAGED, CodedFrames
from mgdali.video.sequence_headers import Bits, SequenceHeader, h264_header, hevc_header

__all__ = ["H264Frames", "HEVCFrames"]

_START_CODE = b"\0\0\1"


class _Units(CodedFrames):
    """Coded frames of H.264 and HEVC, whose packets consist of units (NAL units)."""

    def __init__(self, extradata: bytes, *, length_at: int) -> None:
        super().__init__()
        # Headers in MP4 and Matroska begin with 1, and each unit with its length; otherwise with a start code.
        with_lengths = extradata[:1] == b"\1" and len(extradata) > length_at
        self._length_bytes = (extradata[length_at] & 3) + 1 if with_lengths else 0
        self._sets: dict[int, bytes] = {}
        self._begun = False

    def add(self, packet: av.Packet[Any]) -> None:
        content = bytes(packet)
        pictures = 0
        for start, end in self._units(content):
            pictures += self._read_unit(content, start, end)
        self._begun = True
        self.note(pictures)

    def _read_unit(self, content: bytes, start: int, end: int) -> int:
        """Note a unit. Return 1 if it begins a picture, else 0."""
        raise NotImplementedError

    def _read_header(self, unit: bytes) -> SequenceHeader:
        raise NotImplementedError

    def _add_set(self, kind: int, unit: bytes) -> None:
        """Note a parameter set. All sets of its type must be equal."""
        unit = unit.rstrip(b"\0")
        if self._sets.setdefault(kind, unit) != unit:
            self.changed = True
        elif self.header is None:
            try:
                self.header = self._read_header(unit)
            except ValueError:
                self.note_oddity("its sequence header cannot be read")

    def _units(self, content: bytes) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of each unit of a packet that is not empty, in bytes."""
        if not self._length_bytes:
            yield from _units_after_start_codes(content)
            return
        size, at, total = self._length_bytes, 0, len(content)
        while at + size <= total:
            start = at + size
            at = start + int.from_bytes(content[at:start], "big")
            if at > total or at == start:
                self.note_oddity(DAMAGED)
                return
            yield start, at
        if at != total:
            self.note_oddity(DAMAGED)


class H264Frames(_Units):
    """Coded frames, or fields, of H.264."""

    def __init__(self, stream: av.VideoStream) -> None:
        extradata = stream.codec_context.extradata or b""
        super().__init__(extradata, length_at=4)
        if not self._length_bytes:
            units = [extradata[start:end] for start, end in _units_after_start_codes(extradata)]
        else:
            units = _units_of_avc_header(extradata)
        for unit in units:
            if unit and unit[0] & 31 in (7, 15):
                self._read_unit(unit, 0, len(unit))

    def _read_header(self, unit: bytes) -> SequenceHeader:
        return h264_header(unit)

    def _read_unit(self, content: bytes, start: int, end: int) -> int:
        kind = content[start] & 31
        if kind in (1, 5):
            if not self._begun:
                self._begun = True
                if kind != 5:
                    self.note_oddity("it does not begin with an IDR frame")
            if end < start + 3 or not content[start + 1] >> 7:
                return 0
            self._read_slice(content[start + 1 : start + 4])
            return 1
        if kind == 7:
            self._add_set(kind, content[start:end])
        elif kind in (2, 3, 4):
            self.note_oddity("its slices are split into partitions")
        elif kind in (14, 15, 19, 20, 21):
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


class HEVCFrames(_Units):
    """Coded frames of HEVC."""

    # Types of units: the last one of a slice, leading pictures that may be lost (RASL), and random access.
    _LAST_SLICE = 31
    _LOST = (8, 9)
    _BROKEN_LINKS = (16, 17, 18)
    _CLEAN_RANDOM_ACCESS = 21
    _RANDOM_ACCESS = range(16, 24)

    def __init__(self, stream: av.VideoStream) -> None:
        extradata = stream.codec_context.extradata or b""
        super().__init__(extradata, length_at=21)
        self._after_first_access = True
        self._extra_bits = 0
        if not self._length_bytes:
            units = [extradata[start:end] for start, end in _units_after_start_codes(extradata)]
        else:
            units = _units_of_hevc_header(extradata)
        for unit in units:
            if len(unit) > 2 and unit[0] >> 1 & 63 in (33, 34):
                self._read_unit(unit, 0, len(unit))

    def _read_header(self, unit: bytes) -> SequenceHeader:
        return hevc_header(unit)

    def _read_unit(self, content: bytes, start: int, end: int) -> int:
        if end < start + 3:
            return 0
        kind = content[start] >> 1 & 63
        if content[start] & 1 or content[start + 1] >> 3:
            self.note_oddity("it has a second layer or view")
        elif kind <= self._LAST_SLICE:
            self._check_access(kind)
            if content[start + 2] >> 7:
                self._read_slice(kind, content[start + 2 : start + 8])
                return 1
        elif kind == 33:
            self._add_set(kind, content[start:end])
        elif kind == 34:
            self._read_picture_set(content[start + 2 : min(end, start + 16)])
        elif kind in (36, 37):
            self.note_oddity("it was joined from several streams")
        return 0

    def _check_access(self, kind: int) -> None:
        """Note pictures that cannot be decoded, because the stream begins or continues after a cut."""
        if not self._begun:
            self._begun = True
            if kind not in self._RANDOM_ACCESS:
                self.note_oddity("it does not begin with a frame for random access")
        elif kind in self._RANDOM_ACCESS:
            self._after_first_access = False
        if kind in self._BROKEN_LINKS:
            self.note_oddity("it was joined from several streams")
        elif kind in self._LOST and self._after_first_access:
            self.note_oddity("its first frames refer to missing ones")

    def _read_picture_set(self, content: bytes) -> None:
        try:
            bits = Bits(content)
            bits.golomb()
            bits.golomb()
            bits.skip(1)
            if bits.read():
                self.note_oddity("some of its frames may not be displayed")
            self._extra_bits = bits.read(3)
        except ValueError:
            self.note_oddity("its picture header cannot be read")

    def _read_slice(self, kind: int, content: bytes) -> None:
        """Note the type of the first slice of a picture."""
        try:
            bits = Bits(content)
            bits.skip(2 if kind in self._RANDOM_ACCESS else 1)
            bits.golomb()
            bits.skip(self._extra_bits)
            self.b_frames |= bits.golomb() == 0
        except ValueError:
            self.note_oddity(DAMAGED)


def _units_after_start_codes(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each unit, in bytes, of units that are separated by start codes."""
    start = content.find(_START_CODE) + len(_START_CODE)
    while start >= len(_START_CODE):
        following = content.find(_START_CODE, start)
        end = following if following >= 0 else len(content)
        if end > start:
            yield start, end
        start = following + len(_START_CODE)


def _units_of_avc_header(extradata: bytes) -> list[bytes]:
    """Return the sequence parameter sets in the header of H.264 in MP4 and Matroska (avcC)."""
    units, at = [], 6
    for _ in range(extradata[5] & 31 if len(extradata) > 5 else 0):
        length = int.from_bytes(extradata[at : at + 2], "big")
        units.append(extradata[at + 2 : at + 2 + length])
        at += 2 + length
    return units


def _units_of_hevc_header(extradata: bytes) -> list[bytes]:
    """Return all parameter sets in the header of HEVC in MP4 and Matroska (hvcC)."""
    units, at = [], 23
    for _ in range(extradata[22] if len(extradata) > 22 else 0):
        count = int.from_bytes(extradata[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            length = int.from_bytes(extradata[at : at + 2], "big")
            units.append(extradata[at + 2 : at + 2 + length])
            at += 2 + length
    return units
