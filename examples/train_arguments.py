"""The command line of ``train_tsm.py``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from action_models import Backbone, ModelName
from train_options import DATASETS, OPTIMIZERS, PRECISIONS, SAMPLERS, Options

from mgdali.views import NumCrops

__all__ = ["parse_arguments", "read_seeds"]

Add = Callable[..., Any]


def parse_arguments(arguments: list[str] | None = None) -> Options:
    """Return the options of a command line.

    Raises:
        ValueError: If they are out of range or exclude each other.
    """
    parser = argparse.ArgumentParser(
        description="Train an action recognition model on motion-guided clips. The defaults are the paper's recipe.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="Folder for the checkpoint, the metrics and TensorBoard events."
    )
    _add_videos(parser.add_argument_group("videos").add_argument)
    _add_clips(parser.add_argument_group("clips").add_argument)
    _add_model(parser.add_argument_group("model").add_argument)
    _add_recipe(parser.add_argument_group("recipe").add_argument)
    _add_run(parser.add_argument_group("run").add_argument)
    # Options that are not listed here are not passed to Options, which has the same defaults.
    parser.set_defaults(
        **{f.name: f.default for f in fields(Options) if isinstance(f.default, (str, int, float, tuple))}
    )
    return Options(**vars(parser.parse_args(arguments)))


def read_seeds(text: str) -> list[int]:
    """Return the seeds of an option such as ``0,1,2``.

    Raises:
        ArgumentTypeError: If they are not integers, or are negative or not different.
    """
    seeds = _integers(text)
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"must be different integers of at least 0, got {text}")
    return seeds


def _epochs(text: str) -> tuple[int, ...]:
    return tuple(_integers(text))


def _integers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",") if number]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be integers with commas between them, got {text}") from None


def _add_videos(add: Add) -> None:
    add("--data", type=Path, metavar="FOLDER", help="Folder with train/<class>/<video> and val/<class>/<video>.")
    add("--dataset", choices=tuple(DATASETS), help="Data set of the paper, read from its official lists in --root.")
    add("--root", type=Path, help="Folder with the lists and videos of --dataset.")
    add("--annotations", type=Path, metavar="FOLDER", help="Folder with the lists of --dataset, if not in --root.")
    add("--videos", type=Path, metavar="FOLDER", help="Folder with the videos of --dataset, if not in --root.")
    add(
        "--synthetic",
        type=Path,
        metavar="FOLDER",
        help="Folder of synthetic videos (bursts.py). They are written if it does not exist.",
    )
    add("--index", metavar="FILE", help='Motion index of the videos, or "auto" to build one while training.')
    add("--on-error", choices=("raise", "replace"), help="Action if a video cannot be decoded.")


def _add_clips(add: Add) -> None:
    add("--sampler", choices=SAMPLERS, help="Sampler that picks frames.")
    add("--mu", type=float, help="Exponent that smooths motion.")
    add("--motion", choices=("image", "feature"), help="Level at which motion is measured.")
    add("--num-frames", type=int, help="Number of frames to pick per video. The paper uses 8 and 16.")
    add("--crop-size", type=int, help="Side of the clips, in pixels.")
    add(
        "--resize",
        type=int,
        help="Shorter side of test frames before the crop, in pixels. Default: crop size * 256 / 224.",
    )
    add("--flip-prob", type=float, help="Probability of a flip. Default: 0.5, or 0 if the classes name a side.")


def _add_model(add: Add) -> None:
    add("--model", choices=get_args(ModelName), help="Temporal module of the model. none is TSN.")
    add(
        "--backbone",
        choices=get_args(Backbone),
        help="ResNet of torchvision, or a small one for machines without a GPU.",
    )
    add("--no-pretrained", dest="pretrained", action="store_false", help="Start without ImageNet weights.")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="File with the weights of the backbone, such as resnet50-0676ba61.pth. Without it, torchvision downloads "
        "ImageNet weights.",
    )


def _add_recipe(add: Add) -> None:
    add("--batch-size", type=int, help="Number of clips per step, over all ranks.")
    add("--epochs", type=int, help="Number of epochs.")
    add("--optimizer", choices=OPTIMIZERS, help="Optimizer. The paper uses SGD.")
    add("--lr", type=float, help="Learning rate.")
    add("--lr-steps", type=_epochs, metavar="E,E", help="Epochs after which the learning rate is divided by ten.")
    add("--momentum", type=float, help="Momentum of SGD.")
    add("--weight-decay", type=float, help="Weight decay.")
    add("--dropout", type=float, help="Dropout probability before the last layer.")
    add("--clip-gradient", type=float, help="Maximum norm of the gradient.")
    add("--precision", choices=tuple(PRECISIONS), help="Precision. Default: fp16 on a GPU and fp32 on a CPU.")
    add("--seed", type=int, help="Random seed.")


def _add_run(add: Add) -> None:
    add("--device", choices=("cpu", "cuda"), help="Device. Default: a GPU if there is one.")
    add(
        "--num-workers",
        type=int,
        help="Number of decoding processes per rank. Default: the CPU cores, shared among the ranks.",
    )
    add("--max-steps", type=int, help="Number of steps after which the run saves a checkpoint and stops.")
    add("--save-every", type=int, help="Number of steps between checkpoints. There is also one after each epoch.")
    add("--resume", action="store_true", help="Resume from the checkpoint in --out, if there is one.")
    add(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="Folder for TensorBoard events; it needs the package tensorboard. Default: --out, if it is installed.",
    )
    add("--test-clips", type=int, help="Number of clips per video in the test after the last epoch.")
    add(
        "--test-crops",
        type=int,
        choices=get_args(NumCrops),
        help="Number of crops per clip in that test: 3 along the longer side, 5 (corners and centre), or 10 (mirrored, "
        "too).",
    )
