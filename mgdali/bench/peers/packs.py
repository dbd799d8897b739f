"""The videos and index rows of packed data sets, for peers that load them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mgdali import VideoDataset
from mgdali.index.reader import MotionIndex
from mgdali.samplers import Representation
from mgdali.video.record import VideoRecord

__all__ = ["distinct", "motion_of_copies", "places_in_pack", "read_records", "unpack"]


def distinct(paths: Sequence[str]) -> list[str]:
    """Return each path once, in the order in which they first occur: the videos of a pack."""
    return list(dict.fromkeys(paths))


def places_in_pack(paths: Sequence[str]) -> list[int]:
    """Return the place of each path's video in a pack of ``distinct(paths)``."""
    place = {path: number for number, path in enumerate(distinct(paths))}
    return [place[path] for path in paths]


def unpack(root: str, to: Path) -> list[str]:
    """Write the videos of a pack to files, in the order of the pack, and return their paths.

    Args:
        root: Folder of the pack.
        to: Existing folder for the files.
    """
    files = []
    for number, video in enumerate(VideoDataset.from_pack(root)):
        file = to / f"{number:06}.mp4"
        file.write_bytes(video.media.read())
        files.append(str(file))
    return files


def read_records(root: str) -> list[VideoRecord]:
    """Return the index rows of a pack's videos, in the order of the pack."""
    dataset = VideoDataset.from_pack(root)
    assert dataset.pack is not None
    index = MotionIndex(dataset.pack.index, root=dataset.pack.root)
    found = [index.find(path) for path in dataset.paths]
    assert all(found)
    return [record for record in found if record is not None]


def motion_of_copies(root: str) -> list[NDArray[np.float64]]:
    """Return S of the originals at the image level, ``[T]`` each, in the order of the pack."""
    motions = [record.motion_of(Representation()) for record in read_records(root)]
    return [motion for motion in motions if motion is not None]
