"""CPU time per clip of each stage of the CPU route: ``python benchmarks/stages.py --help``.

In a worker process, each video goes through one stage after another, and each round starts with another stage. The last
stage is the complete work of a loader's worker. The CPU time of the main process is read from its threads while the
loader runs: DALI's threads, and all others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import say, write_report
from figures import table
from peers.workloads import WORKLOADS, add_places, videos_of
from throughput import make_index

from mgdali import MGDaliIterator, MotionGuided, MotionIndex, VideoDataset
from mgdali.bench import machine
from mgdali.bench.peers.task import Task, cores
from mgdali.bench.stages import STAGES, StagesWorker, VideoStages
from mgdali.errors import VideoDecodeError
from mgdali.transforms import SpatialTransform

TASK = Task()
SAMPLER = MotionGuided(num_frames=TASK.num_frames, mu=TASK.mu)
TRANSFORM = SpatialTransform(training=False, crop_size=TASK.crop_size, resize=TASK.resize)


# --- In a worker -----------------------------------------------------------------------------------------------------


def in_a_worker(paths: Sequence[str], index: MotionIndex, rounds: int) -> dict[str, float]:
    """Return milliseconds per clip of each stage: the mean over the videos of the median over the rounds."""
    records = [index.find(path) for path in paths]
    seen: list[list[VideoStages]] = [[] for _ in paths]
    with StagesWorker(SAMPLER, TRANSFORM) as worker:
        # The first round warms up.
        for number in range(rounds + 1):
            say(f"  round {number} of {rounds}" if number else "  warm-up")
            for i, (path, record) in enumerate(zip(paths, records, strict=True)):
                assert record is not None
                try:
                    measured = worker.measure(path, record)
                except VideoDecodeError as error:
                    raise SystemExit(f"stages.py: {error}") from None
                if number:
                    seen[i].append(measured)
    return {
        stage: 1e3 * statistics.fmean(statistics.median(each.seconds[stage] for each in own) for own in seen)
        for stage in STAGES
    }


# --- In the main process ---------------------------------------------------------------------------------------------


def in_the_main_process(paths: Sequence[str], index: MotionIndex, workers: int, epochs: int) -> dict[str, float]:
    """Return milliseconds per clip of the main process's threads, with an index."""
    dataset = VideoDataset(paths, [0] * len(paths))
    with MGDaliIterator(
        dataset,
        sampler=SAMPLER,
        training=False,
        batch_size=TASK.batch_size,
        num_workers=workers,
        crop_size=TASK.crop_size,
        resize=TASK.resize,
        index=index,
        device="cpu",
    ) as loader:
        for _ in loader:
            pass
        before = _ticks()
        for _ in range(epochs):
            for _ in loader:
                pass
        after = _ticks()
    each = 1e3 / os.sysconf("SC_CLK_TCK") / (epochs * len(paths))
    spent = {thread: ticks - before.get(thread, 0) for thread, ticks in after.items()}
    dali = sum(ticks for (name, _), ticks in spent.items() if name.startswith("[DALI]"))
    return {
        "DALI: mirror, normalize, lay out": each * dali,
        "submit, receive, arrange": each * (sum(spent.values()) - dali),
    }


def _ticks() -> dict[tuple[str, str], int]:
    """Return the CPU time of each thread of this process so far, by name and number, in ticks of the system's clock."""
    found = {}
    for folder in Path("/proc/self/task").iterdir():
        name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        user, system = rest.split()[11:13]
        found[name, folder.name] = int(user) + int(system)
    return found


# --- The command -----------------------------------------------------------------------------------------------------


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Measure all workloads, and return the content of the JSON file."""
    measured = {}
    for name in given.workload:
        say(name)
        paths = videos_of(name, given)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "index.parquet")
            make_index(paths, path)
            index = MotionIndex(path)
            measured[name] = {
                "worker": in_a_worker(paths, index, given.rounds),
                "main": in_the_main_process(paths, index, given.workers, given.epochs),
            }
    return {
        "benchmark": "stages",
        "machine": machine.facts(),
        "rounds": given.rounds,
        "epochs": given.epochs,
        "workers": given.workers,
        "milliseconds_a_clip": measured,
    }


def rendered(report: dict[str, Any]) -> str:
    facts, measured = report["machine"], report["milliseconds_a_clip"]
    head = f"{facts['date'][:10]}, {facts['cpu']}, {facts['cpu_cores']} cores; medians of {report['rounds']} rounds"
    first = next(iter(measured.values()))
    rows = [
        [f"{where}: {stage}", *(f"{own[where][stage]:.2f}" for own in measured.values())]
        for where, stages in first.items()
        for stage in stages
    ]
    return f"{head}\n\n{table(['CPU ms per clip', *measured], rows)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workload", nargs="+", choices=list(WORKLOADS), default=["mixed"], help="Workloads (default: mixed)."
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="Number of timed rounds of the stages (default: %(default)s)."
    )
    parser.add_argument(
        "--epochs", type=int, default=10, help="Number of epochs for the main process (default: %(default)s)."
    )
    parser.add_argument("--workers", type=int, default=cores(), help="Number of workers (default: all cores).")
    add_places(parser)
    given = parser.parse_args(arguments)
    report = measure(given)
    write_report(report, given.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
