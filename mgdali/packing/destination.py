"""Where a pack is written: a folder or a URL. Shards are made in a staging folder and appear when they are complete."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mgdali.cache import cache_folder
from mgdali.datasets.pack_format import INDEX, MANIFEST, TABLE, PackManifest, join, read_manifest, shard_name
from mgdali.errors import DatasetError
from mgdali.packing.rows import CompleteRows, ShardRows
from mgdali.packing.shard_writer import OpenShard, refusing_full_disks, replace_file, rows_path
from mgdali.packing.staging_lock import LOCK, StagingLock
from mgdali.video.remote import download, is_url, remote_info

__all__ = ["STAGING", "Destination", "FolderDestination", "UrlDestination", "open_destination"]

STAGING = ".packing"
"""Folder of a pack for the files of a run that has not ended."""

_SETTINGS, _ROWS = "settings.json", ".rows.parquet"
_TRIES = 5
_FIRST_WAIT = 0.2
# On object stores an object appears when its upload has ended.
_OBJECT_STORES = frozenset(["s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss"])

_T = TypeVar("_T")


class Destination(ABC):
    """A pack that is being written by this process only.

    Args:
        name: Path or URL of the pack.
        staging: Local folder for unfinished files, which is created and locked.

    Attributes:
        name: Path or URL of the pack.
        staging: Path of the staging folder.

    Raises:
        DatasetError: If the staging folder cannot be written, or another process writes this pack.
    """

    def __init__(self, name: str, staging: Path) -> None:
        self.name = name
        self.staging = staging
        with refusing_full_disks(staging):
            self._lock = StagingLock(staging, name)

    @abstractmethod
    def manifest(self) -> PackManifest | None:
        """Return the manifest of the complete pack; None if there is no complete pack yet."""

    @abstractmethod
    def _fetched(self, name: str) -> Path:
        """Return a local copy of a file of the pack."""

    @abstractmethod
    def _publish(self, local: Path, name: str) -> None:
        """Move a complete local file to its place in the pack, where it appears as a whole."""

    @abstractmethod
    def _share(self, local: Path) -> None:
        """Make a file of the staging folder available to other machines that continue this run."""

    @abstractmethod
    def _fetch_shared(self) -> None:
        """Copy what other machines made available with :meth:`_share` to the staging folder, if it is not there."""

    @abstractmethod
    def _forget(self) -> None:
        """Remove what :meth:`_share` made available."""

    @property
    def free_bytes(self) -> int | None:
        """Free space in bytes; None if it is unknown."""
        return None

    def check_settings(self, settings: dict[str, Any], classes: Sequence[str], first: int) -> list[str]:
        """Note the settings of this run. If it continues another run, compare them.

        Args:
            settings: The settings, as JSON can represent them.
            classes: Names of the classes, which are noted and not compared.
            first: Number of the first shard of this run.

        Returns:
            The classes of the run that is continued, or of this run.

        Raises:
            DatasetError: If a setting differs; the message names it.
        """
        if self._has_ended(first):
            self._clear()
            self._fetch_shared()
        if self._has_ended(first):
            self._forget()
            self._clear()
        path = self.staging / _SETTINGS
        known = _json_of(path)
        if known is not None:
            _compare(self.name, known, settings)
            return [str(name) for name in known["classes"]]
        with refusing_full_disks(path):
            temporary = path.with_suffix(".unfinished")
            temporary.write_text(json.dumps({**settings, "classes": list(classes), "first": first}, indent=1))
            replace_file(temporary, path)
            self._share(path)
        return list(classes)

    def _has_ended(self, first: int) -> bool:
        """Whether the staging folder belongs to a run that has ended: the pack has more shards than it began with.

        A process may be killed after it has written the manifest. A pack at a URL may be completed by another machine.
        """
        known = _json_of(self.staging / _SETTINGS)
        return known is not None and known.get("first") != first

    def _clear(self) -> None:
        """Remove all files of the staging folder except the lock."""
        with refusing_full_disks(self.staging):
            for path in self.staging.iterdir():
                if path.name != LOCK:
                    path.unlink()

    def complete_rows(self, manifest: PackManifest) -> CompleteRows:
        """Return the rows of the complete pack."""
        return CompleteRows(self._fetched(TABLE), lambda: self._fetched(INDEX), len(manifest.shards))

    def finished_rows(self) -> list[ShardRows]:
        """Return the rows of the shards that the continued run has finished.

        Shards that a killed process had finished but not moved to their place are moved.
        """
        numbers = sorted(int(path.name[6:12]) for path in self.staging.glob(f"shard-*{_ROWS}"))
        return [self.publish_shard(number) for number in numbers]

    def open_shard(self, number: int) -> OpenShard:
        """Begin a shard, or continue it."""
        return OpenShard(self.staging, number)

    def publish_shard(self, number: int) -> ShardRows:
        """Move a finished shard to its place and return its rows."""
        name = shard_name(number)
        with refusing_full_disks(self.staging / name):
            if (self.staging / name).exists():
                self._publish(self.staging / name, name)
            self._share(rows_path(self.staging, number))
        return ShardRows(rows_path(self.staging, number))

    def complete(self, index: Path, table: Path, manifest: PackManifest) -> None:
        """Publish the files of a complete pack and remove the staging folder.

        Args:
            index: The new index, in the staging folder.
            table: The new table, in the staging folder.
            manifest: The manifest, which is published last.
        """
        with refusing_full_disks(self.staging):
            local = self.staging / MANIFEST
            local.write_text(manifest.to_json())
            self._publish(index, INDEX)
            self._publish(table, TABLE)
            self._publish(local, MANIFEST)
            self.discard()

    def discard(self) -> None:
        """Remove the files of the run that has ended. The lock remains until :meth:`close`."""
        self._forget()
        shutil.rmtree(self.staging, ignore_errors=True)

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()


class FolderDestination(Destination):
    """A pack in a local folder. Shards are made in ``<folder>/.packing`` and moved by a rename.

    Args:
        folder: Path of the folder, which is created.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        super().__init__(os.fspath(folder), self._folder / STAGING)

    @property
    def free_bytes(self) -> int | None:
        return shutil.disk_usage(self._folder).free

    def manifest(self) -> PackManifest | None:
        return read_manifest(self._folder) if (self._folder / MANIFEST).exists() else None

    def _fetched(self, name: str) -> Path:
        return self._folder / name

    def _publish(self, local: Path, name: str) -> None:
        replace_file(local, self._folder / name)

    def _share(self, local: Path) -> None:
        pass

    def _fetch_shared(self) -> None:
        pass

    def _forget(self) -> None:
        pass


class UrlDestination(Destination):
    """A pack at a URL that fsspec can write. Shards are made in a local folder, uploaded, and removed.

    Args:
        url: URL of the pack's folder.
        work_dir: Local folder for the staging folders of all URLs; by default the user's cache folder.

    Raises:
        ImportError: If the URL needs a package that is not installed.
    """

    def __init__(self, url: str, work_dir: str | os.PathLike[str] | None = None) -> None:
        url = url.rstrip("/")
        self._filesystem, self._root = _filesystem(url)
        folder = Path(work_dir) if work_dir is not None else cache_folder() / "packing"
        super().__init__(url, folder / hashlib.blake2b(url.encode(), digest_size=16).hexdigest())
        try:
            self._fetch_shared()
        except BaseException:
            self.close()
            raise

    def manifest(self) -> PackManifest | None:
        exists = self._try(lambda: self._filesystem.exists(f"{self._root}/{MANIFEST}"), "read")
        return read_manifest(self.name) if exists else None

    def _fetched(self, name: str) -> Path:
        return self._fetch(name, self.staging / f"fetched-{name}")

    def _publish(self, local: Path, name: str) -> None:
        self._upload(local, name)
        local.unlink()

    def _share(self, local: Path) -> None:
        name = f"{STAGING}/{local.name}"
        if not self._try(lambda: self._filesystem.exists(f"{self._root}/{name}"), "read"):
            self._upload(local, name)

    def _forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._try(lambda: self._filesystem.rm(f"{self._root}/{STAGING}", recursive=True), "remove files of")

    def _fetch_shared(self) -> None:
        shared = f"{self._root}/{STAGING}"
        if not self._try(lambda: self._filesystem.exists(shared), "read"):
            return
        for path in self._try(lambda: self._filesystem.ls(shared, detail=False), "read"):
            name = path.rpartition("/")[2]
            if (name == _SETTINGS or name.endswith(_ROWS)) and not (self.staging / name).exists():
                self._fetch(f"{STAGING}/{name}", self.staging / name)

    def _fetch(self, name: str, local: Path) -> Path:
        url = join(self.name, name)
        temporary = local.with_name(f"{local.name}.unfinished")
        try:
            with open(temporary, "wb+") as file:
                download(url, file, remote_info(url))
            os.replace(temporary, local)
        except OSError as error:
            raise DatasetError(
                f"cannot copy {url} to {local.parent}: {error}; check both and run the same command again"
            ) from error
        return local

    def _upload(self, local: Path, name: str) -> None:
        target = f"{self._root}/{name}"

        def put() -> None:
            self._filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
            if self.name.partition("://")[0] in _OBJECT_STORES:
                self._filesystem.put_file(os.fspath(local), target)
                return
            temporary = f"{target}.{uuid.uuid4().hex}.unfinished"
            self._filesystem.put_file(os.fspath(local), temporary)
            self._filesystem.mv(temporary, target)

        self._try(put, "write")

    def _try(self, action: Callable[[], _T], what: str) -> _T:
        """Return the result of a request, repeated if it fails and another try may succeed.

        Raises:
            DatasetError: If the request fails.
        """
        for wait in range(_TRIES):
            try:
                return action()
            except FileNotFoundError:
                raise
            except Exception as error:
                if wait == _TRIES - 1 or isinstance(error, PermissionError | NotImplementedError | ValueError):
                    raise DatasetError(
                        f"cannot {what} {self.name}: {type(error).__name__}: {error}. Packed videos are kept; run the "
                        "same command again, which resumes"
                    ) from error
            time.sleep(_FIRST_WAIT * 2**wait)
        raise AssertionError


def open_destination(out: str | os.PathLike[str], work_dir: str | os.PathLike[str] | None = None) -> Destination:
    """Open the folder or URL of a pack for writing.

    Args:
        out: Path of a folder, which is created, or a URL.
        work_dir: Local folder for unfinished shards, if ``out`` is a URL.

    Raises:
        DatasetError: If it cannot be written, or another process writes it.
        ImportError: If a URL needs a package that is not installed.
        ValueError: If ``work_dir`` is given and ``out`` is a folder.
    """
    if is_url(os.fspath(out)):
        return UrlDestination(os.fspath(out), work_dir)
    if work_dir is not None:
        raise ValueError(
            f"work_dir={os.fspath(work_dir)!r} is only possible if out is a URL: a local pack is written in its folder"
        )
    if os.path.exists(out) and not os.path.isdir(out):
        raise DatasetError(f"{os.fspath(out)} is a file: give a folder for the pack")
    return FolderDestination(out)


def _filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's filesystem for a URL, and the path within it."""
    try:
        found: tuple[Any, str] = importlib.import_module("fsspec.core").url_to_fs(url)
    except ImportError as error:
        raise ImportError(
            f"cannot write {url}: {error}. For s3:// run: pip install s3fs; for gs:// run: pip install gcsfs; other "
            "protocols need their own fsspec package"
        ) from error
    except ValueError as error:
        raise DatasetError(f"cannot write {url}: {error}; give a folder or a URL that fsspec can write") from error
    return found[0], found[1].rstrip("/")


def _json_of(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _compare(name: str, known: dict[str, Any], settings: dict[str, Any]) -> None:
    for each, value in settings.items():
        if known.get(each) != value:
            raise DatasetError(
                f"{name} was begun with {each} {known.get(each)}, not {value}: use the same settings to resume, or "
                "give an empty folder"
            )
