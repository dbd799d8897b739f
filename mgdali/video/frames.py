"""Decoding all frames of a video on the CPU with PyAV, in display order, and converting frames to RGB."""

from __future__ import annotations

import logging
import os
import threading
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
    "OneThreadAtATime",
    "RGBConverter",
    "as_media",
    "ffmpeg_message",
    "keep_decoder_messages",
    "quarter_turns",
    "read_frames",
]


def keep_decoder_messages() -> None:
    """Make PyAV keep FFmpeg's error messages instead of printing them; a :class:`VideoDecodeError` then quotes them.

    This sets the FFmpeg log level of the whole process, so call it only in worker processes, not in the user's.
    """
    logger = logging.getLogger("libav")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    av.logging.set_level(av.logging.ERROR)


def read_frames(video: str | os.PathLike[str] | Media, *, log: StreamLog | None = None) -> Iterator[av.VideoFrame]:
    """Decode all frames of a video's best stream.

    Frames are counted and their times are ignored, so the frame rate may vary. If the size or the pixel format changes
    within the stream, later frames are converted to those of the first frame.

    Args:
        video: Path as :class:`~mgdali.video.media.Media` takes it, or the media.
        log: Log in which packets and frames are noted; None to note nothing.

    Yields:
        The frames in display order, in the size, pixel format and orientation of the stored picture.

    Raises:
        VideoDecodeError: If the video is missing or cannot be opened, has no video stream or no frame, or its decoder
            fails.
    """
    media = as_media(video)
    name = media.path
    count = 0
    first: av.VideoFrame | None = None
    try:
        # With a log the stream is analyzed in any case, so that the log does not depend on the container.
        with open_video(media, thorough=log is not None) as (container, stream):
            for frame in decode_packets(container, stream, log):
                if first is None:
                    first = frame
                elif not _same_geometry(frame, first):
                    frame = frame.reformat(width=first.width, height=first.height, format=first.format.name)
                yield frame
                count += 1
    except (av.error.FFmpegError, OSError) as error:
        raise VideoDecodeError(name, count, ffmpeg_message(error)) from error
    if count == 0:
        raise VideoDecodeError(name, 0, "it contains no frame that can be displayed")


def as_media(video: str | os.PathLike[str] | Media) -> Media:
    """Return ``video`` if it is media, else the media at this path."""
    return video if isinstance(video, Media) else Media(os.fspath(video))


def quarter_turns(frame: av.VideoFrame) -> int:
    """Return the number of counterclockwise quarter turns, as of ``np.rot90``, that make a frame upright: 0 to 3."""
    return round(frame.rotation / 90) % 4


class OneThreadAtATime:
    """Context of an object's use, which refuses a second thread as long as a first one is in it.

    FFmpeg's contexts are not thread-safe: two threads in one end the process with a segmentation fault.

    Args:
        owner: The object, for the error.
    """

    def __init__(self, owner: object) -> None:
        self._name = type(owner).__name__
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(f"this {self._name} is in use by another thread: create one {self._name} per thread")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class RGBConverter:
    """Converts frames to upright RGB, uint8 ``[H, W, 3]``.

    It keeps its libswscale context, because creating one takes longer than converting a frame. Only one thread may use
    it at a time.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._use = OneThreadAtATime(self)

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the pixels of a frame, turned upright: uint8 RGB ``[H, W, 3]``, values from 0 to 255.

        Raises:
            RuntimeError: If another thread is using the converter.
        """
        with self._use:
            rgb = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)
            return np.rot90(rgb, k=quarter_turns(frame))


def _same_geometry(a: av.VideoFrame, b: av.VideoFrame) -> bool:
    return a.width == b.width and a.height == b.height and a.format.name == b.format.name


def ffmpeg_message(error: Exception) -> str:
    """Return the message of an error of FFmpeg or the system.

    After :func:`keep_decoder_messages` it includes the last line of FFmpeg's log.
    """
    message = getattr(error, "strerror", None) or str(error)
    log = getattr(error, "log", None)
    return f"{message} ({log[1]}: {log[2].strip()})" if log else str(message)
