"""Train the rows of the paper's Table 2 on a real data set, with the paper's settings, in one command:

    python examples/reproduce_table2.py something-something-v2 --root sthv2/ --weights resnet50-0676ba61.pth --out t2/
    python examples/reproduce_table2.py diving48 --root diving48/ --weights resnet50-0676ba61.pth --out t2d/ --gpus 8

The rows are segment sampling and motion-guided sampling at the image level and at the feature level. ROOT has the
official layout (``docs/datasets.md``). The command measures both levels of motion once and writes them to an index,
trains each row with ``train_tsm.py``, and writes ``table2.json`` after each run. At the end it prints the table. If it
is interrupted, the same command continues, also in the middle of an epoch.

``paper_presets.py`` lists the settings, and which of them the project knows from the paper. Arguments after ``--`` are
passed to each run of ``train_tsm.py``. Settings that they change are part of the file and of the printed table:

    python examples/reproduce_table2.py diving48 --root diving48/ --from-scratch --out small/ -- --backbone small \
        --crop-size 56 --batch-size 8 --epochs 5 --lr-steps 3 --device cpu

Nothing is downloaded. The weights of the backbone are ImageNet weights of torchvision, version 1, as a file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paper_presets import PRESETS, ROWS, Preset, Row
from train_options import Options, open_datasets, parse_arguments, read_seeds

from mgdali import Representation, VideoDataset, WorkerError, build_index
from mgdali.bench import machine

__all__ = ["main"]

# Options of train_tsm.py that this program sets.
OWN = ("dataset", "root", "out", "index", "sampler", "motion", "seed", "pretrained", "weights", "resume", "max_steps")
WEIGHTS_ADVICE = (
    "the paper starts from ImageNet weights. Download torchvision's resnet50-0676ba61.pth (ResNet-50, IMAGENET1K_V1) "
    "and pass --weights FILE. To train without them, pass --from-scratch; such accuracies cannot be compared with the "
    "paper's"
)


@dataclass(frozen=True)
class Run:
    """One training run: a row of the table with a seed."""

    row: Row
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.row.name}-seed-{self.seed}"


class ResultsFile:
    """``table2.json``: what all runs have in common, and the result of each finished run.

    Args:
        path: Path of the file. Results that it already contains are kept.
        common: What all runs have in common, as JSON values.

    Raises:
        ValueError: If the file was written with other settings, or is not such a file.
    """

    def __init__(self, path: Path, common: dict[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {**common, "runs": {}}
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            runs = dict(found["runs"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a file of results: remove it, or pass another --out") from error
        changed = [name for name, value in common.items() if found.get(name) != value]
        if changed:
            each = "; ".join(f"{name} {found.get(name)} -> {common[name]}" for name in changed)
            raise ValueError(f"{path} has results of other settings ({each}): pass another --out")
        self.content["runs"] = runs

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        """Results by the names of the runs."""
        found: dict[str, dict[str, Any]] = self.content["runs"]
        return found

    def add(self, run: Run, result: dict[str, Any]) -> None:
        """Add the result of a run, and write the file atomically."""
        self.runs[run.name] = result
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        unfinished.write_text(json.dumps(self.content, indent=1) + "\n")
        unfinished.replace(self.path)


def main(arguments: list[str] | None = None) -> None:
    """Build the index, train the rows that have no results yet, and print the table."""
    try:
        _reproduce(_read_arguments(arguments))
    except (ValueError, OSError, WorkerError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command continues")


def _reproduce(given: argparse.Namespace) -> None:
    preset = PRESETS[given.dataset]
    if (given.weights is None) == (not given.from_scratch):
        raise ValueError(f"give exactly one of --weights and --from-scratch: {WEIGHTS_ADVICE}")
    weights = None
    if given.weights is not None:
        if not given.weights.is_file():
            raise ValueError(f"{given.weights} does not exist: {WEIGHTS_ADVICE}")
        weights = {"file": given.weights.name, "sha256": hashlib.sha256(given.weights.read_bytes()).hexdigest()}
    runs = [Run(row, seed) for seed in given.seeds for row in ROWS]
    # Mistakes in options are found before hours of measuring.
    commands = {run.name: _arguments(given, preset, run) for run in runs}
    options = _checked(commands, given)
    changed = _changes(preset, options)
    train, test = open_datasets(options)
    common = {
        "dataset": preset.dataset,
        "preset": json.loads(json.dumps(asdict(preset))),
        "changed": changed,
        "weights": weights,
        "videos": {"train": len(train), "test": len(test)},
    }
    given.out.mkdir(parents=True, exist_ok=True)
    file = ResultsFile(given.out / "table2.json", common)
    waiting = [run for run in runs if run.name not in file.runs]
    if waiting:
        _build_index(given, train, test, tolerant=options.on_error == "replace")
    for number, run in enumerate(waiting, 1):
        print(f"run {number} of {len(waiting)}: {run.row.title}, seed {run.seed}", flush=True)
        _train(given, commands[run.name])
        file.add(run, _result(given.out / run.name, options.epochs))
    print("\n".join(_table(preset, options, file, given.seeds)))


# --- the runs --------------------------------------------------------------------------------------------------------


def _arguments(given: argparse.Namespace, preset: Preset, run: Run) -> list[str]:
    """Return the arguments of ``train_tsm.py`` for a run."""
    start = ["--no-pretrained"] if given.weights is None else ["--weights", str(given.weights)]
    own = ["--root", str(given.root), "--out", str(given.out / run.name), "--index", str(given.out / "motion.parquet")]
    own += [*run.row.arguments, "--seed", str(run.seed), "--resume", *start]
    return [*preset.arguments(), *own, *given.more]


def _checked(commands: dict[str, list[str]], given: argparse.Namespace) -> Options:
    """Return the options of the first run. All runs have the same ones except for the row and the seed.

    Raises:
        ValueError: If the arguments after ``--`` set an option that this program sets.
    """
    first = next(iter(commands.values()))
    options = parse_arguments(first)
    expected = parse_arguments(first[: len(first) - len(given.more)])
    taken = [name for name in OWN if getattr(options, name) != getattr(expected, name)]
    if taken:
        raise ValueError(f"{', '.join(taken)} cannot be set after --, because this program sets it for each run")
    return options


def _changes(preset: Preset, options: Options) -> dict[str, list[str]]:
    """Return the settings of the preset that the arguments after ``--`` changed, with both values."""
    pairs = ((name, value, getattr(options, name)) for name, value in asdict(preset).items())
    return {name: [str(value), str(now)] for name, value, now in pairs if now != value}


def _build_index(given: argparse.Namespace, train: VideoDataset, test: VideoDataset, *, tolerant: bool) -> None:
    """Measure the motion of all videos at both levels. Videos that the index already contains are not measured again.

    Raises:
        ValueError: If videos cannot be decoded and ``tolerant`` is false, because the runs would fail later.
    """
    both = (Representation(motion="image"), Representation(motion="feature"))
    path = given.out / "motion.parquet"
    report = build_index([*train, *test], path, representations=both, num_workers=given.num_workers, progress=True)
    print(f"{path}: measured {report.measured} videos, kept {report.kept}", flush=True)
    for video, reason in list(report.failed.items())[:5]:
        print(f"cannot decode {video}: {reason}")
    if report.failed and not tolerant:
        raise ValueError(
            f"{len(report.failed)} of {report.rows} videos cannot be decoded: download them again, or add "
            "'-- --on-error replace' to replace them by other videos of the same split"
        )


def _train(given: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Run ``train_tsm.py``, on several GPUs through ``torchrun``.

    Raises:
        ValueError: If it fails. It has printed the reason.
    """
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(given.gpus)]
    script = str(Path(__file__).with_name("train_tsm.py"))
    command = [sys.executable, *(ranks if given.gpus > 1 else ()), script, *arguments]
    with subprocess.Popen(command) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            # The run has received Ctrl-C too. It ends its workers and prints a line.
            process.wait()
            raise
    if status:
        raise ValueError(f"this run failed with exit status {status} (see above): {shlex.join(command)}")


def _result(run: Path, epochs: int) -> dict[str, Any]:
    """Return the accuracy of a run after its last epoch.

    Raises:
        ValueError: If the run has not reached its last epoch.
    """
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tests = [entry for entry in entries if "test/top1" in entry]
    if len(tests) != epochs:
        raise ValueError(f"{run} has tested {len(tests)} of {epochs} epochs: run the same command again")
    last = tests[-1]
    names = {"top1": "test/top1", "top5": "test/top5", "loss": "epoch/loss", "steps": "step"}
    return {**{name: last[key] for name, key in names.items()}, "machine": machine.facts()}


# --- the table -------------------------------------------------------------------------------------------------------


def _table(preset: Preset, options: Options, file: ResultsFile, seeds: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table: means over the seeds, in percent."""
    videos = file.content["videos"]
    yield ""
    yield f"Table 2 on {preset.dataset}: {options.model} on {options.backbone}, {options.num_frames} frames"
    yield f"{videos['train']} training videos, {videos['test']} test videos, one clip and the centre crop of each"
    yield f"{'':<30}{'top-1':>8}{'top-5':>8}{'over segment':>14}{'seeds':>7}{'spread':>8}"
    base = _mean(file, ROWS[0], seeds, "top1")
    for row in ROWS:
        top1, top5 = (_mean(file, row, seeds, name) for name in ("top1", "top5"))
        spread = statistics.stdev(_values(file, row, seeds, "top1")) if len(seeds) > 1 else None
        over = "" if row is ROWS[0] else f"{top1 - base:+.1f}"
        yield (
            f"{row.title:<30}{top1:>8.1f}{top5:>8.1f}{over:>14}{len(seeds):>7}"
            + (f"{spread:>8.1f}" if spread is not None else f"{'-':>8}")
        )
    if len(seeds) == 1:
        yield "One seed: how far accuracies differ by chance from run to run is not known (--seeds 0,1,2)."
    if file.content["weights"] is None:
        yield "Trained from scratch, without ImageNet weights: not comparable with the paper."
    for name, (paper, now) in file.content["changed"].items():
        yield f"Not the paper's setting: {name} {now} instead of {paper}."
    yield f"Results: {file.path}"


def _values(file: ResultsFile, row: Row, seeds: Sequence[int], name: str) -> list[float]:
    return [100 * file.runs[Run(row, seed).name][name] for seed in seeds]


def _mean(file: ResultsFile, row: Row, seeds: Sequence[int], name: str) -> float:
    return statistics.mean(_values(file, row, seeds, name))


# --- arguments -------------------------------------------------------------------------------------------------------


def _read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    words = sys.argv[1:] if arguments is None else arguments
    own, more = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(
        description="Train the rows of the paper's Table 2 on a real data set.",
        epilog="Arguments after -- are passed to each run of train_tsm.py.",
    )
    add = parser.add_argument
    add("dataset", choices=tuple(PRESETS), help="Data set.")
    add("--root", type=Path, required=True, help="Folder with the official lists and the videos.")
    add("--out", type=Path, required=True, help="Folder for the index, the runs and table2.json.")
    add("--weights", type=Path, metavar="FILE", help="File with ImageNet weights of the backbone.")
    add("--from-scratch", action="store_true", help="Train without ImageNet weights.")
    add(
        "--seeds",
        type=read_seeds,
        default=[0],
        metavar="S,S",
        help="Seeds, one run per row for each (default: 0).",
    )
    add("--gpus", type=int, default=1, help="Number of GPUs of this machine to train on (default: 1).")
    add(
        "--num-workers",
        type=int,
        default=None,
        help="Number of processes that measure motion; 0 measures in the main process (default: the CPU cores).",
    )
    given = parser.parse_args(own)
    given.more = more
    if given.gpus < 1:
        parser.error(f"argument --gpus: must be at least 1, got {given.gpus}")
    return given


if __name__ == "__main__":
    main()
