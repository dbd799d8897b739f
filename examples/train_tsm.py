"""Train TSM, TEA or GSM on motion-guided clips. The default options are the paper's recipe.

To train on one GPU, on eight GPUs, or on a machine without a GPU:

    python examples/train_tsm.py --dataset something-something-v2 --root sthv2/ --out runs/tsm
    torchrun --nproc-per-node 8 examples/train_tsm.py --dataset something-something-v2 --root sthv2/ --out runs/tsm
    python examples/train_tsm.py --synthetic videos/ --out runs/small --backbone small --crop-size 56 --batch-size 8

It prints a line per epoch with the loss, the accuracy, the speed and the test accuracy, and writes a checkpoint,
``metrics.jsonl`` and, if tensorboard is installed, TensorBoard events to the folder ``--out``, or the events to another
one: ``--tensorboard DIR``. To resume a run that was stopped, add ``--resume``. It continues from its last checkpoint,
also in the middle of an epoch, and on the CPU with exactly the same losses.
``python examples/train_tsm.py --help`` lists all options.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import ranks
import torch
from action_models import make_model
from checkpoints import load_checkpoint, random_state, restore_random_state, save_checkpoint
from evaluation import Accuracy, evaluate
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from run_lock import lock_run
from run_log import RunLog, loader_values
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from train_arguments import parse_arguments
from train_options import PRECISIONS, Options, open_datasets

from mgdali import VideoDecodeError, WorkerError

__all__ = ["Trainer", "main"]


@dataclass
class Totals:
    """Sums over the steps of an epoch so far, on this rank.

    Attributes:
        loss: Sum of the losses of all clips.
        correct: Number of clips whose class had the highest score.
        clips: Number of clips.
        seconds: Duration of the steps, from the request for a batch to the end of the step.
        waiting: Part of ``seconds`` until the batch arrived.
    """

    loss: float = 0.0
    correct: float = 0.0
    clips: float = 0.0
    seconds: float = 0.0
    waiting: float = 0.0

    def add(self, other: Totals) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def means(self, num_ranks: int = 1) -> dict[str, float]:
        """Return the mean loss, the accuracy, the clips per second, and the share of time spent waiting for data."""
        return {
            "train/loss": self.loss / self.clips,
            "train/accuracy": self.correct / self.clips,
            "train/clips_per_second": self.clips / self.seconds * num_ranks,
            "train/waiting": self.waiting / self.seconds,
        }


class Trainer:
    """One rank's part of a run.

    Args:
        options: Options of the run.
        device: Device of the model.
        console: Console to print to. Only the first rank prints.

    Raises:
        ValueError: If the options do not fit the videos, or if the run in ``options.out`` cannot be resumed.
    """

    def __init__(self, options: Options, device: torch.device, console: Console) -> None:
        self.options, self.device, self.console = options, device, console
        self.first = ranks.rank() == 0
        self.checkpoint = options.out / "checkpoint.pt"
        train, self.test_videos = open_datasets(options)
        # All ranks start with the same weights, but each has its own dropout.
        torch.manual_seed(options.seed)
        fresh = not self.checkpoint.exists()
        self.network = make_model(
            options.model,
            num_classes=len(train.classes),
            num_frames=options.num_frames,
            backbone=options.backbone,
            pretrained=options.pretrained and fresh,
            weights=options.weights if fresh else None,
            dropout=options.dropout,
        ).to(device)
        torch.manual_seed(options.seed + ranks.rank())
        self.model: nn.Module = DistributedDataParallel(self.network) if ranks.world_size() > 1 else self.network
        self.optimizer = options.make_optimizer(self.network.parameters())
        self.precision = options.precision or ("fp16" if device.type == "cuda" else "fp32")
        # float16 has a narrow range, so gradients are scaled into it.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self.loader = options.training_loader(train, device)
        self.test_loader = options.testing_loader(self.test_videos, device, options.frame_sampler)
        self.epoch, self.step, self.totals = 0, 0, Totals()
        self._begin()

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train and test the remaining epochs, up to the last one or to ``max_steps``."""
        while self.epoch < self.options.epochs:
            # If the checkpoint was saved after the epoch's last batch, the loader is at the next epoch already.
            if self.loader.epoch == self.epoch and not self._train(self.epoch):
                self._save()
                self._say(f"stopped after step {self.step}; to continue, add --resume")
                return
            self._report(self.epoch, self._test())
            self.epoch, self.totals = self.epoch + 1, Totals()
            self._save()
        if self.options.test_views.count > 1:
            views = f"{self.options.test_clips} clips x {self.options.test_crops} crops"
            tested = self._test_views()
            if self.log is not None:
                self.log.add(self.step, {"views/top1": tested.top1, "views/top5": tested.top5})
            self._say(f"{views}: {_percents(tested)}")

    def close(self) -> None:
        """Close the loaders and the log."""
        self.loader.close()
        self.test_loader.close()
        if self.log is not None and self.lock is not None:
            self.log.close()
            self.lock.close()

    def _train(self, epoch: int) -> bool:
        """Train the rest of an epoch. Return False if ``max_steps`` ended it."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate(epoch)
        done = self.loader.state_dict()["videos"] // self.options.batch_size
        with self._progress() as progress:
            task = progress.add_task(f"Epoch {epoch + 1}", total=len(self.loader), completed=done, now="")
            batches: Iterator[Any] | None = None
            while True:
                # Checked before a batch is requested, so that the loader's state contains only batches that were used.
                if self.step == self.options.max_steps:
                    return False
                started = time.perf_counter()
                # The start of an epoch counts as waiting.
                batches = batches or iter(self.loader)
                batch = next(batches, None)
                if batch is None:
                    return True
                waiting = time.perf_counter() - started
                loss, correct = self._learn(*batch)
                now = Totals(loss * len(batch[1]), correct, len(batch[1]), time.perf_counter() - started, waiting)
                self._count(now)
                progress.update(task, advance=1, now=f"loss {loss:.3f}")

    def _learn(self, clips: Tensor, labels: Tensor) -> tuple[float, float]:
        """Do one step. Return the batch's mean loss and the number of correct clips."""
        labels = labels.to(self.device)
        with self._mixed_precision():
            logits = self.model(clips.to(self.device))
            loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip_gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        found = float(loss.detach())
        if not math.isfinite(found):
            raise ValueError(
                f"the loss of step {self.step + 1} is {found}: start again with a smaller --lr or with --precision fp32"
            )
        return found, float((logits.argmax(1) == labels).sum())

    def _count(self, now: Totals) -> None:
        self.step += 1
        self.totals.add(now)
        if self.log is not None:
            self.log.add(self.step, {**now.means(ranks.world_size()), "train/lr": self.optimizer.param_groups[0]["lr"]})
        if self.step % self.options.save_every == 0:
            self._save()

    # --- testing -----------------------------------------------------------------------------------------------------

    def _test(self) -> Accuracy:
        """Test with one clip per video, the centre crop."""
        with self._mixed_precision():
            return evaluate(self.model, self.test_loader, device=self.device)

    def _test_views(self) -> Accuracy:
        """Test with several clips and crops per video."""
        options = self.options
        videos, sampler = self.test_videos, options.frame_sampler
        clips_per_step = options.batch_size // ranks.world_size()
        with (
            options.testing_loader(videos, self.device, sampler, views=options.test_views) as loader,
            self._mixed_precision(),
        ):
            return evaluate(self.model, loader, device=self.device, clips_per_step=clips_per_step)

    def _mixed_precision(self) -> torch.autocast:
        wanted = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype=wanted, enabled=wanted != torch.float32)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Restore the checkpoint if there is one and ``resume`` is set, and open the log."""
        found = self.checkpoint.exists()
        if found and not self.options.resume:
            raise ValueError(
                f"{self.options.out} already contains a run: add --resume to continue it, or pass another --out"
            )
        if found:
            self._restore(load_checkpoint(self.checkpoint))
        self.log, self.lock = None, None
        if self.first:
            self.options.out.mkdir(parents=True, exist_ok=True)
            self.lock = lock_run(self.options.out)
            self.log = RunLog(self.options.out, self.step, self.options.tensorboard)
            if self.log.notice:
                self._say(self.log.notice)

    def _save(self) -> None:
        """Write the checkpoint: the loader and the random state of each rank, and the state that all ranks share."""
        own = {
            "loader": self.loader.state_dict(),
            "random": random_state(self.device),
            "totals": asdict(self.totals),
        }
        everyones = ranks.from_every_rank(own)
        if not self.first:
            return
        state = {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "ranks": everyones,
            "recipe": self.options.recipe(),
        }
        save_checkpoint(self.checkpoint, state)

    def _restore(self, state: dict[str, Any]) -> None:
        if len(state["ranks"]) != ranks.world_size():
            raise ValueError(
                f"the run in {self.options.out} had {len(state['ranks'])} ranks, got {ranks.world_size()}: "
                "resume it with as many ranks"
            )
        recipe = self.options.recipe()
        changed = [
            f"{name} {old} -> {recipe.get(name)}" for name, old in state["recipe"].items() if recipe.get(name) != old
        ]
        if changed:
            raise ValueError(f"the run in {self.options.out} was started with other options: {', '.join(changed)}")
        own = state["ranks"][ranks.rank()]
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.loader.load_state_dict(own["loader"])
        restore_random_state(own["random"], self.device)
        self.epoch, self.step, self.totals = state["epoch"], state["step"], Totals(**own["totals"])
        self._say(f"resuming after step {self.step}, in epoch {self.epoch + 1}")

    # --- output ------------------------------------------------------------------------------------------------------

    def _report(self, epoch: int, tested: Accuracy) -> None:
        names = [field.name for field in fields(Totals)]
        sums = ranks.total_over_ranks([getattr(self.totals, name) for name in names], self.device)
        means = Totals(*sums).means(ranks.world_size())
        if self.log is not None:
            whole = {name.replace("train/", "epoch/"): value for name, value in means.items()}
            tests = {"test/top1": tested.top1, "test/top5": tested.top5}
            self.log.add(self.step, {**whole, **loader_values(self.loader), **tests})
        self._say(
            f"epoch {epoch + 1}/{self.options.epochs}: loss {means['train/loss']:.4f}, "
            f"accuracy {means['train/accuracy']:.1%}, {means['train/clips_per_second']:.1f} clips/s, "
            f"{means['train/waiting']:.1%} of the time waiting for data; test: {_percents(tested)}"
        )

    def _say(self, line: str) -> None:
        if self.first:
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _progress(self) -> Progress:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
        )
        quiet = not (self.first and self.console.is_terminal)
        return Progress(*columns, console=self.console, transient=True, disable=quiet)


def _percents(accuracy: Accuracy) -> str:
    return f"top-1 {accuracy.top1:.1%}, top-5 {accuracy.top5:.1%} of {accuracy.videos} videos"


def main(arguments: list[str] | None = None) -> None:
    """Train with the options of the command line. An error is printed in one line with the rank."""
    options = _checked(arguments)
    try:
        trainer = Trainer(options, ranks.join_ranks(options.device), Console())
        try:
            trainer.run()
        finally:
            trainer.close()
    except torch.cuda.OutOfMemoryError as error:
        clips = options.batch_size // ranks.world_size()
        sys.exit(
            f"error on rank {ranks.rank()}: the GPU has too little memory for {clips} clips per step. Train on more "
            f"GPUs, which share the {options.batch_size} clips of a step, or use a smaller --batch-size ({error})"
        )
    except (ValueError, VideoDecodeError, WorkerError, ImportError, OSError) as error:
        # Other ranks may be waiting for this rank. torchrun ends them when this rank fails.
        sys.exit(f"error on rank {ranks.rank()}: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; to continue from the last checkpoint, add --resume")
    ranks.leave_ranks()


def _checked(arguments: list[str] | None) -> Options:
    try:
        return parse_arguments(arguments)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
