"""Scaling of this loader and of others: ``python benchmarks/scaling.py --help``.

``workers`` and ``batch`` vary one setting; all loaders run at the same time and take turns. ``entries`` times the first
batch of data sets of a hundred to a hundred thousand entries, which repeat the same videos, each time in a new process.
``memory`` measures the memory of all processes of a loader after each epoch.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import say, write_report
from figures import heading, in_turn, spread, table, with_spread
from peers.workloads import WORKLOADS, add_places, videos_of
from throughput import choose, explain, make_index

from mgdali.bench import machine
from mgdali.bench.peers.process import PeerProcess, Refusal
from mgdali.bench.peers.registry import PEERS, Peer
from mgdali.bench.peers.task import Task, cores

BATCH_SIZES = (1, 4, 16, 64)
ENTRIES = (100, 1_000, 10_000, 100_000)
EPOCHS = 20
_MIB = 1 << 20


@dataclass(frozen=True)
class Setting:
    """Loaders to measure, videos and settings.

    Attributes:
        peers: Loaders to measure.
        paths: Paths of the videos.
        task: Task of the loaders.
        rounds: Number of timed rounds.
        entries: Sizes of the data sets of the part ``entries``.
        epochs: Number of epochs of the part ``memory``.
    """

    peers: list[Peer]
    paths: list[str]
    task: Task
    rounds: int
    entries: tuple[int, ...] = ENTRIES
    epochs: int = EPOCHS


@contextmanager
def started(peer: Peer, task: Task, paths: Sequence[str]) -> Iterator[PeerProcess]:
    """Yield a peer's process with all its packages imported; end the command with one line if the peer refuses."""
    process = PeerProcess(peer, task, paths)
    try:
        process.prepare()
        yield process
    except Refusal as error:
        raise SystemExit(f"scaling.py: {peer.name} {explain(peer, error)}") from None
    finally:
        process.close()


# --- The parts -------------------------------------------------------------------------------------------------------


def by_workers(setting: Setting) -> dict[str, Any]:
    """Return clips per second with one worker, with two, and with one per core."""
    counts = sorted({1, 2, cores()})
    return _vary(setting, {str(count): replace(setting.task, workers=count) for count in counts})


def by_batch(setting: Setting) -> dict[str, Any]:
    """Return clips per second with several batch sizes."""
    return _vary(setting, {str(size): replace(setting.task, batch_size=size) for size in BATCH_SIZES})


def _vary(setting: Setting, tasks: dict[str, Task]) -> dict[str, Any]:
    seconds: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        processes = {}
        for peer, (label, task) in itertools.product(setting.peers, tasks.items()):
            process = stack.enter_context(started(peer, task, setting.paths))
            # The first epoch starts the workers.
            process.check()
            processes[peer.name, label] = process
        for number in range(setting.rounds):
            say(f"  round {number + 1} of {setting.rounds}")
            for key in in_turn(list(processes), number):
                seconds.setdefault(key, []).append(processes[key].epoch().seconds)
    clips = len(setting.paths)
    return {
        peer.name: {label: spread([clips / each for each in seconds[peer.name, label]]) for label in tasks}
        for peer in setting.peers
    }


def by_entries(setting: Setting) -> dict[str, Any]:
    """Return the seconds from creating the loader to its first batch, all modules imported, and the memory then."""
    found: dict[str, dict[str, Any]] = {peer.name: {} for peer in setting.peers}
    for count in setting.entries:
        say(f"  {count} entries")
        paths = list(itertools.islice(itertools.cycle(setting.paths), count))
        looks: dict[str, list[tuple[float, int]]] = {peer.name: [] for peer in setting.peers}
        for number in range(setting.rounds):
            for peer in in_turn(setting.peers, number):
                with started(peer, setting.task, paths) as process:
                    looks[peer.name].append((process.first(), process.memory()))
        for name, own in looks.items():
            seconds, memory = zip(*own, strict=True)
            found[name][str(count)] = {"seconds": spread(seconds), "memory_bytes": spread(memory)}
    return found


def by_epoch(setting: Setting) -> dict[str, Any]:
    """Return the memory after each epoch, and its growth over the second half of the epochs."""
    found = {}
    for peer in setting.peers:
        say(f"  {peer.name}: {setting.epochs} epochs")
        with started(peer, setting.task, setting.paths) as process:
            memory = []
            for _ in range(setting.epochs):
                process.epoch()
                memory.append(process.memory())
        # The first half is left out, because queues and memory pools still fill up then.
        found[peer.name] = {"memory_bytes": memory, "growth_bytes": memory[-1] - memory[len(memory) // 2]}
    return found


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "workers": by_workers,
    "batch": by_batch,
    "entries": by_entries,
    "memory": by_epoch,
}


# --- Tables ----------------------------------------------------------------------------------------------------------


def rendered(report: dict[str, Any]) -> str:
    task = report["task"]
    lines = [
        f"{heading(report)}; {report['videos']} videos ({report['workload']}), {task['workers']} workers and batches "
        f"of {task['batch_size']} unless stated otherwise, {report['rounds']} rounds; medians (least to most)"
    ]
    for part in report["parts"]:
        lines.append(_TABLES[part](report["parts"][part]))
    return "\n\n".join(lines)


def _speeds(what: str) -> Callable[[dict[str, Any]], str]:
    def made(part: dict[str, Any]) -> str:
        labels = list(next(iter(part.values())))
        rows = [[name, *(with_spread(own[label]) for label in labels)] for name, own in part.items()]
        return table([f"clips/s, {what}", *labels], rows)

    return made


def _entries(part: dict[str, Any]) -> str:
    labels = list(next(iter(part.values())))
    rows = []
    for name, own in part.items():
        rows.append([f"{name}, s", *(with_spread(own[label]["seconds"], ".2f") for label in labels)])
        memory = (statistics.median(own[label]["memory_bytes"]["values"]) / _MIB for label in labels)
        rows.append([f"{name}, MiB", *(f"{each:.0f}" for each in memory)])
    return table(["to the first batch, entries", *(f"{int(label):,}" for label in labels)], rows)


def _memory(part: dict[str, Any]) -> str:
    rows = []
    for name, own in part.items():
        memory = own["memory_bytes"]
        figures = (memory[0], memory[len(memory) // 2], memory[-1], max(memory), own["growth_bytes"])
        rows.append([name, *(f"{figure / _MIB:.1f}" for figure in figures)])
    return table(["MiB after an epoch", "first", "half-way", "last", "most", "last over half-way"], rows)


_TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "workers": _speeds("workers"),
    "batch": _speeds("clips per batch"),
    "entries": _entries,
    "memory": _memory,
}


# --- The command -----------------------------------------------------------------------------------------------------


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Measure all parts, and return the content of the JSON file."""
    peers, no_gpu = choose(given.peers)
    if no_gpu:
        raise SystemExit(f"scaling.py: {no_gpu}")
    paths = videos_of(given.workload, given)
    task = Task(workers=given.workers, batch_size=given.batch_size)
    with tempfile.TemporaryDirectory() as scratch:
        if any(peer.index for peer in peers):
            index = Path(scratch, "index.parquet")
            make_index(paths, index)
            task = replace(task, index=str(index))
        setting = Setting(peers, paths, task, given.rounds, tuple(given.entries), given.epochs)
        parts = {}
        for name in given.parts:
            say(name)
            parts[name] = PARTS[name](setting)
    return {
        "benchmark": "scaling",
        "machine": machine.facts(),
        "workload": given.workload,
        "videos": len(paths),
        "task": {"workers": task.workers, "batch_size": task.batch_size},
        "rounds": given.rounds,
        "parts": parts,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="Parts (default: all).")
    add = parser.add_argument
    peers = ["mgdali", "dataloader-pyav"]
    # Loaders of packed data sets are left out: no pack is made here.
    choices = [name for name, peer in PEERS.items() if peer.preset is None]
    add("--peers", nargs="+", choices=choices, default=peers, help=f"Loaders (default: {' '.join(peers)}).")
    add("--workload", choices=list(WORKLOADS), default="short", help="Workload (default: %(default)s).")
    add("--rounds", type=int, default=5, help="Number of timed rounds (default: %(default)s).")
    sizes = " ".join(map(str, ENTRIES))
    add("--entries", type=int, nargs="+", default=ENTRIES, help=f"Sizes of the data sets (default: {sizes}).")
    add("--epochs", type=int, default=EPOCHS, help="Number of epochs of the part memory (default: %(default)s).")
    add("--workers", type=int, default=cores(), help="Number of workers (default: all cores).")
    add("--batch-size", type=int, default=8, help="Number of clips per batch (default: %(default)s).")
    add_places(parser)
    given = parser.parse_args(arguments)
    report = measure(given)
    write_report(report, given.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
