"""Small versions of the paper's tables on two CPU cores: ``python benchmarks/ablation.py --out FILE.json --plots DIR``.

The small models of ``examples/action_models.py`` are trained from scratch on the videos of ``examples/bursts.py``, in
which only a short burst of motion shows the class. Each sampler is run with several seeds. The tables vary smoothing
(Table 1), the level at which motion is measured (2), the sampling strategy (3) and the model (4). Runs that several
tables need are run once. FILE.json is written after each run, and a command that was stopped continues with the
remaining runs.

All runs have the same data, network, optimizer, epochs and crops; only the sampler differs, and in Table 4 the model.
Runs with the same seed have the same initial weights and the same order of videos. The settings were chosen on another
data set of the same kind (``data_seed=0``): flash, shake and wavering light before any training; clip size and epochs
by the time that a run may take; the learning rate as the best of 1e-3, 2e-3 and 5e-3 by the training loss of segment
sampling over 12 epochs. Stride and mu are the package's defaults if a table does not vary them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Use the package and the examples of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from action_models import make_model
from bursts import BURSTS, plan_burst_videos, write_burst_videos
from torch.nn import functional as F

from mgdali import MGDaliIterator, MotionGuided, Segment, Stride, TopMotion, VideoDataset
from mgdali.bench import machine
from mgdali.errors import check_integer
from mgdali.index.build import build_index
from mgdali.samplers import Representation, Sampler

NUM_FRAMES = 8
MUS = (0.1, 0.3, 0.5, 0.8, 1.0, 2.0)
SAMPLERS: dict[str, Sampler] = {
    # mu=0 is not run: motion-guided sampling then picks exactly the frames of segment sampling.
    "segment": Segment(num_frames=NUM_FRAMES),
    "stride": Stride(num_frames=NUM_FRAMES),
    "top": TopMotion(num_frames=NUM_FRAMES),
    **{f"image {mu:g}": MotionGuided(num_frames=NUM_FRAMES, mu=mu) for mu in MUS},
    "feature 0.5": MotionGuided(num_frames=NUM_FRAMES, motion="feature"),
}


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        title: Title of the table.
        rows: Model and sampler of each row, by the row's name.
    """

    title: str
    rows: dict[str, tuple[str, str]]


TABLES = {
    1: Table("Smoothing: mu", {"0": ("tsm", "segment"), **{f"{mu:g}": ("tsm", f"image {mu:g}") for mu in MUS}}),
    2: Table(
        "Motion representation",
        {
            "none (segment)": ("tsm", "segment"),
            "image level": ("tsm", "image 0.5"),
            "feature level": ("tsm", "feature 0.5"),
        },
    ),
    3: Table(
        "Sampling strategy",
        {
            "segment": ("tsm", "segment"),
            "fixed stride": ("tsm", "stride"),
            "top motion": ("tsm", "top"),
            "motion-guided": ("tsm", "image 0.5"),
        },
    ),
    4: Table(
        "Models",
        {
            f"{model.upper()}, {name}": (model, sampler)
            for model in ("tsm", "tea", "gsm")
            for name, sampler in (("segment", "segment"), ("motion-guided", "image 0.5"))
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that all runs share.

    Attributes:
        train_per_class, val_per_class, data_seed: Arguments of :func:`bursts.write_burst_videos`.
        crop_size: Side of the clips, in pixels.
        scales: Scales of the crop window, as in :class:`mgdali.MGDaliIterator`.
        epochs: Number of training epochs.
        batch_size: Number of clips per step.
        learning_rate: Highest learning rate. The rate rises for a fifth of the steps and then falls as a cosine.
        weight_decay: Weight decay of AdamW.
        dropout: Dropout probability before the model's last layer.
        evaluate_every: Number of epochs between evaluations. The last epoch is always evaluated.

    Raises:
        ValueError: If a number is out of range.
    """

    train_per_class: int = 50
    val_per_class: int = 50
    data_seed: int = 1
    crop_size: int = 48
    scales: tuple[float, ...] = (1.0, 0.875)
    epochs: int = 16
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.0
    evaluate_every: int = 4

    def __post_init__(self) -> None:
        for name in ("train_per_class", "val_per_class", "crop_size", "epochs", "batch_size", "evaluate_every"):
            check_integer(name, getattr(self, name), least=1)
        check_integer("data_seed", self.data_seed, least=0)
        if self.batch_size > len(BURSTS) * self.train_per_class:
            raise ValueError(f"batch_size must be at most the number of training videos, got {self.batch_size}")
        for name in ("learning_rate", "weight_decay", "dropout"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Run:
    """One training run: a model, one of :data:`SAMPLERS`, and the seed of weights, order and offsets."""

    model: str
    sampler: str
    seed: int


def plan(tables: Iterable[int], seeds: int) -> list[Run]:
    """Return the runs that the tables need, each once, in the order of the tables and of the seeds within a table."""
    wanted = [Run(*row, seed) for table in tables for seed in range(seeds) for row in TABLES[table].rows.values()]
    return list(dict.fromkeys(wanted))


# --- Videos ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Videos:
    """The data set's folder, with ``train`` and ``val``, and the path of its motion index."""

    folder: Path
    index: Path


def prepare(parent: Path, settings: Settings) -> Videos:
    """Write the videos to a folder in ``parent`` and build their motion index, if they do not exist yet."""
    numbers = {name: getattr(settings, name) for name in ("train_per_class", "val_per_class")}
    folder = parent / "-".join(["bursts", *map(str, numbers.values()), str(settings.data_seed)])
    if not folder.exists():
        write_burst_videos(folder, **numbers, seed=settings.data_seed)
    index = folder.with_name(folder.name + ".parquet")
    build_index(folder, index, representations=(Representation(), Representation(motion="feature")))
    return Videos(folder, index)


def bursts(videos: Videos, settings: Settings) -> dict[str, range]:
    """Return the frames of each video's burst, by the video's path."""
    planned = plan_burst_videos(
        train_per_class=settings.train_per_class, val_per_class=settings.val_per_class, seed=settings.data_seed
    )
    return {str(videos.folder / video.name): video.burst for video in planned}


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


def train(videos: Videos, settings: Settings, run: Run) -> dict[str, Any]:
    """Train and evaluate one run, with one thread."""
    begin = time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
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
        epochs = [
            {**figures, **(evaluate(model, held_out) if is_due(epoch, settings) else {})}
            for epoch, figures in enumerate(train_epochs(model, clips, settings), 1)
        ]
        shares = picks_in_burst(held_out, bursts(videos, settings))
    return {
        **asdict(run),
        "strategy": repr(SAMPLERS[run.sampler]),
        "accuracy": epochs[-1]["val_accuracy"],
        "picks_in_burst": shares,
        "epochs": epochs,
        "seconds": time.perf_counter() - begin,
    }


def is_due(epoch: int, settings: Settings) -> bool:
    """Whether the model is evaluated after this epoch, counted from 1."""
    return epoch % settings.evaluate_every == 0 or epoch == settings.epochs


def train_epochs(model: torch.nn.Module, clips: MGDaliIterator, settings: Settings) -> Iterator[dict[str, float]]:
    """Train, and yield after each epoch its mean loss and its accuracy on the training clips."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * len(clips), pct_start=0.2
    )
    for _ in range(settings.epochs):
        model.train()
        loss_sum = right = total = 0.0
        for batch, labels, _ in clips:
            logits = model(batch)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(labels)
            right += int((logits.argmax(1) == labels).sum())
            total += len(labels)
        yield {"loss": loss_sum / total, "train_accuracy": right / total}


@torch.no_grad()
def evaluate(model: torch.nn.Module, clips: MGDaliIterator) -> dict[str, float]:
    """Return the accuracy on a split, with frames picked at the middle of their parts."""
    model.eval()
    right = sum(int((model(batch).argmax(1) == labels).sum()) for batch, labels, _ in clips)
    return {"val_accuracy": right / len(clips.dataset)}


def picks_in_burst(clips: MGDaliIterator, spans: dict[str, range]) -> float:
    """Return the mean number of picked frames that are within the burst."""
    inside = 0
    for _, _, meta in clips:
        for path, frames in zip(meta["path"], meta["frames"].tolist(), strict=True):
            inside += sum(frame in spans[path] for frame in frames)
    return inside / len(clips.dataset)


# --- Results ---------------------------------------------------------------------------------------------------------


def summary(results: Sequence[dict[str, Any]], row: tuple[str, str]) -> dict[str, Any] | None:
    """Return a row's mean and standard deviation over the seeds, in percent; None if it has no runs."""
    own = [result for result in results if (result["model"], result["sampler"]) == row]
    if not own:
        return None
    values = [100 * result["accuracy"] for result in own]
    return {
        "accuracy": statistics.fmean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else None,
        "seeds": len(values),
        "picks_in_burst": own[0]["picks_in_burst"],
    }


def tables(results: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the summaries of the finished runs, by table and row."""
    found = {
        number: {name: summary(results, row) for name, row in table.rows.items()} for number, table in TABLES.items()
    }
    return {number: {name: row for name, row in rows.items() if row} for number, rows in found.items()}


def targets(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the targets: motion-guided sampling leads by more than the sum of both standard deviations."""
    best = summary(results, ("tsm", "image 0.5"))
    claims = []
    for name, sampler in (("segment", "segment"), ("top motion", "top")):
        other = summary(results, ("tsm", sampler))
        if best and other and best["spread"] is not None and other["spread"] is not None:
            lead, spread = best["accuracy"] - other["accuracy"], best["spread"] + other["spread"]
            figure = f"motion-guided over {name}"
            claims.append({"figure": figure, "value": lead, "above": spread, "met": lead > spread})
    return claims


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Return the tables in Markdown, and whether the targets are met."""
    lines = []
    for number, rows in tables(results).items():
        if not rows:
            continue
        lines += [f"Table {number}. {TABLES[number].title}", ""]
        lines += ["| | accuracy, % | spread | seeds | picks in the burst, of 8 |", "| --- | --- | --- | --- | --- |"]
        for name, row in rows.items():
            spread = "–" if row["spread"] is None else f"{row['spread']:.1f}"
            lines.append(
                f"| {name} | {row['accuracy']:.1f} | {spread} | {row['seeds']} | {row['picks_in_burst']:.2f} |"
            )
        lines.append("")
    for claim in targets(results):
        met = "met" if claim["met"] else "missed"
        lines.append(f"{claim['figure']}: {claim['value']:+.1f} points, target > {claim['above']:.1f}: {met}")
    return "\n".join(lines)


def plot(results: Sequence[dict[str, Any]], folder: Path) -> None:
    """Plot each table, with the standard deviations as error bars: Table 1 as a line, the others as bars."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in tables(results).items():
        if not rows:
            continue
        means = [row["accuracy"] for row in rows.values()]
        spreads = [row["spread"] or 0.0 for row in rows.values()]
        figure, axes = pyplot.subplots(figsize=(1.5 + 1.2 * len(rows), 3.5), layout="constrained")
        if number == 1:
            axes.errorbar([float(mu) for mu in rows], means, spreads, marker="o", capsize=4)
            axes.set_xlabel("mu")
        else:
            axes.bar([name.replace(", ", "\n") for name in rows], means, yerr=spreads, capsize=4, color="tab:blue")
        axes.set_ylabel("accuracy, % (synthetic videos)")
        axes.set_title(f"Small version of Table {number}. {TABLES[number].title}", fontsize="medium")
        figure.savefig(folder / f"ablation-table{number}.png", dpi=120)
        pyplot.close(figure)


class ResultsFile:
    """The results so far, in a JSON file from which a later command continues.

    Raises:
        SystemExit: If the file contains runs with other settings.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(asdict(settings)))
        self.runs: list[dict[str, Any]] = []
        if path.exists():
            known = json.loads(path.read_text())
            if known["settings"] != self.settings:
                raise SystemExit(f"ablation.py: {path} contains runs with other settings: pass another --out")
            self.runs = known["runs"]

    def __contains__(self, run: Run) -> bool:
        return asdict(run) in [{name: done[name] for name in asdict(run)} for done in self.runs]

    def add(self, result: dict[str, Any], jobs: int) -> None:
        """Add a run's result and write the file. It is replaced atomically, so that it is always complete."""
        self.runs.append(result)
        report = {"machine": machine.facts(), "settings": self.settings, "jobs": jobs, "targets": targets(self.runs)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps({**report, "tables": tables(self.runs), "runs": self.runs}, indent=1) + "\n")
        os.replace(part, self.path)


# --- The command -----------------------------------------------------------------------------------------------------


def run_all(runs: Sequence[Run], file: ResultsFile, videos: Videos, settings: Settings, jobs: int) -> None:
    """Do the runs, and print after each of them the result and the remaining time."""
    begin = time.perf_counter()
    for count, result in enumerate(in_parallel(runs, partial(train, videos, settings), jobs), 1):
        file.add(result, jobs)
        left = (time.perf_counter() - begin) / count * (len(runs) - count)
        print(
            f"{count}/{len(runs)} {result['model']}, {result['sampler']}, seed {result['seed']}: "
            f"{100 * result['accuracy']:.1f} % in {result['seconds']:.0f} s; {left / 60:.0f} min left",
            flush=True,
        )


def in_parallel(runs: Sequence[Run], work: Callable[[Run], dict[str, Any]], jobs: int) -> Iterator[dict[str, Any]]:
    """Yield results as runs finish. ``jobs`` runs work at a time, each in its own process; one in this process."""
    if jobs == 1:
        yield from map(work, runs)
        return
    # Processes are spawned, because a forked process would inherit torch's threads in an undefined state.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(work, runs)


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train small versions of the paper's tables on synthetic videos.")
    parser.add_argument("--tables", default="3,2,1,4", help="Tables to run, in this order (default: %(default)s).")
    parser.add_argument("--seeds", type=int, default=3, help="Number of seeds per row (default: %(default)s).")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="File to write the results to. Runs that it already contains are not repeated.",
    )
    parser.add_argument("--plots", type=Path, help="Folder for plots of the tables. Needs matplotlib.")
    parser.add_argument("--markdown", action="store_true", help="Print the tables in Markdown.")
    parser.add_argument(
        "--jobs", type=int, default=2, help="Number of runs in parallel, one core each (default: %(default)s)."
    )
    folder = Path(tempfile.gettempdir(), "mgdali-bursts")
    parser.add_argument("--data", type=Path, default=folder, help="Folder for the videos (default: %(default)s).")
    helps = {
        "epochs": "training epochs",
        "train-per-class": "training videos per class",
        "val-per-class": "validation videos per class",
    }
    for name in helps:
        default = getattr(Settings, name.replace("-", "_"))
        parser.add_argument(
            f"--{name}", type=int, default=default, help=f"Number of {helps[name]} (default: %(default)s)."
        )
    options = parser.parse_args(arguments)
    numbers = options.tables.split(",")
    if not set(numbers) <= set(map(str, TABLES)):
        parser.error(f"--tables must be a list of {','.join(map(str, TABLES))}, got {options.tables}")
    if min(options.seeds, options.jobs) < 1:
        parser.error("--seeds and --jobs must be at least 1")
    options.tables = [int(number) for number in numbers]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_arguments(arguments)
    settings = Settings(
        epochs=options.epochs, train_per_class=options.train_per_class, val_per_class=options.val_per_class
    )
    file = ResultsFile(options.out, settings)
    runs = [run for run in plan(options.tables, options.seeds) if run not in file]
    if runs:
        run_all(runs, file, prepare(options.data, settings), settings, options.jobs)
    if options.markdown:
        print(markdown(file.runs))
    if options.plots:
        plot(file.runs, options.plots)


if __name__ == "__main__":
    main()
