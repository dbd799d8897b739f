"""Reading the headers in packets: whether decoding can begin at a packet, and whether it changes parameter sets.

Sources: ITU-T H.264 (7.3.1, 7.4.1), ITU-T H.265 (7.3.1.2, 7.4.2.2), ISO/IEC 14496-15 (5.3.3, 8.3.3) for the extradata
of MP4 and Matroska, ISO/IEC 14496-2 (6.2), RFC 6386 (9.1) for VP8, and the bitstream specifications of VP9 (6.2) and
AV1 (5.3, 5.9.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

__all__ = ["CODECS", "PacketHeaders"]

_START_CODE = b"\0\0\1"

# Types of units: NAL units of H.264 and HEVC, and what follows a start code in MPEG-4.
_FRAMES = {"h264": (1, 2, 5), "hevc": range(32), "mpeg4": (0xB6,)}
# H.264: IDR. HEVC: BLA and IDR. Frames that follow a BLA frame refer to earlier frames only if decoders drop them, as
# RASL frames. A CRA frame (21) is not included: decoders keep its RASL frames.
_STARTS = {"h264": (5,), "hevc": range(16, 21), "mpeg4": (0xB6,)}
_PARAMETER_SETS = {"h264": (7, 8), "hevc": (32, 33, 34), "mpeg4": range(0x20, 0x30)}

# Types of AV1's units (OBUs) that begin with a frame header.
_AV1_FRAMES = (3, 6)


class PacketHeaders:
    """Reader of the headers in a stream's packets.

    Args:
        codec: FFmpeg's name of the codec, one of :data:`CODECS`.
        extradata: Headers that the container stores outside the packets, as FFmpeg passes them to the decoder.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._begins = _BEGINS.get(codec, self._begins_with_unit)
        self._codec = codec
        # In MP4 and Matroska, each unit of H.264 and HEVC is preceded by its length instead of a start code.
        self._length_bytes = 0
        known = self._units(extradata)
        if codec == "h264" and extradata[:1] == b"\1":
            self._length_bytes = (_number(extradata, 4, 1) & 3) + 1
            known = _avc_units(extradata)
        elif codec == "hevc" and extradata[:1] == b"\1":
            self._length_bytes = (_number(extradata, 21, 1) & 3) + 1
            known = _hevc_units(extradata)
        self._known = {unit.rstrip(b"\0") for unit in known}

    def decoding_can_begin(self, packet: bytes) -> bool:
        """Return whether neither the frame of a packet nor the following frames refer to earlier frames.

        H.264: an IDR frame; HEVC: an IDR or BLA frame; VP8, VP9, AV1: a key frame that is displayed at once; MPEG-4: an
        I-frame. B-frames of MPEG-4 that are displayed before an I-frame but stored after it may refer to earlier frames
        nevertheless.

        Args:
            packet: Content of the packet.
        """
        return self._begins(packet)

    def changes_parameter_sets(self, packet: bytes) -> bool:
        """Return whether a packet contains a parameter set (MPEG-4: a layer header) that is not in the extradata.

        VP8, VP9 and AV1 repeat all headers in each key frame, so the answer for them is False.

        Args:
            packet: Content of the packet.
        """
        kinds = _PARAMETER_SETS.get(self._codec)
        if kinds is None:
            return False
        return any(self._kind(unit) in kinds and unit not in self._known for unit in self._units(packet))

    def _begins_with_unit(self, packet: bytes) -> bool:
        frames, starts = _FRAMES[self._codec], _STARTS[self._codec]
        first = next((unit for unit in self._units(packet) if self._kind(unit) in frames), b"\0")
        # MPEG-4 has one type of unit for all frames; 0 is an I-frame.
        return self._kind(first) in starts and (self._codec != "mpeg4" or _number(first, 1, 1) >> 6 == 0)

    def _kind(self, unit: bytes) -> int:
        """Return the type of a unit of H.264, HEVC or MPEG-4."""
        if self._codec == "mpeg4":
            return unit[0]
        return unit[0] & 31 if self._codec == "h264" else unit[0] >> 1 & 63

    def _units(self, content: bytes) -> Iterator[bytes]:
        """Yield the units of a packet of H.264, HEVC or MPEG-4, without zeros at their ends."""
        # A unit does not end with a zero byte: zeros belong to the next start code, or pad the packet.
        parts = self._by_length(content) if self._length_bytes else content.split(_START_CODE)[1:]
        yield from filter(None, (part.rstrip(b"\0") for part in parts))

    def _by_length(self, content: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(content):
            start = at + self._length_bytes
            at = start + _number(content, at, self._length_bytes)
            yield content[start:at]


def _avc_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the parameter sets in the extradata of H.264 in MP4 (AVCDecoderConfigurationRecord)."""
    at = 5
    for mask in (31, 255):
        count = _number(extradata, at, 1) & mask
        at += 1
        for _ in range(count):
            size = _number(extradata, at, 2)
            yield extradata[at + 2 : at + 2 + size]
            at += 2 + size


def _hevc_units(extradata: bytes) -> Iterator[bytes]:
    """Yield the units in the extradata of HEVC in MP4 (HEVCDecoderConfigurationRecord)."""
    at = 23
    for _ in range(_number(extradata, 22, 1)):
        count = _number(extradata, at + 1, 2)
        at += 3
        for _ in range(count):
            if at >= len(extradata):
                return
            size = _number(extradata, at, 2)
            yield extradata[at + 2 : at + 2 + size]
            at += 2 + size


def _number(content: bytes, at: int, size: int) -> int:
    """Return a big-endian number; bytes past the end of the content are ignored."""
    return int.from_bytes(content[at : at + size], "big")


def _begins_vp8(packet: bytes) -> bool:
    return packet[0] & 1 == 0


def _begins_vp9(packet: bytes) -> bool:
    # Marker (2 bits), profile (2 bits), a reserved bit in profile 3, then show_existing_frame and frame_type.
    shift = 1 if packet[0] >> 4 & 3 == 3 else 2
    return packet[0] >> shift & 3 == 0


def _begins_av1(packet: bytes) -> bool:
    at = 0
    while at < len(packet):
        header = packet[at]
        at += 2 if header & 4 else 1
        size = len(packet) - at
        if header & 2:
            size, at = _variable_length(packet, at)
        if header >> 3 & 15 in _AV1_FRAMES:
            # show_existing_frame 0, frame_type 0 (key frame), show_frame 1. A key frame that is not shown at once does
            # not replace the reference frames of those that follow it.
            return _number(packet, at, 1) >> 4 == 1
        at += size
    return False


def _variable_length(packet: bytes, at: int) -> tuple[int, int]:
    """Return a number of AV1 with seven bits a byte, lowest first, and the position after it."""
    number = 0
    for shift in range(0, 56, 7):
        part = _number(packet, at, 1)
        at += 1
        number |= (part & 127) << shift
        if part < 128:
            break
    return number, at


_BEGINS: dict[str, Callable[[bytes], bool]] = {
    "vp8": _begins_vp8,
    "vp9": _begins_vp9,
    "av1": _begins_av1,
}

CODECS = (*_FRAMES, *_BEGINS)
"""FFmpeg's names of the codecs whose packet headers can be read."""
