"""The video that a caller names: a path, a URL, bytes, or an open file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

from mgdali.datasets.shards import scan_shard
from mgdali.datasets.video_dataset import Video
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.video.file_media import FileMedia, read_up_to
from mgdali.video.media import Media, errors_of
from mgdali.video.part_files import open_member, open_remote
from mgdali.video.remote import is_url

__all__ = ["AnyVideo", "is_pipe", "opened"]

AnyVideo: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Media | Video
"""What :func:`opened` accepts."""

_BYTES_NAME = "<bytes>"
_FILE_NAME = "<file>"

_TAR_ENDING = ".tar::"


@contextmanager
def opened(video: AnyVideo) -> Iterator[Media]:
    """Yield the media of a video, which can be read until the end of the ``with`` block.

    A URL is read in parts. Of a file object, the position is restored at the end. One that cannot seek is read into
    memory, and so is the path of a pipe, such as ``/dev/stdin``.

    Raises:
        ValueError: If it is something else than :data:`AnyVideo`, or a file that is closed or not opened in binary
            mode.
        VideoDecodeError: If it cannot be opened.
        ImportError: If a URL needs a package that is not installed.
    """
    if isinstance(video, bytes | bytearray | memoryview):
        yield Media(_BYTES_NAME, content=bytes(video))
    elif hasattr(video, "read") and not isinstance(video, Media):
        with _file_object(video) as media:
            yield media
    else:
        media = _located(video)
        if is_pipe(media):
            with errors_of(media.path), open(media.path, "rb") as pipe:
                media = Media(media.path, content=read_up_to(pipe, None))
        if media.content is not None or (media.span is None and not is_url(media.path)):
            yield media
            return
        with errors_of(media.path):
            file = _open_in_parts(media)
        with file:
            yield FileMedia(media.path, media.span, file=file)


def _open_in_parts(media: Media) -> IO[bytes]:
    """Open a video at a URL or in a tar."""
    if media.span is None:
        return open_remote(media.path)
    tar = media.path.rpartition("::")[0]
    return open_remote(tar, media.span) if is_url(tar) else open_member(tar, media.span)


def _located(video: Any) -> Media:
    """Return the media of a path or of a data set's video."""
    if isinstance(video, Media):
        return video
    if isinstance(video, Video):
        return video.media
    if not isinstance(video, str | os.PathLike):
        raise ValueError(
            f"video must be a path, a URL, bytes or a file that is open in binary mode, got {type(video).__name__}"
        )
    path = os.fspath(video)
    if not isinstance(path, str):
        raise ValueError(f"video must be a path of type str, got {path!r}")
    if not path or "\0" in path:
        raise ValueError(f"video must be a path or a URL, got {path!r}")
    if _TAR_ENDING in path and not os.path.exists(path):
        return _member(*path.rpartition("::")[::2])
    return Media(path)


def _member(shard: str, name: str) -> Media:
    """Return the media of a tar's member."""
    path = f"{shard}::{name}"
    try:
        members = scan_shard(shard).members
    except DatasetError as error:
        raise VideoDecodeError(path, 0, str(error)) from error
    for member in members:
        if member.name == name:
            return Media(path, (member.offset, member.length))
    raise VideoDecodeError(path, 0, f"the tar has no member {name!r}")


@contextmanager
def _file_object(file: Any) -> Iterator[Media]:
    """Yield the media of a file object."""
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) and name else _FILE_NAME
    if getattr(file, "closed", False):
        raise ValueError(f"the file {name} is closed: keep it open until pick_frames has returned")
    _check_binary(file, name)
    with errors_of(name):
        if not _can_seek(file):
            media = Media(name, content=read_up_to(file, None))
            position = None
        else:
            position = file.tell()
            media = FileMedia(name, file=file)
    try:
        yield media
    finally:
        if position is not None:
            with suppress(OSError, ValueError):
                file.seek(position)


def _check_binary(file: Any, name: str) -> None:
    try:
        content = file.read(0)
    except (io.UnsupportedOperation, TypeError) as error:
        raise ValueError(f'the file {name} is not open for reading: open it with mode "rb" ({error})') from error
    if not isinstance(content, bytes):
        raise ValueError(
            f'the file {name} is not open in binary mode: open it with mode "rb" (its read() returns '
            f"{type(content).__name__})"
        )


def is_pipe(media: Media) -> bool:
    """Return whether a video is a pipe, which can be read only once."""
    return media.span is None and not is_url(media.path) and Path(media.path).is_fifo()


def _can_seek(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return hasattr(file, "seek") if seekable is None else bool(seekable())
