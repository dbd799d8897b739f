"""Results of the comparison: rows for JSON, tables in Markdown, and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import heading, table

from mgdali.bench.peers.process import Epoch
from mgdali.bench.peers.registry import Peer
from mgdali.bench.rows import row as speed_row
from peers.comparisons import compared_table
from peers.reference import Agreement

_MIB = 1 << 20
_HEADS = [
    "loader",
    "clips/s",
    "least",
    "most",
    "over the fastest peer",
    "over decoding alone",
    "CPU s per clip",
    "peak MiB",
    "picks equal",
]


def row(
    peer: Peer,
    clips: int,
    epochs: Sequence[Epoch],
    *,
    fastest_peer: Sequence[Epoch] | None,
    floor: Sequence[Epoch] | None,
    peak_memory: int,
    agreement: Agreement | None,
) -> dict[str, Any]:
    """Return the results of a peer, ready for JSON: its speed, memory, and the comparison of its picks."""
    speed = speed_row(peer, clips, epochs, fastest_peer=fastest_peer, floor=floor)
    return speed | {
        "peak_memory_bytes": peak_memory,
        "picks": None
        if agreement is None
        else {
            "held_to": peer.held_to,
            "equal": agreement.equal,
            "of": agreement.clips,
            "most_off": agreement.most_off,
        },
    }


def rendered(report: dict[str, Any]) -> str:
    """Return the report as Markdown: a table per workload, and the reason for each missing peer."""
    task = report["task"]
    parts = [
        f"{heading(report)}; {task['workers']} workers, batches of {task['batch_size']}, {report['rounds']} rounds of "
        f"at least {task['least_seconds']:g} s",
        *map(_rendered_workload, report["workloads"]),
    ]
    if report["no_gpu"]:
        parts.append(report["no_gpu"])
    return "\n\n".join(parts)


def _rendered_workload(load: dict[str, Any]) -> str:
    about = f"**{load['workload']}**: {load['videos']} videos, {load['frames']} frames, the longest {load['longest']}"
    if load["index_seconds"] is not None:
        about += f"; their index was built in {load['index_seconds']:.1f} s"
    for preset, own in load["packs"].items():
        share = own["bytes"] / own["origin_bytes"]
        about += f"; packed with the preset {preset} in {own['seconds']:.1f} s, {share:.2f} of the bytes"
    lines = [about, "", table(_HEADS, [_cells(own, load["fastest_peer"]) for own in load["rows"]])]
    if load["compared"]:
        lines += ["", compared_table(load["compared"])]
    lines += [f"\n{name} {reason}" for name, reason in load["refused"].items()]
    return "\n".join(lines)


def _cells(own: dict[str, Any], fastest_peer: str | None) -> list[str]:
    name = own["name"] + (" (by hand)" if own["kind"] == "by hand" else "")
    name += " (the fastest peer)" if own["name"] == fastest_peer else ""
    speed, picks = own["clips_per_s"], own["picks"]
    return [
        name,
        *(f"{speed[key]:.1f}" for key in ("median", "least", "most")),
        *(f"{own[key]['median']:.2f}" if own[key] else "-" for key in ("over_fastest_peer", "over_decoding_alone")),
        f"{own['cpu_seconds_a_clip']['median']:.4f}",
        f"{own['peak_memory_bytes'] / _MIB:.0f}",
        f"{picks['equal']} of {picks['of']}" if picks else "-",
    ]


def plot(report: dict[str, Any], path: Path) -> None:
    """Plot the medians as bars, with lines from the least to the most, one panel per workload."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    loads = [load for load in report["workloads"] if load["rows"]]
    colours = {"ours": "tab:green", "documented": "tab:blue", "by hand": "tab:purple", "floor": "tab:gray"}
    high = sum(len(load["rows"]) + 2 for load in loads)
    figure, parts = plt.subplots(
        len(loads),
        figsize=(8, 0.36 * high),
        squeeze=False,
        height_ratios=[len(load["rows"]) + 2 for load in loads],
        layout="constrained",
    )
    for part, load in zip(parts[:, 0], loads, strict=True):
        rows = load["rows"][::-1]
        speeds = [own["clips_per_s"] for own in rows]
        medians = [speed["median"] for speed in speeds]
        around = [
            [speed["median"] - speed["least"] for speed in speeds],
            [speed["most"] - speed["median"] for speed in speeds],
        ]
        part.barh(
            [own["name"] for own in rows],
            medians,
            xerr=around,
            color=[colours[own["kind"]] for own in rows],
            error_kw={"capsize": 3},
        )
        part.set_title(f"{load['workload']}: {load['videos']} videos, {load['frames']} frames")
        part.set_xlabel("clips per second, median, least to most")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
