"""Index files at URLs: how a changed file is noticed, and local copies to read from."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mgdali.cache import cache_folder
from mgdali.errors import DatasetError
from mgdali.video.remote import download, remote_info

__all__ = ["downloaded", "index_cache", "local_file", "remote_stamp"]

_TRIES = 3

# What fsspec's filesystems call the version, the checksum and the time of a file, without case and punctuation.
_VERSIONS = (
    *("etag", "version", "versionid", "generation", "checksum", "contentmd5", "contenthash", "digest", "md5hash"),
    *("md5checksum", "crc32c", "sha", "blobid", "lastmodified", "modified", "modifiedtime", "modificationtime"),
    *("lastwritetime", "modify", "mtime", "updated", "created"),
)


def index_cache() -> Path:
    """Return the folder for what cannot be stored next to the videos or next to an index."""
    return cache_folder() / "index"


def remote_stamp(url: str) -> bytes:
    """Return what identifies the current content of a remote file.

    This is its size, and its version, checksum and time as far as the server reports them.

    Raises:
        DatasetError: If the file is missing or the server does not answer.
        ImportError: If the URL needs a package that is not installed.
    """
    return _stamp(_info(url))


@contextlib.contextmanager
def local_file(path: Path | str) -> Iterator[Path]:
    """Yield the path of a local index file; for a URL, that of a copy which exists until the end of the context.

    Raises:
        DatasetError: If a remote file cannot be read, or the copy cannot be written.
        ImportError: If the URL needs a package that is not installed.
    """
    if isinstance(path, Path):
        yield path
        return
    with downloaded(path) as (copy, _):
        yield copy


@contextlib.contextmanager
def downloaded(url: str) -> Iterator[tuple[Path, bytes]]:
    """Copy a remote file to the cache folder. Yield the path of the copy, and the stamp of its content.

    The copy has no name in the folder. It is removed even if the process is killed.

    Raises:
        DatasetError: If the remote file cannot be read, or the copy cannot be written.
        ImportError: If the URL needs a package that is not installed.
    """
    folder = index_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copy = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
    except OSError as error:
        raise DatasetError(_unwritable(url, folder, error)) from error
    try:
        yield Path(f"/proc/self/fd/{copy.fileno()}"), _download(url, copy, folder)
    finally:
        # On a full disk, closing fails too.
        with contextlib.suppress(OSError):
            copy.close()


def _download(url: str, copy: IO[bytes], folder: Path) -> bytes:
    """Copy a remote file to ``copy``, which is in ``folder``. Return the stamp of its content."""
    info = _info(url)
    for _ in range(_TRIES):
        copy.seek(0)
        copy.truncate()
        failure: OSError | None = None
        try:
            download(url, copy, info)
            copy.flush()
        except OSError as error:
            # Only errors of the local file have a number.
            if error.errno is not None:
                raise DatasetError(_unwritable(url, folder, error)) from error
            failure = error
        # A file that was replaced in the meantime gives an error, or parts of the old and of the new content.
        before, info = info, _info(url)
        if _stamp(before) == _stamp(info):
            if failure is not None:
                raise DatasetError(_unreadable(url, failure)) from failure
            return _stamp(info)
    raise DatasetError(f"the index {url} has changed {_TRIES} times while it was read: try again when it is complete")


def _info(url: str) -> dict[str, Any]:
    try:
        return remote_info(url)
    except OSError as error:
        raise DatasetError(_unreadable(url, error)) from error


def _stamp(info: dict[str, Any]) -> bytes:
    versions = {name: value for name, value in info.items() if _plain(name) in _VERSIONS}
    return " ".join([str(info["size"]), *(f"{name}={versions[name]}" for name in sorted(versions))]).encode()


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _unreadable(url: str, error: OSError) -> str:
    return f"cannot read the index {url}: {error}. Check the URL, your access rights, and the network"


def _unwritable(url: str, folder: Path, error: OSError) -> str:
    return (
        f"cannot store a copy of the index {url} in {folder}: {error}. Make the folder writable and free some space, "
        "or set the environment variable XDG_CACHE_HOME to another folder"
    )
