"""The index of a packed data set, and its rows in other indices.

S of a packed video is that of its original. Decoding the copy would give another S. So packed videos are never
measured, and their rows are copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mgdali.datasets.pack_format import is_pack
from mgdali.datasets.packs import Pack, check_representation, open_pack
from mgdali.errors import DatasetError
from mgdali.index.reader import MotionIndex
from mgdali.index.schema import Rows, read_batches
from mgdali.index.writer import open_parquet
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord, index_name
from mgdali.video.remote import is_url

__all__ = ["copy_rows", "packed_index", "packs_of"]


def packed_index(pack: Pack) -> MotionIndex:
    """Open the index of a packed data set.

    Raises:
        DatasetError: If it is missing, cannot be read, or does not contain exactly the videos of the packed data set.
    """
    index = MotionIndex(pack.index, root=pack.root)
    if len(index) != pack.manifest.videos:
        raise DatasetError(
            f"{pack.index} has {len(index)} rows for {pack.manifest.videos} videos: copy all files of the packed data "
            "set again"
        )
    return index


def packs_of(media: Iterable[Media]) -> dict[str, str]:
    """Return which videos are members of packed data sets on this machine: name of the video to folder of its pack."""
    known: dict[str, bool] = {}
    found = {}
    for each in media:
        if each.span is None or is_url(each.path):
            continue
        folder = os.path.dirname(os.path.abspath(each.path.rpartition("::")[0]))
        if known.setdefault(folder, is_pack(folder)):
            found[index_name(each.path)] = folder
    return found


def copy_rows(folder: str, names: Sequence[str], representations: Sequence[Representation]) -> list[VideoRecord]:
    """Return the rows of packed videos for an index with absolute names.

    Args:
        folder: Folder of the packed data set.
        names: Absolute names of the videos, ``<shard>::<member>``.
        representations: Representations that the rows must contain S of.

    Raises:
        DatasetError: If a file of the packed data set is missing, its index lacks a representation, or a video is not
            one of its videos.
    """
    pack = open_pack(folder)
    for representation in representations:
        check_representation(pack, representation)
    wanted = {os.path.relpath(name, os.path.abspath(folder)): name for name in names}
    found = []
    with open_parquet(Path(pack.index)) as parquet:
        for batch in read_batches(parquet):
            rows = Rows(batch)
            for row, own in enumerate(batch.column("path").to_pylist()):
                if own in wanted:
                    found.append(_with_name(rows[row], wanted.pop(own)))
    if wanted:
        raise DatasetError(
            f"{next(iter(wanted.values()))} is in the folder of the packed data set {folder}, but not in its index: "
            "move the file to another folder"
        )
    return found


def _with_name(record: VideoRecord, name: str) -> VideoRecord:
    """Return the record of a packed video for an index with absolute names, which says when the shard was changed."""
    assert record.fingerprint is not None
    changed = os.stat(name.rpartition("::")[0]).st_mtime_ns
    return replace(record, path=name, fingerprint=replace(record.fingerprint, mtime_ns=changed))
