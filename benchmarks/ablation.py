"""Small versions of the paper's tables on two CPU cores: ``python benchmarks/ablation.py --out FILE.json --plots DIR``.

The small models of ``examples/action_models.py`` are trained from scratch on the videos of ``examples/bursts.py``, in
which only a short burst of motion shows the class. Each sampler is run with several seeds, and each seed has its own
videos, for training and for testing. The tables vary smoothing (Table 1), the level at which motion is measured (2),
the sampling strategy (3) and the model (4). Runs that several tables need are run once. FILE.json is written after each
run, and a command that was stopped continues with the remaining runs.

All runs have the same network, optimizer and crops; only the sampler differs, and in Table 4 the model and the number
of epochs. Runs with the same seed have the same videos, initial weights and order of videos. The settings were chosen
on another data set of the same kind (``seed=0``): flash, shake and wavering light before any training; clip size and
epochs by the time that a run may take; the learning rate as the best of 1e-3, 2e-3 and 5e-3 by the training loss of
segment sampling over 12 epochs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ablation_results import ResultsFile, markdown
from ablation_tables import TABLES, Run, plan
from ablation_training import Settings, prepare, train


def run_all(runs: Sequence[Run], file: ResultsFile, work: Callable[[Run], dict[str, Any]], jobs: int) -> None:
    """Do the runs, and print after each of them the result and the remaining time."""
    begin = time.perf_counter()
    for count, result in enumerate(in_parallel(runs, work, jobs), 1):
        file.add(result, jobs)
        left = (time.perf_counter() - begin) / count * (len(runs) - count)
        print(
            f"{count}/{len(runs)} {result['model']}, {result['sampler']}, seed {result['seed']}: "
            f"{100 * result['accuracy']:.1f} % after {len(result['epochs'])} epochs in {result['seconds']:.0f} s; "
            f"{left / 60:.0f} min left",
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
    parser.add_argument("--seeds", type=int, default=5, help="Number of seeds per row (default: %(default)s).")
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
        "epochs": "training epochs of Tables 1 to 3",
        "most-epochs": "training epochs of Table 4, at most",
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
        epochs=options.epochs,
        most_epochs=options.most_epochs,
        train_per_class=options.train_per_class,
        val_per_class=options.val_per_class,
    )
    file = ResultsFile(options.out, asdict(settings))
    runs = [run for run in plan(options.tables, options.seeds) if run not in file]
    for seed in sorted({run.seed for run in runs}):
        # Before the runs work in parallel, so that no two of them write the same videos.
        prepare(options.data, settings, seed)
    if runs:
        run_all(runs, file, partial(train, options.data, settings), options.jobs)
    if options.markdown:
        print(markdown(file.runs))
    if options.plots:
        from ablation_plots import plot

        plot(file.runs, options.plots)


if __name__ == "__main__":
    main()
