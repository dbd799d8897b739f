"""Results of the small versions of the paper's tables: bootstrap intervals, tables, targets, and the file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ablation_tables import TABLES, Row, Run
from figures import table
from lines import replace_json
from numpy.typing import ArrayLike, NDArray

from mgdali.bench import machine

__all__ = ["ResultsFile", "interval", "markdown", "summary", "tables", "targets"]

Result = dict[str, Any]

RESAMPLES = 10_000


def interval(values: ArrayLike) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of some values, in the unit of the values.

    Seeds are resampled, and the test videos within each chosen seed, so the interval includes the choice of both.

    Args:
        values: A value for each test video of each seed, ``[S, V]``. Each seed has its own videos.
    """
    rng = np.random.default_rng(0)
    found = np.array(values, np.float64)
    seeds, videos = found.shape
    chosen = rng.integers(0, seeds, (RESAMPLES, seeds))
    means = np.zeros(RESAMPLES)
    for place in range(seeds):
        # How often each video of the chosen seed is drawn.
        counts = rng.multinomial(videos, np.full(videos, 1 / videos), RESAMPLES)
        means += np.einsum("rv,rv->r", counts, found[chosen[:, place]]) / videos
    low, high = np.percentile(means / seeds, [2.5, 97.5])
    return float(low), float(high)


def summary(results: Sequence[Result], row: Row) -> Result | None:
    """Return a row's accuracy, and its lead over segment sampling with the same model; None if it has no runs.

    Accuracies and leads are in percent, with 95 % intervals. The lead is that of the seeds which both rows have.
    """
    own = _runs(results, row)
    if not own:
        return None
    percent = [100 * np.array(result["correct"], np.float64) for result in own.values()]
    return {
        "accuracy": float(np.mean(percent)),
        "interval": interval(percent),
        **_lead(own, _runs(results, Row(row.model, "segment", row.length))),
        "seeds": len(own),
        "picks_in_burst": statistics.fmean(result["picks_in_burst"] for result in own.values()),
        "epochs": statistics.fmean(len(result["epochs"]) for result in own.values()),
    }


def _runs(results: Sequence[Result], row: Row) -> dict[int, Result]:
    """Return the finished runs of a row, by seed."""
    wanted = asdict(Row(row.model, row.sampler, row.length))
    return {result["seed"]: result for result in results if {name: result[name] for name in wanted} == wanted}


def _lead(own: dict[int, Result], other: dict[int, Result]) -> Result:
    """Return the mean difference of two rows' runs, in percent, with its interval; None if they share no seed."""
    differences: list[NDArray[np.float64]] = [
        100 * (np.array(own[seed]["correct"], np.float64) - np.array(other[seed]["correct"], np.float64))
        for seed in sorted(own.keys() & other.keys())
    ]
    if not differences:
        return {"lead": None, "lead_interval": None}
    return {"lead": float(np.mean(differences)), "lead_interval": interval(differences)}


def tables(results: Sequence[Result]) -> dict[int, dict[str, Result]]:
    """Return the summaries of the finished runs, by table and row."""
    found = {number: {name: summary(results, row) for name, row in own.rows.items()} for number, own in TABLES.items()}
    return {number: {name: row for name, row in rows.items() if row} for number, rows in found.items()}


def targets(results: Sequence[Result]) -> list[Result]:
    """Return the targets: motion-guided sampling leads, and the interval of its lead does not contain 0."""
    guided, claims = Row("tsm", "image 0.5"), []
    for name, sampler in (("segment", "segment"), ("top motion", "top")):
        lead = _lead(_runs(results, guided), _runs(results, Row("tsm", sampler)))
        if lead["lead"] is not None:
            low, high = lead["lead_interval"]
            claims.append(
                {
                    "figure": f"motion-guided over {name}",
                    "value": lead["lead"],
                    "low": low,
                    "high": high,
                    "met": low > 0,
                }
            )
    return claims


def markdown(results: Sequence[Result]) -> str:
    """Return the tables in Markdown, and whether the targets are met."""
    parts = []
    for number, rows in tables(results).items():
        if rows:
            heads = ["", "Accuracy, %", "95 %", "Over segment", "95 %", "Seeds", "Epochs", "Picks in the burst, of 8"]
            parts += [f"Table {number}. {TABLES[number].title}", table(heads, [_line(*row) for row in rows.items()])]
    for claim in targets(results):
        bounds = f"{claim['low']:+.1f} to {claim['high']:+.1f}"
        parts.append(
            f"{claim['figure']}: {claim['value']:+.1f} points ({bounds}): {'met' if claim['met'] else 'missed'}"
        )
    return "\n\n".join(parts)


def _line(name: str, row: Result) -> list[str]:
    low, high = row["interval"]
    lead = ["–", "–"]
    if row["lead"] is not None:
        least, most = row["lead_interval"]
        lead = [f"{row['lead']:+.1f}", f"{least:+.1f} to {most:+.1f}"]
    counts = [str(row["seeds"]), f"{row['epochs']:.0f}", f"{row['picks_in_burst']:.2f}"]
    return [name, f"{row['accuracy']:.1f}", f"{low:.1f} to {high:.1f}", *lead, *counts]


class ResultsFile:
    """The results so far, in a JSON file from which a later command continues.

    Args:
        path: Path of the file.
        settings: The settings of all runs, ready for JSON.

    Raises:
        SystemExit: If the file contains runs with other settings.
    """

    def __init__(self, path: Path, settings: Result) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.runs: list[Result] = []
        if path.exists():
            known = json.loads(path.read_text())
            if known["settings"] != self.settings:
                raise SystemExit(f"ablation.py: {path} contains runs with other settings: pass another --out")
            self.runs = known["runs"]

    def __contains__(self, run: Run) -> bool:
        return asdict(run) in [{name: done[name] for name in asdict(run)} for done in self.runs]

    def add(self, result: Result, jobs: int) -> None:
        """Add a run's result and write the file. It is replaced atomically, so that it is always complete.

        ``machine`` in the file is that of the last run. Each run has its own ``cpu``.
        """
        facts = machine.facts()
        self.runs.append({**result, "cpu": facts["cpu"]})
        report = {"machine": facts, "settings": self.settings, "jobs": jobs, "targets": targets(self.runs)}
        # In one line: the runs contain a number for each video.
        replace_json(self.path, {**report, "tables": tables(self.runs), "runs": self.runs}, indent=None)
