"""Sequence headers of H.264, HEVC, MPEG-4 and AV1: the properties of a stream that its first frame does not tell.

FFmpeg reads the same headers, but PyAV passes on neither the position of the displayed picture in the coded one nor the
tools that a decoder in hardware may lack.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Bits",
    "SequenceHeader",
    "av1_header",
    "h264_header",
    "hevc_header",
    "mpeg4_header",
    "without_emulation_prevention",
]

# Profiles of H.264 whose header describes the chroma format and the scaling matrices.
_H264_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
# Values of chroma_format_idc, with the number of luma samples per crop unit: columns, rows.
_CROP_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}
_MACROBLOCK = 16


@dataclass(frozen=True, kw_only=True)
class SequenceHeader:
    """Properties of a coded stream.

    Attributes:
        width, height: Size of the coded picture, in pixels.
        left, top, right, bottom: Number of pixels of the coded picture on each side that are not displayed; 0 for
            codecs other than H.264 and HEVC.
        profile: Number of the profile in the codec's standard; 0 if the standard has none.
        progressive: Whether every coded picture is a whole frame, as far as the header promises it.
        tools: Names of coding tools that decoders in hardware may lack or treat differently.
        frame_headers: For AV1, the fields of the header on which the header of each frame depends; otherwise empty.
    """

    width: int
    height: int
    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0
    profile: int = 0
    progressive: bool = True
    tools: tuple[str, ...] = ()
    frame_headers: tuple[tuple[str, int], ...] = ()


class Bits:
    """A reader of bits, from the most significant bit of each byte.

    Args:
        content: The bytes.

    Raises:
        ValueError: From the methods, if the content ends too early.
    """

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def read(self, count: int = 1) -> int:
        """Return the next ``count`` bits as a number."""
        if count > self._left:
            raise ValueError("the header ends too early")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        """Skip ``count`` bits."""
        self.read(count)

    def golomb(self) -> int:
        """Return the next number in the Exp-Golomb code of H.264 and HEVC, ``ue(v)``."""
        zeros = 0
        while not self.read():
            zeros += 1
            if zeros > 32:
                raise ValueError("the header contains a number that is too large")
        return (1 << zeros) - 1 + self.read(zeros)

    def variable(self) -> int:
        """Return the next number in the variable-length code of AV1, ``uvlc()``."""
        return self.golomb()


def without_emulation_prevention(unit: bytes) -> bytes:
    """Return a unit of H.264 or HEVC without the bytes that keep start codes out of it."""
    return unit.replace(b"\0\0\3", b"\0\0")


def h264_header(unit: bytes) -> SequenceHeader:
    """Return the properties in a sequence parameter set of H.264.

    Args:
        unit: The unit (NAL unit) without start code, from its header byte.

    Raises:
        ValueError: If the set is not valid.
    """
    bits = Bits(without_emulation_prevention(unit[1:]))
    profile = bits.read(8)
    bits.skip(16)
    bits.golomb()
    chroma, tools = 1, []
    if profile in _H264_HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            bits.skip(1)
        bits.golomb()
        bits.golomb()
        if bits.read():
            tools.append("lossless blocks")
        if bits.read():
            _skip_h264_matrices(bits, 12 if chroma == 3 else 8)
    bits.golomb()
    _skip_h264_order(bits)
    bits.golomb()
    bits.skip(1)
    columns, rows = bits.golomb() + 1, bits.golomb() + 1
    progressive = bool(bits.read())
    if not progressive:
        rows *= 2
        bits.skip(1)
    bits.skip(1)
    left, right, top, bottom = _crop(bits)
    unit_width, unit_height = _crop_units(chroma)
    unit_height *= 1 if progressive else 2
    return SequenceHeader(
        width=_MACROBLOCK * columns,
        height=_MACROBLOCK * rows,
        left=left * unit_width,
        top=top * unit_height,
        right=right * unit_width,
        bottom=bottom * unit_height,
        profile=profile,
        progressive=progressive,
        tools=tuple(tools),
    )


def hevc_header(unit: bytes) -> SequenceHeader:
    """Return the properties in a sequence parameter set of HEVC.

    Args:
        unit: The unit (NAL unit) without start code, from its header of two bytes.

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
    left, right, top, bottom = _crop(bits)
    unit_width, unit_height = _crop_units(chroma)
    return SequenceHeader(
        width=width,
        height=height,
        left=left * unit_width,
        top=top * unit_height,
        right=right * unit_width,
        bottom=bottom * unit_height,
        profile=profile,
        progressive=bool(progressive_source) or not interlaced_source,
    )


def mpeg4_header(content: bytes) -> SequenceHeader:
    """Return the properties in a video object layer of MPEG-4 Part 2.

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
        width=-(-width // _MACROBLOCK) * _MACROBLOCK,
        height=-(-height // _MACROBLOCK) * _MACROBLOCK,
        progressive=progressive,
        tools=tuple(_mpeg4_tools(bits, version)),
    )


def av1_header(content: bytes) -> SequenceHeader:
    """Return the properties in a sequence header of AV1.

    Args:
        content: The payload of the unit (OBU).

    Raises:
        ValueError: If the header is not valid.
    """
    bits = Bits(content)
    profile = bits.read(3)
    bits.skip(1)
    reduced = bits.read()
    tools: list[str] = []
    timed = 0
    if reduced:
        bits.skip(5)
    else:
        timed = _skip_av1_operating_points(bits, tools)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    id_bits = 0
    if not reduced and bits.read():
        id_bits = bits.read(4) + 2
        id_bits += bits.read(3) + 1
    bits.skip(3)
    # 2: the header of each frame decides.
    screen_content = integer_motion = 2
    if not reduced:
        bits.skip(4)
        order_hint = bits.read()
        if order_hint:
            bits.skip(2)
        screen_content = 2 if bits.read() else bits.read()
        if screen_content:
            integer_motion = 2 if bits.read() else bits.read()
        if order_hint:
            bits.skip(3)
    if bits.read():
        tools.append("superresolution")
    bits.skip(2)
    _skip_av1_colours(bits, profile)
    if bits.read():
        tools.append("film grain")
    fields = {
        "reduced": reduced,
        "timed": timed,
        "id_bits": id_bits,
        "screen_content": screen_content,
        "integer_motion": integer_motion,
    }
    return SequenceHeader(
        width=-(-width // 8) * 8,
        height=-(-height // 8) * 8,
        profile=profile,
        tools=tuple(tools),
        frame_headers=tuple(fields.items()),
    )


def _crop(bits: Bits) -> tuple[int, int, int, int]:
    """Return what is cut off from the coded picture, in crop units: left, right, top and bottom."""
    if not bits.read():
        return 0, 0, 0, 0
    return bits.golomb(), bits.golomb(), bits.golomb(), bits.golomb()


def _crop_units(chroma: int) -> tuple[int, int]:
    if chroma not in _CROP_UNITS:
        raise ValueError(f"the header contains the unknown chroma format {chroma}")
    return _CROP_UNITS[chroma]


def _skip_h264_matrices(bits: Bits, count: int) -> None:
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


def _skip_h264_order(bits: Bits) -> None:
    """Skip the fields on the order of pictures."""
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.skip(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()


def _mpeg4_tools(bits: Bits, version: int) -> list[str]:
    """Return the unusual tools that a header names, which continues with ``sprite_enable``."""
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


def _skip_av1_operating_points(bits: Bits, tools: list[str]) -> int:
    """Skip the fields on time and operating points. Return the number of bits of a time in the header of a frame."""
    time_bits = delay_bits = 0
    decoder_model = equal = 0
    if bits.read():
        bits.skip(64)
        equal = bits.read()
        if equal:
            bits.variable()
        decoder_model = bits.read()
        if decoder_model:
            delay_bits = bits.read(5) + 1
            bits.skip(32 + 5)
            time_bits = bits.read(5) + 1
    delay_shown = bits.read()
    points = bits.read(5) + 1
    if points > 1:
        tools.append("layers")
    for _ in range(points):
        bits.skip(12)
        if bits.read(5) > 7:
            bits.skip(1)
        if decoder_model and bits.read():
            bits.skip(2 * delay_bits + 1)
        if delay_shown and bits.read():
            bits.skip(4)
    return time_bits if decoder_model and not equal else 0


def _skip_av1_colours(bits: Bits, profile: int) -> None:
    high = bits.read()
    if profile == 2 and high:
        bits.skip(1)
    grey = 0 if profile == 1 else bits.read()
    identity = False
    if bits.read():
        identity = (bits.read(8), bits.read(8), bits.read(8)) == (1, 13, 0)
    if grey:
        bits.skip(1)
        return
    if identity:
        bits.skip(1)
        return
    bits.skip(1)
    if profile == 2:
        raise ValueError("the header describes AV1's professional profile")
    if profile == 0:
        bits.skip(2)
    bits.skip(1)
