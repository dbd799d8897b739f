"""Benefit, cost and size of a motion index: ``python benchmarks/index.py --help``.

``loading`` compares the loader with and without an index (``index_loading.py``). ``build`` compares making an index
with decoding alone (``index_build.py``). ``scale`` makes the index of a million synthetic videos and looks videos up in
it (``index_scale.py``). ``project`` computes from the JSON files of ``build`` and ``scale`` the time, disk and memory
that more videos would take.

The variants of a comparison take turns in one run, so that other activity on the machine affects all of them. Results
are printed as Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import write_report
from index_build import LEVELS, measure_build, render_build
from index_loading import LONG, measure_loading, render_loading
from index_scale import measure_scale, render_project, render_scale


def run_loading(given: argparse.Namespace) -> str:
    return _finished(measure_loading(given.videos, given.long, given.rounds), given.out, render_loading)


def run_build(given: argparse.Namespace) -> str:
    return _finished(measure_build(given.videos, given.copies, given.rounds, given.motion), given.out, render_build)


def run_scale(given: argparse.Namespace) -> str:
    with _folder(given.folder) as folder:
        report = measure_scale(folder, given.videos, given.mean_frames, given.finds, given.rounds)
    return _finished(report, given.out, render_scale)


def run_project(given: argparse.Namespace) -> str:
    built, scale = (json.loads(path.read_text()) for path in (given.build, given.scale))
    return render_project(built, scale, given.videos, given.mean_frames, given.cores)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """Yield an empty folder: ``given``, or a temporary folder that is removed afterwards."""
    if given is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
        return
    given.mkdir(parents=True, exist_ok=True)
    if any(given.iterdir()):
        raise SystemExit(f"index.py: the folder {given} is not empty: pass another one with --folder")
    yield given


def _finished(report: dict[str, Any], out: Path | None, render: Callable[[dict[str, Any]], str]) -> str:
    write_report(report, out)
    return render(report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the benefit, the cost and the size of a motion index.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    loading = commands.add_parser("loading", help="Measure clips per second of the loader with and without an index.")
    loading.add_argument("videos", nargs="+", type=Path, metavar="DIR", help="Folder of videos.")
    loading.add_argument(
        "--long",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help=f"Folders from which only videos of at least {LONG} frames are loaded.",
    )
    building = commands.add_parser("build", help="Measure frames per second of making an index and of decoding alone.")
    building.add_argument("videos", nargs="+", type=Path, metavar="DIR", help="Folder of videos.")
    building.add_argument(
        "--copies", type=int, default=20, help="Number of copies of each file to measure (default: %(default)s)."
    )
    building.add_argument(
        "--motion", choices=list(LEVELS), default="image", help="Motion in the index (default: %(default)s)."
    )
    scale = commands.add_parser(
        "scale", help="Measure an index of a million synthetic videos. Needs 4 GB of disk space."
    )
    scale.add_argument(
        "--videos", type=int, default=1_000_000, help="Number of synthetic videos (default: %(default)s)."
    )
    scale.add_argument(
        "--mean-frames", type=int, default=150, help="Mean number of frames per video (default: %(default)s)."
    )
    scale.add_argument("--finds", type=int, default=20_000, help="Number of videos to look up (default: %(default)s).")
    scale.add_argument(
        "--folder", type=Path, metavar="DIR", help="Empty folder for the files, which are kept (default: temporary)."
    )
    for command, run in ((loading, run_loading), (building, run_build), (scale, run_scale)):
        command.add_argument("--out", type=Path, metavar="FILE.json", help="File to write the results to.")
        command.add_argument(
            "--rounds",
            type=int,
            default=7 if run is not run_scale else 5,
            help="Number of timed rounds (default: %(default)s).",
        )
        command.set_defaults(run=run)
    project = commands.add_parser("project", help="Compute the time, disk and memory that more videos would take.")
    project.add_argument("build", type=Path, metavar="BUILD.json", help="Results of the command build.")
    project.add_argument("scale", type=Path, metavar="SCALE.json", help="Results of the command scale.")
    project.add_argument("--videos", type=int, default=100_000_000, help="Number of videos (default: %(default)s).")
    project.add_argument(
        "--mean-frames", type=int, default=300, help="Mean number of frames per video (default: %(default)s)."
    )
    project.add_argument("--cores", type=int, default=64, help="Number of cores per machine (default: %(default)s).")
    project.set_defaults(run=run_project)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    print(given.run(given))


if __name__ == "__main__":
    main()
