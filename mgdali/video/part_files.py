"""Files that are read in parts: a member of a local tar, and a file at a URL."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import ExitStack
from typing import IO, Any, cast

from mgdali.video.remote import download, read_part, remote_info

__all__ = ["open_member", "open_remote"]

# In bytes. A file that is read in order is requested in larger and larger blocks, because each request takes time.
_FIRST_BLOCK = 256 << 10
_LARGEST_BLOCK = 4 << 20
# A file whose sound and pictures are far apart is read at two places in turns.
_KEPT_BLOCKS = 4


class _PartFile(io.RawIOBase):
    """A part of a file, which is read like a whole file.

    Args:
        span: Offset and length of the part in bytes.
    """

    def __init__(self, span: tuple[int, int]) -> None:
        super().__init__()
        self._start, self._size = span
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"cannot seek to offset {offset} with whence {whence}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        wanted = memoryview(buffer).cast("B")[: max(self._size - self._position, 0)]
        content = self._read_at(self._position, len(wanted)) if len(wanted) else b""
        wanted[: len(content)] = content
        self._position += len(content)
        return len(content)

    def _read_at(self, position: int, length: int) -> bytes:
        """Return at least one byte and at most ``length`` bytes from a position in the part."""
        raise NotImplementedError


class _LocalPart(_PartFile):
    """A part of a local file."""

    def __init__(self, path: str, span: tuple[int, int]) -> None:
        super().__init__(span)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()

    def _read_at(self, position: int, length: int) -> bytes:
        return os.pread(self._file, length, self._start + position)


class _RemotePart(_PartFile):
    """A file at a URL, or a part of it. At most 16 MiB are in memory. Failed requests are repeated."""

    def __init__(self, url: str, span: tuple[int, int]) -> None:
        super().__init__(span)
        self._url = url
        # Position and content of each block; the latest is the last one.
        self._blocks: list[tuple[int, bytes]] = []

    def _read_at(self, position: int, length: int) -> bytes:
        start, content = self._block_at(position)
        return content[position - start :][:length]

    def _block_at(self, position: int) -> tuple[int, bytes]:
        """Return the block that contains a byte, with its position; request it if it is not in memory."""
        for i, (start, content) in enumerate(self._blocks):
            if start <= position < start + len(content):
                self._blocks.append(self._blocks.pop(i))
                return self._blocks[-1]
        length = _FIRST_BLOCK
        for start, content in self._blocks:
            if start + len(content) == position:
                length = min(2 * len(content), _LARGEST_BLOCK)
        length = min(length, self._size - position)
        block = position, read_part(self._url, (self._start + position, length))
        self._blocks = [*self._blocks[1 - _KEPT_BLOCKS :], block]
        return block


def open_member(tar: str, span: tuple[int, int]) -> IO[bytes]:
    """Open a member of a local tar for reading.

    Args:
        tar: Path of the tar.
        span: Offset and length of the member in bytes.

    Raises:
        OSError: If the tar cannot be opened.
    """
    return cast(IO[bytes], _LocalPart(tar, span))


def open_remote(url: str, span: tuple[int, int] | None = None) -> IO[bytes]:
    """Open a file at a URL, or a part of it, for reading.

    Its parts are requested when they are read. A server that does not support this sends the whole file, which is then
    stored in a temporary file without a name.

    Args:
        url: URL of the file.
        span: Offset and length of the part in bytes; None for the whole file.

    Raises:
        OSError: If the file is missing, cannot be read after several tries, or cannot be stored.
        ImportError: If the URL needs a package that is not installed.
    """
    info = remote_info(url) if span is None else {}
    file = _RemotePart(url, (0, int(info["size"])) if span is None else span)
    try:
        # The first request shows whether the server supports requests of parts.
        file.read(1)
        file.seek(0)
        return cast(IO[bytes], file)
    except OSError as error:
        if span is not None or not isinstance(error.__cause__, ValueError):
            raise
    with ExitStack() as stack:
        copy = stack.enter_context(tempfile.TemporaryFile())
        download(url, copy, info)
        copy.seek(0)
        stack.pop_all()
        return copy
