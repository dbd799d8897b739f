"""How the loader scales, beside another one: ``python benchmarks/scaling.py --help``.

``workers`` and ``batch`` vary one setting, all loaders alive and taking turns; ``entries`` times the first batch of
data sets of a hundred to a hundred thousand entries, the same videos over and over, each time in a new process;
``memory`` looks at what all processes of a loader hold after each epoch.
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

# The package beside this folder is the one to measure.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import machine
from command import write_report
from peers.process import PeerProcess, Refusal
from peers.registry import PEERS, Peer
from peers.report import heading, spread, table
from peers.task import Task, cores
from peers.workloads import WORKLOADS, add_places, videos_of
from throughput import choose, explain, make_index, say

BATCH_SIZES = (1, 4, 16, 64)
ENTRIES = (100, 1_000, 10_000, 100_000)
EPOCHS = 20
_MIB = 1 << 20


@dataclass(frozen=True)
class Setting:
    """The loaders to measure, and what on."""

    peers: list[Peer]
    paths: list[str]
    task: Task
    rounds: int
    entries: tuple[int, ...] = ENTRIES
    epochs: int = EPOCHS


@contextmanager
def started(peer: Peer, task: Task, paths: Sequence[str]) -> Iterator[PeerProcess]:
    """A peer's process with everything imported; what it cannot do ends the command with one line."""
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
    """Clips a second with one worker, two, and as many as there are cores."""
    counts = sorted({1, 2, cores()})
    return _vary(setting, {str(count): replace(setting.task, workers=count) for count in counts})


def by_batch(setting: Setting) -> dict[str, Any]:
    """Clips a second in batches of several sizes."""
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
            for key in _in_turn(list(processes), number):
                seconds.setdefault(key, []).append(processes[key].epoch().seconds)
    clips = len(setting.paths)
    return {
        peer.name: {label: spread([clips / each for each in seconds[peer.name, label]]) for label in tasks}
        for peer in setting.peers
    }


def by_entries(setting: Setting) -> dict[str, Any]:
    """Seconds from making the loader to its first batch, with all modules imported, and memory then."""
    found: dict[str, dict[str, Any]] = {peer.name: {} for peer in setting.peers}
    for count in setting.entries:
        say(f"  {count} entries")
        paths = list(itertools.islice(itertools.cycle(setting.paths), count))
        looks: dict[str, list[tuple[float, int]]] = {peer.name: [] for peer in setting.peers}
        for number in range(setting.rounds):
            for peer in _in_turn(setting.peers, number):
                with started(peer, setting.task, paths) as process:
                    looks[peer.name].append((process.first(), process.memory()))
        for name, own in looks.items():
            seconds, memory = zip(*own, strict=True)
            found[name][str(count)] = {"seconds": spread(seconds), "memory_bytes": spread(memory)}
    return found


def by_epoch(setting: Setting) -> dict[str, Any]:
    """Memory after each epoch."""
    found = {}
    for peer in setting.peers:
        say(f"  {peer.name}: {setting.epochs} epochs")
        with started(peer, setting.task, setting.paths) as process:
            memory = []
            for _ in range(setting.epochs):
                process.epoch()
                memory.append(process.memory())
        # What the first epochs fill, queues and pools, is full half-way.
        found[peer.name] = {"memory_bytes": memory, "growth_bytes": memory[-1] - memory[len(memory) // 2]}
    return found


def _in_turn(things: list[Any], number: int) -> list[Any]:
    """Another one first each round."""
    start = number % len(things)
    return [*things[start:], *things[:start]]


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "workers": by_workers,
    "batch": by_batch,
    "entries": by_entries,
    "memory": by_epoch,
}


# --- What is printed -------------------------------------------------------------------------------------------------


def rendered(report: dict[str, Any]) -> str:
    task = report["task"]
    lines = [
        f"{heading(report)}; {report['videos']} videos ({report['workload']}), {task['workers']} workers and batches "
        f"of {task['batch_size']} unless said otherwise, {report['rounds']} rounds; medians (least to most)"
    ]
    for part in report["parts"]:
        lines.append(_TABLES[part](report["parts"][part]))
    return "\n\n".join(lines)


def _speeds(what: str) -> Callable[[dict[str, Any]], str]:
    def made(part: dict[str, Any]) -> str:
        labels = list(next(iter(part.values())))
        rows = [[name, *(_with_spread(own[label]) for label in labels)] for name, own in part.items()]
        return table([f"clips/s, {what}", *labels], rows)

    return made


def _entries(part: dict[str, Any]) -> str:
    labels = list(next(iter(part.values())))
    rows = []
    for name, own in part.items():
        rows.append([f"{name}, s", *(_with_spread(own[label]["seconds"], ".2f") for label in labels)])
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


def _with_spread(values: dict[str, Any], form: str = ".1f") -> str:
    return f"{values['median']:{form}} ({values['least']:{form}} to {values['most']:{form}})"


_TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "workers": _speeds("workers"),
    "batch": _speeds("clips a batch"),
    "entries": _entries,
    "memory": _memory,
}


# --- The command -----------------------------------------------------------------------------------------------------


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that the JSON holds."""
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
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=["mgdali", "dataloader-pyav"])
    parser.add_argument("--workload", choices=list(WORKLOADS), default="short")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, nargs="+", default=ENTRIES, help=f"default: {ENTRIES}")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of the part memory (default: {EPOCHS})")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--batch-size", type=int, default=8)
    add_places(parser)
    given = parser.parse_args(arguments)
    report = measure(given)
    write_report(report, given.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
