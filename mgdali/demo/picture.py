"""A picture that explains motion-guided sampling of one video: motion, its cumulative sum, and the picked frames."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mgdali.sampling import motion_weights

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator
except ImportError as error:
    raise ImportError(f"the picture needs matplotlib: pip install 'mgdali[plot]' ({error})") from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PICTURE_DPI", "PICTURE_WIDTH", "save_picks_picture"]

PICTURE_WIDTH = 12.0
"""Width in inches. The height depends on the number of picks and the shape of the frames."""
PICTURE_DPI = 120

_GUIDED = "#d9480f"
_EVEN = "#1c6fb0"
_CURVE = "#343a40"
_PALE = "#dee2e6"
_MOST_IN_A_ROW = 10
_LEAST_IN_A_ROW = 6
_MOST_FRAMES = 60
_MOST_LABELS = 20
_LEFT, _RIGHT = 0.95, 0.25
_MOTION_TOP, _MOTION, _SUM_TOP, _SUM, _STRIPS_TOP = 0.85, 1.5, 3.35, 3.0, 6.95
_STRIP_TITLE, _NUMBER = 0.5, 0.24


def save_picks_picture(
    path: str | os.PathLike[str],
    *,
    frames: Mapping[int, NDArray[np.uint8]],
    motion: ArrayLike,
    mu: float,
    guided: Sequence[int] | NDArray[np.int64],
    even: Sequence[int] | NDArray[np.int64],
    title: str,
) -> None:
    """Write a PNG with one video's motion, the way frames are picked by it, and the picks above an even spread.

    The picture contains, from top to bottom:

    - S of every frame,
    - the cumulative sum of ``S^mu``, with the y axis divided into N equal parts, and a line from the middle of each
      part to the frame that it picks,
    - the motion-guided frames,
    - the evenly spread frames.

    With more than 60 picks, the rows of frames show only every second, third, … frame. The PNG is
    ``PICTURE_WIDTH * PICTURE_DPI`` pixels wide.

    Args:
        path: Path of the PNG file. Its folder is created if it is missing.
        frames: Picked frames of both rows by index, uint8 ``[H, W, 3]`` RGB, all of the same size.
        motion: S, float ``[T]``.
        mu: Exponent that smooths S.
        guided: Motion-guided picks, int ``[N]``, taken at the middle of each part (offsets 0.5).
        even: Evenly spread picks, int ``[N]``.
        title: Title at the top of the picture.

    Raises:
        ValueError: If ``motion`` or ``mu`` is out of range.
        KeyError: If a picked frame is not in ``frames``.
        OSError: If the file cannot be written.
    """
    values = np.asarray(motion, np.float64)
    weights = motion_weights(values, mu)
    rows = [[int(t) for t in picks] for picks in (guided, even)]
    every = -(-len(rows[0]) // _MOST_FRAMES)
    page = _Page(frames[rows[0][0]].shape[:2], len(rows[0][::every]))
    # The font of a long title is smaller, so that the whole title fits. A $ in a file name must not start a formula.
    size = min(14.0, 14.0 * 85 / max(len(title), 1))
    page.figure.text(
        _LEFT / PICTURE_WIDTH, page.up(0.28), title, fontsize=size, fontweight="bold", va="center", parse_math=False
    )
    _draw_motion(page.axes(_MOTION_TOP, _MOTION), values, *rows)
    _draw_sum(page.axes(_SUM_TOP, _SUM), weights, rows[0], mu)
    names = (
        "Motion-guided: one frame from each equal part of the motion",
        "Evenly spread: one frame from each equal part of the time",
    )
    for place, (picks, name, colour) in enumerate(zip(rows, names, (_GUIDED, _EVEN), strict=True)):
        text = name if every == 1 else f"{name} (one in {every} is shown)"
        _draw_strip(page, place, frames, picks[::every], text, colour)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    page.figure.savefig(target, format="png", dpi=PICTURE_DPI)


class _Page:
    """A figure whose positions are given in inches from the top left corner.

    Args:
        frame_shape: H and W of the frames, which determine the size of the cells.
        count: Number of frames per strip.
    """

    def __init__(self, frame_shape: tuple[int, ...], count: int) -> None:
        lines = -(-count // _MOST_IN_A_ROW)
        self.columns = max(-(-count // lines), _LEAST_IN_A_ROW)
        self.cell_width = (PICTURE_WIDTH - _LEFT - _RIGHT) / self.columns
        # The height is limited, so that tall videos do not make the picture too high. They do not fill their cells.
        self.cell_height = min(self.cell_width * 0.94 * frame_shape[0] / frame_shape[1], 2.2) + _NUMBER
        self.strip_height = _STRIP_TITLE + lines * self.cell_height
        self.height = _STRIPS_TOP + 2 * self.strip_height + 0.3
        self.figure = Figure(figsize=(PICTURE_WIDTH, self.height), facecolor="white")

    def up(self, inches_down: float) -> float:
        """Convert a distance from the top, in inches, to matplotlib's fraction of the height."""
        return 1 - inches_down / self.height

    def axes(self, top: float, height: float, left: float = _LEFT, width: float | None = None) -> Axes:
        """Add axes with the given top left corner and size in inches; by default as wide as the page allows."""
        wide = PICTURE_WIDTH - _LEFT - _RIGHT if width is None else width
        share = (left / PICTURE_WIDTH, self.up(top + height), wide / PICTURE_WIDTH, height / self.height)
        return self.figure.add_axes(share)


def _draw_motion(axes: Axes, motion: NDArray[np.float64], guided: list[int], even: list[int]) -> None:
    axes.fill_between(range(len(motion)), motion, step="mid", color=_PALE)
    axes.step(range(len(motion)), motion, where="mid", color=_CURVE, linewidth=1.2)
    # Two rows of marks below the curve, so that picks of the same frame do not cover each other.
    lanes = axes.get_xaxis_transform()
    for lane, (picks, name, colour) in enumerate(((guided, "motion-guided", _GUIDED), (even, "evenly spread", _EVEN))):
        axes.plot(
            picks,
            [-0.1 - 0.13 * lane] * len(picks),
            "^",
            color=colour,
            markersize=7,
            transform=lanes,
            clip_on=False,
            label=f"{name} picks",
        )
    axes.set_ylim(0, max(float(motion.max()), 1.0) * 1.08)
    axes.set_ylabel("motion S")
    axes.set_title("Motion: how much each frame differs from the one before", loc="left", fontsize=11, color=_CURVE)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=10, borderaxespad=0.1)
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(axis="x", labelbottom=False, bottom=False)
    _frame_axis(axes, len(motion))


def _draw_sum(axes: Axes, weights: NDArray[np.float64], guided: list[int], mu: float) -> None:
    count, total = len(guided), len(weights)
    share = np.cumsum(weights) / weights.sum()
    for part in range(0, count, 2):
        axes.axhspan(part / count, (part + 1) / count, color=_PALE, alpha=0.5, linewidth=0)
    levels = [(part + 0.5) / count for part in range(count)]
    axes.hlines(levels, -0.5, guided, color=_GUIDED, linewidth=1, linestyles="dotted")
    axes.vlines(guided, 0, levels, color=_GUIDED, linewidth=1)
    # The curve rises at each frame by its share. So the line of a part meets the curve at the picked frame.
    axes.step([-0.5, *range(total), total - 0.5], [0.0, *share, 1.0], where="post", color=_CURVE, linewidth=1.5)
    axes.plot(guided, levels, "o", color=_GUIDED, markersize=6, zorder=3)
    axes.set_ylim(0, 1)
    labelled = range(0, count, -(-count // _MOST_LABELS))
    axes.set_yticks([levels[part] for part in labelled], [str(part + 1) for part in labelled])
    axes.set_ylabel("equal parts of the sum")
    axes.set_xlabel("frame")
    axes.set_title(
        f"Running sum of $S^{{{mu:g}}}$: each part of the sum picks the frame at which its middle is passed",
        loc="left",
        fontsize=11,
        color=_CURVE,
    )
    _frame_axis(axes, total)


def _frame_axis(axes: Axes, total: int) -> None:
    axes.set_xlim(-0.5, total - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_strip(
    page: _Page, place: int, frames: Mapping[int, NDArray[np.uint8]], picks: list[int], name: str, colour: str
) -> None:
    top = _STRIPS_TOP + place * page.strip_height
    page.figure.text(
        _LEFT / PICTURE_WIDTH, page.up(top + 0.3), name, fontsize=12, fontweight="bold", color=colour, va="center"
    )
    for number, t in enumerate(picks):
        line, column = divmod(number, page.columns)
        axes = page.axes(
            top + _STRIP_TITLE + line * page.cell_height,
            page.cell_height - _NUMBER,
            _LEFT + column * page.cell_width,
            page.cell_width * 0.94,
        )
        axes.imshow(frames[t], interpolation="antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(str(t), fontsize=10, color=colour, labelpad=2)
        for spine in axes.spines.values():
            spine.set_color(colour)
