"""Loading a packed data set from an HTTP server and from a folder: ``python benchmarks/pack_http.py --help``.

A server in a separate process answers range requests, each after an artificial latency (``pack_server.py``). Two
loaders of the same packed data set take turns, one epoch each: one reads the folder, the other the URL. The server,
both loaders and their workers share the cores of this machine, so the server's CPU time slows the remote loader down.

The report counts requests and bytes per clip, and compares them with what the picks need: the groups of pictures that
contain picks, and the packets from the key frame of each group to its last pick.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from command import say, write_report
from figures import heading, in_turn, ratios, spread, table, target, target_rows, with_spread
from pack_server import PackServer, Served
from peers.packs import make_pack
from peers.workloads import WORKLOADS, add_places, videos_of

from mgdali.bench import machine
from mgdali.bench.peers.packs import places_in_pack, read_records
from mgdali.bench.peers.process import Epoch, PeerProcess
from mgdali.bench.peers.registry import PEERS
from mgdali.bench.peers.task import Task, cores
from mgdali.video.picked_frames import needed_packets
from mgdali.video.record import VideoRecord

LOCAL, REMOTE = "local folder", "HTTP"


@dataclass(frozen=True)
class Needs:
    """What the picks of an epoch need.

    Attributes:
        groups: Number of groups of pictures that contain picks, added up over the clips.
        bytes: Size of the packets from the key frame of each group to its last pick, added up over the clips.
    """

    groups: int
    bytes: int


def needs_of(records: Sequence[VideoRecord], picks: Sequence[Sequence[int]]) -> Needs:
    """Return what picks need of the videos with these records; both have one entry per clip."""
    groups = size = 0
    for record, own in zip(records, picks, strict=True):
        assert record.packet_sizes is not None
        groups += len(set(np.searchsorted(record.key_frames, own, side="right").tolist()))
        runs = needed_packets(record, sorted(set(own)))
        size += sum(int(record.packet_sizes[first : last + 1].sum()) for first, last in runs)
    return Needs(groups, size)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Return the report: an epoch of each loader per round."""
    paths = videos_of(given.workload, given)
    task = Task(batch_size=given.batch_size, workers=given.workers, least_seconds=given.least_seconds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "pack")
        say(f"packing {given.workload}, {given.preset}")
        make_pack(paths, folder, given.preset, given.workers)
        server = PackServer(folder, given.latency_ms)
        stack.callback(server.close)
        places, processes = {LOCAL: str(folder), REMOTE: server.url}, {}
        for name, place in places.items():
            process = PeerProcess(PEERS["mgdali-packed"], replace(task, pack=place), paths)
            stack.callback(process.close)
            process.prepare()
            picks, _, _ = process.check()
            processes[name] = process
        records = read_records(str(folder))
        needs = needs_of([records[place] for place in places_in_pack(paths)], picks)
        epochs, served = take_turns(processes, server, given.rounds)
    return _report(given, len(paths), needs, epochs, served)


def take_turns(
    processes: dict[str, PeerProcess], server: PackServer, rounds: int
) -> tuple[dict[str, list[Epoch]], list[Served]]:
    """Return the epochs of both loaders, and what the server served in each epoch of the remote one."""
    epochs: dict[str, list[Epoch]] = {name: [] for name in processes}
    served = []
    for number in range(rounds):
        say(f"  round {number + 1} of {rounds}")
        for name in in_turn(list(processes), number):
            server.served()
            epochs[name].append(processes[name].epoch())
            if name == REMOTE:
                served.append(server.served())
    return epochs, served


def _report(
    given: argparse.Namespace, clips: int, needs: Needs, epochs: dict[str, list[Epoch]], served: list[Served]
) -> dict[str, Any]:
    remote = [each.count for each in epochs[REMOTE]]
    requests = [own.shard_requests / count for own, count in zip(served, remote, strict=True)]
    others = [own.other_requests / count for own, count in zip(served, remote, strict=True)]
    sent = [own.shard_bytes / count for own, count in zip(served, remote, strict=True)]
    speed = ratios([own.seconds for own in epochs[LOCAL]], [own.seconds for own in epochs[REMOTE]])
    figures: dict[str, Any] = {
        "requests_a_clip": spread([count / clips for count in requests]),
        "requests_a_group": spread([count / needs.groups for count in requests]),
        "groups_a_clip": needs.groups / clips,
        "bytes_a_clip": spread([size / clips for size in sent]),
        "needed_bytes_a_clip": needs.bytes / clips,
        "bytes_over_needed": spread([size / needs.bytes for size in sent]),
        "speed_over_local": speed,
        "other_requests_an_epoch": spread(others),
    }
    return {
        "benchmark": "pack_http",
        "machine": machine.facts(),
        "workload": given.workload,
        "preset": given.preset,
        "clips": clips,
        "latency_ms": given.latency_ms,
        "rounds": given.rounds,
        "task": {
            "workers": given.workers,
            "batch_size": given.batch_size,
            "least_seconds": given.least_seconds,
        },
        "note": "the server shares the cores of this machine with the loaders",
        "rows": {
            name: {
                "clips_per_s": spread([clips / own.seconds for own in each]),
                "cpu_seconds_a_clip": spread([own.cpu_seconds / clips for own in each]),
                "worker_cpu_seconds_a_clip": spread([own.worker_cpu_seconds / clips for own in each]),
            }
            for name, each in epochs.items()
        },
        **figures,
        "targets": [
            target("requests per group of pictures", figures["requests_a_group"]["median"], "<=", 1),
            target("bytes over the needed bytes", figures["bytes_over_needed"]["median"], "<=", 1.5),
            target("clips/s over those of the local folder", statistics.median(speed["values"]), ">=", 0.5),
        ],
    }


def rendered(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    rows = [
        [
            name,
            with_spread(own["clips_per_s"]),
            f"{1000 * own['worker_cpu_seconds_a_clip']['median']:.2f}",
            f"{1000 * own['cpu_seconds_a_clip']['median']:.2f}",
        ]
        for name, own in report["rows"].items()
    ]
    about = (
        f"{heading(report)}; {report['workload']}, {report['clips']} clips, packed {report['preset']}, "
        f"{report['task']['workers']} workers, {report['latency_ms']:g} ms per request, {report['rounds']} rounds; "
        f"{report['note']}"
    )
    needs = [
        ["requests per clip", f"{report['requests_a_clip']['median']:.2f}", f"{report['groups_a_clip']:.2f}"],
        [
            "KB per clip",
            f"{report['bytes_a_clip']['median'] / 1e3:.1f}",
            f"{report['needed_bytes_a_clip'] / 1e3:.1f}",
        ],
    ]
    return "\n\n".join(
        [
            about,
            table(["", "clips/s", "CPU ms per clip, workers", "CPU ms per clip, all processes"], rows),
            table(["", "served", "groups of pictures, packets that are needed"], needs),
            target_rows(report),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--workload", choices=list(WORKLOADS), default="kinetics", help="Workload (default: %(default)s).")
    add("--preset", choices=("small", "fast"), default="small", help="Preset of the pack (default: %(default)s).")
    add("--latency-ms", type=float, default=5.0, help="Wait before each answer (default: %(default)s).")
    add("--rounds", type=int, default=7, help="Number of timed epochs per loader (default: %(default)s).")
    add("--workers", type=int, default=cores(), help="Number of workers per loader (default: all cores).")
    add("--batch-size", type=int, default=8, help="Number of clips per batch (default: %(default)s).")
    add("--least-seconds", type=float, default=2.0, help="Shortest timed epoch; the videos are repeated until then.")
    add_places(parser)
    given = parser.parse_args(arguments)
    report = measure(given)
    write_report(report, given.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
