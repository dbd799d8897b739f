"""Opening a video's stream without the trial decoding of FFmpeg, if the container's header describes the stream.

By default FFmpeg decodes the first frames of each stream when it opens a file, with a separate decoder. That takes a
sixth of the time that decoding a short clip takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.container import InputContainer

from mgdali.errors import VideoDecodeError
from mgdali.video.containers import open_container
from mgdali.video.media import Media

__all__ = ["NO_TRIAL_DECODING", "ONLY_HEADER", "TIMED_CONTAINERS", "open_video", "video_stream"]

NO_TRIAL_DECODING = {"codec_whitelist": "none"}
"""FFmpeg's options for opening a file without decoding: no decoder is allowed.

FFmpeg still reads packets until its parsers have found the codec's headers and the size.
"""

ONLY_HEADER = {**NO_TRIAL_DECODING, "probesize": "32"}
"""FFmpeg's options for opening a file from its container's header alone: FFmpeg reads at most one packet.

Only for :data:`TIMED_CONTAINERS`: for other containers, FFmpeg may not find the size and the codec's headers.
"""

TIMED_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""FFmpeg's names of the containers whose header describes the stream, and whose packets have presentation times."""

# The usual file extensions of these containers.
_EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
# Codecs whose headers specify how many frames the decoder must reorder. For other codecs FFmpeg has to guess it.
_CODECS = {"h264", "hevc", "vp8", "vp9", "av1"}


@contextmanager
def open_video(media: Media, *, thorough: bool = False) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a video; close it at the end of the ``with`` block.

    Args:
        media: The video.
        thorough: Whether FFmpeg analyzes the stream by trial decoding in any case. It then finds properties that the
            header may lack, such as the frame rate.

    Yields:
        The container and its best video stream, set to decode in one thread.

    Raises:
        VideoDecodeError: If the video is missing, refers to other files, or has no video stream with a known codec.
        av.error.FFmpegError: If FFmpeg cannot open it.
    """
    with media.open() as file:
        if not thorough and media.path.lower().endswith(_EXTENSIONS):
            with open_container(file, media.path, options=ONLY_HEADER) as container:
                if _header_is_complete(container):
                    yield container, video_stream(container, media.path)
                    return
        with open_container(file, media.path) as container:
            yield container, video_stream(container, media.path)


def video_stream(container: InputContainer, name: str) -> av.VideoStream:
    """Return the best video stream of an open container, set to decode in one thread.

    Args:
        container: The open container.
        name: Path of the video, for errors.

    Raises:
        VideoDecodeError: If the container has no video stream, or FFmpeg has no decoder for its codec.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise VideoDecodeError(name, 0, "it has no video stream")
    # PyAV's types do not tell that there may be no codec.
    context: object = stream.codec_context
    if context is None:
        raise VideoDecodeError(name, 0, "FFmpeg has no decoder for the codec of its video stream")
    # Several workers decode at the same time: threads within a decoder cost more CPU time than they save.
    stream.thread_type = "NONE"
    return stream


def _header_is_complete(container: InputContainer) -> bool:
    """Return whether the header of a container describes its video completely; if so, prepare its decoder."""
    videos = container.streams.video
    # If there are several video streams, such as a cover picture, FFmpeg chooses one by the frames of each.
    context = videos[0].codec_context if len(videos) == 1 else None
    if container.format.name not in TIMED_CONTAINERS or context is None or context.codec.canonical_name not in _CODECS:
        return False
    # An H.264 header may omit the number of reordered frames. FFmpeg would then guess it from the frames of the trial
    # decoding, which is skipped here, and drop frames that come too late. In strict mode the decoder delays its output
    # by the maximum that the stream's level allows, so no frame is lost.
    # Other decoders are not strict: in strict mode AV1's decoder fails at damage that it otherwise ignores.
    if context.codec.canonical_name == "h264":
        context.options = {"strict": "strict"}
    return True
