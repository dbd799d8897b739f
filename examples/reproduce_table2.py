"""Train the rows of the paper's Table 2 on a real data set, with the paper's settings, in one command:

    python examples/reproduce_table2.py something-something-v2 --root sthv2/ --weights resnet50-0676ba61.pth --out t2/
    python examples/reproduce_table2.py diving48 --root diving48/ --weights resnet50-0676ba61.pth --out t2d/ --gpus 8

The rows are segment sampling and motion-guided sampling at the image level and at the feature level. ROOT has the
official layout (``docs/datasets.md``). With ``--gpus 8``, a step has 64 clips in total, 8 on each GPU.

The command works in this order:

1. It checks the options, the lists, and whether each video exists.
2. It trains one step, so that too little GPU memory or a wrong file of weights is found before hours of measuring.
3. It measures both levels of motion of all videos and writes them to an index, OUT/motion.parquet. To use an index of
   another folder, pass ``--index FILE``. Videos that the index already contains are not measured again.
4. It trains each row with ``train_tsm.py``, and adds each result to OUT/table2.json.
5. It prints the table.

If it is interrupted, the same command continues, also in the middle of an epoch.

``table2_rows.py`` lists which settings the project knows from the paper. Arguments after ``--`` are passed to each run
of ``train_tsm.py``. Settings that they change are part of table2.json and of the printed table:

    python examples/reproduce_table2.py diving48 --root diving48/ --from-scratch --out small/ -- --backbone small \
        --crop-size 56 --batch-size 8 --epochs 5 --lr-steps 3 --device cpu

Nothing is downloaded. The weights of the backbone are ImageNet weights of torchvision, version 1, as a file.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from table2_results import ResultsFile, read_result, table
from table2_rows import DATASETS, ROWS, Run
from train_arguments import parse_arguments, read_seeds
from train_options import Options, open_datasets

from mgdali import Representation, VideoDataset, WorkerError, build_index
from mgdali.bench import machine

__all__ = ["main"]

# Options of train_tsm.py that this program sets, or that are not the same for all runs.
OWN = {"dataset", "root", "annotations", "videos", "out", "index", "sampler", "motion", "seed", "pretrained", "weights"}
OWN |= {"data", "synthetic", "resume", "max_steps", "tensorboard"}
# Options that do not change results.
WITHOUT_EFFECT = {"device", "num_workers", "save_every"}
WEIGHTS_ADVICE = (
    "the paper starts from ImageNet weights. Download torchvision's resnet50-0676ba61.pth (ResNet-50, IMAGENET1K_V1) "
    "and pass --weights FILE. To train without them, pass --from-scratch; such accuracies cannot be compared with the "
    "paper's"
)


class Ended(KeyboardInterrupt):
    """This process has received SIGTERM."""


def main(arguments: list[str] | None = None) -> None:
    """Build the index, train the rows that have no results yet, and print the table."""
    try:
        _reproduce(_read_arguments(arguments))
    except (ValueError, OSError, WorkerError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command continues")


def _reproduce(given: argparse.Namespace) -> None:
    weights = _read_weights(given)
    runs = [Run(row, seed) for seed in given.seeds for row in ROWS]
    options, changed = _check(given, runs)
    train, test = open_datasets(options)
    common = {
        "dataset": given.dataset,
        "settings": {name: str(value) for name, value in asdict(options).items() if name not in OWN | WITHOUT_EFFECT},
        "weights": weights,
        "videos": {"train": len(train), "test": len(test)},
    }
    file = ResultsFile(given.out / "table2.json", common, changed)
    waiting = [run for run in runs if run.name not in file.runs]
    if waiting:
        _prepare(given, options, file, train, test)
    for number, run in enumerate(waiting, 1):
        print(f"run {number} of {len(waiting)}: {run.row.title}, seed {run.seed}, {options.epochs} epochs", flush=True)
        _train(given, _arguments(given, run))
        result = read_result(given.out / run.name, options)
        file.add(run, {**result, "gpus": given.gpus, "machine": machine.facts()})
    print("\n".join(table(options, file, given.seeds)))


# --- before the first run --------------------------------------------------------------------------------------------


def _read_weights(given: argparse.Namespace) -> dict[str, str] | None:
    """Return the name and the checksum of the file of weights; None without weights.

    Raises:
        ValueError: If not exactly one of ``--weights`` and ``--from-scratch`` is given, or if the file does not exist.
    """
    if (given.weights is None) == (not given.from_scratch):
        raise ValueError(f"give exactly one of --weights and --from-scratch: {WEIGHTS_ADVICE}")
    if given.weights is None:
        return None
    if not given.weights.is_file():
        raise ValueError(f"{given.weights} does not exist: {WEIGHTS_ADVICE}")
    return {"file": given.weights.name, "sha256": hashlib.sha256(given.weights.read_bytes()).hexdigest()}


def _check(given: argparse.Namespace, runs: Sequence[Run]) -> tuple[Options, dict[str, list[str]]]:
    """Return the options of the first run, and the settings that the arguments after ``--`` change.

    Each of these settings has its default and its new value.

    Raises:
        ValueError: If an option is wrong, or set after ``--`` although this program sets it.
    """
    words = _arguments(given, runs[0])
    options, defaults = parse_arguments(words), parse_arguments(words[: len(words) - len(given.more)])
    before = asdict(defaults)
    changed = {name: [str(before[name]), str(now)] for name, now in asdict(options).items() if now != before[name]}
    taken = ", ".join(name for name in changed if name in OWN)
    if taken:
        raise ValueError(f"{taken} cannot be set after --, because this program sets it for each run")
    if options.batch_size % given.gpus:
        raise ValueError(
            f"a step has {options.batch_size} clips, which cannot be shared equally by --gpus {given.gpus}: choose "
            "another number of GPUs, or change the clips per step with '-- --batch-size N'"
        )
    if options.device is None and not torch.cuda.is_available():
        raise ValueError("torch finds no GPU ('mgdali doctor' says why): to train on the CPU, add '-- --device cpu'")
    return options, {name: values for name, values in changed.items() if name not in WITHOUT_EFFECT}


def _prepare(
    given: argparse.Namespace, options: Options, file: ResultsFile, train: VideoDataset, test: VideoDataset
) -> None:
    """Check the videos, train a step, build the index, and write the settings to the file of results."""
    tolerant = options.on_error == "replace"
    _check_files(given, [*train.paths, *test.paths], tolerant=tolerant)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.index.exists():
        _try_a_step(given)
    file.begin(_build_index(given, train, test, tolerant=tolerant))


def _check_files(given: argparse.Namespace, paths: Sequence[Any], *, tolerant: bool) -> None:
    """Print the videos that are missing or empty.

    Raises:
        ValueError: If there are any and ``tolerant`` is false, or if all are missing.
    """
    bad = [str(path) for path in paths if not os.path.exists(path) or not os.path.getsize(path)]
    if not bad:
        return
    found = f"{len(bad)} of {len(paths)} videos are missing or empty, such as {', '.join(bad[:3])}"
    if not tolerant or len(bad) == len(paths):
        raise ValueError(
            f"{found}. 'mgdali data check {given.dataset} {given.root}' compares the lists with the files. Unpack the "
            "videos again, name their folder with --videos, or add '-- --on-error replace' to replace them by other "
            "videos of the same split"
        )
    print(found, flush=True)


def _try_a_step(given: argparse.Namespace) -> None:
    """Train one step of the row that needs most, without an index, and remove the run."""
    print("trying one training step; the run stops after it", flush=True)
    trial = given.out / "trial"
    shutil.rmtree(trial, ignore_errors=True)
    words = _arguments(given, Run(ROWS[-1], 0))
    at = words.index("--index")
    # A video that cannot be decoded is reported with all others, after they have been measured.
    own = ["--out", str(trial), "--max-steps", "1", "--on-error", "replace"]
    try:
        _train(given, [*words[:at], *words[at + 2 :], *own])
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _build_index(given: argparse.Namespace, train: VideoDataset, test: VideoDataset, *, tolerant: bool) -> int:
    """Measure the motion of all videos at both levels. Return the number of videos that cannot be decoded.

    Raises:
        ValueError: If there are any and ``tolerant`` is false, because the runs would fail later.
    """
    both = (Representation(motion="image"), Representation(motion="feature"))
    videos = [*train, *test]
    report = build_index(videos, given.index, representations=both, num_workers=given.num_workers, progress=True)
    print(f"{given.index}: measured {report.measured} videos, kept {report.kept}", flush=True)
    # The index may contain other videos, too.
    failed = [str(video.path) for video in videos if str(video.path) in report.failed]
    for path in failed[:5]:
        print(f"cannot decode {path}: {report.failed[path]}")
    if failed and not tolerant:
        raise ValueError(
            f"{len(failed)} of {len(videos)} videos cannot be decoded: download them again, or add "
            "'-- --on-error replace' to replace them by other videos of the same split"
        )
    return len(failed)


# --- the runs --------------------------------------------------------------------------------------------------------


def _arguments(given: argparse.Namespace, run: Run) -> list[str]:
    """Return the arguments of ``train_tsm.py`` for a run."""
    own = ["--dataset", given.dataset, "--out", str(given.out / run.name), "--index", str(given.index)]
    for name in ("root", "annotations", "videos", "weights"):
        if getattr(given, name) is not None:
            own += [f"--{name}", str(getattr(given, name))]
    own += [] if given.weights is not None else ["--no-pretrained"]
    return [*own, *run.row.arguments, "--seed", str(run.seed), "--resume", *given.more]


def _train(given: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Run ``train_tsm.py``, on several GPUs through ``torchrun``. SIGTERM ends it, too.

    Raises:
        ValueError: If it fails. It has printed the reason.
    """
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(given.gpus)]
    script = str(Path(__file__).with_name("train_tsm.py"))
    command = [sys.executable, *(ranks if given.gpus > 1 else ()), script, *arguments]
    before = signal.signal(signal.SIGTERM, _end)
    try:
        with subprocess.Popen(command) as process:
            try:
                while (status := process.poll()) is None:
                    # Another thread may receive a signal. Python then handles it after the wait, so waits are short.
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=0.5)
            except Ended:
                # Only this process may have received the signal. The run must not continue without it.
                process.terminate()
                process.wait()
                raise
            except KeyboardInterrupt:
                # The run has received Ctrl-C too. It ends its workers and prints a line.
                process.wait()
                raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if status:
        reason = f"exit status {status}" if status > 0 else signal.Signals(-status).name
        raise ValueError(f"train_tsm.py ended with {reason} (see above): {shlex.join(command)}")


def _end(*_: object) -> None:
    raise Ended


# --- arguments -------------------------------------------------------------------------------------------------------


def _read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    words = sys.argv[1:] if arguments is None else arguments
    own, more = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(
        description="Train the rows of the paper's Table 2 on a real data set.",
        epilog="Arguments after -- are passed to each run of train_tsm.py.",
    )
    add = parser.add_argument
    add("dataset", choices=DATASETS, help="Data set.")
    add("--root", type=Path, required=True, help="Folder with the official lists and the videos.")
    add("--annotations", type=Path, metavar="FOLDER", help="Folder with the lists, if they are not in --root.")
    add("--videos", type=Path, metavar="FOLDER", help="Folder with the videos, if they are not in --root.")
    add("--out", type=Path, required=True, help="Folder for the index, the runs and table2.json.")
    add("--index", type=Path, metavar="FILE", help="Motion index to use or to create (default: OUT/motion.parquet).")
    add("--weights", type=Path, metavar="FILE", help="File with ImageNet weights of the backbone.")
    add("--from-scratch", action="store_true", help="Train without ImageNet weights.")
    add("--seeds", type=read_seeds, default=[0], metavar="S,S", help="Seeds, one run per row for each (default: 0).")
    add("--gpus", type=int, default=1, help="Number of GPUs of this machine, which share each step (default: 1).")
    add(
        "--num-workers",
        type=int,
        default=None,
        help="Number of processes that measure motion; 0 measures in the main process (default: the CPU cores).",
    )
    given = parser.parse_args(own)
    given.more = more
    given.index = given.index or given.out / "motion.parquet"
    if given.gpus < 1:
        parser.error(f"argument --gpus: must be at least 1, got {given.gpus}")
    if given.num_workers is not None and given.num_workers < 0:
        parser.error(f"argument --num-workers: must be at least 0, got {given.num_workers}")
    return given


if __name__ == "__main__":
    main()
