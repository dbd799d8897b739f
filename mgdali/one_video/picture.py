"""A picture that explains the picks of one video, drawn by matplotlib: motion, its running sum, and the picked frames.

Figures are made without pyplot. So nothing needs a display, and no global state of matplotlib changes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mgdali.one_video.explanation import Explanation, Picked, PickRow, RunningSum, explain_clip

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator
except ImportError as error:
    raise ImportError(f"the picture needs matplotlib: pip install 'mgdali[plot]' ({error})") from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PICTURE_DPI", "PICTURE_WIDTH", "draw_explanation", "picks_figure", "png_of", "save_figure"]

PICTURE_WIDTH = 12.0
"""Width in inches. The height depends on what is drawn, the number of picks and the shape of the frames."""
PICTURE_DPI = 120

_COLOURS = {"picked": "#d9480f", "even": "#1c6fb0"}
_CURVE = "#343a40"
_PALE = "#dee2e6"
_MOST_IN_A_ROW = 10
_LEAST_IN_A_ROW = 6
_MOST_FRAMES = 60
_MOST_LABELS = 20

# Lengths in inches.
_LEFT, _RIGHT = 0.95, 0.25
_TOP, _SECONDS, _MOTION, _LINE, _SUM_TITLE, _SUM, _FRAME_AXIS = 0.85, 0.35, 1.5, 0.05, 1.0, 3.0, 0.6
_FIRST_MARKS, _NEXT_MARKS = 0.15, 0.195
_STRIP_TITLE, _NUMBER, _BOTTOM = 0.5, 0.24, 0.3
_POINTS = 72

# Frames are reduced to this multiple of their size in the picture, so that large ones do not fill the memory.
_SHARPNESS = 2


class PickedFrames(Picked, Protocol):
    """Members of :class:`~mgdali.PickedClip` from which its picture is drawn."""

    @property
    def frames(self) -> NDArray[np.uint8]: ...


class PicksFigure(Figure):
    """A matplotlib figure that notebooks show as an image, also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        return png_of(self)


def draw_explanation(explanation: Explanation, frames: Mapping[int, NDArray[np.uint8]]) -> PicksFigure:
    """Draw how the frames of one video were picked, and the picked frames.

    The picture contains, from top to bottom, as far as the explanation has them:

    - S of every frame, and marks at the picks,
    - the running sum, with the y axis divided into N equal parts, and a line from the level of each part to the frame
      that it picks,
    - one row of images per row of picks that has images.

    With more than 60 picks, the rows of images show only every second, third, … frame.

    Args:
        explanation: What to draw.
        frames: The frames of all rows with images, by their index in the file: uint8 ``[H, W, 3]`` RGB, all of the
            same size.

    Returns:
        A figure that is ``PICTURE_WIDTH`` inches wide.

    Raises:
        KeyError: If a frame of a row with images is not in ``frames``.
    """
    rows = [row for row in explanation.rows if row.with_images]
    every = -(-len(explanation.rows[0].frames) // _MOST_FRAMES)
    images = [[frames[int(t)] for t in row.frames[::every]] for row in rows]
    page = _Page(explanation, images)
    # The font of a long title is smaller, so that the whole title fits. A $ in a file name must not start a formula,
    # and matplotlib cannot draw the bytes of a name that is not UTF-8.
    title = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in explanation.title)
    page.text(0.28, title, fontsize=min(14.0, 14.0 * 85 / max(len(title), 1)), parse_math=False)
    _draw_positions(page.axes(page.positions_top, page.positions_height), page, explanation)
    if explanation.running_sum is not None:
        _draw_sum(page.axes(page.sum_top, _SUM), explanation.running_sum, explanation)
    for place, (row, row_images) in enumerate(zip(rows, images, strict=True)):
        note = "" if every == 1 else f" (one in {every} is shown)"
        _draw_strip(page, place, row, row_images, note, _numbers(row.frames[::every], explanation))
    return page.figure


def picks_figure(clip: PickedFrames, *, compare: bool = True) -> PicksFigure:
    """Draw how the frames of a :class:`~mgdali.PickedClip` were picked (:func:`draw_explanation`).

    Args:
        clip: The picked frames.
        compare: Whether to mark the positions of evenly spread picks too. Their images are not in the clip.
    """
    return draw_explanation(
        explain_clip(clip, compare=compare), dict(zip(clip.indices.tolist(), clip.frames, strict=True))
    )


def png_of(figure: Figure) -> bytes:
    """Return a figure as a PNG file that is ``PICTURE_WIDTH * PICTURE_DPI`` pixels wide."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=PICTURE_DPI)
    return image.getvalue()


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as a PNG file (:func:`png_of`). A missing folder is created.

    Raises:
        OSError: If the file cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(png_of(figure))


class _Page:
    """A figure whose positions are given in inches from the top left corner.

    Args:
        explanation: What is drawn on it.
        images: The frames of each row of images.
    """

    def __init__(self, explanation: Explanation, images: Sequence[Sequence[NDArray[np.uint8]]]) -> None:
        self.positions_top = _TOP + (0 if explanation.seconds is None else _SECONDS)
        self.positions_height = _LINE if explanation.motion is None else _MOTION
        self.sum_top = self.positions_top + self.positions_height + _SUM_TITLE
        if explanation.running_sum is None:
            self.strips_top = self.sum_top
        else:
            self.strips_top = self.sum_top + _SUM + _FRAME_AXIS
        count = max(map(len, images), default=1)
        lines = -(-count // _MOST_IN_A_ROW)
        self.columns = max(-(-count // lines), _LEAST_IN_A_ROW)
        self.cell_width = (PICTURE_WIDTH - _LEFT - _RIGHT) / self.columns
        height, width = images[0][0].shape[:2] if images else (0, 1)
        # The height is limited, so that tall videos do not make the picture too high. They do not fill their cells.
        self.cell_height = min(self.cell_width * 0.94 * height / width, 2.2) + _NUMBER
        self.strip_height = _STRIP_TITLE + lines * self.cell_height
        self.height: float = self.strips_top + len(images) * self.strip_height + _BOTTOM
        self.figure = PicksFigure(figsize=(PICTURE_WIDTH, self.height), facecolor="white")

    def up(self, inches_down: float) -> float:
        """Convert a distance from the top, in inches, to matplotlib's fraction of the height."""
        return 1 - inches_down / self.height

    def text(self, top: float, text: str, **style: Any) -> None:
        """Write a line of bold text from the left margin, with its middle at ``top``."""
        self.figure.text(_LEFT / PICTURE_WIDTH, self.up(top), text, fontweight="bold", va="center", **style)

    def axes(self, top: float, height: float, left: float = _LEFT, width: float | None = None) -> Axes:
        """Add axes with the given top left corner and size in inches; by default as wide as the page allows."""
        wide = PICTURE_WIDTH - _LEFT - _RIGHT if width is None else width
        share = (left / PICTURE_WIDTH, self.up(top + height), wide / PICTURE_WIDTH, height / self.height)
        return self.figure.add_axes(share)


def _draw_positions(axes: Axes, page: _Page, explanation: Explanation) -> None:
    """Draw S, if it is known, and below it one line of marks per row of picks."""
    if explanation.motion is None:
        title = "Positions of the picks"
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
    else:
        title = "Motion: how much each frame differs from the one before"
        _draw_motion(axes, explanation.motion, explanation.first_frame)
    # One line of marks per row below the curve, so that picks of the same frame do not cover each other.
    lanes = axes.get_xaxis_transform()
    for lane, row in enumerate(explanation.rows):
        below = (_FIRST_MARKS + _NEXT_MARKS * lane) / page.positions_height
        axes.plot(
            row.frames,
            [-below] * len(row.frames),
            "^",
            color=_COLOURS[row.kind],
            markersize=7,
            transform=lanes,
            clip_on=False,
            label=row.label,
        )
    above = 0 if explanation.seconds is None else _SECONDS
    axes.set_title(title, loc="left", fontsize=11, color=_CURVE, pad=6 + above * _POINTS)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0 + above / page.positions_height),
        ncols=2,
        frameon=False,
        fontsize=10,
        borderaxespad=0.1,
    )
    _frame_axis(axes, explanation)
    if explanation.running_sum is None:
        marks = _FIRST_MARKS + _NEXT_MARKS * (len(explanation.rows) - 1)
        axes.tick_params(axis="x", pad=(marks + 0.1) * _POINTS, length=0)
        axes.set_xlabel("frame", labelpad=2)
    else:
        axes.tick_params(axis="x", labelbottom=False, bottom=False)
    if explanation.seconds is not None:
        _draw_seconds(axes, explanation.seconds, explanation.first_frame)


def _draw_motion(axes: Axes, motion: NDArray[np.float64], first_frame: int) -> None:
    # Each frame is one step, half a frame to both sides of its index.
    edges = first_frame - 0.5 + np.arange(len(motion) + 1)
    axes.stairs(motion, edges, fill=True, color=_PALE)
    axes.stairs(motion, edges, baseline=None, color=_CURVE, linewidth=1.2)
    axes.set_ylim(0, max(float(motion.max()), 1.0) * 1.08)
    axes.set_ylabel("motion S")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def _draw_seconds(axes: Axes, seconds: NDArray[np.float64], first_frame: int) -> None:
    """Mark round numbers of seconds above the axes."""
    ticks = MaxNLocator(9).tick_values(seconds[0], seconds[-1])
    ticks = ticks[(ticks >= seconds[0]) & (ticks <= seconds[-1])]
    above = axes.secondary_xaxis("top")
    above.set_xticks(
        np.interp(ticks, seconds, first_frame + np.arange(len(seconds))), [f"{tick:.10g} s" for tick in ticks]
    )
    above.tick_params(colors=_CURVE, labelsize=9, length=3)
    above.spines["top"].set_visible(False)


def _draw_sum(axes: Axes, running_sum: RunningSum, explanation: Explanation) -> None:
    levels, meets, picks = running_sum.levels, running_sum.meets, running_sum.picks
    count, before = len(levels), explanation.first_frame - 0.5
    colour = _COLOURS["picked"]
    for part in range(0, count, 2):
        axes.axhspan(part / count, (part + 1) / count, color=_PALE, alpha=0.5, linewidth=0)
    axes.hlines(levels, before, picks, color=colour, linewidth=1, linestyles="dotted")
    axes.vlines(picks, 0, np.maximum(levels, meets), color=colour, linewidth=1)
    if running_sum.inverse == "step":
        # The curve rises at each frame by its share. So the line of a part meets the curve at the picked frame.
        end = before + explanation.total
        axes.step([before, *running_sum.x, end], [0.0, *running_sum.y, 1.0], where="post", color=_CURVE, linewidth=1.5)
    else:
        axes.plot(running_sum.x, running_sum.y, ".-", color=_CURVE, linewidth=1.0, markersize=3)
    axes.plot(picks, meets, "o", color=colour, markersize=6, zorder=3)
    axes.set_ylim(0, 1)
    labelled = range(0, count, -(-count // _MOST_LABELS))
    axes.set_yticks([(part + 0.5) / count for part in labelled], [str(part + 1) for part in labelled])
    axes.set_ylabel("equal parts of the sum")
    axes.set_xlabel("frame")
    axes.set_title(running_sum.title, loc="left", fontsize=11, color=_CURVE)
    _frame_axis(axes, explanation)


def _frame_axis(axes: Axes, explanation: Explanation) -> None:
    axes.set_xlim(explanation.first_frame - 0.5, explanation.first_frame + explanation.total - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)


def _numbers(frames: NDArray[np.int64], explanation: Explanation) -> list[str]:
    """Return what is written below the images of these frames: their indices and, if known, their times."""
    if explanation.seconds is None:
        return [str(t) for t in frames]
    return [f"{t}  ({explanation.seconds[t - explanation.first_frame]:.2f} s)" for t in frames]


def _draw_strip(
    page: _Page, place: int, row: PickRow, images: Sequence[NDArray[np.uint8]], note: str, numbers: Sequence[str]
) -> None:
    top = page.strips_top + place * page.strip_height
    colour = _COLOURS[row.kind]
    page.text(top + 0.3, row.name + note, fontsize=12, color=colour)
    small = max(map(len, numbers)) > 12 * page.cell_width
    for number, (image, text) in enumerate(zip(images, numbers, strict=True)):
        line, column = divmod(number, page.columns)
        axes = page.axes(
            top + _STRIP_TITLE + line * page.cell_height,
            page.cell_height - _NUMBER,
            _LEFT + column * page.cell_width,
            page.cell_width * 0.94,
        )
        axes.imshow(_reduced(image, page), interpolation="antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(text, fontsize=8 if small else 10, color=colour, labelpad=2)
        for spine in axes.spines.values():
            spine.set_color(colour)


def _reduced(image: NDArray[np.uint8], page: _Page) -> NDArray[np.uint8]:
    """Return the image with fewer pixels if it has many more than the picture shows."""
    height, width = image.shape[:2]
    pixels = (page.cell_height * _SHARPNESS * PICTURE_DPI, page.cell_width * _SHARPNESS * PICTURE_DPI)
    scale = min(1.0, max(pixels[0] / height, pixels[1] / width))
    if scale > 0.7:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
