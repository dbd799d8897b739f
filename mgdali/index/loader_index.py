"""The index of a loader: that of a packed data set, one that is only read, or one that is made while training."""

from __future__ import annotations

import os
from typing import TypeAlias

from mgdali.datasets.packs import Pack, check_representation
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.index.growing import GrowingIndex, automatic_path, automatic_root
from mgdali.index.packed_rows import packed_index
from mgdali.index.reader import MotionIndex
from mgdali.samplers import Representation

__all__ = ["LoaderIndex", "open_index"]

LoaderIndex: TypeAlias = tuple[MotionIndex | None, GrowingIndex | None]
"""An index that is only read, or one that is made while training; at most one of them."""


def open_index(
    index: str | os.PathLike[str] | MotionIndex | None,
    cache_dir: str | os.PathLike[str] | None,
    dataset: VideoDataset,
    representation: Representation | None,
) -> LoaderIndex:
    """Open the index of a loader.

    Args:
        index: The loader's argument.
        cache_dir: Folder of an index that is made while training; None for the default.
        dataset: The data set.
        representation: The motion that the sampler needs; None if it needs none.

    Raises:
        ValueError: If an index is given for a packed data set, which has its own.
        DatasetError: If the index cannot be read or written, or a packed data set lacks the representation.
    """
    if dataset.pack is not None:
        return _index_of_pack(index, dataset.pack, representation), None
    if index == "auto":
        path, root = automatic_path(dataset.paths, cache_dir), automatic_root(dataset.paths)
        return None, GrowingIndex(path, root=root, keep_added=dataset.has_segments)
    if index is None or isinstance(index, MotionIndex):
        return index, None
    return MotionIndex(index), None


def _index_of_pack(index: object, pack: Pack, representation: Representation | None) -> MotionIndex:
    if index not in (None, "auto"):
        raise ValueError(
            f"index={index!r} cannot be used, because the packed data set {pack.root} has its own index, with the "
            "motion of the original videos: leave out index="
        )
    check_representation(pack, representation)
    return packed_index(pack)
