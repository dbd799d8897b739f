"""Properties of a stream that its sequence header contains.

FFmpeg reads the same headers. But PyAV returns neither the position of the displayed picture in the coded picture, nor
the coding tools that a decoder in hardware may lack.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SequenceHeader", "padded"]


@dataclass(frozen=True, kw_only=True)
class SequenceHeader:
    """Properties of a coded stream.

    Attributes:
        width, height: Size of the coded picture, in pixels.
        left, top, right, bottom: Number of pixels of the coded picture on each side that are not displayed; 0 for
            codecs other than H.264 and HEVC.
        profile: Number of the profile in the codec's standard; 0 if the standard has none.
        progressive: Whether every coded picture is a whole frame. False also if the header only allows fields.
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
    tools: tuple[str, ...] = ()


def padded(side: int, block: int) -> int:
    """Return a width or height, in pixels, rounded up to a multiple of a block's side."""
    return -(-side // block) * block
