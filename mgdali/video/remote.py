"""Reading files and parts of them, local or behind a URL; what a network loses is asked for again."""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["is_url", "read_part", "remote_info"]

_TRIES = 5
_FIRST_WAIT = 0.1
# Its own generator: a retry must not shift the random numbers of the user's process.
_jitter = random.Random()

_T = TypeVar("_T")


def is_url(path: str) -> bool:
    """Whether a path is a URL, for fsspec to read."""
    return "://" in path


def read_part(path: str, span: tuple[int, int] | None = None) -> bytes:
    """A file's content, or the part of it at ``span``: offset and length in bytes.

    Args:
        path: a file or a URL.
        span: the part; None for all.

    Raises:
        OSError: it is missing, cannot be read, or ends within the part; of a URL after several tries.
    """
    return _read_remote(path, span) if is_url(path) else _read_local(path, span)


def remote_info(url: str) -> dict[str, Any]:
    """What a store tells of a file: ``size`` in bytes, and more by the kind of store.

    Raises:
        OSError: it is missing, or the store cannot be asked, after several tries; or it does not tell the size.
    """

    def ask() -> dict[str, Any]:
        filesystem, path = _filesystem(url)
        return dict(filesystem.info(path))

    info = _tried_again(ask)
    if info.get("size") is None:
        raise OSError("the server does not tell its size, which is needed to read a part of it")
    return info


def _read_local(path: str, span: tuple[int, int] | None) -> bytes:
    with open(path, "rb") as file:
        if span is None:
            return file.read()
        file.seek(span[0])
        return _of_length(file.read(span[1]), span)


def _read_remote(url: str, span: tuple[int, int] | None) -> bytes:
    def read() -> bytes:
        filesystem, path = _filesystem(url)
        if span is None:
            return bytes(filesystem.cat_file(path))
        return _of_length(bytes(filesystem.cat_file(path, start=span[0], end=sum(span))), span)

    if span is not None and span[1] == 0:
        return b""
    return _tried_again(read)


def _of_length(content: bytes, span: tuple[int, int]) -> bytes:
    if len(content) > span[1]:
        raise ValueError("the server does not give parts of a file: copy it to where HTTP ranges work, or to a disk")
    if len(content) < span[1]:
        raise OSError(f"it ended {span[1] - len(content)} bytes before the end of the part at {span[0]}")
    return content


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's filesystem for a URL, which fsspec keeps for the process, and the path in it."""
    try:
        found: tuple[Any, str] = importlib.import_module("fsspec.core").url_to_fs(url)
    except ImportError as error:
        raise ImportError(
            f"cannot read {url}: {error}. pip install 'mgdali[remote]' brings what HTTP needs; other stores need "
            "their own package for fsspec, as s3fs or gcsfs"
        ) from error
    return found


def _tried_again(action: Callable[[], _T]) -> _T:
    """What ``action`` gives; where it fails by what may pass, it is tried again after a while, longer each time."""
    tries = 1
    while True:
        try:
            return action()
        except ImportError:
            raise
        except Exception as error:
            reason = _said_by_network(error)
            if tries == _TRIES or not _may_pass(reason):
                times = f" (tried {tries} times)" if tries > 1 else ""
                raise OSError(f"{_words(reason)}{times}") from error
        time.sleep(_FIRST_WAIT * 2 ** (tries - 1) * _jitter.uniform(0.5, 1.5))
        tries += 1


def _may_pass(error: BaseException) -> bool:
    """Whether trying again may help. Stores' errors are of many kinds: only what surely stays is told apart."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status in (408, 429)
    return not isinstance(error, (FileNotFoundError, PermissionError, ValueError, TypeError, NotImplementedError))


def _words(error: BaseException) -> str:
    if type(error) is OSError:
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _said_by_network(error: BaseException) -> BaseException:
    """The reason for an error: over HTTP, whatever keeps fsspec from finding out a size, it says "not found"."""
    cause = error.__cause__
    masked = isinstance(cause, TimeoutError) or type(cause).__module__.startswith(("aiohttp.", "asyncio."))
    return cause if masked and cause is not None and isinstance(error, FileNotFoundError) else error
