"""Help for tests of packed data sets."""

from __future__ import annotations

import importlib
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mgdali.datasets.pack_format import TABLE
from mgdali.errors import VideoDecodeError
from mgdali.packing import job
from mgdali.packing.encode import EncodedVideo, encode_parts

_encoded: dict[Any, list[EncodedVideo | VideoDecodeError]] = {}


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder and its subfolders, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def table(folder: Path) -> list[dict[str, Any]]:
    """The rows of a pack's table."""
    return list(pq.read_table(folder / TABLE).to_pylist())


def members(folder: Path) -> list[str]:
    """The names of the files in all shards of a pack, in order."""
    found = []
    for path in sorted(folder.glob("shard-*.tar")):
        with tarfile.open(path) as tar:
            found += tar.getnames()
    return found


def encode_once(patch: pytest.MonkeyPatch) -> None:
    """Save time: keep copies of videos in memory for all tests, and estimate no space."""
    patch.setattr(job, "encode_parts", _encode_once)
    patch.setattr(importlib.import_module("mgdali.packing.pack"), "estimate_bytes", lambda *_, **options: None)


def _encode_once(*arguments: Any) -> list[EncodedVideo | VideoDecodeError]:
    if arguments in _encoded:
        return _encoded[arguments]
    found = encode_parts(*arguments)
    # A test may repair a video that could not be decoded.
    if not any(isinstance(each, VideoDecodeError) for each in found):
        _encoded[arguments] = found
    return found
