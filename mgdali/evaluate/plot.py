"""The plot of an evaluation: differences to segment sampling over the number of frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(f"the plot needs matplotlib: pip install 'mgdali[plot]' ({error})") from error

__all__ = ["check_plot", "save_plot"]

_MARKERS = "os^Dv<>P*X"
_COLOURS = (
    "#1c6fb0",
    "#868e96",
    "#d9480f",
    "#2b8a3e",
    "#862e9c",
    "#5c940d",
    "#0b7285",
    "#a61e4d",
    "#364fc7",
    "#e67700",
)
_SPREAD = 0.5
_DPI = 120


def check_plot(path: Path) -> None:
    """Raise ValueError unless the ending of a file names a format that matplotlib writes."""
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in known:
        raise ValueError(f"the plot {path} must end in one of {', '.join(f'.{ending}' for ending in known)}")


def save_plot(report: Mapping[str, Any], path: Path) -> None:
    """Draw the differences with their standard errors, and write the picture.

    Args:
        report: As :func:`mgdali.evaluate.report.report_of` makes it.
        path: File to write, whose ending :func:`check_plot` accepts.

    Raises:
        OSError: If the file cannot be written.
    """
    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    counts = report["num_frames"]
    others = [name for name in report["strategies"] if name != report["baseline"]]
    for place, name in enumerate(others):
        rows = [row for row in report["rows"] if row["strategy"] == name]
        # Beside each other, so that the error bars can be told apart.
        shift = _SPREAD * ((place + 0.5) / len(others) - 0.5)
        axes.errorbar(
            [i + shift for i in range(len(rows))],
            [row["difference"]["mean"] for row in rows],
            yerr=[row["difference"]["error"] or 0.0 for row in rows],
            fmt=_MARKERS[place % len(_MARKERS)],
            color=_COLOURS[place % len(_COLOURS)],
            capsize=3,
            label=name,
        )
    axes.axhline(0.0, color="#343a40", linewidth=1)
    segment = {row["num_frames"]: row["accuracy"] for row in report["rows"] if row["strategy"] == report["baseline"]}
    axes.set_xticks(range(len(counts)), [f"{count}\n({segment[count]:.1f} %)" for count in counts])
    axes.set_xlabel("frames per video (accuracy of segment sampling)")
    axes.set_ylabel("difference to segment sampling, points")
    # A $ in a name must not start a formula.
    axes.set_title(f"{report['data']['data']}: {report['data']['videos']} videos".replace("$", r"\$"))
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
