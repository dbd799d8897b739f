"""Plots of the small versions of the paper's tables."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablation_results import tables
from ablation_tables import TABLES

__all__ = ["plot"]


def plot(results: Sequence[dict[str, Any]], folder: Path) -> None:
    """Plot each table, with the 95 % intervals as error bars: Table 1 as a line, the others as bars."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in tables(results).items():
        if not rows:
            continue
        means = [row["accuracy"] for row in rows.values()]
        errors = [
            [row["accuracy"] - row["interval"][0] for row in rows.values()],
            [row["interval"][1] - row["accuracy"] for row in rows.values()],
        ]
        figure, axes = pyplot.subplots(figsize=(1.5 + 1.2 * len(rows), 3.5), layout="constrained")
        if number == 1:
            axes.errorbar([float(mu) for mu in rows], means, errors, marker="o", capsize=4)
            axes.set_xlabel("mu")
        else:
            axes.bar([name.replace(", ", "\n") for name in rows], means, yerr=errors, capsize=4, color="tab:blue")
        axes.set_ylabel("accuracy, % (synthetic videos)")
        axes.set_title(f"Small version of Table {number}. {TABLES[number].title}", fontsize="medium")
        figure.savefig(folder / f"ablation-table{number}.png", dpi=120)
        pyplot.close(figure)
