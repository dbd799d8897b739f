"""Plot of the accuracy of strategies over the share of still frames."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__all__ = ["save_plot"]

_MARKERS = "os^Dv"
_WIDTH, _HEIGHT = 4.6, 3.2
_LEAST_SPAN = 20.0


def save_plot(report: dict[str, Any], path: Path) -> None:
    """Draw a curve for each strategy: a column of pictures for each set, a row for each number of frames.

    Markers are filled if the difference to segment sampling is larger than two standard errors.

    Args:
        report: The report of ``still_share.py``.
        path: File to write.
    """
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    sets, counts = report["sets"], report["settings"]["num_frames"]
    figure, grid = pyplot.subplots(
        len(counts),
        len(sets),
        figsize=(_WIDTH * len(sets), _HEIGHT * len(counts) + 0.8),
        sharex=True,
        sharey="col",
        squeeze=False,
        layout="constrained",
    )
    for column, (name, own) in enumerate(sets.items()):
        for row, count in enumerate(counts):
            axes = grid[row][column]
            _draw(axes, own["shares"], count)
            axes.set_title(f"{name} ({own['videos']} videos), {count} frames", fontsize="medium")
            axes.grid(alpha=0.3)
            if row == len(counts) - 1:
                axes.set_xlabel("still frames, % of the video")
            if column == 0:
                axes.set_ylabel("accuracy, %")
        # Differences that are only chance must not fill the picture.
        low, high = grid[0][column].get_ylim()
        margin = max(0.0, _LEAST_SPAN - (high - low)) / 2
        grid[0][column].set_ylim(low - margin, high + margin)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _draw(axes: Any, shares: dict[str, Any], count: int) -> None:
    curves: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for share in sorted(shares, key=float):
        for row in shares[share]["rows"]:
            if row["num_frames"] == count:
                curves.setdefault(row["strategy"], []).append((100 * float(share), row))
    for place, (name, points) in enumerate(curves.items()):
        x, y = [share for share, _ in points], [row["accuracy"] for _, row in points]
        marker = _MARKERS[place % len(_MARKERS)]
        (line,) = axes.plot(x, y, marker=marker, markerfacecolor="white", label=name)
        clear = [(share, row["accuracy"]) for share, row in points if row["difference"] and row["difference"]["clear"]]
        if clear:
            axes.plot(*zip(*clear, strict=True), marker=marker, color=line.get_color(), linestyle="none")
