"""Train a small model on a machine without a GPU, in minutes: ``make train-demo``, or this script without arguments.

It writes synthetic videos whose class is shown only by a short burst of motion (``bursts.py``), and trains a small TSM
on them from scratch with ``train_tsm.py``. In the middle of an epoch it stops the run and resumes it from its
checkpoint. At the end it prints the accuracy and how far it is above chance.

The optimizer is the paper's SGD. To train with five seeds, or with AdamW:

    python examples/train_demo.py --seeds 0,1,2,3,4
    python examples/train_demo.py --optimizer adamw

All seeds have the same videos, but other initial weights, another order of the videos and other frames. Accuracies are
in ``FOLDER/<optimizer>.json``. If the command is interrupted, the same command continues.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from bursts import BURSTS
from train_arguments import parse_arguments, read_seeds
from train_options import open_datasets

BATCH_SIZE = 16
COMMON = f"--backbone small --crop-size 48 --resize 48 --batch-size {BATCH_SIZE} --dropout 0 --index auto"
OPTIMIZERS = {
    "adamw": "--optimizer adamw --lr 0.002 --weight-decay 0.05",
    "sgd": "--optimizer sgd --lr 0.01 --momentum 0.9 --weight-decay 0.0005",
}
# Shares of the epochs after which the learning rate is divided by ten. The paper does it after 20 and 40 of 50 epochs.
LR_STEPS = {"adamw": (0.75,), "sgd": (0.4, 0.8)}


def main(arguments: list[str] | None = None) -> None:
    """Train each seed, and exit with status 1 if the mean accuracy is not above chance."""
    options = _read_arguments(arguments)
    found = {seed: _train_seed(options, seed) for seed in options.seeds}
    accuracies = list(found.values())
    chance, mean = 1 / len(BURSTS), statistics.mean(accuracies)
    result = {"optimizer": options.optimizer, "epochs": options.epochs, "chance": chance, "top1": found}
    (options.folder / f"{options.optimizer}.json").write_text(json.dumps(result, indent=1) + "\n")
    each = (
        f", mean of {len(found)} seeds: {', '.join(f'{value:.1%}' for value in accuracies)}" if len(found) > 1 else ""
    )
    print(
        f"\nTop-1 accuracy {mean:.1%}{each}; chance is {chance:.1%}: {100 * (mean - chance):.1f} points above it "
        f"({options.optimizer}, {options.epochs} epochs)."
    )
    if mean <= chance:
        raise SystemExit(1)


def _train_seed(options: argparse.Namespace, seed: int) -> float:
    """Train with a seed, with a stop in the middle, and return the top-1 accuracy after the last epoch, in [0, 1]."""
    run = options.folder / f"run-{options.optimizer}-{options.epochs}-epochs-seed-{seed}"
    tested = _tested(run)
    if len(tested) == options.epochs:
        print(f"{run} is complete, so it is not trained again. Remove it to train it again.")
        return tested[-1]
    command = ["--synthetic", str(options.folder / "videos"), "--out", str(run), "--seed", str(seed)]
    command += recipe(options.optimizer, options.epochs)
    if options.tensorboard is not None:
        command += ["--tensorboard", str(options.tensorboard / run.name)]
    if not run.exists():
        # This writes the videos, if they do not exist.
        train, _ = open_datasets(parse_arguments(command))
        steps_per_epoch = len(train) // BATCH_SIZE
        steps = steps_per_epoch * options.epochs // 2 + steps_per_epoch // 4
        print(f"Training with seed {seed}. After {steps} steps, in the middle of an epoch, the run is stopped.")
        _train(*command, "--max-steps", str(steps))
    print("Resuming from its checkpoint.")
    _train(*command, "--resume")
    return _tested(run)[-1]


def recipe(optimizer: str, epochs: int) -> list[str]:
    """Return the arguments of ``train_tsm.py`` that all seeds share."""
    drops = ",".join(str(round(share * epochs)) for share in LR_STEPS[optimizer])
    return f"{COMMON} {OPTIMIZERS[optimizer]} --epochs {epochs} --lr-steps {drops}".split()


def _train(*arguments: str) -> None:
    """Run ``train_tsm.py``. If it fails, exit with its status; it has printed the reason."""
    script = Path(__file__).with_name("train_tsm.py")
    status = subprocess.run([sys.executable, str(script), *arguments]).returncode
    if status:
        raise SystemExit(status)


def _tested(run: Path) -> list[float]:
    """Return the top-1 accuracy after each epoch of a run so far, in [0, 1]."""
    metrics = run / "metrics.jsonl"
    # A last line without a line end is incomplete: the run was killed while writing it.
    lines = metrics.read_text().split("\n")[:-1] if metrics.exists() else []
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [entry["test/top1"] for entry in entries if "test/top1" in entry]


def _read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small TSM on synthetic videos, on a machine without a GPU.")
    add = parser.add_argument
    add("--folder", type=Path, default=Path("mgdali-demo/training"), help="Folder for the videos and the runs.")
    add("--epochs", type=_count, default=24, help="Number of epochs, at least 1 (default: %(default)s).")
    add(
        "--optimizer",
        choices=tuple(OPTIMIZERS),
        default="sgd",
        help="Optimizer. sgd has the learning rate, momentum, weight decay and steps of the paper (default: "
        "%(default)s).",
    )
    add("--seeds", type=read_seeds, default=[0], metavar="S,S", help="Random seeds, one run for each (default: 0).")
    add("--tensorboard", type=Path, metavar="DIR", help="Folder for TensorBoard events (needs tensorboard).")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


if __name__ == "__main__":
    main()
