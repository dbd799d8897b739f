"""Small labelled videos whose class is visible only in a short burst of motion, and a network that needs no weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mgdali.evaluate.options import EvaluateOptions
from mgdali.index.build import build_index
from mgdali.samplers import Representation
from tests.support.videos import write_video

NETWORK = "tests.support.bursts:tiny_network"
"""The network below, as ``--network`` names it."""

CLASSES = ("left", "right")
SIDE = 32
BURST = 4


class TinyNetwork(nn.Module):
    """The mean colour of each quarter of a picture: features ``[N, 12]``."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(pixels, 2).flatten(1)


def tiny_network() -> nn.Module:
    """Return the network."""
    return TinyNetwork()


def write_bursts(folder: Path, per_class: int = 9, num_frames: int = 40) -> Path:
    """Write ``folder/<class>/clip_<number>.mp4``: a grey picture, and a burst of noise in its left or right half."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            frames = np.full((num_frames, SIDE, SIDE, 3), 90, np.uint8)
            # Never at the frames that segment sampling picks in testing for N = 2: 10 and 30.
            start = int(rng.choice([1, 3, 5, 12, 16, 20, 24, 32, 35]))
            half = slice(0, SIDE // 2) if label == 0 else slice(SIDE // 2, SIDE)
            frames[start : start + BURST, :, half] = rng.integers(120, 256, (BURST, SIDE, SIDE // 2, 1), np.uint8)
            write_video(folder / name / f"clip_{number}.mp4", frames)
    return folder


@dataclass(frozen=True)
class Bursts:
    """Videos with bursts, and an index with both levels."""

    folder: Path
    index: Path

    @classmethod
    def write(cls, folder: Path) -> Bursts:
        """Write the videos and their index to a folder."""
        videos = write_bursts(folder / "videos")
        both = (Representation(), Representation(motion="feature"))
        build_index(videos, folder / "index.parquet", representations=both, num_workers=0)
        return cls(videos, folder / "index.parquet")

    def options(self, cache: Path, **changed: Any) -> EvaluateOptions:
        """Return options of a small evaluation of the videos."""
        small: dict[str, Any] = {"num_frames": (2,), "folds": 3, "seeds": 1, "train_clips": 2, "num_workers": 1}
        small |= {"network": NETWORK, "input_size": 16, "index": str(self.index), "data": str(self.folder)}
        return EvaluateOptions(**{**small, "cache": cache, **changed})
