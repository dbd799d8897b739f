"""Opening a video's stream, where the container says enough without the decoding that FFmpeg does to find out more.

FFmpeg decodes the first frames of each stream when it opens a file, with a decoder of its own: a sixth of what decoding
a short clip takes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.container import InputContainer

from mgdali.errors import VideoDecodeError
from mgdali.video.media import Media

__all__ = ["open_video"]

# With no decoder allowed FFmpeg only reads packets, of which the first will do.
_WITHOUT_DECODING = {"codec_whitelist": "none", "probesize": "32"}
# Containers whose header describes the stream, by the endings that they usually have.
_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
_ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
# Codecs whose own headers tell their decoder how far frames are out of order. Of others FFmpeg has to guess.
_CODECS = {"h264", "hevc", "vp8", "vp9", "av1"}


@contextmanager
def open_video(media: Media, *, thorough: bool = False) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """A video's container and its best video stream, to be decoded in one thread.

    Args:
        media: the video.
        thorough: have FFmpeg find out all that it can, as the frame rate of streams whose header does not say it.

    Raises:
        VideoDecodeError: it is missing, or has no video stream.
        av.error.FFmpegError: it cannot be opened.
    """
    content = media.open()
    container = None if thorough else _open_without_decoding(media.path, content)
    if container is None:
        if isinstance(content, io.BytesIO):
            content.seek(0)
        container = av.open(content, "r", metadata_errors="ignore")
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            raise VideoDecodeError(media.path, 0, "it has no video stream")
        # Workers run side by side: threads within a decoder cost more CPU than they save.
        stream.thread_type = "NONE"
        yield container, stream


def _open_without_decoding(name: str, content: str | io.BytesIO) -> InputContainer | None:
    """The container; None where more has to be found out about its video than its header tells."""
    if not name.lower().endswith(_ENDINGS):
        return None
    container = av.open(content, "r", metadata_errors="ignore", options=_WITHOUT_DECODING)
    videos = container.streams.video
    # With several, as of a cover picture, FFmpeg looks at their frames to choose one.
    context = videos[0].codec_context if len(videos) == 1 else None
    if container.format.name not in _CONTAINERS or context is None or context.codec.canonical_name not in _CODECS:
        container.close()
        return None
    # H.264 need not say how far its frames are out of order. Strictly, a decoder then waits as long as its level
    # allows, where FFmpeg would guess from the frames that it has not decoded now, and drop those that come late.
    context.options = {"strict": "strict"}
    return container
