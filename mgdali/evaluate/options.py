"""The options of an evaluation, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mgdali import sampling
from mgdali.errors import check_integer

__all__ = ["DEFAULT_NETWORK", "EvaluateOptions", "Level", "Watch"]

Level = Literal["image", "feature", "both"]
"""The levels at which motion is measured."""

Watch = Callable[[str, int, int], None]
"""Function that is called with what is being done, the number of finished steps and of all steps."""

DEFAULT_NETWORK = "efficientnet-lite0"

_RGB = 3


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is evaluated, and how.

    Args:
        data: The labelled videos: a folder with one subfolder per class, a list, a table, tar shards, or a packed data
            set.
        num_frames: Numbers of frames that are picked per video, each >= 1.
        motion: Levels at which motion is measured.
        mu: Exponents of motion-guided sampling, each >= 0.
        even: Shares of motion-guided sampling that are spread evenly over time, each in [0, 1].
        stride: Distances of picks of stride sampling in frames, each >= 1.
        folds: Number of folds, >= 2. Each fold is tested by heads that are trained on the others.
        fold_column: Column of the table: videos with equal values are in one fold. None for blocks of names.
        random_folds: Whether videos are put into folds at random.
        seeds: Number of seeds, >= 1: 0, 1, 2, and so on.
        train_clips: Number of clips of each training video, each with its own random offsets, >= 1.
        components: Number of principal components of a frame's features that a head gets, >= 1.
        c: Inverse strength of the head's regularization, > 0.
        network: ``"efficientnet-lite0"``, or ``"module:function"``: a function without arguments that returns a torch
            ``Module`` of float32 ``[N, 3, size, size]`` to features ``[N, F]`` or ``[N, F, …]``.
        input_size: Height and width of the network's input in pixels, >= 1; None for 224.
        mean, std: Of R, G and B, on the scale of 0 to 255; the network gets ``(x - mean) / std``. None for those of the
            default network, and for ImageNet's with another network.
        index: Path or URL of a motion index that contains the videos; None to build one in the cache.
        cache: Folder for features and indexes; None for a folder in the user's cache folder.
        num_workers: Number of processes or threads, >= 1; None for the number of cores.
        max_videos: Largest number of videos, >= 1. Of more videos, a random sample is used.

    Raises:
        ValueError: If an option is out of range, or two contradict each other.
    """

    data: str
    num_frames: Sequence[int] = (2, 4, 8, 16)
    motion: Level = "both"
    mu: Sequence[float] = (0.5,)
    even: Sequence[float] = (0.0,)
    stride: Sequence[int] = (4,)
    folds: int = 5
    fold_column: str | None = None
    random_folds: bool = False
    seeds: int = 5
    train_clips: int = 4
    components: int = 96
    c: float = 10.0
    network: str = DEFAULT_NETWORK
    input_size: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    index: str | None = None
    cache: Path | None = None
    num_workers: int | None = None
    max_videos: int = 1000

    def __post_init__(self) -> None:
        self._check_counts()
        for name in ("num_frames", "mu", "even", "stride"):
            values = tuple(getattr(self, name))
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be one or more different numbers, got {list(values)}")
            object.__setattr__(self, name, values)
        for name in ("num_frames", "stride"):
            for value in getattr(self, name):
                check_integer(name, value, least=1)
        for mu in self.mu:
            sampling.check_mu(mu)
        for even in self.even:
            sampling.check_even(even)
        if self.motion not in get_args(Level):
            raise ValueError(f"motion must be one of {get_args(Level)}, got {self.motion!r}")
        if self.fold_column is not None and self.random_folds:
            raise ValueError(
                f"random folds and fold_column={self.fold_column!r} contradict each other: leave out one of them"
            )
        if not 0 < self.c < math.inf:
            raise ValueError(f"c must be a finite number > 0, got {self.c!r}")
        self._check_normalization()

    def _check_counts(self) -> None:
        check_integer("folds", self.folds, least=2)
        for name in ("seeds", "train_clips", "components", "max_videos"):
            check_integer(name, getattr(self, name), least=1)
        for name in ("input_size", "num_workers"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), least=1)

    def _check_normalization(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != _RGB or not all(map(math.isfinite, values)):
                raise ValueError(f"{name} must be three finite numbers, for R, G and B, got {list(values)}")
            object.__setattr__(self, name, tuple(values))
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be three numbers > 0, got {list(self.std)}")

    @property
    def levels(self) -> tuple[Literal["image", "feature"], ...]:
        """The levels at which motion is measured, one or both."""
        return ("image", "feature") if self.motion == "both" else (self.motion,)
