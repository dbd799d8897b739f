"""A video stream without packets, for packets that were read without their container.

FFmpeg copies and filters packets of a stream of a container. Such a stream is opened here from a Matroska file in
memory that has only a header: the codec, its extradata and the size of the frames.

Source: the element numbers of Matroska are those of RFC 9559.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import av

from mgdali.video.containers import open_container
from mgdali.video.opening import ONLY_HEADER, video_stream

__all__ = ["BARE_CODECS", "bare_stream"]

_NAMES = {
    "h264": b"V_MPEG4/ISO/AVC",
    "hevc": b"V_MPEGH/ISO/HEVC",
    "vp8": b"V_VP8",
    "vp9": b"V_VP9",
    "av1": b"V_AV1",
}
"""Matroska's names of the codecs, by FFmpeg's names."""

BARE_CODECS = tuple(_NAMES)
"""FFmpeg's names of the codecs of :func:`bare_stream`. The colours of these are described in their own headers."""

_EBML, _DOC_TYPE = 0x1A45DFA3, 0x4282
_SEGMENT, _TRACKS, _TRACK = 0x18538067, 0x1654AE6B, 0xAE
_TRACK_NUMBER, _TRACK_TYPE, _CODEC, _EXTRADATA = 0xD7, 0x83, 0x86, 0x63A2
_VIDEO, _WIDTH, _HEIGHT = 0xE0, 0xB0, 0xBA
_CLUSTER, _TIME = 0x1F43B675, 0xE7
_VIDEO_TRACK = 1


@contextmanager
def bare_stream(codec: str, extradata: bytes | None, *, width: int, height: int, path: str) -> Iterator[av.VideoStream]:
    """Open a stream without packets; close it at the end of the ``with`` block.

    Args:
        codec: FFmpeg's name of the codec, one of :data:`BARE_CODECS`.
        extradata: Headers that FFmpeg's decoder gets before the first packet; None if the codec needs none.
        width, height: Size of the frames, in pixels.
        path: Path of the video, for errors.

    Raises:
        av.error.FFmpegError: If FFmpeg cannot read the extradata.
    """
    header = io.BytesIO(_header(codec, extradata or b"", width, height))
    with open_container(header, path, format="matroska", options=ONLY_HEADER) as container:
        yield video_stream(container, path)


def _header(codec: str, extradata: bytes, width: int, height: int) -> bytes:
    """Return a Matroska file with one track and no packets."""
    video = _element(_VIDEO, _number(_WIDTH, width) + _number(_HEIGHT, height))
    track = _number(_TRACK_NUMBER, 1) + _number(_TRACK_TYPE, _VIDEO_TRACK) + _element(_CODEC, _NAMES[codec]) + video
    if extradata:
        track += _element(_EXTRADATA, extradata)
    # FFmpeg reads the header up to the first cluster.
    content = _element(_TRACKS, _element(_TRACK, track)) + _element(_CLUSTER, _number(_TIME, 0))
    return _element(_EBML, _element(_DOC_TYPE, b"matroska")) + _element(_SEGMENT, content)


def _element(number: int, content: bytes) -> bytes:
    """Return an element of Matroska: its number, its length in eight bytes, its content."""
    return (
        number.to_bytes((number.bit_length() + 7) // 8, "big") + (1 << 56 | len(content)).to_bytes(8, "big") + content
    )


def _number(number: int, value: int) -> bytes:
    """Return an element that contains a number."""
    return _element(number, value.to_bytes(8, "big"))
