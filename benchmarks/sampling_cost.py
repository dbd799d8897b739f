"""Time per video of motion-guided sampling, as in the paper's Table 7: ``python benchmarks/sampling_cost.py VIDEOS``.

The loader loads the same videos with segment sampling and with motion-guided sampling at both levels, with an index and
without. All loaders run at the same time and take turns, one epoch each, and each round starts with another one. In the
paper, motion is measured during training. With an index it is measured once, so building the index is timed too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import write_report
from figures import in_turn

from mgdali import MGDaliIterator, MotionGuided, Segment, VideoDataset, build_index
from mgdali.bench import machine
from mgdali.samplers import Representation, Sampler
from mgdali.video.media import find_media

BASE = "segment"
SAMPLERS: dict[str, Sampler] = {
    BASE: Segment(num_frames=8),
    "image level": MotionGuided(num_frames=8),
    "feature level": MotionGuided(num_frames=8, motion="feature"),
}
INDEXED = " with an index"


def measure(folders: list[Path], rounds: int, levels: list[str]) -> dict[str, Any]:
    """Return the report: milliseconds per video of each sampler in each round, with an index and without."""
    paths = [path for folder in folders for path in find_media(folder)]
    dataset = VideoDataset(paths, [0] * len(paths))
    chosen = {name: sampler for name, sampler in SAMPLERS.items() if name in (BASE, *levels)}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        index = Path(place, "index.parquet")
        wanted = [Representation(motion=each.motion) for each in chosen.values() if isinstance(each, MotionGuided)]
        start = time.perf_counter()
        report = build_index(dataset, index, representations=wanted)
        build_seconds = time.perf_counter() - start
        loaders = {}
        for name, sampler in chosen.items():
            for ending, given in (("", None), (INDEXED, index)):
                loader = MGDaliIterator(
                    dataset, sampler=sampler, batch_size=8, training=True, shuffle=True, device="cpu", index=given
                )
                loaders[name + ending] = stack.enter_context(loader)
        times = _take_turns(loaders, rounds, len(paths))
    return {
        "machine": machine.facts(),
        "videos": len(paths),
        "frames": report.frames,
        "rounds": rounds,
        "index_seconds": build_seconds,
        "index_levels": [each.motion for each in wanted],
        "milliseconds_a_video": times,
        "summary": {name: _summary(times, name) for name in times},
    }


def _take_turns(loaders: dict[str, MGDaliIterator], rounds: int, videos: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in loaders}
    # The first round is not counted: it starts the workers and reads the files from disk.
    for number in range(rounds + 1):
        for name in in_turn(list(loaders), number):
            loaders[name].set_epoch(number)
            start = time.perf_counter()
            for clips, _ in loaders[name]:
                del clips
            if number:
                times[name].append((time.perf_counter() - start) * 1000 / videos)
    return times


def _summary(times: dict[str, list[float]], name: str) -> dict[str, float]:
    """Return the median, and the median of the ratios to segment sampling in the same rounds."""
    over = [one / base for one, base in zip(times[name], times[BASE], strict=True)]
    return {"median": statistics.median(times[name]), "over_segment": statistics.median(over)}


def render(report: dict[str, Any]) -> str:
    """Return the report as a Markdown table."""
    facts, times = report["machine"], report["milliseconds_a_video"]
    lines = [
        f"{facts['date'][:10]}, {facts['cpu']}, {facts['cpu_cores']} cores; {report['videos']} videos, "
        f"{report['frames']} frames, {report['rounds']} rounds. Building the index "
        f"({' and '.join(report['index_levels'])} level): {report['index_seconds']:.1f} s.",
        "",
        "| sampling | ms per video | least | most | over segment |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, own in report["summary"].items():
        least, most = min(times[name]), max(times[name])
        lines.append(f"| {name} | {own['median']:.1f} | {least:.1f} | {most:.1f} | {own['over_segment']:.2f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="DIR", help="Folder of videos.")
    parser.add_argument("--rounds", type=int, default=7, help="Number of timed rounds (default: %(default)s).")
    levels = list(SAMPLERS)[1:]
    parser.add_argument("--levels", nargs="+", choices=levels, default=levels, help="Levels (default: both).")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="File to write the results to.")
    given = parser.parse_args(arguments)
    report = measure(given.videos, given.rounds, given.levels)
    write_report(report, given.out)
    print(render(report))


if __name__ == "__main__":
    main()
