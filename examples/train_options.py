"""What a training run is asked to do: its options, and the data sets, sampler and loaders that follow from them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import ranks
import torch
from action_models import Backbone, ModelName
from bursts import write_burst_videos

from mgdali import DatasetError, MGDaliIterator, MotionGuided, Segment, Stride, TopMotion, VideoDataset
from mgdali.samplers import Sampler
from mgdali.transforms import CropPosition

__all__ = ["Options", "open_datasets", "parse_arguments"]

OPTIMIZERS = ("sgd", "adamw")
SAMPLERS = ("motion-guided", "segment", "stride", "top-motion")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The split that each set is measured on.
DATASETS = {
    "something-something-v1": "validation",
    "something-something-v2": "validation",
    "jester": "validation",
    "diving48": "test",
    "ucf101": "test",
    "hmdb51": "test",
    "kinetics": "validation",
}
# Classes of these name a side: "pushing something from left to right", "swiping left".
SIDED = ("something-something-v1", "something-something-v2", "jester")
# Videos a class of the synthetic set.
SYNTHETIC_VIDEOS = {"train_per_class": 50, "val_per_class": 25}
# What may differ between a run and its going on without making it another run.
INCIDENTAL = {"out", "resume", "num_workers", "device", "epochs", "max_steps", "save_every", "test_clips", "test_crops"}
INCIDENTAL |= {"data", "root", "synthetic", "index"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """A training run; the defaults are the paper's recipe (MGSampler, ICCV 2021).

    ``python examples/train_tsm.py --help`` says what each option means.

    Raises:
        ValueError: an option is out of range, or not exactly one of ``data``, ``dataset`` and ``synthetic`` is given.
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
    test_crops: int = 1
    resume: bool = False

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.data, self.dataset, self.synthetic)) != 1:
            raise ValueError("give one of --data, --dataset (with --root) and --synthetic")
        if (self.dataset is None) != (self.root is None):
            raise ValueError("--dataset and --root belong together")
        for name, known in (
            ("dataset", (None, *DATASETS)),
            ("sampler", SAMPLERS),
            ("optimizer", OPTIMIZERS),
            ("test_crops", (1, 3)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        for name in ("batch_size", "epochs", "save_every", "test_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)!r}")

    @property
    def frame_sampler(self) -> Sampler:
        """How frames are picked."""
        if self.sampler == "segment":
            return Segment(num_frames=self.num_frames)
        if self.sampler == "stride":
            return Stride(num_frames=self.num_frames)
        if self.sampler == "top-motion":
            return TopMotion(num_frames=self.num_frames, motion=self.motion)
        return MotionGuided(num_frames=self.num_frames, motion=self.motion, mu=self.mu)

    def make_optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """What takes the steps."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def learning_rate(self, epoch: int) -> float:
        """A tenth from each of ``lr_steps`` on."""
        return self.lr * 0.1 ** sum(epoch >= step for step in self.lr_steps)

    def training_loader(self, dataset: VideoDataset, device: torch.device) -> MGDaliIterator:
        """Clips to train on: this rank's share of each batch."""
        if self.batch_size % ranks.world_size():
            raise ValueError(f"batch_size must be a multiple of the {ranks.world_size()} ranks, got {self.batch_size}")
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
            raise ValueError(f"batch_size {self.batch_size} is more than the {len(dataset)} videos to train on")
        return loader

    def testing_loader(
        self,
        dataset: VideoDataset,
        device: torch.device,
        sampler: Sampler,
        crop_position: CropPosition = "center",
        *,
        crops: int = 1,
    ) -> MGDaliIterator:
        """Clips to test on, one crop of each; of three crops each is as large as the frame's shorter side."""
        arguments = self._common(device)
        if crops > 1:
            arguments["crop_size"] = arguments["resize"]
        return MGDaliIterator(dataset, sampler=sampler, crop_position=crop_position, **arguments)

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
        """What makes a run what it is, for a checkpoint."""
        return {name: str(value) for name, value in asdict(self).items() if name not in INCIDENTAL}


def open_datasets(options: Options) -> tuple[VideoDataset, VideoDataset]:
    """The videos to train on and those to test on.

    Raises:
        DatasetError: they cannot be read, or have different classes.
    """
    if options.dataset is not None:
        read = getattr(VideoDataset, options.dataset.replace("-", "_"))
        return read(options.root, "train"), read(options.root, DATASETS[options.dataset])
    folder = options.data or options.synthetic
    assert folder is not None
    if options.synthetic is not None:
        _write_synthetic(folder)
    train, test = VideoDataset.from_folder(folder / "train"), VideoDataset.from_folder(folder / "val")
    if train.classes != test.classes:
        only = sorted(set(train.classes) ^ set(test.classes))
        raise DatasetError(f"{folder}/train and {folder}/val must have the same classes; only one has {only}")
    return train, test


def _write_synthetic(folder: Path) -> None:
    """Write videos made for it, to train on and to test on, where they are not there yet."""
    if ranks.rank() == 0 and not folder.exists():
        write_burst_videos(folder, **SYNTHETIC_VIDEOS)
    ranks.barrier()


def parse_arguments(arguments: list[str] | None = None) -> Options:
    """Options from a command line."""
    parser = argparse.ArgumentParser(
        description="Train an action recognition model on clips picked by motion; defaults are the paper's recipe.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for checkpoint, metrics and TensorBoard's events")
    data = parser.add_argument_group("videos").add_argument
    data("--data", type=Path, metavar="FOLDER", help="FOLDER/train/<class>/<video> and FOLDER/val/<class>/<video>")
    data("--dataset", choices=tuple(DATASETS), help="one of the paper's sets, from its official lists in --root")
    data("--root", type=Path, help="the folder that holds the lists and videos of --dataset")
    data("--synthetic", type=Path, metavar="FOLDER", help="videos made for it (bursts), written to FOLDER once")
    data("--index", metavar="FILE", help='a motion index, or "auto"')
    data("--on-error", choices=("raise", "replace"), help="at a video that cannot be decoded")
    clips = parser.add_argument_group("clips").add_argument
    clips("--sampler", choices=SAMPLERS, help="how frames are picked")
    clips("--mu", type=float, help="exponent that smooths motion")
    clips("--motion", choices=("image", "feature"), help="how motion is measured")
    clips("--num-frames", type=int, help="frames a clip; the paper has 8 and 16")
    clips("--crop-size", type=int, help="side of the clips, in pixels")
    clips("--resize", type=int, help="in testing, the shorter side before the crop; by default crop size * 256 / 224")
    clips("--flip-prob", type=float, help="by default 0.5, and 0 for sets whose labels name a side")
    model = parser.add_argument_group("model").add_argument
    model("--model", choices=get_args(ModelName), help="the temporal module; none is TSN")
    model("--backbone", choices=get_args(Backbone), help="torchvision's, or a small one for machines without a GPU")
    model("--no-pretrained", dest="pretrained", action="store_false", help="begin without ImageNet weights")
    recipe = parser.add_argument_group("recipe").add_argument
    recipe("--batch-size", type=int, help="clips a step, over all ranks")
    recipe("--epochs", type=int, help="how often to go through the videos")
    recipe("--optimizer", choices=OPTIMIZERS, help="the paper's is SGD; without pretrained weights AdamW learns sooner")
    recipe("--lr", type=float, help="learning rate")
    recipe("--lr-steps", type=_epochs, metavar="E,E", help="epochs from which on it is a tenth")
    recipe("--momentum", type=float, help="of SGD")
    recipe("--weight-decay", type=float, help="of either")
    recipe("--dropout", type=float, help="before the last layer")
    recipe("--clip-gradient", type=float, help="greatest norm of the gradient")
    recipe("--precision", choices=tuple(PRECISIONS), help="by default fp16 on a GPU and fp32 on a CPU")
    recipe("--seed", type=int, help="of weights, dropout, order, picks, crops and flips")
    run = parser.add_argument_group("run").add_argument
    run("--device", choices=("cpu", "cuda"), help="by default a GPU where there is one")
    run("--num-workers", type=int, help="decoding processes a rank; by default the CPU cores, shared among ranks")
    run("--max-steps", type=int, help="stop after so many steps, with a checkpoint")
    run("--save-every", type=int, help="steps between checkpoints; there is one after each epoch too")
    run("--resume", action="store_true", help="go on from the checkpoint in --out, where there is one")
    run("--test-clips", type=int, help="clips a video in the test after the last epoch")
    run("--test-crops", type=int, choices=(1, 3), help="crops a clip in that test; 3 lie along its longer side")
    # The others are not given to Options, whose defaults they keep.
    parser.set_defaults(
        **{f.name: f.default for f in fields(Options) if isinstance(f.default, (str, int, float, tuple))}
    )
    return Options(**vars(parser.parse_args(arguments)))


def _epochs(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)
