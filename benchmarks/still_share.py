"""Accuracy of strategies on badly trimmed videos: ``python benchmarks/still_share.py DIR… --out FILE.json``.

Each labelled video is extended by still frames before and after it (``still_frames.py``), at a random place, until they
are a given share of the video. ``mgdali.evaluate`` then compares the strategies as ``mgdali evaluate`` does on the
user's videos, with the same settings for all shares. With a share of 0, it is the evaluation of the videos as they are.

The extended videos are not written. Each different frame is in a file once, in which motion and features are measured
as in any other video; an extended video is an order of these frames. FILE.json is written after each share, and a
command that was stopped continues with the remaining ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from command import say
from figures import table
from lines import replace_json
from still_frames import START, VARIANTS
from still_plot import save_plot
from still_videos import OrderedFeatures, Trimmed, extended, prepare

from mgdali.bench import machine
from mgdali.evaluate.comparison import compare
from mgdali.evaluate.options import DEFAULT_NETWORK, EvaluateOptions
from mgdali.evaluate.report import rows_of
from mgdali.evaluate.strategies import picks_of, strategies_of
from mgdali.evaluate.videos import MeasuredVideo
from mgdali.workers.pool import workers_for

__all__ = ["main"]

Report = dict[str, Any]


def measure(options: EvaluateOptions, shares: Sequence[float], known: Report, write: Callable[[Report], None]) -> None:
    """Measure the shares that a set's report does not contain yet, and call ``write(report)`` after each."""
    todo = [share for share in shares if f"{share:g}" not in known.get("shares", {})]
    if not todo:
        return
    workers = workers_for(options.max_videos, options.num_workers)
    trimmed = prepare(options, workers, _watch)
    report: Report = {
        "videos": len(trimmed.videos),
        "failed": len(trimmed.failed),
        "classes": len(trimmed.classes),
        "still_motion": _still_motion(trimmed),
        "shares": dict(known.get("shares", {})),
    }
    for path, reason in trimmed.failed.items():
        say(f"left out: {path}: {reason}")
    for share in todo:
        say(f"{Path(options.data).name}: {100 * share:g} % still frames")
        videos, features = extended(trimmed, share)
        found = compare(options, videos, features, trimmed.classes, workers, _watch)
        inside = _picks_in_original(options, trimmed, videos, features)
        rows = [{**row, "picks_in_original": inside[row["strategy"], row["num_frames"]]} for row in rows_of(found)]
        report["shares"][f"{share:g}"] = {
            "median_frames": float(np.median(features.lengths)),
            "not_converged": found.not_converged,
            "rows": rows,
        }
        write(report)


def _still_motion(trimmed: Trimmed) -> dict[str, dict[str, float]]:
    """Return motion of still frames, and of the calmest tenth of the frames, relative to the mean of the frames.

    Medians over videos, by level.
    """
    found: dict[str, dict[str, float]] = {}
    for level in trimmed.videos[0].motion:
        still, calmest = [], []
        for number, video in enumerate(trimmed.videos):
            motion = video.motion[level]
            own = motion[START + 1 : START + trimmed.num_frames(number)]
            copies = np.concatenate([motion[1:START], motion[-VARIANTS:]])
            if own.mean() > 0:
                still.append(copies.mean() / own.mean())
                calmest.append(np.quantile(own, 0.1) / own.mean())
        found[level] = {"still": float(np.median(still)), "calmest_tenth": float(np.median(calmest))}
    return found


def _picks_in_original(
    options: EvaluateOptions, trimmed: Trimmed, videos: Sequence[MeasuredVideo], features: OrderedFeatures
) -> dict[tuple[str, int], float]:
    """Return the mean share of the picks, in testing, that are frames of the original, by strategy and number."""
    found = {}
    for strategy in strategies_of(options):
        for count in options.num_frames:
            sampler = strategy.make(count)
            shares = []
            for number, (video, order) in enumerate(zip(videos, features.orders, strict=True)):
                picks = order[picks_of(sampler, video, number, seed=0, clip=0, training=False)] - START
                shares.append(np.mean((picks >= 0) & (picks < trimmed.num_frames(number))))
            found[strategy.name, count] = round(float(np.mean(shares)), 4)
    return found


def render(report: Report, count: int) -> str:
    """Return a Markdown table for each set: accuracy by strategy and share of still frames, with ``count`` frames."""
    parts = []
    for name, own in report["sets"].items():
        shares = list(own["shares"])
        cells: dict[str, list[str]] = {}
        for share in shares:
            for row in own["shares"][share]["rows"]:
                if row["num_frames"] == count:
                    cells.setdefault(row["strategy"], []).append(_cell(row))
        heads = [f"{name}, N = {count}", *(f"{100 * float(share):g} %" for share in shares)]
        parts.append(table(heads, [[strategy, *line] for strategy, line in cells.items()]))
    return "\n\n".join(parts)


def _cell(row: Report) -> str:
    other = row["difference"]
    if other is None:
        return f"{row['accuracy']:.1f}"
    return f"{row['accuracy']:.1f} ({other['mean']:+.1f} ± {other['error']:.1f}{' *' if other['clear'] else ''})"


def _watch(text: str, done: int, total: int) -> None:
    if done == total or done % max(1, total // 10) == 0:
        say(f"{text}: {done} of {total}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sets and shares, print tables, and write the JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", nargs="+", type=Path, metavar="DIR", help="Labelled videos, such as a folder with one per class.")
    add("--shares", type=_numbers(float), default="0,0.25,0.5,0.75,0.9", help="Shares (default: %(default)s).")
    add("--num-frames", type=_numbers(int), default="4,8,16", help="Numbers of frames (default: %(default)s).")
    add("--mu", type=_numbers(float), default="0.5", help="Exponents of motion-guided sampling (default: %(default)s).")
    add("--seeds", type=int, default=5, help="Number of seeds (default: %(default)s).")
    add("--folds", type=int, default=5, help="Number of folds (default: %(default)s).")
    add("--network", default=DEFAULT_NETWORK, help="Network, as in mgdali evaluate (default: %(default)s).")
    add("--input-size", type=int, help="Side of the network's input in pixels.")
    add("--cache", type=Path, help="Folder for frames, motion and features.")
    add("--out", type=Path, required=True, metavar="FILE.json", help="File to write the results to.")
    add("--plot", type=Path, metavar="FILE", help="Plot to write. Needs matplotlib.")
    given = parser.parse_args(arguments)
    if not all(0 <= share < 1 for share in given.shares):
        parser.error(f"--shares must be within [0, 1), got {given.shares}")
    names = [data.resolve().name for data in given.data]
    if len(set(names)) < len(names):
        parser.error(f"folders must have different names, got {', '.join(names)}")
    try:
        report = _measure_sets(given)
    except ValueError as error:
        raise SystemExit(f"still_share.py: {error}") from error
    print("\n\n".join(render(report, count) for count in given.num_frames))
    if given.plot:
        save_plot(report, given.plot)


def _numbers(kind: Callable[[str], float]) -> Callable[[str], list[float]]:
    """Return a function that reads a list of numbers with commas between them."""
    return lambda text: [kind(part) for part in text.split(",")]


def _measure_sets(given: argparse.Namespace) -> Report:
    names = ("num_frames", "mu", "seeds", "folds", "network", "input_size")
    settings = {name: getattr(given, name) for name in names}
    known = json.loads(given.out.read_text()) if given.out.exists() else {"settings": settings, "sets": {}}
    if known["settings"] != settings:
        raise ValueError(f"{given.out} contains results with other settings: pass another --out")
    report = {**known, "machine": machine.facts()}
    for data in given.data:
        name = data.resolve().name

        def write(own: Report, name: str = name) -> None:
            report["sets"][name] = own
            replace_json(given.out, report)

        options = EvaluateOptions(data=str(data), cache=given.cache, **settings)
        measure(options, given.shares, report["sets"].get(name, {}), write)
    return report


if __name__ == "__main__":
    main()
