"""Properties of a stream that its sequence header contains.

FFmpeg reads the same headers. But PyAV returns neither the position of the displayed picture in the coded picture, nor
the coding tools that a decoder in hardware may lack.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNSPECIFIED", "SequenceHeader", "padded"]

UNSPECIFIED = 2
"""Value of ``matrix_coefficients`` (ITU-T H.273) of a stream that does not name its matrix."""


@dataclass(frozen=True, kw_only=True)
class SequenceHeader:
    """Properties of a coded stream.

    Attributes:
        width, height: Size of the coded picture, in pixels.
        left, top, right, bottom: Number of pixels of the coded picture on each side that are not displayed; 0 for
            codecs other than H.264 and HEVC.
        profile: Number of the profile in the codec's standard; 0 if the standard has none.
        progressive: Whether every coded picture is a whole frame. False also if the header only allows fields.
        matrix: Matrix of the colours as ``matrix_coefficients`` of ITU-T H.273, whose values are those of FFmpeg's
            AVColorSpace; :data:`UNSPECIFIED` also for VP8 and MPEG-4; None if the header ends before it.
        tools: Names of coding tools that decoders in hardware may lack or treat differently.
    """

    width: int
    height: int
    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0
    profile: int = 0
    progressive: bool = True
    matrix: int | None = UNSPECIFIED
    tools: tuple[str, ...] = ()


def padded(side: int, block: int) -> int:
    """Return a width or height, in pixels, rounded up to a multiple of a block's side."""
    return -(-side // block) * block
