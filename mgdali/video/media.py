"""The location of one video: a file, a folder of JPEG frames, a member of a tar, or a URL; read as one encoded file."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer

from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.video.containers import open_container
from mgdali.video.remote import checked_length, is_url, read_part, read_parts, remote_info

__all__ = [
    "VIDEO_EXTENSIONS",
    "Fingerprint",
    "Media",
    "NamedContent",
    "errors_of",
    "find_media",
    "frames_stream",
]

# fmt: off
VIDEO_EXTENSIONS = frozenset([
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".vob", ".webm", ".wmv",
])
# fmt: on
"""File extensions of videos, in lower case, with the dot."""

_FRAME_EXTENSIONS = (".jpg", ".jpeg")
_NUMBER = re.compile(r"([0-9]+)")
_PLACEHOLDER = re.compile(r"%(?:0([1-9][0-9]*))?d")

# JPEG files have no times. This is FFmpeg's default duration of an image, in seconds.
_FRAME_DURATION = Fraction(1, 25)

_HEAD_BYTES = 64 << 10

_ADVICE = (
    'Check that it exists and can be read, or remove it from the data set; with on_error="replace" the loader loads '
    "another video instead."
)


class NamedContent(io.BytesIO):
    """The content of a file that was read before, with the file's name, whose extension FFmpeg considers."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Values that identify the content of a video. To compute them, at most its first 64 KiB are read.

    Attributes:
        size: Size of the video file or tar member in bytes; for JPEG frames, of all files together.
        mtime_ns: Time of the last change of the file or the tar, in nanoseconds since 1970; for JPEG frames, of the
            newest file; 0 for a URL; None if the content never changes, as in a packed data set.
        head: Hash of the first 64 KiB, 32 hexadecimal digits; for JPEG frames, of the first 64 KiB of the first file
            and the number of files.
    """

    size: int
    mtime_ns: int | None
    head: str

    @classmethod
    def of_content(cls, content: bytes) -> Fingerprint:
        """Return the fingerprint of an encoded file that never changes."""
        return cls(len(content), None, _digest(content[:_HEAD_BYTES]))


@dataclass(frozen=True, slots=True)
class Media:
    """The location of one video, and its content if it was read before.

    Args:
        path: One of

            - the path of a video file;
            - a folder that contains the video's frames as JPEG files, in order of the numbers in their names;
            - ``folder/img_%05d.jpg``, the files of a folder that match this pattern;
            - the URL of a file, read by fsspec: ``https://…``, ``s3://…``;
            - with ``span``, ``<tar>::<member>``, where ``<tar>`` is a path or a URL.
        span: Offset and length of the member in the tar, in bytes, both >= 0; None if the video is not in a tar.
        content: The encoded file, if it was read before; it is then not read again.

    Raises:
        ValueError: If ``span`` is negative, or ``path`` does not name a member although ``span`` is given.
    """

    path: str
    span: tuple[int, int] | None = None
    content: bytes | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.span is None:
            return
        if self.span[0] < 0 or self.span[1] < 0:
            raise ValueError(f"{self.path}: span must be an offset and a length in bytes, both >= 0, got {self.span}")
        if "::" not in self.path:
            raise ValueError(f"{self.path}: a path with a span must name a member of a tar, such as '<tar>::<member>'")

    def loaded(self) -> Media:
        """Read the video once and return media whose content is in memory.

        Raises:
            VideoDecodeError: If the video is missing or cannot be read.
        """
        return replace(self, content=self.read())

    def read(self) -> bytes:
        """Return the video as one encoded file; JPEG frames as a Motion-JPEG stream (:func:`frames_stream`).

        Raises:
            VideoDecodeError: If the video is missing or cannot be read.
        """
        if self.content is not None:
            return self.content
        files = self.frame_files()
        if files is not None:
            return frames_stream(files, self.path)
        with errors_of(self.path):
            return read_part(self._file, self.span)

    def read_parts(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return parts of the encoded file: from a disk with one system call each, from a server in parallel requests.

        Args:
            spans: Offset from the first byte of the encoded file, and length of each part, in bytes.

        Raises:
            VideoDecodeError: If the video is missing, cannot be read, or ends before the end of a part.
        """
        with errors_of(self.path):
            if self.content is not None:
                return [
                    checked_length(self.content[begin : begin + length], (begin, length)) for begin, length in spans
                ]
            if self.span is None:
                return read_parts(self._file, spans)
            start, size = self.span
            beyond = [span for span in spans if sum(span) > size]
            if beyond:
                raise OSError(f"its {size} bytes end before the end of the part at offset {beyond[0][0]}")
            return read_parts(self._file, [(start + begin, length) for begin, length in spans])

    def open(self) -> BinaryIO:
        """Open the video as one encoded file: a local video file on the disk, otherwise the content in memory.

        Raises:
            VideoDecodeError: If the video is missing or cannot be read.
        """
        plain = self.span is None and not is_url(self.path) and self.frame_files() is None
        if not plain:
            return io.BytesIO(self.read())
        if self.content is not None:
            return NamedContent(self.content, self.path)
        with errors_of(self.path):
            return open(self.path, "rb", buffering=0)

    def frame_files(self) -> list[str] | None:
        """Return the JPEG files of the frames in order, if the video is a folder or a pattern, else None.

        Raises:
            VideoDecodeError: If the folder cannot be read, or contains no frames or several series of frames.
        """
        if self.span is not None or is_url(self.path):
            return None
        folder, name = os.path.split(self.path)
        with errors_of(self.path):
            if name.lower().endswith(_FRAME_EXTENSIONS) and len(_PLACEHOLDER.findall(name)) == 1:
                names = _names_of_pattern(name, os.listdir(folder or "."))
                return [os.path.join(folder, name) for name in names]
            if os.path.isdir(self.path):
                return [os.path.join(self.path, name) for name in _names_of_frames(os.listdir(self.path))]
        return None

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the content.

        Raises:
            VideoDecodeError: If the video is missing or cannot be read.
        """
        files = self.frame_files()
        with errors_of(self.path):
            size, mtime_ns = self._size_and_time(files)
            return Fingerprint(size, mtime_ns, self._head(files, size))

    def unchanged(self, known: Fingerprint) -> bool:
        """Return whether the content has this fingerprint.

        The size must be equal. The time of change must be equal too, or else the head, so that a copy counts as
        unchanged. Nothing is read unless the times differ. Only sizes are compared if the known time is None.

        Args:
            known: A fingerprint that was taken before.

        Raises:
            VideoDecodeError: If the video is missing or cannot be read.
        """
        files = self.frame_files()
        with errors_of(self.path):
            size, mtime_ns = self._size_and_time(files)
            if size != known.size:
                return False
            return known.mtime_ns in (None, mtime_ns) or self._head(files, size) == known.head

    @property
    def _file(self) -> str:
        """Path or URL of the file that contains the video: of the tar, if it is a member of one."""
        return self.path if self.span is None else self.path.rpartition("::")[0]

    def _size_and_time(self, files: list[str] | None) -> tuple[int, int]:
        """Return ``size`` and ``mtime_ns`` of the fingerprint, without reading the content."""
        if files is not None:
            stats = [os.stat(file) for file in files]
            return sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)
        if is_url(self._file):
            return (remote_info(self.path)["size"] if self.span is None else self.span[1]), 0
        stat = os.stat(self._file)
        return (stat.st_size if self.span is None else self.span[1]), stat.st_mtime_ns

    def _head(self, files: list[str] | None, size: int) -> str:
        """Return ``head`` of the fingerprint."""
        if files is None:
            offset = 0 if self.span is None else self.span[0]
            return _digest(read_part(self._file, (offset, min(size, _HEAD_BYTES))))
        with open(files[0], "rb") as first:
            return _digest(first.read(_HEAD_BYTES) + len(files).to_bytes(8, "little"))


def find_media(root: str | os.PathLike[str], *, extensions: Iterable[str] = VIDEO_EXTENSIONS) -> list[str]:
    """Return the paths of all videos in a folder and its subfolders.

    In each folder the files come first, then the subfolders, both by name. A folder that contains JPEG files and no
    video file counts as one video. Symbolic links are followed and hidden files are skipped.

    Args:
        root: Path of the folder; it may itself be a folder of JPEG frames.
        extensions: File extensions of videos, in lower case, with the dot.

    Raises:
        DatasetError: If a folder cannot be read.
    """
    try:
        return _media_below(os.fspath(root), tuple(extensions), ())
    except OSError as error:
        raise DatasetError(
            f"cannot search {error.filename} for videos: {error.strerror}; pass a folder that can be read"
        ) from error


def frames_stream(files: Sequence[str], name: str) -> bytes:
    """Return JPEG files as one video: a Matroska file with a Motion-JPEG stream whose packets are the unchanged files.

    Args:
        files: Paths of the JPEG files in order, at least one.
        name: Name of the video, for errors.

    Raises:
        VideoDecodeError: If a file cannot be read or is empty, or the first file is not a JPEG image.
    """
    target = io.BytesIO()
    with errors_of(name), _image(files[0], name) as first, av.open(target, "w", format="matroska") as container:
        # FFmpeg opens any file as a JPEG image, but finds no width if it is not one.
        if not first.streams.video[0].width:
            raise VideoDecodeError(name, 0, f"its first frame {files[0]} is not a JPEG image", _ADVICE)
        stream = container.add_stream_from_template(first.streams.video[0])
        for t, file in enumerate(files):
            content = read_part(file)
            if not content:
                raise VideoDecodeError(name, t, f"its frame {file} is empty", _ADVICE)
            packet = av.Packet(content)
            packet.stream = stream
            packet.time_base = _FRAME_DURATION
            packet.pts = packet.dts = t
            packet.duration = 1
            packet.is_keyframe = True
            container.mux(packet)
    return target.getvalue()


def _names_of_pattern(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that match a pattern such as ``img_%05d.jpg``, in order of their numbers."""
    before, width, after = _PLACEHOLDER.split(pattern)
    matching = re.compile(f"{re.escape(before)}([0-9]+){re.escape(after)}")
    numbers = []
    for name in names:
        match = matching.fullmatch(name)
        if match is not None and f"{int(match[1]):0{width or 1}d}" == match[1]:
            numbers.append((int(match[1]), name))
    if not numbers:
        raise OSError("no file in the folder matches the pattern")
    return [name for _, name in sorted(numbers)]


def _names_of_frames(names: Iterable[str]) -> list[str]:
    """Return the names of JPEG files, in order of the numbers in them."""
    found: list[tuple[list[str | int], str]] = []
    series = set()
    for name in names:
        if _is_frame(name):
            parts = _NUMBER.split(os.path.splitext(name)[0])
            found.append(([int(part) if i % 2 else part for i, part in enumerate(parts)], name))
            if len(parts) > 1:
                series.add("#".join(parts[::2]))
    if not found:
        raise OSError("it is a folder without JPEG frames")
    if len(series) > 1:
        # Usually optical flow next to the frames. Frames and flow must not be mixed into one video.
        kinds = ", ".join(sorted(series)[:4])
        raise OSError(
            f"the folder contains several series of frames ({kinds}): select one by a pattern, such as img_%05d.jpg"
        )
    return [name for _, name in sorted(found)]


def _is_frame(name: str) -> bool:
    return name.lower().endswith(_FRAME_EXTENSIONS) and not name.startswith(".")


def _media_below(folder: str, extensions: tuple[str, ...], parents: tuple[str, ...]) -> list[str]:
    """Return the videos in a folder and its subfolders; ``parents`` are the resolved paths of the folders above it."""
    real = os.path.realpath(folder)
    if real in parents:
        # A symbolic link to a parent folder would repeat the parent's videos endlessly.
        return []
    with os.scandir(folder) as listing:
        entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name)
    found = [entry.path for entry in entries if entry.name.lower().endswith(extensions) and entry.is_file()]
    if not found and any(_is_frame(entry.name) and entry.is_file() for entry in entries):
        found = [folder]
    for entry in entries:
        if entry.is_dir():
            found += _media_below(entry.path, extensions, (*parents, real))
    return found


@contextmanager
def errors_of(path: str) -> Iterator[None]:
    """Raise errors of the system and of FFmpeg as a VideoDecodeError of the video at ``path``."""
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        reason = error.strerror or str(error)
        if error.filename not in (None, path):
            reason = f"{error.filename}: {reason}"
        raise VideoDecodeError(path, 0, reason, _ADVICE) from error


def _image(file: str, name: str) -> AbstractContextManager[InputContainer]:
    return open_container(io.BytesIO(read_part(file)), name, format="jpeg_pipe")


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
