"""Options of ``train_tsm.py``, and the data sets, the sampler, the optimizer and the loaders that they define."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import ranks
import torch
from action_models import Backbone, ModelName
from bursts import write_burst_videos

from mgdali import MGDaliIterator, MotionGuided, Segment, Stride, TopMotion, VideoDataset, Views
from mgdali.samplers import Sampler
from mgdali.views import NumCrops

__all__ = ["Options", "open_datasets", "parse_arguments", "read_seeds"]

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
INCIDENTAL |= {"data", "root", "synthetic", "index", "tensorboard", "weights"}


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
        for name in ("batch_size", "epochs", "save_every", "test_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)!r}")

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
        sided = self.dataset in SIDED or self.synthetic is not None
        flip = self.flip_prob if self.flip_prob is not None else 0.0 if sided else 0.5
        loader = MGDaliIterator(
            dataset,
            sampler=self.frame_sampler,
            shuffle=True,
            drop_last=True,
            training=True,
            flip_prob=flip,
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
        return read(options.root, "train"), read(options.root, DATASETS[options.dataset])
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


def parse_arguments(arguments: list[str] | None = None) -> Options:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(
        description="Train an action recognition model on motion-guided clips. The defaults are the paper's recipe.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="Folder for the checkpoint, the metrics and TensorBoard events.")
    data = parser.add_argument_group("videos").add_argument
    data("--data", type=Path, metavar="FOLDER", help="Folder with train/<class>/<video> and val/<class>/<video>.")
    data("--dataset", choices=tuple(DATASETS), help="Data set of the paper, read from its official lists in --root.")
    data("--root", type=Path, help="Folder with the lists and videos of --dataset.")
    data(
        "--synthetic",
        type=Path,
        metavar="FOLDER",
        help="Folder of synthetic videos (bursts.py). They are written if it does not exist.",
    )
    data("--index", metavar="FILE", help='Motion index of the videos, or "auto" to build one while training.')
    data("--on-error", choices=("raise", "replace"), help="Action if a video cannot be decoded.")
    clips = parser.add_argument_group("clips").add_argument
    clips("--sampler", choices=SAMPLERS, help="Sampler that picks frames.")
    clips("--mu", type=float, help="Exponent that smooths motion.")
    clips("--motion", choices=("image", "feature"), help="Level at which motion is measured.")
    clips("--num-frames", type=int, help="Number of frames to pick per video. The paper uses 8 and 16.")
    clips("--crop-size", type=int, help="Side of the clips, in pixels.")
    clips(
        "--resize",
        type=int,
        help="Shorter side of test frames before the crop, in pixels. Default: crop size * 256 / 224.",
    )
    clips("--flip-prob", type=float, help="Probability of a flip. Default: 0.5, or 0 if the classes name a side.")
    model = parser.add_argument_group("model").add_argument
    model("--model", choices=get_args(ModelName), help="Temporal module of the model. none is TSN.")
    model(
        "--backbone",
        choices=get_args(Backbone),
        help="ResNet of torchvision, or a small one for machines without a GPU.",
    )
    model("--no-pretrained", dest="pretrained", action="store_false", help="Start without ImageNet weights.")
    model(
        "--weights",
        type=Path,
        metavar="FILE",
        help="File with the weights of the backbone, such as resnet50-0676ba61.pth. Without it, torchvision downloads "
        "ImageNet weights.",
    )
    recipe = parser.add_argument_group("recipe").add_argument
    recipe("--batch-size", type=int, help="Number of clips per step, over all ranks.")
    recipe("--epochs", type=int, help="Number of epochs.")
    recipe(
        "--optimizer",
        choices=OPTIMIZERS,
        help="Optimizer. The paper uses SGD; without pretrained weights, AdamW learns sooner.",
    )
    recipe("--lr", type=float, help="Learning rate.")
    recipe("--lr-steps", type=_epochs, metavar="E,E", help="Epochs at which the learning rate is divided by ten.")
    recipe("--momentum", type=float, help="Momentum of SGD.")
    recipe("--weight-decay", type=float, help="Weight decay.")
    recipe("--dropout", type=float, help="Dropout probability before the last layer.")
    recipe("--clip-gradient", type=float, help="Maximum norm of the gradient.")
    recipe("--precision", choices=tuple(PRECISIONS), help="Precision. Default: fp16 on a GPU and fp32 on a CPU.")
    recipe("--seed", type=int, help="Random seed.")
    run = parser.add_argument_group("run").add_argument
    run("--device", choices=("cpu", "cuda"), help="Device. Default: a GPU if there is one.")
    run(
        "--num-workers",
        type=int,
        help="Number of decoding processes per rank. Default: the CPU cores, shared among the ranks.",
    )
    run("--max-steps", type=int, help="Number of steps after which the run saves a checkpoint and stops.")
    run("--save-every", type=int, help="Number of steps between checkpoints. There is also one after each epoch.")
    run("--resume", action="store_true", help="Resume from the checkpoint in --out, if there is one.")
    run(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="Folder for TensorBoard events; it needs the package tensorboard. Default: --out, if it is installed.",
    )
    run("--test-clips", type=int, help="Number of clips per video in the test after the last epoch.")
    run(
        "--test-crops",
        type=int,
        choices=get_args(NumCrops),
        help="Number of crops per clip in that test: 3 along the longer side, 5 (corners and centre), or 10 (mirrored, "
        "too).",
    )
    # Options that are not listed here are not passed to Options, which has the same defaults.
    parser.set_defaults(
        **{f.name: f.default for f in fields(Options) if isinstance(f.default, (str, int, float, tuple))}
    )
    return Options(**vars(parser.parse_args(arguments)))


def read_seeds(text: str) -> list[int]:
    """Return the seeds of an option such as ``0,1,2``.

    Raises:
        ArgumentTypeError: If they are negative or not different.
    """
    seeds = [int(number) for number in text.split(",")]
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"must be different integers of at least 0, got {text}")
    return seeds


def _epochs(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)
