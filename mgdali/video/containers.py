"""Opening one media file with FFmpeg, which opens no other file and connects to no server.

FFmpeg also opens playlists, and then decodes the files that they name, on any disk or server. A video of a data set
must be one file: its fingerprint covers only this file, and a data set from elsewhere must not choose what is opened.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer

from mgdali.errors import VideoDecodeError
from mgdali.interrupts import ctrl_c_after

__all__ = ["open_container"]

# FFmpeg's formats that open more than the file at hand. Formats that read no file at all (devices, network streams,
# series of image files) are refused too; FFmpeg marks these with a flag.
_REFER_TO_OTHERS = frozenset(
    {
        # Playlists, and descriptions of streams in a network.
        *("concat", "dash", "hls", "imf", "sdp"),
        # Scripts that open files.
        *("avisynth", "vapoursynth"),
        # A part of the video is in files with similar names.
        *("mlv", "vobsub"),
    }
)
# Formats of text, which FFmpeg draws as pictures. It takes every file that ends in .txt for such a text.
_DRAWN_TEXT = frozenset({"tty", "bin", "xbin", "adf", "idf"})
# How such files begin. FFmpeg does not recognize them all: it depends on their names, and on how FFmpeg was built.
_BEGINNINGS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml", b"v=0", b"# VobSub")
_ADVICE = "Give the media file itself. A playlist can be joined into one file: ffmpeg -i PLAYLIST -c copy OUT.mp4"


@contextmanager
def open_container(
    file: BinaryIO, path: str, *, format: str | None = None, options: Mapping[str, str] | None = None
) -> Iterator[InputContainer]:
    """Open a media file for reading; close the container at the end of the ``with`` block.

    FFmpeg reads through the file object, and all of its protocols are disabled. So it cannot open anything else.

    In the block, Ctrl-C raises KeyboardInterrupt as usual, but not while FFmpeg is calling the file object: the
    exception would be lost, and FFmpeg would report damage in a good video.

    Args:
        file: The file. If it has an attribute ``name``, FFmpeg considers the extension when it detects the format.
        path: Path of the video, for errors.
        format: FFmpeg's name of the format; None to detect it.
        options: FFmpeg's options for opening.

    Yields:
        The open container.

    Raises:
        VideoDecodeError: If the file probably refers to other files.
        av.error.FFmpegError: If FFmpeg cannot open it for another reason.
    """
    with ctrl_c_after(_Source.seek), _open(file, path, format, options or {}) as container:
        yield container


def _open(file: BinaryIO, path: str, format: str | None, options: Mapping[str, str]) -> InputContainer:
    file.seek(0)
    # Not PyAV's `options`, which it also gives to each stream: before version 17.1 that crashed for MPEG files.
    options = {**options, "format_whitelist": _formats(), "protocol_whitelist": "none"}
    try:
        return av.open(_Source(file), "r", format=format, metadata_errors="ignore", container_options=options)
    except av.error.FFmpegError as error:
        file.seek(0)
        # FFmpeg refuses a format as an invalid argument. A few invalid files give the same error.
        if error.errno != errno.EINVAL and not file.read(16).startswith(_BEGINNINGS):
            raise
        reason = f"{error.strerror}; playlists and other files that refer to other files are not opened"
        raise VideoDecodeError(path, 0, reason, _ADVICE) from error


class _Source:
    """A binary file as PyAV reads it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read = file.read
        self.tell = file.tell
        self.name = _name_for_ffmpeg(getattr(file, "name", ""))

    def seek(self, offset: int, whence: int) -> int:
        """Return the new position, or FFmpeg's error number. PyAV would raise an exception that FFmpeg tolerates."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def _name_for_ffmpeg(path: str) -> str:
    """Return a name with nothing but the extension of a path.

    In a whole path FFmpeg sees other things too: a protocol before a colon, a pattern in ``%d`` and ``*``. For the
    extension of an image, it looks for a series of image files.
    """
    _, dot, extension = os.path.basename(path).rpartition(".")
    is_image = extension.lower() in av.ContainerFormat("image2", "w").extensions
    return f"video.{extension}" if dot and not is_image else "video"


@cache
def _formats() -> str:
    """Return the names of the formats that FFmpeg may read, separated by commas."""
    names = []
    for name in av.formats_available - _REFER_TO_OTHERS - _DRAWN_TEXT:
        # Formats that can only be written raise this error.
        with suppress(ValueError):
            if not av.ContainerFormat(name, "r").no_file:
                names.append(name)
    return ",".join(names)
