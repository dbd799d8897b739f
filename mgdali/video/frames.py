"""Decoding on the CPU with PyAV: all frames of a video, in the order in which they are shown, and their RGB."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import av
import av.error
import av.logging
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.video.media import Media
from mgdali.video.opening import open_video
from mgdali.video.packets import StreamLog, decode_packets

__all__ = [
    "RGBConverter",
    "as_media",
    "decoder_words",
    "keep_decoder_messages",
    "quarter_turns",
    "read_frames",
]


def keep_decoder_messages() -> None:
    """Have FFmpeg's errors kept, so that a :class:`VideoDecodeError` can quote them, and print none.

    This sets the process's FFmpeg log level: for processes of our own.
    """
    logger = logging.getLogger("libav")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    av.logging.set_level(av.logging.ERROR)


def read_frames(video: str | os.PathLike[str] | Media, *, log: StreamLog | None = None) -> Iterator[av.VideoFrame]:
    """The frames of a video's best stream, in the order they are shown.

    Frames are counted, not timed, so variable frame rates need no care. Where a stream changes its size or format
    midway, later frames are converted to the first one's.

    Args:
        video: a path, as :class:`~mgdali.video.media.Media` takes them, or a member of a tar.
        log: where packets and frames are noted.

    Raises:
        VideoDecodeError: it cannot be opened, has no video, or its decoder fails.
    """
    media = as_media(video)
    name = media.path
    count = 0
    first: av.VideoFrame | None = None
    try:
        # What is noted is to be the same whatever the container.
        with open_video(media, thorough=log is not None) as (container, stream):
            for frame in decode_packets(container, stream, log):
                if first is None:
                    first = frame
                elif not _same_geometry(frame, first):
                    frame = frame.reformat(width=first.width, height=first.height, format=first.format.name)
                yield frame
                count += 1
    except (av.error.FFmpegError, OSError) as error:
        raise VideoDecodeError(name, count, decoder_words(error)) from error
    if count == 0:
        raise VideoDecodeError(name, 0, "it holds no frame that can be shown")


def as_media(video: str | os.PathLike[str] | Media) -> Media:
    """A video by where it lies."""
    return video if isinstance(video, Media) else Media(os.fspath(video))


def quarter_turns(frame: av.VideoFrame) -> int:
    """How often a frame is to be turned counterclockwise by a right angle, as NumPy's ``rot90`` does, to be upright."""
    return round(frame.rotation / 90) % 4


class RGBConverter:
    """Frames to upright RGB; keeps its libswscale context, which costs more to make than a frame to convert."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)
        return np.rot90(rgb, k=quarter_turns(frame))


def _same_geometry(a: av.VideoFrame, b: av.VideoFrame) -> bool:
    return a.width == b.width and a.height == b.height and a.format.name == b.format.name


def decoder_words(error: Exception) -> str:
    """What FFmpeg said: its error, and the last line of its log where it was kept."""
    words = getattr(error, "strerror", None) or str(error)
    log = getattr(error, "log", None)
    return f"{words} ({log[1]}: {log[2].strip()})" if log else str(words)
