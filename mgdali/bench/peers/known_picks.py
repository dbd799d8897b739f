"""torchcodec with known picks: what a user can write by hand for the videos of a packed data set and its index."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torchcodec.decoders import VideoDecoder

from mgdali.bench.peers.clip import finish, pick
from mgdali.bench.peers.dataloader import TorchLoader
from mgdali.bench.peers.packs import motion_of_copies, places_in_pack, unpack
from mgdali.bench.peers.task import Task

if TYPE_CHECKING:
    from mgdali.bench.peers.dataloader import Item

Motions = Mapping[str, NDArray[np.float64]]
"""S of each video at the image level, by the path of its file."""


class torchcodec(TorchLoader):
    """A torch ``DataLoader`` that picks from S of the index and reads only the picked frames.

    torchcodec opens files, so the MP4 files are first copied from the shards to a temporary folder.
    """

    def __init__(self, task: Task, paths: Sequence[str]) -> None:
        assert task.pack is not None
        self._folder = tempfile.TemporaryDirectory(prefix="known-picks-")
        files = unpack(task.pack, Path(self._folder.name))
        motions = dict(zip(files, motion_of_copies(task.pack), strict=True))
        super().__init__(task, [files[place] for place in places_in_pack(paths)], partial(read, motions))

    def close(self) -> None:
        """End the workers and delete the files."""
        super().close()
        self._folder.cleanup()


def read(motions: Motions, path: str, task: Task) -> Item:
    """Read the picked frames in one call. ``approximate``, the other mode of seeking, takes as long for these files."""
    picks = pick(motions[path].tolist(), task)
    # As for whole videos (peers.dataloader.read_torchcodec): channels last, and one FFmpeg thread per decoder.
    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact", device="cpu")
    frames: NDArray[np.uint8] = decoder.get_frames_at(picks.tolist()).data.numpy()
    return finish(frames, task), picks
