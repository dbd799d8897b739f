"""Clips per second of this loader and of others ("peers"): ``python benchmarks/throughput.py --help``.

Each peer does the whole task as its own documentation advises: it decodes, measures the luma difference, picks frames,
resizes, crops and normalizes them, and puts them into batches. Each runs in a separate process, with the same videos
in the same order and the same number of workers. Peers take turns, and each round starts with another one. Before a
peer is timed, its picks are compared with the reference's. Decoding alone is measured as the lower bound.

Some peers load a packed data set of the same videos, which is made before: ``mgdali-packed``, ``mgdali-packed-fast``
and ``torchcodec-known-picks``. Their picks are those of the originals; their frames are compared with the originals'
within a tolerance. ``mgdali-feature`` and ``mgdali-segment`` pick other frames: they show what motion at the feature
level costs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import av
from command import say, write_report
from figures import in_turn
from peers.comparisons import compared
from peers.packs import make_pack
from peers.reference import Agreement, Expected, compare, expect
from peers.report import plot, rendered, row
from peers.workloads import WORKLOADS, add_places, videos_of

from mgdali import VideoDataset, build_index
from mgdali.bench import machine
from mgdali.bench.peers.packs import distinct
from mgdali.bench.peers.process import Epoch, Missing, PeerProcess, Refusal
from mgdali.bench.peers.registry import PEERS, Peer
from mgdali.bench.peers.task import Task, cores
from mgdali.bench.rows import fastest, in_order
from mgdali.errors import VideoDecodeError
from mgdali.gpu import driver

SETTINGS = ("num_frames", "mu", "resize", "crop_size", "batch_size", "workers", "least_seconds")
"""Fields of a task that are equal for all workloads."""


@dataclass
class Measured:
    """A peer whose picks agree with the reference, and its measurements.

    Attributes:
        process: Process of the peer.
        versions: Versions of the packages that it needs.
        agreement: Comparison of its picks with the reference; None if it does not pick.
        epochs: Timed epochs.
        peak_memory: Peak memory of all its processes together, in bytes.
    """

    process: PeerProcess
    versions: dict[str, str | None]
    agreement: Agreement | None
    epochs: list[Epoch] = field(default_factory=list)
    peak_memory: int = 0

    @property
    def peer(self) -> Peer:
        return self.process.peer


# --- Setting up ------------------------------------------------------------------------------------------------------


def choose(names: Sequence[str]) -> tuple[list[Peer], str | None]:
    """Return the peers that this machine can run.

    If peers are left out because they need a GPU, also return a line that lists them.
    """
    peers = [PEERS[name] for name in names]
    left_out = [peer.name for peer in peers if peer.gpu]
    if not left_out or (reason := _missing_gpu()) is None:
        return peers, None
    return [peer for peer in peers if not peer.gpu], f"No GPU ({reason}): not measured: {', '.join(left_out)}."


def _missing_gpu() -> str | None:
    try:
        return None if driver.find_gpus() else "CUDA finds none"
    except driver.GPUError as error:
        return str(error)


def expect_all(paths: Sequence[str], task: Task, *, feature: bool) -> list[Expected]:
    """Return the expected results of each video, with those of the feature level if they are needed."""
    try:
        known = {path: expect(path, task, feature=feature) for path in distinct(paths)}
    except VideoDecodeError as error:
        raise SystemExit(f"throughput.py: {error}") from None
    return [known[path] for path in paths]


def make_index(paths: Sequence[str], to: Path) -> float:
    """Build the index of the videos, and return the seconds it took."""
    start = time.perf_counter()
    unique = distinct(paths)
    build_index(VideoDataset(unique, [0] * len(unique)), to)
    return time.perf_counter() - start


def make_files(
    paths: Sequence[str], peers: Sequence[Peer], task: Task, folder: Path
) -> tuple[dict[str, Task], dict[str, Any]]:
    """Make the index and the packed data sets that peers need.

    Returns:
        Task of each peer, with the files that it needs; and the time and size of the files, ready for JSON.
    """
    made: dict[str, Any] = {"index_seconds": None, "packs": {}}
    if any(peer.index for peer in peers):
        made["index_seconds"] = make_index(paths, folder / "index.parquet")
        task = replace(task, index=str(folder / "index.parquet"))
    for preset in dict.fromkeys(peer.preset for peer in peers if peer.preset):
        say(f"  packing, {preset}")
        made["packs"][preset] = make_pack(paths, folder / preset, preset, task.workers)
    tasks = {
        peer.name: task if peer.preset is None else replace(task, pack=str(folder / peer.preset)) for peer in peers
    }
    return tasks, made


def admit(process: PeerProcess, expected: Sequence[Expected]) -> Measured:
    """Run a peer's warm-up epoch and compare its picks with the expected ones.

    Raises:
        Refusal: If the peer cannot do the task, or if its results differ.
    """
    versions = process.prepare()
    picks, means, looks = process.check()
    if process.peer.held_to is None:
        return Measured(process, versions, None)
    try:
        return Measured(process, versions, compare(process.peer, expected, picks, means, looks))
    except ValueError as error:
        raise Refusal(str(error)) from None


def explain(peer: Peer, error: Refusal) -> str:
    """Return the reason that a peer has no row. It follows the peer's name in the report."""
    if isinstance(error, Missing):
        return f"is missing: {error}; pip install 'mgdali[{peer.extra}]'"
    return f"cannot take this workload: {error}"


# --- Measuring -------------------------------------------------------------------------------------------------------


def measure_workload(name: str, paths: Sequence[str], peers: Sequence[Peer], task: Task, rounds: int) -> dict[str, Any]:
    """Measure a workload, and return its part of the JSON file."""
    say(f"{name}: {len(paths)} videos")
    expected = expect_all(paths, task, feature=any(peer.held_to == "feature" for peer in peers))
    task = replace(task, longest=max(own.frames for own in expected))
    facts = {"videos": len(paths), "frames": sum(own.frames for own in expected), "longest": task.longest}
    measured: dict[str, Measured] = {}
    refused: dict[str, str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tasks, made = make_files(paths, peers, task, folder)
        for peer in peers:
            say(f"  {peer.name}: warm-up")
            process = PeerProcess(peer, tasks[peer.name], paths)
            stack.callback(process.close)
            try:
                measured[peer.name] = admit(process, expected)
            except Refusal as error:
                refused[peer.name] = explain(peer, error)
                process.close()
        refused |= take_turns(measured, rounds)
        summary = summed_up(name, measured, facts)
    return {"workload": name, **facts, **made, **summary, "refused": refused}


def take_turns(measured: dict[str, Measured], rounds: int) -> dict[str, str]:
    """Run the timed rounds, one epoch of each peer per round, and then one epoch each to measure memory.

    Memory is measured apart because reading it slows the epoch down. Peers that fail are removed from ``measured``.

    Returns:
        Reasons of the failures, by peer.
    """
    failed: dict[str, str] = {}
    names = list(measured)
    for number in range(rounds + 1):
        say(f"  round {number + 1} of {rounds}" if number < rounds else "  memory")
        for name in in_turn(names, number):
            if name not in measured:
                continue
            own = measured[name]
            try:
                if number < rounds:
                    own.epochs.append(own.process.epoch())
                else:
                    own.peak_memory = own.process.peak_memory()
            except Refusal as error:
                failed[name] = explain(own.peer, error)
                measured.pop(name).process.close()
    return failed


def summed_up(name: str, measured: dict[str, Measured], facts: dict[str, int]) -> dict[str, Any]:
    """Return a row per peer, with its speed relative to the fastest documented peer and to decoding alone.

    Ratios with targets follow.
    """
    epochs = {name: own.epochs for name, own in measured.items()}
    best = fastest({name: epochs[name] for name, own in measured.items() if own.peer.kind == "documented"})
    floor = next((name for name, own in measured.items() if own.peer.kind == "floor"), None)
    rows = [
        row(
            own.peer,
            facts["videos"],
            own.epochs,
            fastest_peer=None if best is None else epochs[best],
            floor=None if floor is None else epochs[floor],
            peak_memory=own.peak_memory,
            agreement=own.agreement,
        )
        | {"versions": own.versions}
        for own in measured.values()
    ]
    return {"fastest_peer": best, "rows": in_order(rows), "compared": compared(name, epochs, best)}


# --- The command -----------------------------------------------------------------------------------------------------


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Measure all workloads, and return the content of the JSON file."""
    peers, no_gpu = choose(given.peers)
    if not peers:
        raise SystemExit(f"throughput.py: {no_gpu}")
    task = Task(batch_size=given.batch_size, workers=given.workers, least_seconds=given.least_seconds)
    measured = []
    for name in given.workload:
        paths = videos_of(name, given)
        measured.append(measure_workload(name, paths, peers, task, given.rounds))
    return {
        "benchmark": "throughput",
        "machine": machine.facts(),
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "task": {name: value for name, value in asdict(task).items() if name in SETTINGS},
        "rounds": given.rounds,
        "no_gpu": no_gpu,
        "workloads": measured,
    }


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workload", nargs="+", choices=list(WORKLOADS), default=["mixed"], help="Workloads (default: mixed)."
    )
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="PEER", help=_peers())
    parser.add_argument("--rounds", type=int, default=7, help="Number of timed epochs per peer (default: %(default)s).")
    parser.add_argument("--workers", type=int, default=cores(), help="Number of workers per peer (default: all cores).")
    parser.add_argument("--batch-size", type=int, default=8, help="Number of clips per batch (default: %(default)s).")
    parser.add_argument(
        "--least-seconds",
        type=float,
        default=1.0,
        help="Shortest timed epoch; fast peers repeat the videos until then (default: %(default)s).",
    )
    add_places(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="File to write a plot of the results to.")
    given = parser.parse_args(arguments)
    for name in ("rounds", "workers", "batch_size"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return given


def _peers() -> str:
    return f"Loaders to measure (default: all of {', '.join(PEERS)})."


def main(arguments: Sequence[str] | None = None) -> None:
    given = parsed(arguments)
    report = measure(given)
    write_report(report, given.out)
    if given.plot:
        plot(report, given.plot)
    print(rendered(report))


if __name__ == "__main__":
    main()
