"""Splitting packets and headers of H.264 and HEVC into NAL units.

In MP4, Matroska and FLV, each unit of a packet is preceded by its length, and the parameter sets are in a separate
header (avcC for H.264, hvcC for HEVC), which FFmpeg passes on as extradata. In other containers a start code precedes
each unit. MPEG-4 Part 2 uses the same start codes for its own units.

Sources: ITU-T H.264 (7.3.1, 7.4.1), ITU-T H.265 (7.3.1.2, 7.4.2.2), ISO/IEC 14496-15 (5.3.3, 8.3.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise

__all__ = [
    "SLICES",
    "START_CODE",
    "find_units",
    "header_units",
    "read_length_bytes",
    "unit_starts",
    "unit_type",
    "without_emulation_prevention",
]

START_CODE = b"\0\0\1"

SLICES = {"h264": (1, 5), "hevc": range(32)}
"""Types of the units that contain a slice of a picture. H.264's partitions of slices (2, 3, 4) are not included."""

# Offset of the byte whose two lowest bits contain the number of bytes of a length, minus 1.
_LENGTH_AT = {"h264": 4, "hevc": 21}


def unit_type(codec: str, first: int) -> int:
    """Return the type of a unit of H.264 or HEVC from its first byte."""
    return first & 31 if codec == "h264" else first >> 1 & 63


def read_length_bytes(codec: str, extradata: bytes) -> int:
    """Return the number of bytes of the length before each unit, 1 to 4; 0 if start codes precede the units.

    Args:
        codec: FFmpeg's name of the codec; the result is 0 for codecs other than H.264 and HEVC.
        extradata: Headers outside the packets.
    """
    at = _LENGTH_AT.get(codec)
    if at is None or extradata[:1] != b"\1" or len(extradata) <= at:
        return 0
    return (extradata[at] & 3) + 1


def find_units(content: bytes, length_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each unit of a packet, in bytes, without start code and length.

    Args:
        content: The packet.
        length_bytes: Number of bytes of the length before each unit; 0 for start codes.

    Yields:
        ``start`` and ``end``. Zeros that follow a unit belong to it. Between start codes no unit is empty. If a length
        is wrong, or bytes are left that are too few for a length, then the last ``end`` is beyond the packet.
    """
    if length_bytes:
        yield from _after_lengths(content, length_bytes)
        return
    behind = len(content) + len(START_CODE)
    for start, following in pairwise(chain(unit_starts(content, 0), [behind])):
        end = following - len(START_CODE)
        if end > start:
            yield start, end


def unit_starts(content: bytes | memoryview, length_bytes: int) -> Iterator[int]:
    """Yield the start of each unit of a packet, in bytes, without reading beyond it.

    Args:
        content: The packet. With start codes, a memoryview is copied.
        length_bytes: Number of bytes of the length before each unit; 0 for start codes.
    """
    if length_bytes:
        yield from (start for start, _ in _after_lengths(content, length_bytes))
        return
    whole = bytes(content)
    at = whole.find(START_CODE)
    while at >= 0:
        yield at + len(START_CODE)
        at = whole.find(START_CODE, at + len(START_CODE))


def header_units(codec: str, extradata: bytes) -> list[bytes]:
    """Return the units in extradata: avcC, hvcC, or (also for other codecs) parts that begin with a start code."""
    if not read_length_bytes(codec, extradata):
        return [extradata[start:end] for start, end in find_units(extradata, 0)]
    return list(_avcc_units(extradata) if codec == "h264" else _hvcc_units(extradata))


def without_emulation_prevention(unit: bytes) -> bytes:
    """Return a unit without the bytes 3 that encoders insert so that no start code appears within the unit."""
    return unit.replace(b"\0\0\3", b"\0\0")


def _after_lengths(content: bytes | memoryview, length_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each unit that is preceded by its length; see :func:`find_units`."""
    at = 0
    while at < len(content):
        start = at + length_bytes
        at = start + int.from_bytes(content[at:start], "big")
        yield start, at


def _avcc_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the sequence and picture parameter sets in an avcC header (AVCDecoderConfigurationRecord)."""
    at = 5
    for mask in (31, 255):
        count = _number(extradata, at, 1) & mask
        at += 1
        for _ in range(count):
            end = at + 2 + _number(extradata, at, 2)
            yield extradata[at + 2 : end]
            at = end


def _hvcc_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the parameter sets in an hvcC header (HEVCDecoderConfigurationRecord)."""
    at = 23
    for _ in range(_number(extradata, 22, 1)):
        count = _number(extradata, at + 1, 2)
        at += 3
        for _ in range(count):
            if at >= len(extradata):
                return
            end = at + 2 + _number(extradata, at, 2)
            yield extradata[at + 2 : end]
            at = end


def _number(content: bytes, at: int, size: int) -> int:
    """Return a big-endian number of ``size`` bytes; of fewer bytes if the content ends before."""
    return int.from_bytes(content[at : at + size], "big")
