"""What packing a large data set takes in time, bytes and money: ``python benchmarks/pack_scale.py --help``.

The command measures nothing. It multiplies the rates in the results of ``packing.py`` and ``throughput.py`` and prints
each calculation, with the file that each rate comes from. Machines, prices and the number and length of the videos are
options; the output states them as assumptions. It also assumes that the rate grows with the number of cores, and that
the videos are like the measured ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Import the modules of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import write_report
from figures import table

CLUSTERS = (1, 10)
"""Numbers of machines."""


@dataclass(frozen=True)
class Assumptions:
    """What is assumed, not measured.

    Attributes:
        videos: Number of videos.
        seconds: Length of a video, in seconds.
        rate: Frames per second of a video.
        cores: Number of cores per machine.
        machine_price: Price of a machine per hour.
        storage_price: Price of a gigabyte (10^9 bytes) per month.
        epochs: Number of epochs of a training.
    """

    videos: int
    seconds: float
    rate: float
    cores: int
    machine_price: float
    storage_price: float
    epochs: int

    @property
    def frames(self) -> float:
        """Number of frames of all videos."""
        return self.videos * self.seconds * self.rate


@dataclass(frozen=True)
class Rates:
    """What was measured.

    Attributes:
        pack_frames: Packed frames per second and core.
        encoding: How they were encoded, in words.
        bytes, origin_bytes: Bytes per frame of the copies, with all of the shards, and of the originals.
        clips: Clips per second and core, by loader; empty without results of ``throughput.py``.
        sizes: Sizes of the measured copies, in pixels.
        packing, loading: What was measured, with the file.
    """

    pack_frames: float
    encoding: str
    bytes: float
    origin_bytes: float
    clips: dict[str, float]
    sizes: list[str]
    packing: str
    loading: str | None


def read_rates(packing: Path, throughput: Path | None, workload: str) -> Rates:
    """Return the rates in the results of ``packing.py`` and ``throughput.py``.

    The command ends with one line if a file does not contain what is needed.
    """
    measured = _read(packing, "packing")
    speed = measured["speed"].get(workload)
    sizes = measured["quality"].get(workload)
    if not speed or not sizes:
        raise SystemExit(f"pack_scale.py: {packing} has no speed and size of the workload {workload}")
    encoding = speed["encoding"]
    same = [each for each in sizes if each["encoding"] == encoding]
    if not same:
        raise SystemExit(f"pack_scale.py: {packing} has no sizes for the encoding whose speed was measured")
    size = same[0]
    clips, loading = {}, None
    if throughput is not None:
        clips = _clips(throughput, workload)
        loading = f"{throughput.name}, {workload}"
    return Rates(
        pack_frames=speed["frames_per_s"]["mgdali.pack"]["median"] / speed["workers"],
        encoding=f"{encoding['preset']}, {encoding['codec']}",
        bytes=size["bytes"] / size["frames"],
        origin_bytes=size["origin_bytes"] / size["frames"],
        clips=clips,
        sizes=sorted({"x".join(map(str, clip["size"])) for clip in size["clips"]}),
        packing=f"{packing.name}, {workload}",
        loading=loading,
    )


def _clips(path: Path, workload: str) -> dict[str, float]:
    report = _read(path, "throughput")
    found = [load for load in report["workloads"] if load["workload"] == workload]
    if not found:
        raise SystemExit(f"pack_scale.py: {path} has no workload {workload}")
    chosen = ("mgdali", "mgdali-index", "mgdali-packed", found[0]["fastest_peer"])
    workers = report["task"]["workers"]
    return {row["name"]: row["clips_per_s"]["median"] / workers for row in found[0]["rows"] if row["name"] in chosen}


def _read(path: Path, benchmark: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    if report.get("benchmark") != benchmark:
        raise SystemExit(f"pack_scale.py: {path} is not a result of {benchmark}.py")
    return report


class _Rows:
    """The rows of the table: name of each figure, its calculation in words, its value and its unit."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, figure: str, calculation: str, value: float, unit: str) -> float:
        """Add a row and return its value."""
        self.rows.append({"figure": figure, "calculation": calculation, "value": value, "unit": unit})
        return value


def compute(assumed: Assumptions, rates: Rates) -> list[dict[str, Any]]:
    """Return a row per figure: its name, the calculation in words, its value and its unit."""
    rows = _Rows()
    words = f"{assumed.videos:,} videos x {assumed.seconds:g} s x {assumed.rate:g} per second"
    rows.add("frames", words, assumed.frames / 1e6, "million")
    _packing(rows, assumed, rates)
    _storing(rows, assumed, rates)
    for name, rate in rates.clips.items():
        _loading(rows, assumed, name, rate)
    return rows.rows


def _packing(rows: _Rows, assumed: Assumptions, rates: Rates) -> None:
    words = f"{assumed.frames / 1e6:,.1f} million / {rates.pack_frames:.0f} per second and core / 3600"
    hours = rows.add("core hours of packing", words, assumed.frames / rates.pack_frames / 3600, "h")
    for machines in CLUSTERS:
        where, cores = _machines(machines, assumed.cores), machines * assumed.cores
        time = rows.add(f"packing on {where}", f"{hours:,.0f} / {cores} cores", hours / cores, "h")
        words = f"{time:.2f} h x {machines} x {assumed.machine_price:g}"
        rows.add(f"price of packing on {where}", words, time * machines * assumed.machine_price, "$")


def _storing(rows: _Rows, assumed: Assumptions, rates: Rates) -> None:
    for what, size in (("originals", rates.origin_bytes), ("pack", rates.bytes)):
        words = f"{assumed.frames / 1e6:,.1f} million frames x {size:.0f} bytes"
        total = rows.add(f"bytes of the {what}", words, assumed.frames * size / 1e9, "GB")
        words = f"{total:,.0f} GB x {assumed.storage_price:g}"
        rows.add(f"price of storing the {what} for a month", words, total * assumed.storage_price, "$")


def _loading(rows: _Rows, assumed: Assumptions, name: str, rate: float) -> None:
    for machines in CLUSTERS:
        where, cores = _machines(machines, assumed.cores), machines * assumed.cores
        words = f"{assumed.videos:,} / ({rate:.2f} per second and core x {cores} cores) / 3600"
        epoch = rows.add(f"an epoch with {name} on {where}", words, assumed.videos / rate / cores / 3600, "h")
        words = f"{epoch:.3f} h x {assumed.epochs} x {machines} x {assumed.machine_price:g}"
        price = epoch * assumed.epochs * machines * assumed.machine_price
        rows.add(f"price of {assumed.epochs} epochs with {name} on {where}", words, price, "$")


def _machines(count: int, cores: int) -> str:
    return f"one machine of {cores} cores" if count == 1 else f"{count} machines of {cores} cores"


def _with_unit(value: float, unit: str) -> str:
    """Return a figure as text; a time of less than an hour in seconds."""
    return f"{3600 * value:,.1f} s" if unit == "h" and value < 1 else f"{value:,.2f} {unit}"


def rendered(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    assumed, rates = report["assumptions"], report["rates"]
    given = (
        f"Assumed, not measured: {assumed['videos']:,} videos of {assumed['seconds']:g} s at {assumed['rate']:g} "
        f"frames per second, machines of {assumed['cores']} cores at {assumed['machine_price']:g} $ per hour, storage "
        f"at {assumed['storage_price']:g} $ per GB and month; the rate grows with the number of cores, and the videos "
        "are like the measured ones."
    )
    measured = (
        f"Measured: packing ({rates['encoding']}, copies of {', '.join(rates['sizes'])}) and bytes: {rates['packing']}"
    )
    if rates["loading"]:
        measured += f"; loading: {rates['loading']}"
    rows = [[own["figure"], own["calculation"], _with_unit(own["value"], own["unit"])] for own in report["rows"]]
    return f"{given}\n\n{measured}.\n\n{table(['', 'calculation', ''], rows)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("packing", type=Path, metavar="PACKING.json", help="Results of packing.py.")
    add("--throughput", type=Path, metavar="THROUGHPUT.json", help="Results of throughput.py, for loading.")
    add("--workload", default="kinetics", help="Workload of the results (default: %(default)s).")
    add("--videos", type=int, default=300_000, help="Number of videos (default: %(default)s).")
    add("--seconds", type=float, default=10.0, help="Length of a video (default: %(default)s).")
    add("--rate", type=float, default=30.0, help="Frames per second of a video (default: %(default)s).")
    add("--cores", type=int, default=64, help="Number of cores per machine (default: %(default)s).")
    add("--machine-price", type=float, default=3.0, help="$ per machine and hour, assumed (default: %(default)s).")
    add("--storage-price", type=float, default=0.02, help="$ per GB and month, assumed (default: %(default)s).")
    add("--epochs", type=int, default=50, help="Number of epochs of a training (default: %(default)s).")
    add("--out", type=Path, metavar="FILE.json", help="File to write the results to.")
    given = parser.parse_args(arguments)
    assumed = Assumptions(**{name: getattr(given, name) for name in Assumptions.__dataclass_fields__})
    rates = read_rates(given.packing, given.throughput, given.workload)
    report = {
        "benchmark": "pack_scale",
        "assumptions": asdict(assumed),
        "rates": asdict(rates),
        "rows": compute(assumed, rates),
    }
    write_report(report, given.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
