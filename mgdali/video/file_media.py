"""A video in a file that is already open, such as the caller's file object or a remote file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, BinaryIO, cast

from mgdali.video.media import Media, errors_of
from mgdali.video.remote import checked_length, is_url

__all__ = ["FileMedia", "read_up_to"]


@dataclass(frozen=True, slots=True)
class FileMedia(Media):
    """A video in an open file, which stays open. Only one thread at a time may read it.

    Args:
        path, span, content: As for :class:`~mgdali.video.media.Media`. ``content`` is not used.
        file: The encoded file, open for reading in binary mode and seekable. It contains nothing but the video, also if
            ``span`` is given.
    """

    file: IO[bytes] | None = field(default=None, repr=False, compare=False)

    def open(self) -> BinaryIO:
        """Return the file. If reading it fails, the error is raised when the returned object is closed, if not before.

        FFmpeg takes some errors for the end of the file.
        """
        assert self.file is not None
        return cast(BinaryIO, _Watched(self.file, self.path))

    def read(self) -> bytes:
        """Return the content of the file.

        Raises:
            VideoDecodeError: If the file cannot be read.
        """
        assert self.file is not None
        with errors_of(self.path):
            self.file.seek(0)
            return read_up_to(self.file, None)

    def read_parts(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return parts of the file, as :meth:`Media.read_parts`."""
        if is_url(self.path):
            # In requests at the same time. Not super(): a dataclass with slots is another class than this one.
            return Media.read_parts(self, spans)
        assert self.file is not None
        with errors_of(self.path):
            parts = []
            for span in spans:
                self.file.seek(span[0])
                parts.append(checked_length(read_up_to(self.file, span[1]), span))
            return parts

    def frame_files(self) -> list[str] | None:
        """Return None: a file is not a folder of JPEG frames."""
        return None


class _Watched:
    """A file that another owner closes, and the first error of reading it."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._failure: BaseException | None = None
        self.name = name
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if self._failure is None:
            try:
                return self._file.read(size)
            except BaseException as error:
                self._failure = error
        if isinstance(self._failure, Exception):
            raise self._failure
        # PyAV would print a KeyboardInterrupt and continue.
        raise OSError("reading the file was interrupted")

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        failure = self._failure
        # A generator that is closed early needs no more of the file.
        if failure is None or kind is GeneratorExit:
            return
        if isinstance(failure, OSError) or not isinstance(failure, Exception):
            raise failure
        raise _as_os_error(failure) from failure


def read_up_to(file: IO[bytes], size: int | None) -> bytes:
    """Return the next ``size`` bytes of a file, fewer at its end; None for all. A file may return less at a time.

    Raises:
        OSError: If the file cannot be read, whatever error its own code raises.
    """
    content = bytearray()
    while size is None or len(content) < size:
        try:
            more = file.read(-1 if size is None else size - len(content))
        except OSError:
            raise
        except Exception as error:
            raise _as_os_error(error) from error
        if not more:
            break
        content += more
    return bytes(content)


def _as_os_error(error: Exception) -> OSError:
    return OSError(f"reading the file failed: {type(error).__name__}: {error}")
