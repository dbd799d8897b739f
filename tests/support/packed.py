"""A small packed data set, for tests of code that reads one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mgdali import VideoDataset, pack
from mgdali.packing.encoding import Encoding
from mgdali.samplers import Representation
from tests.support.videos import moving_square, write_video

LENGTHS = (40, 1, 25, 33, 3, 28, 19, 52)


def write_originals(folder: Path) -> VideoDataset:
    """Write eight videos of two classes, with long groups, and return them with a column."""
    folder.mkdir()
    options = {"crf": "18", "preset": "veryfast", "g": "30", "bf": "2"}
    for i, length in enumerate(LENGTHS):
        write_video(folder / f"{i}.mp4", moving_square(length, 48, 64, seed=i), options=options)
    paths = [folder / f"{i}.mp4" for i in range(len(LENGTHS))]
    labels = [i % 2 for i in range(len(LENGTHS))]
    return VideoDataset(paths, labels, ["run", "jump", "sit"], columns={"id": [f"video {i}" for i in labels]})


def write_pack(
    originals: VideoDataset,
    folder: Path,
    *,
    representations: tuple[Representation, ...] = (Representation(),),
    **encoding: Any,
) -> Path:
    """Pack a data set, with at most 1 MiB per shard, and return the folder."""
    pack(
        originals,
        folder,
        encoding=Encoding(**encoding),
        representations=representations,
        num_workers=0,
        shard_size=1 << 20,
    )
    return folder
