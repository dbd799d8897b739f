"""Help for tests of packed data sets."""

from __future__ import annotations

import functools
import importlib
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mgdali.datasets.pack_format import TABLE
from mgdali.packing import job
from mgdali.packing.encode import encode_video

_encoded = functools.lru_cache(encode_video)


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
    patch.setattr(job, "encode_video", _encoded)
    patch.setattr(importlib.import_module("mgdali.packing.pack"), "estimate_bytes", lambda *_, **options: None)
