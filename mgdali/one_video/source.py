"""The video that the caller of :func:`mgdali.pick_frames` names: a path, a URL, bytes or an open file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeAlias

from mgdali.datasets.video_dataset import Video
from mgdali.video.media import Media

__all__ = ["AnyVideo", "opened"]

AnyVideo: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Media | Video
"""What :func:`opened` accepts."""

BYTES_NAME = "<bytes>"


@contextmanager
def opened(video: AnyVideo) -> Iterator[Media]:
    """Yield the media of a video.

    Raises:
        ValueError: If it is something else than :data:`AnyVideo`.
    """
    if isinstance(video, Media):
        yield video
    elif isinstance(video, Video):
        yield video.media
    elif isinstance(video, str | os.PathLike):
        yield Media(os.fspath(video))
    elif isinstance(video, bytes | bytearray | memoryview):
        yield Media(BYTES_NAME, content=bytes(video))
    else:
        raise ValueError(f"video must be a path, a URL, bytes or a binary file, got {video!r}")
