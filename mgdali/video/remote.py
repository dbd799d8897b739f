"""Reading files and parts of files, from disks and from URLs; failed network requests are repeated."""

from __future__ import annotations

import importlib
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import IO, Any, TypeVar

__all__ = ["checked_length", "download", "is_url", "read_part", "read_parts", "remote_info"]

_MAX_TRIES = 5
# In bytes. fsspec ends an HTTP request after 5 minutes, so a large file cannot be read in a single one.
_BLOCK = 16 << 20
# In seconds.
_FIRST_WAIT = 0.1
# A separate generator: a retry must not change the random numbers of the user's process.
_jitter = random.Random()

_T = TypeVar("_T")


def is_url(path: str) -> bool:
    """Return whether a path is a URL, which fsspec must read."""
    return "://" in path


def read_part(path: str, span: tuple[int, int] | None = None) -> bytes:
    """Return the content of a file, or a part of it.

    Args:
        path: Path or URL of the file.
        span: Offset and length of the part, in bytes; None for the whole file.

    Raises:
        OSError: If the file is missing, cannot be read, or ends before the end of the part. For a URL, after several
            tries.
    """
    return _read_remote(path, span) if is_url(path) else _read_local(path, span)


def read_parts(path: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return parts of a file. From a server they are requested at the same time, if fsspec can do so for its protocol.

    Args:
        path: Path or URL of the file.
        spans: Offset and length of each part, in bytes.

    Raises:
        OSError: As :func:`read_part`.
    """
    if is_url(path):
        return _read_remote_parts(path, spans)
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [checked_length(os.pread(file, length, offset), (offset, length)) for offset, length in spans]
    finally:
        os.close(file)


def remote_info(url: str) -> dict[str, Any]:
    """Return what a server reports about a file: ``size`` in bytes, and other entries that depend on its protocol.

    Raises:
        OSError: If the file is missing, the server does not answer after several tries, or it does not report the
            size.
    """

    def request() -> dict[str, Any]:
        filesystem, path = _filesystem(url)
        return dict(filesystem.info(path))

    info = _with_retries(request)
    if info.get("size") is None:
        raise OSError("the server does not report the file's size, which is needed to read a part of it")
    return info


def download(url: str, file: IO[bytes], info: Mapping[str, Any]) -> None:
    """Copy a remote file to an empty local one, 16 MiB at a time.

    Args:
        url: URL of the remote file.
        file: The local file, open for reading and writing.
        info: What the server reports about it, from :func:`remote_info`.

    Raises:
        OSError: If the remote file is missing, cannot be read after several tries, or has another size. If the local
            file cannot be written, ``errno`` is set.
    """
    filesystem, path = _with_retries(partial(_filesystem, url))
    size = int(info["size"])
    # False if an HTTP server reports that it has no range requests. Such a server sends only whole files.
    if info.get("partial", True):
        try:
            return _copy_blocks(filesystem, path, file, size)
        except OSError as error:
            # fsspec raises ValueError if a server has no range requests and does not report it.
            if not isinstance(error.__cause__, ValueError):
                raise
    _with_retries(partial(_copy_whole, filesystem, path, file, size))


def _read_local(path: str, span: tuple[int, int] | None) -> bytes:
    with open(path, "rb") as file:
        if span is None:
            return file.read()
        file.seek(span[0])
        return checked_length(file.read(span[1]), span)


def _read_remote(url: str, span: tuple[int, int] | None) -> bytes:
    def read() -> bytes:
        filesystem, path = _filesystem(url)
        if span is None:
            return bytes(filesystem.cat_file(path))
        return checked_length(bytes(filesystem.cat_file(path, start=span[0], end=sum(span))), span)

    if span is not None and span[1] == 0:
        return b""
    return _with_retries(read)


def _read_remote_parts(url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    if len(spans) == 1:
        return [_read_remote(url, spans[0])]

    def read() -> list[bytes]:
        filesystem, path = _filesystem(url)
        starts, ends = [span[0] for span in spans], [sum(span) for span in spans]
        parts = filesystem.cat_ranges([path] * len(spans), starts, ends, on_error="raise")
        return [checked_length(bytes(part), span) for part, span in zip(parts, spans, strict=True)]

    return _with_retries(read) if spans else []


def _copy_blocks(filesystem: Any, path: str, file: IO[bytes], size: int) -> None:
    with _with_retries(lambda: filesystem.open(path, "rb", block_size=_BLOCK, cache_type="none")) as source:
        for start in range(0, size, _BLOCK):
            file.write(_with_retries(partial(_read_block, source, (start, min(_BLOCK, size - start)))))


def _read_block(source: Any, span: tuple[int, int]) -> bytes:
    source.seek(span[0])
    content = bytearray()
    # A server may send less than was requested.
    while len(content) < span[1] and (more := source.read(span[1] - len(content))):
        content += more
    return checked_length(bytes(content), span)


def _copy_whole(filesystem: Any, path: str, file: IO[bytes], size: int) -> None:
    file.seek(0)
    file.truncate()
    filesystem.get_file(path, file)
    if file.tell() != size:
        raise OSError(f"the server sends {file.tell()} bytes, but reports {size}")


def checked_length(content: bytes, span: tuple[int, int]) -> bytes:
    """Return the content of a part of a file.

    Args:
        content: The bytes that were read.
        span: Offset and length of the part.

    Raises:
        ValueError: If there are more bytes: the server does not support range requests.
        OSError: If there are fewer.
    """
    if len(content) > span[1]:
        raise ValueError(
            "the server does not support range requests: copy the file to a server that does, or to a local disk"
        )
    if len(content) < span[1]:
        raise OSError(f"it ends {span[1] - len(content)} bytes before the end of the part at offset {span[0]}")
    return content


def _filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's filesystem for a URL, which fsspec caches per process, and the path within it."""
    try:
        found: tuple[Any, str] = importlib.import_module("fsspec.core").url_to_fs(url)
    except ImportError as error:
        raise ImportError(
            f"cannot read {url}: {error}. For HTTP run: pip install 'mgdali[remote]'. Other protocols need their own "
            "fsspec package: for s3:// run: pip install s3fs; for gs:// run: pip install gcsfs"
        ) from error
    return found


def _with_retries(action: Callable[[], _T]) -> _T:
    """Return the result of ``action``, repeated after growing waits if it fails for a reason that may be temporary.

    Raises:
        ImportError: If the URL needs a package that is not installed.
        OSError: If ``action`` fails for a permanent reason or in every try.
    """
    tries = 1
    while True:
        try:
            return action()
        except ImportError:
            raise
        except Exception as error:
            cause = _root_cause(error)
            if tries == _MAX_TRIES or not _may_be_temporary(cause):
                times = f" (tried {tries} times)" if tries > 1 else ""
                raise OSError(f"{_message(cause)}{times}") from error
        time.sleep(_FIRST_WAIT * 2 ** (tries - 1) * _jitter.uniform(0.5, 1.5))
        tries += 1


def _may_be_temporary(error: BaseException) -> bool:
    """Return whether another try may succeed.

    fsspec's filesystems raise errors of many classes. Only errors that are certainly permanent are not retried.
    """
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status in (408, 429)
    return not isinstance(error, (FileNotFoundError, PermissionError, ValueError, TypeError, NotImplementedError))


def _message(error: BaseException) -> str:
    if type(error) is OSError:
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _root_cause(error: BaseException) -> BaseException:
    """Return the error that made fsspec fail.

    When fsspec cannot determine the size of a file over HTTP, it raises FileNotFoundError, whatever the network error.
    """
    cause = error.__cause__
    masked = isinstance(cause, TimeoutError) or type(cause).__module__.startswith(("aiohttp.", "asyncio."))
    return cause if masked and cause is not None and isinstance(error, FileNotFoundError) else error
