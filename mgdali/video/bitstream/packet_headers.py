"""Whether decoding can begin at a packet, and whether a packet changes the parameter sets of its stream.

Sources: ITU-T H.264 (7.4.1), ITU-T H.265 (7.4.2.2), ISO/IEC 14496-2 (6.2), RFC 6386 (9.1) for VP8, and the bitstream
specifications of VP9 (6.2) and AV1 (5.9.2).
"""

from __future__ import annotations

from collections.abc import Callable

from mgdali.video.bitstream.av1 import FRAME_UNITS, find_obus
from mgdali.video.bitstream.mpeg4 import I_FRAME, frame_type
from mgdali.video.bitstream.nal_units import find_units, header_units, read_length_bytes, unit_type

__all__ = ["CODECS", "PacketHeaders"]

# Types of units with which a picture can begin: slices, and H.264's first partition of a slice.
_PICTURES = {"h264": (1, 2, 5), "hevc": range(32)}
# H.264: IDR. HEVC: BLA and IDR. Frames that follow a BLA frame refer to earlier frames only if they are RASL frames,
# which decoders drop then. A CRA frame (21) is not included: decoders keep its RASL frames.
_STARTS = {"h264": (5,), "hevc": range(16, 21)}
# MPEG-4: the headers of layers, by the byte after the start code.
_PARAMETER_SETS = {"h264": (7, 8), "hevc": (32, 33, 34), "mpeg4": range(0x20, 0x30)}


class PacketHeaders:
    """Reader of the headers in a stream's packets.

    Args:
        codec: FFmpeg's name of the codec, one of :data:`CODECS`.
        extradata: Headers that the container stores outside the packets, as FFmpeg passes them to the decoder.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._begins = _BEGINS.get(codec, self._begins_with_picture)
        self._codec = codec
        self._length_bytes = read_length_bytes(codec, extradata)
        # Zeros at the end of a unit belong to the next start code, or pad the packet.
        self._known = {unit.rstrip(b"\0") for unit in header_units(codec, extradata)}

    def decoding_can_begin(self, packet: bytes) -> bool:
        """Return whether neither the frame of a packet nor the following frames refer to earlier frames.

        H.264: an IDR frame; HEVC: an IDR or BLA frame; VP8 and VP9: a key frame; AV1: a key frame that is displayed at
        once; MPEG-4: an I-frame. B-frames of MPEG-4 that are displayed before an I-frame but stored after it may refer
        to earlier frames nevertheless.

        Args:
            packet: Content of the packet, at least one byte.
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
        for start, end in find_units(packet, self._length_bytes):
            unit = packet[start : start + 1]
            if unit and self._kind(unit[0]) in kinds and packet[start:end].rstrip(b"\0") not in self._known:
                return True
        return False

    def _begins_with_picture(self, packet: bytes) -> bool:
        """Return whether the first picture of a packet of H.264 or HEVC is one at which decoding can begin."""
        for start, end in find_units(packet, self._length_bytes):
            # Two zeros are not the header of a unit, but padding.
            if any(packet[start : min(end, start + 2)]) and self._kind(packet[start]) in _PICTURES[self._codec]:
                return self._kind(packet[start]) in _STARTS[self._codec]
        return False

    def _kind(self, first: int) -> int:
        """Return the type of a unit of H.264, HEVC or MPEG-4 from its first byte."""
        return first if self._codec == "mpeg4" else unit_type(self._codec, first)


def _begins_mpeg4(packet: bytes) -> bool:
    return frame_type(packet) == I_FRAME


def _begins_vp8(packet: bytes) -> bool:
    return packet[0] & 1 == 0


def _begins_vp9(packet: bytes) -> bool:
    # Marker (2 bits), profile (2 bits), a reserved bit in profile 3, then show_existing_frame and frame_type.
    shift = 1 if packet[0] >> 4 & 3 == 3 else 2
    return packet[0] >> shift & 3 == 0


def _begins_av1(packet: bytes) -> bool:
    first = next((start for kind, start, _ in find_obus(packet) if kind in FRAME_UNITS), len(packet))
    # show_existing_frame 0, frame_type 0 (key frame), show_frame 1. If a key frame is not shown at once, the
    # next frames may still refer to frames before it.
    return first < len(packet) and packet[first] >> 4 == 1


_BEGINS: dict[str, Callable[[bytes], bool]] = {
    "mpeg4": _begins_mpeg4,
    "vp8": _begins_vp8,
    "vp9": _begins_vp9,
    "av1": _begins_av1,
}

CODECS = (*_PICTURES, *_BEGINS)
"""FFmpeg's names of the codecs whose packet headers can be read."""
