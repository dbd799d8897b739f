"""Where one video's bytes lie: in a file, in JPEG frames, in a tar or behind a URL; the rest sees one encoded file."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
import av.error

from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.video.remote import is_url, read_part, remote_info

__all__ = [
    "VIDEO_EXTENSIONS",
    "Fingerprint",
    "Media",
    "find_media",
    "frames_stream",
]

# fmt: off
VIDEO_EXTENSIONS = frozenset([
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".vob", ".webm", ".wmv",
])
# fmt: on
"""File endings that count as videos."""

_FRAME_ENDINGS = (".jpg", ".jpeg")
_NUMBER = re.compile(r"([0-9]+)")
_PLACEHOLDER = re.compile(r"%(?:0([1-9][0-9]*))?d")

# Frames come without times: FFmpeg's own default for images.
_FRAME_TIME = Fraction(1, 25)

_HEAD = 64 << 10

_ADVICE = (
    'Check that it is there and can be read, or take it out of the data set; with on_error="replace" the loader goes '
    "on with another video in its place."
)


class _NamedContent(io.BytesIO):
    """The content of a file, with the file's name, which PyAV passes on to FFmpeg."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one video's content from another's without reading all of it.

    Attributes:
        size: bytes; of frames, of all files together.
        mtime_ns: when it was last written, in nanoseconds; of frames, of the newest file; 0 where it is not local.
        head: hash of the first 64 KiB; of frames, of the first file's and the number of files.
    """

    size: int
    mtime_ns: int
    head: str


@dataclass(frozen=True, slots=True)
class Media:
    """One video, by where its bytes lie.

    Args:
        path: one of

            - a file;
            - a folder with the video's frames as JPEG files, in order of the numbers in their names;
            - ``folder/img_%05d.jpg``: of the folder's files those of this pattern;
            - a URL of a file, for fsspec: ``https://…``, ``s3://…``;
            - with ``span``, ``<tar>::<member>``, the tar being a file or a URL.
        span: where the member lies in the tar: offset and length, in bytes.
        content: The encoded file, if it was read already; it is then not read again.

    Raises:
        ValueError: a span that cannot be, or one beside a path that names no member.
    """

    path: str
    span: tuple[int, int] | None = None
    content: bytes | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.span is None:
            return
        if self.span[0] < 0 or self.span[1] < 0:
            raise ValueError(f"{self.path}: span must be an offset and a length in bytes, got {self.span}")
        if "::" not in self.path:
            raise ValueError(f"{self.path}: a path with a span must name a tar's member, as '<tar>::<member>'")

    def loaded(self) -> Media:
        """Read the video once and return media whose content is in memory.

        Raises:
            VideoDecodeError: If the video is missing or cannot be read.
        """
        return replace(self, content=self.read())

    def read(self) -> bytes:
        """The video as one file; frames as a Motion-JPEG stream (:func:`frames_stream`).

        Raises:
            VideoDecodeError: it is missing or cannot be read.
        """
        if self.content is not None:
            return self.content
        files = self.frame_files()
        if files is not None:
            return frames_stream(files, self.path)
        with _errors_of(self.path):
            return read_part(self._file, self.span)

    def open(self) -> str | io.BytesIO:
        """What ``av.open`` takes: the path of a local file, which is then not read as a whole, or the content.

        Raises:
            VideoDecodeError: it is missing or cannot be read; of a local file that is seen when it is opened.
        """
        plain = self.span is None and not is_url(self.path) and self.frame_files() is None
        if not plain:
            return io.BytesIO(self.read())
        # FFmpeg takes the file's name into account when it detects the container.
        return self.path if self.content is None else _NamedContent(self.content, self.path)

    def frame_files(self) -> list[str] | None:
        """The frames' files in order, where the video is a folder or a pattern, else None.

        Raises:
            VideoDecodeError: there are no frames, or the folder holds several series of them.
        """
        if self.span is not None or is_url(self.path):
            return None
        folder, name = os.path.split(self.path)
        with _errors_of(self.path):
            if name.lower().endswith(_FRAME_ENDINGS) and len(_PLACEHOLDER.findall(name)) == 1:
                names = _names_of_pattern(name, os.listdir(folder or "."))
                return [os.path.join(folder, name) for name in names]
            if os.path.isdir(self.path):
                return [os.path.join(self.path, name) for name in _names_of_frames(os.listdir(self.path))]
        return None

    def fingerprint(self) -> Fingerprint:
        """What tells this content from another.

        Raises:
            VideoDecodeError: it is missing or cannot be read.
        """
        files = self.frame_files()
        with _errors_of(self.path):
            size, mtime_ns = self._size_and_time(files)
            return Fingerprint(size, mtime_ns, self._head(files, size))

    def unchanged(self, known: Fingerprint) -> bool:
        """Whether the content is still the one that had this fingerprint.

        Same size and time: yes, without reading. Same size at another time, as of a copy: if the head is the same.

        Raises:
            VideoDecodeError: it is missing or cannot be read.
        """
        files = self.frame_files()
        with _errors_of(self.path):
            size, mtime_ns = self._size_and_time(files)
            if size != known.size:
                return False
            return mtime_ns == known.mtime_ns or self._head(files, size) == known.head

    @property
    def _file(self) -> str:
        return self.path if self.span is None else self.path.rpartition("::")[0]

    def _size_and_time(self, files: list[str] | None) -> tuple[int, int]:
        if files is not None:
            stats = [os.stat(file) for file in files]
            return sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)
        if is_url(self._file):
            return (remote_info(self.path)["size"] if self.span is None else self.span[1]), 0
        stat = os.stat(self._file)
        return (stat.st_size if self.span is None else self.span[1]), stat.st_mtime_ns

    def _head(self, files: list[str] | None, size: int) -> str:
        if files is None:
            offset = 0 if self.span is None else self.span[0]
            return _digest(read_part(self._file, (offset, min(size, _HEAD))))
        with open(files[0], "rb") as first:
            return _digest(first.read(_HEAD) + len(files).to_bytes(8, "little"))


def find_media(root: str | os.PathLike[str], *, extensions: Iterable[str] = VIDEO_EXTENSIONS) -> list[str]:
    """All videos below a folder: of each folder its files by name, then its folders by name.

    A folder that holds JPEG files and no video file counts as one video. Links are followed, hidden files passed over.

    Args:
        root: the folder; it may be such a folder of frames itself.
        extensions: file endings that count as videos, in lower case, with the dot.

    Raises:
        DatasetError: the folder cannot be read.
    """
    try:
        return _media_below(os.fspath(root), tuple(extensions), ())
    except OSError as error:
        raise DatasetError(
            f"cannot look for videos in {error.filename}: {error.strerror}; give a folder that can be read"
        ) from error


def frames_stream(files: Sequence[str], name: str) -> bytes:
    """JPEG files as one video: a Matroska file with one Motion-JPEG stream whose packets are the files, unchanged.

    Args:
        files: the frames' files, at least one, in order.
        name: the video's name, for errors.

    Raises:
        VideoDecodeError: a file cannot be read, is empty, or the first one is no JPEG image.
    """
    target = io.BytesIO()
    with _errors_of(name), _image(files[0]) as first, av.open(target, "w", format="matroska") as container:
        # FFmpeg takes anything for a JPEG here; what is none has no size.
        if not first.streams.video[0].width:
            raise VideoDecodeError(name, 0, f"its first frame {files[0]} is no JPEG image", _ADVICE)
        stream = container.add_stream_from_template(first.streams.video[0])
        for t, file in enumerate(files):
            content = read_part(file)
            if not content:
                raise VideoDecodeError(name, t, f"its frame {file} is empty", _ADVICE)
            packet = av.Packet(content)
            packet.stream = stream
            packet.time_base = _FRAME_TIME
            packet.pts = packet.dts = t
            packet.duration = 1
            packet.is_keyframe = True
            container.mux(packet)
    return target.getvalue()


def _names_of_pattern(pattern: str, names: Iterable[str]) -> list[str]:
    before, width, after = _PLACEHOLDER.split(pattern)
    matching = re.compile(f"{re.escape(before)}([0-9]+){re.escape(after)}")
    numbers = []
    for name in names:
        match = matching.fullmatch(name)
        if match is not None and f"{int(match[1]):0{width or 1}d}" == match[1]:
            numbers.append((int(match[1]), name))
    if not numbers:
        raise OSError("no file of the folder matches the pattern")
    return [name for _, name in sorted(numbers)]


def _names_of_frames(names: Iterable[str]) -> list[str]:
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
        # Optical flow beside the frames, as a rule: read as one video it would be nonsense.
        kinds = ", ".join(sorted(series)[:4])
        raise OSError(f"the folder holds several series of frames ({kinds}): name one by a pattern, as img_%05d.jpg")
    return [name for _, name in sorted(found)]


def _is_frame(name: str) -> bool:
    return name.lower().endswith(_FRAME_ENDINGS) and not name.startswith(".")


def _media_below(folder: str, endings: tuple[str, ...], above: tuple[str, ...]) -> list[str]:
    real = os.path.realpath(folder)
    if real in above:
        # A link that leads back up would repeat its videos without end.
        return []
    with os.scandir(folder) as listing:
        entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda entry: entry.name)
    found = [entry.path for entry in entries if entry.name.lower().endswith(endings) and entry.is_file()]
    if not found and any(_is_frame(entry.name) and entry.is_file() for entry in entries):
        found = [folder]
    for entry in entries:
        if entry.is_dir():
            found += _media_below(entry.path, endings, (*above, real))
    return found


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """Errors of the system, and FFmpeg's, become the video's."""
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        reason = error.strerror or str(error)
        if error.filename not in (None, path):
            reason = f"{error.filename}: {reason}"
        raise VideoDecodeError(path, 0, reason, _ADVICE) from error


def _image(file: str) -> av.container.InputContainer:
    return av.open(io.BytesIO(read_part(file)), "r", format="jpeg_pipe")


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
