"""Options of ``train_tsm.py``, and the data sets, the sampler, the optimizer and the loaders that they define."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import ranks
import torch
from bursts import write_burst_videos

from mgdali import MGDaliIterator, MotionGuided, Segment, Stride, TopMotion, VideoDataset, Views
from mgdali.samplers import Sampler
from mgdali.views import NumCrops

__all__ = ["DATASETS", "OPTIMIZERS", "PRECISIONS", "SAMPLERS", "Options", "open_datasets"]

OPTIMIZERS = ("sgd", "adamw")
SAMPLERS = ("motion-guided", "segment", "stride", "top-motion")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Data sets with official lists, and the split that each is tested on.
DATASETS = {
    "something-something-v1": "validation",
    "something-something-v2": "validation",
    "jester": "validation",
    "diving48": "test",
    "ucf101": "test",
    "hmdb51": "test",
    "kinetics": "validation",
}
# Data sets whose classes name a side, such as "swiping left". Their clips must not be flipped.
SIDED = ("something-something-v1", "something-something-v2", "jester")
# Number of videos per class of the synthetic data set.
SYNTHETIC_VIDEOS = {"train_per_class": 50, "val_per_class": 25}
# Options that may change when a run is resumed.
INCIDENTAL = {"out", "resume", "num_workers", "device", "epochs", "max_steps", "save_every", "test_clips", "test_crops"}
INCIDENTAL |= {"data", "root", "annotations", "videos", "synthetic", "index", "tensorboard", "weights"}
# Options that must be numbers of at least this.
LEAST = {"batch_size": 1, "epochs": 1, "save_every": 1, "test_clips": 1, "crop_size": 1, "seed": 0}
LEAST |= {"num_workers": 0, "max_steps": 0, "weight_decay": 0, "momentum": 0, "dropout": 0}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a training run. The defaults are the paper's recipe (MGSampler, ICCV 2021).

    ``python examples/train_tsm.py --help`` describes each option.

    Raises:
        ValueError: If an option is out of range, or if not exactly one of ``data``, ``dataset`` and ``synthetic`` is
            given.
    """

    out: Path
    data: Path | None = None
    dataset: str | None = None
    root: Path | None = None
    annotations: Path | None = None
    videos: Path | None = None
    synthetic: Path | None = None
    sampler: str = "motion-guided"
    mu: float = 0.5
    motion: Any = "image"
    index: str | None = None
    on_error: Any = "raise"
    model: str = "tsm"
    backbone: str = "resnet50"
    pretrained: bool = True
    weights: Path | None = None
    num_frames: int = 8
    crop_size: int = 224
    resize: int | None = None
    flip_prob: float | None = None
    batch_size: int = 64
    epochs: int = 50
    optimizer: str = "sgd"
    lr: float = 0.01
    lr_steps: tuple[int, ...] = (20, 40)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    clip_gradient: float = 20.0
    precision: str | None = None
    seed: int = 0
    num_workers: int | None = None
    device: str | None = None
    max_steps: int | None = None
    save_every: int = 500
    test_clips: int = 1
    test_crops: NumCrops = 1
    resume: bool = False
    tensorboard: Path | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.data, self.dataset, self.synthetic)) != 1:
            raise ValueError("give exactly one of --data, --dataset (with --root) and --synthetic")
        if (self.dataset is None) != (self.root is None):
            raise ValueError("--dataset and --root must be given together")
        if self.dataset is None and not (self.annotations is self.videos is None):
            raise ValueError("--annotations and --videos are for --dataset: give --dataset, or leave them out")
        if self.weights is not None and not self.pretrained:
            raise ValueError("--weights and --no-pretrained exclude each other")
        for name, known in (
            ("dataset", (None, *DATASETS)),
            ("sampler", SAMPLERS),
            ("optimizer", OPTIMIZERS),
            ("test_crops", get_args(NumCrops)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise ValueError(f"{name} must be >= {least}, got {value!r}")
        for name in ("lr", "clip_gradient"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)!r}")
        for name in ("momentum", "dropout"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be less than 1, got {getattr(self, name)!r}")
        if not 0 <= self.flips <= 1:
            raise ValueError(f"flip_prob must be within [0, 1], got {self.flip_prob!r}")
        if self.resize is not None and self.resize < self.crop_size:
            raise ValueError(f"resize must be at least crop_size, {self.crop_size}, got {self.resize!r}")
        # It checks its options. They are checked for other samplers, too, because runs often differ only in these.
        MotionGuided(num_frames=self.num_frames, motion=self.motion, mu=self.mu)

    @property
    def frame_sampler(self) -> Sampler:
        """The sampler that picks frames."""
        if self.sampler == "segment":
            return Segment(num_frames=self.num_frames)
        if self.sampler == "stride":
            return Stride(num_frames=self.num_frames)
        if self.sampler == "top-motion":
            return TopMotion(num_frames=self.num_frames, motion=self.motion)
        return MotionGuided(num_frames=self.num_frames, motion=self.motion, mu=self.mu)

    @property
    def flips(self) -> float:
        """Probability that a training clip is mirrored."""
        if self.flip_prob is not None:
            return self.flip_prob
        return 0.0 if self.dataset in SIDED or self.synthetic is not None else 0.5

    @property
    def test_views(self) -> Views:
        """The clips and crops of each video in the test after the last epoch."""
        return Views(clips=self.test_clips, crops=self.test_crops)

    def make_optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch. It is divided by ten at each of ``lr_steps``."""
        return self.lr * 0.1 ** sum(epoch >= step for step in self.lr_steps)

    def training_loader(self, dataset: VideoDataset, device: torch.device) -> MGDaliIterator:
        """Return the training loader, which loads this rank's share of each batch."""
        if self.batch_size % ranks.world_size():
            raise ValueError(
                f"batch_size must be a multiple of the number of ranks, {ranks.world_size()}, got {self.batch_size}"
            )
        loader = MGDaliIterator(
            dataset,
            sampler=self.frame_sampler,
            shuffle=True,
            drop_last=True,
            training=True,
            flip_prob=self.flips,
            **self._common(device),
        )
        if not len(loader):
            raise ValueError(
                f"batch_size {self.batch_size} is larger than the number of training videos, {len(dataset)}"
            )
        return loader

    def testing_loader(
        self,
        dataset: VideoDataset,
        device: torch.device,
        sampler: Sampler,
        *,
        views: Views | None = None,
    ) -> MGDaliIterator:
        """Return a test loader.

        Args:
            dataset: Test videos.
            device: Device of the clips.
            sampler: Sampler that picks the frames.
            views: Clips and crops per video. With three crops, a crop is as large as the frame's shorter side.
        """
        arguments = self._common(device)
        if views is not None:
            # A batch has about as many clips as without views, and each worker still has a video to decode.
            arguments["batch_size"] = max(1, arguments["batch_size"] // views.count)
            workers = (os.cpu_count() or 1) if self.num_workers is None else self.num_workers
            arguments["prefetch_factor"] = max(2, -(-workers // arguments["batch_size"]))
            if views.crops == 3:
                arguments["crop_size"] = arguments["resize"]
        return MGDaliIterator(dataset, sampler=sampler, views=views, **arguments)

    def _common(self, device: torch.device) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size // ranks.world_size(),
            "seed": self.seed,
            "device": device,
            "num_workers": self.num_workers,
            "crop_size": self.crop_size,
            "resize": self.resize or round(self.crop_size * 256 / 224),
            "index": self.index,
            "on_error": self.on_error,
        }

    def recipe(self) -> dict[str, str]:
        """Return the options that must stay the same when a run is resumed. The checkpoint contains them."""
        return {name: str(value) for name, value in asdict(self).items() if name not in INCIDENTAL}


def open_datasets(options: Options) -> tuple[VideoDataset, VideoDataset]:
    """Return the training videos and the test videos.

    Raises:
        DatasetError: If they cannot be read, or if a class of the test videos has no training videos.
    """
    if options.dataset is not None:
        read = getattr(VideoDataset, options.dataset.replace("-", "_"))
        folders = {"annotations": options.annotations, "videos": options.videos}
        return read(options.root, "train", **folders), read(options.root, DATASETS[options.dataset], **folders)
    folder = options.data or options.synthetic
    assert folder is not None
    if options.synthetic is not None:
        _write_synthetic(folder)
    train = VideoDataset.from_folder(folder / "train")
    return train, VideoDataset.from_folder(folder / "val", classes=train)


def _write_synthetic(folder: Path) -> None:
    """Write the synthetic training and test videos, if the folder does not exist yet."""
    if ranks.rank() == 0 and not folder.exists():
        write_burst_videos(folder, **SYNTHETIC_VIDEOS)
    ranks.barrier()
