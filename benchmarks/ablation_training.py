"""Training and evaluation of one run of the small versions of the paper's tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Use the package and the examples of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from ablation_tables import NUM_FRAMES, SAMPLERS, Run
from action_models import make_model
from bursts import BURSTS, plan_burst_videos, write_burst_videos
from torch.nn import functional as F

from mgdali import MGDaliIterator, VideoDataset
from mgdali.errors import check_integer
from mgdali.index.build import build_index
from mgdali.samplers import Representation

__all__ = ["Settings", "Videos", "prepare", "train"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that all runs share.

    Attributes:
        train_per_class, val_per_class: Arguments of :func:`bursts.write_burst_videos`.
        first_data_seed: Seed of the videos of the runs with seed 0; those of seed s have ``first_data_seed + s``.
        crop_size: Side of the clips, in pixels.
        scales: Scales of the crop window, as in :class:`mgdali.MGDaliIterator`.
        epochs: Number of training epochs of runs of fixed length.
        most_epochs: Largest number of epochs of the other runs.
        flat_epochs, flat_share: These end when the mean loss of an epoch has not fallen below ``1 - flat_share`` of the
            least so far for ``flat_epochs`` epochs.
        batch_size: Number of clips per step.
        learning_rate: Highest learning rate. In runs of fixed length, the rate rises for a fifth of the steps and then
            falls as a cosine. In the others, it rises for two epochs and then stays.
        weight_decay: Weight decay of AdamW.
        dropout: Dropout probability before the model's last layer.
        evaluate_every: Number of epochs between evaluations of runs of fixed length. The last one is always evaluated.

    Raises:
        ValueError: If a number is out of range.
    """

    train_per_class: int = 50
    val_per_class: int = 50
    first_data_seed: int = 1
    crop_size: int = 48
    scales: tuple[float, ...] = (1.0, 0.875)
    epochs: int = 16
    most_epochs: int = 60
    flat_epochs: int = 3
    flat_share: float = 0.01
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.0
    evaluate_every: int = 4

    def __post_init__(self) -> None:
        counts = ("train_per_class", "val_per_class", "crop_size", "epochs", "most_epochs", "flat_epochs", "batch_size")
        for name in (*counts, "evaluate_every"):
            check_integer(name, getattr(self, name), least=1)
        check_integer("first_data_seed", self.first_data_seed, least=0)
        if self.batch_size > len(BURSTS) * self.train_per_class:
            raise ValueError(f"batch_size must be at most the number of training videos, got {self.batch_size}")
        for name in ("learning_rate", "weight_decay", "dropout", "flat_share"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)!r}")


# --- Videos ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Videos:
    """The data set of a seed.

    Attributes:
        folder: Folder with ``train`` and ``val``.
        index: Path of the motion index.
        bursts: Frames of each video's burst, by the video's path.
    """

    folder: Path
    index: Path
    bursts: dict[str, range]


def prepare(parent: Path, settings: Settings, seed: int) -> Videos:
    """Write the videos of a seed to a folder in ``parent`` and build their motion index, if they do not exist yet."""
    numbers = {"train_per_class": settings.train_per_class, "val_per_class": settings.val_per_class}
    data_seed = settings.first_data_seed + seed
    folder = parent / "-".join(["bursts", *map(str, numbers.values()), str(data_seed)])
    if not folder.exists():
        write_burst_videos(folder, **numbers, seed=data_seed)
    index = folder.with_name(folder.name + ".parquet")
    build_index(folder, index, representations=(Representation(), Representation(motion="feature")))
    planned = plan_burst_videos(**numbers, seed=data_seed)
    return Videos(folder, index, {str(folder / video.name): video.burst for video in planned})


def make_loader(videos: Videos, run: Run, settings: Settings, *, training: bool) -> MGDaliIterator:
    """Return the loader of one split. It decodes in this process, because runs already work in parallel."""
    return MGDaliIterator(
        VideoDataset.from_folder(videos.folder / ("train" if training else "val")),
        sampler=SAMPLERS[run.sampler],
        batch_size=settings.batch_size,
        shuffle=training,
        drop_last=training,
        training=training,
        seed=run.seed,
        device="cpu",
        num_workers=0,
        crop_size=settings.crop_size,
        resize=settings.crop_size,
        scales=settings.scales,
        flip_prob=0.0,  # Classes name sides.
        index=videos.index,
        return_meta=True,
    )


# --- Training --------------------------------------------------------------------------------------------------------


def train(parent: Path, settings: Settings, run: Run) -> dict[str, Any]:
    """Train and evaluate one run, with one thread.

    Args:
        parent: Folder of the videos, which :func:`prepare` has written.
        settings: Settings of all runs.
        run: The run.

    Returns:
        The run and its results, ready for JSON. ``correct`` has a 1 for each test video that is classified correctly,
        in the order of the data set.
    """
    begin = time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    videos = prepare(parent, settings, run.seed)
    clips = make_loader(videos, run, settings, training=True)
    held_out = make_loader(videos, run, settings, training=False)
    with clips, held_out:
        model = make_model(
            run.model,
            num_classes=len(clips.dataset.classes),
            num_frames=NUM_FRAMES,
            backbone="small",
            pretrained=False,
            dropout=settings.dropout,
        )
        epochs = []
        for epoch, figures in enumerate(_epochs(model, clips, settings, run), 1):
            if run.length == "fixed" and epoch % settings.evaluate_every == 0 and epoch < settings.epochs:
                figures["val_accuracy"] = _mean(_correct(model, held_out))
            epochs.append(figures)
        correct = _correct(model, held_out)
        epochs[-1]["val_accuracy"] = _mean(correct)
        inside = _picks_in_burst(held_out, videos.bursts)
    return {
        **asdict(run),
        "strategy": repr(SAMPLERS[run.sampler]),
        "accuracy": _mean(correct),
        "correct": correct,
        "picks_in_burst": inside,
        "epochs": epochs,
        "seconds": time.perf_counter() - begin,
    }


def _epochs(model: torch.nn.Module, clips: MGDaliIterator, settings: Settings, run: Run) -> Iterator[dict[str, float]]:
    """Train, and yield after each epoch its mean loss and its accuracy on the training clips."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    if run.length == "fixed":
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=settings.epochs * len(clips), pct_start=0.2
        )
        for _ in range(settings.epochs):
            yield _train_epoch(model, clips, optimizer, cycle.step)
        return
    rising = torch.optim.lr_scheduler.LinearLR(optimizer, 0.04, total_iters=2 * len(clips))
    flat = Flatness(settings)
    while not flat.ended:
        figures = _train_epoch(model, clips, optimizer, rising.step)
        flat.add(figures["loss"])
        yield figures


class Flatness:
    """Tells from the losses of the epochs when a run ends.

    Args:
        settings: Their ``most_epochs``, ``flat_epochs`` and ``flat_share``.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._least = float("inf")
        self._epochs = self._since = 0

    @property
    def ended(self) -> bool:
        """Whether the loss has not fallen for long enough, or the largest number of epochs is reached."""
        return self._since >= self._settings.flat_epochs or self._epochs >= self._settings.most_epochs

    def add(self, loss: float) -> None:
        """Note the mean loss of an epoch."""
        self._epochs += 1
        fell = loss < (1 - self._settings.flat_share) * self._least
        self._since = 0 if fell else self._since + 1
        self._least = min(self._least, loss)


def _train_epoch(
    model: torch.nn.Module, clips: MGDaliIterator, optimizer: torch.optim.Optimizer, after_step: Callable[[], None]
) -> dict[str, float]:
    model.train()
    loss_sum = right = total = 0.0
    for batch, labels, _ in clips:
        logits = model(batch)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        after_step()
        loss_sum += loss.item() * len(labels)
        right += int((logits.argmax(1) == labels).sum())
        total += len(labels)
    return {"loss": loss_sum / total, "train_accuracy": right / total}


@torch.no_grad()
def _correct(model: torch.nn.Module, clips: MGDaliIterator) -> list[int]:
    """Return which videos of a split are classified correctly, with frames picked at the middle of their parts."""
    model.eval()
    return [int(own) for batch, labels, _ in clips for own in model(batch).argmax(1) == labels]


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


def _picks_in_burst(clips: MGDaliIterator, spans: dict[str, range]) -> float:
    """Return the mean number of picked frames that are within the burst."""
    inside = 0
    for _, _, meta in clips:
        for path, frames in zip(meta["path"], meta["frames"].tolist(), strict=True):
            inside += sum(frame in spans[path] for frame in frames)
    return inside / len(clips.dataset)
