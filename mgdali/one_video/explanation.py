"""What the picture of one video's picks contains: motion, its running sum, the levels, and the rows of picks.

A picture by matplotlib (:mod:`mgdali.one_video.picture`) and any other drawing of the same picks are made from one
:class:`Explanation`, so that they show the same curves. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mgdali.samplers import MotionGuided, Sampler, Segment, Stride, TopMotion
from mgdali.sampling import Inverse, motion_weights, sample_segment

__all__ = ["Explanation", "PickRow", "Picked", "RunningSum", "explain", "explain_clip", "number_of_frames"]


@dataclass(frozen=True, eq=False)
class PickRow:
    """Picks of one strategy.

    Attributes:
        kind: ``"picked"`` for the strategy that is explained, ``"even"`` for evenly spread picks to compare it with.
        name: Heading of the row of images.
        label: Short name, for a legend.
        frames: int64 ``[N]``, indices in the file.
        with_images: Whether the picture shows the picked frames, and not only their positions.
    """

    kind: Literal["picked", "even"]
    name: str
    label: str
    frames: NDArray[np.int64]
    with_images: bool


@dataclass(frozen=True, eq=False)
class RunningSum:
    """The curve by which :class:`~mgdali.MotionGuided` picks, as shares of the whole sum, in [0, 1].

    With ``inverse="step"``, the curve is a staircase that rises at frame ``x[k]`` to ``y[k]``. A level picks the frame
    at which the curve rises above it. With ``inverse="nearest"``, a level picks the point ``(x[k], y[k])`` whose share
    is closest, of equal ones the first.

    Attributes:
        title: One sentence that explains the curve. A formula in it is in TeX notation, between dollar signs.
        inverse: How a level picks a frame.
        x: int64 ``[K]``, indices of frames in the file, rising.
        y: float64 ``[K]``, share of the sum up to each frame.
        levels: float64 ``[N]``, the level of each pick, ``(i + offset_i) / N``. Part i is from ``i / N`` to
            ``(i + 1) / N``. If the offsets are not known, the level of the part's middle or, if the middle does not
            lead to the pick, the closest level that does.
        picks: int64 ``[N]``, the frame that each level picks.
        meets: float64 ``[N]``, the share at which the picture marks the pick: the level itself for ``"step"``, the
            share of the picked point for ``"nearest"``.
    """

    title: str
    inverse: Inverse
    x: NDArray[np.int64]
    y: NDArray[np.float64]
    levels: NDArray[np.float64]
    picks: NDArray[np.int64]
    meets: NDArray[np.float64]


class Picked(Protocol):
    """Members of :class:`~mgdali.PickedClip` from which its picture is described."""

    @property
    def indices(self) -> NDArray[np.int64]: ...
    @property
    def seconds(self) -> NDArray[np.float64]: ...
    @property
    def motion(self) -> NDArray[np.float64]: ...
    @property
    def first_frame(self) -> int: ...
    @property
    def sampler(self) -> Sampler: ...
    @property
    def name(self) -> str: ...
    @property
    def frame_rate(self) -> float: ...


@dataclass(frozen=True, eq=False)
class Explanation:
    """Everything that a picture of one video's picks draws, except the frames themselves.

    Attributes:
        title: Title of the picture.
        first_frame: Index in the file of the first frame of the axis.
        total: Number of frames on the axis, T.
        motion: S, float64 ``[T]``; None if the strategy does not use motion.
        running_sum: The curve that is inverted; None unless the strategy is :class:`~mgdali.MotionGuided`.
        rows: Rows of picks, the explained strategy first.
        seconds: Time of each frame on the axis in seconds, float64 ``[T]``, rising; None if it is not known.
    """

    title: str
    first_frame: int
    total: int
    motion: NDArray[np.float64] | None
    running_sum: RunningSum | None
    rows: tuple[PickRow, ...]
    seconds: NDArray[np.float64] | None

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON can store it: the attributes by name, arrays as lists, dataclasses as dicts."""
        plain: dict[str, Any] = _plain(self)
        return plain


def explain(
    sampler: Sampler,
    picks: ArrayLike,
    *,
    motion: ArrayLike | None = None,
    total: int,
    offsets: ArrayLike | None = None,
    first_frame: int = 0,
    seconds: ArrayLike | None = None,
    title: str = "",
    compare: bool = True,
    compared_images: bool = False,
) -> Explanation:
    """Describe how a strategy picked frames of one video.

    Args:
        sampler: The strategy.
        picks: The frames that it picked, int ``[N]``, as indices in the file.
        motion: S, float ``[T]``; None if the strategy does not use motion.
        total: Number of frames from which it picked, T.
        offsets: The position of each pick in its part of the sum, a float or float ``[N]`` in [0, 1); None if it is
            not known.
        first_frame: Index in the file of the first of the T frames.
        seconds: Time of each of the T frames, float ``[T]``; None if it is not known.
        title: Title of the picture.
        compare: Whether to compare the picks with evenly spread ones (:func:`mgdali.sampling.sample_segment`).
        compared_images: Whether the picture also shows the evenly spread frames, and not only their positions.

    Raises:
        ValueError: If the number of picks, motion values or times is wrong, or a value of motion is out of range.
    """
    frames = np.asarray(picks, np.int64)
    if frames.shape != (sampler.num_frames,):
        raise ValueError(f"picks must have shape [{sampler.num_frames}], got shape {list(frames.shape)}")
    values = _per_frame("motion", motion, total)
    running_sum = None
    if isinstance(sampler, MotionGuided) and values is not None:
        running_sum = _running_sum(sampler, values, frames, offsets, first_frame)
    rows = [PickRow("picked", *_names(sampler), frames, True)]
    if compare and not isinstance(sampler, Segment):
        even = first_frame + sample_segment(total, sampler.num_frames)
        name = "Evenly spread: one frame from each equal part of the time"
        rows.append(PickRow("even", name, "evenly spread picks", even, compared_images))
    return Explanation(
        title, first_frame, total, values, running_sum, tuple(rows), _per_frame("seconds", seconds, total)
    )


def explain_clip(clip: Picked, *, compare: bool = True) -> Explanation:
    """Describe how the frames of a :class:`~mgdali.PickedClip` were picked.

    The clip has the times of its picks only. Between them, the time of a frame is interpolated; after the last one, it
    follows from the frame rate.

    Args:
        clip: The picked frames.
        compare: Whether to mark the positions of evenly spread picks too.
    """
    total = len(clip.motion)
    return explain(
        clip.sampler,
        clip.indices,
        motion=clip.motion,
        total=total,
        first_frame=clip.first_frame,
        seconds=_seconds(clip),
        title=f"{clip.name}: {len(clip.indices)} of {number_of_frames(total, clip.first_frame)}",
        compare=compare,
    )


def number_of_frames(total: int, first_frame: int) -> str:
    """Return the number of frames on the axis as text, such as "48 frames"; with their indices if they are a part."""
    frames = f"{total} frames" if total != 1 else "1 frame"
    return f"{frames} ({first_frame} to {first_frame + total - 1})" if first_frame else frames


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _running_sum(
    sampler: MotionGuided,
    motion: NDArray[np.float64],
    picks: NDArray[np.int64],
    offsets: ArrayLike | None,
    first_frame: int,
) -> RunningSum:
    weights = motion_weights(motion, sampler.mu, sampler.even)
    if sampler.inverse == "nearest":
        # The released code sums up the T - 1 differences, and picks the first of the two frames of a difference.
        weights = weights[1:] if weights[1:].any() else np.ones(max(len(weights) - 1, 1))
    y = np.cumsum(weights / weights.sum())
    part, places = np.arange(sampler.num_frames), picks - first_frame
    middles = (part + 0.5) / sampler.num_frames
    if offsets is None:
        levels = np.clip(middles, *_levels_of(y, places, sampler.inverse))
    else:
        levels = (part + np.asarray(offsets, np.float64)) / sampler.num_frames
    return RunningSum(
        title=_sum_title(sampler, still=not motion.any(), centred=np.allclose(levels, middles, rtol=0, atol=1e-9)),
        inverse=sampler.inverse,
        x=first_frame + np.arange(len(y)),
        y=y,
        levels=levels,
        picks=picks,
        meets=levels if sampler.inverse == "step" else y[places],
    )


def _levels_of(
    y: NDArray[np.float64], places: NDArray[np.int64], inverse: Inverse
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and the highest level that lead to each of the picks."""
    if inverse == "step":
        return np.append(0.0, y)[places], y[places]
    between = (y[:-1] + y[1:]) / 2
    return np.append(0.0, between)[places], np.append(between, 1.0)[places]


def _sum_title(sampler: MotionGuided, *, still: bool, centred: bool) -> str:
    place = "its middle" if centred else "a point of it"
    summed = f"$S^{{{sampler.mu:g}}}$"
    if sampler.even:
        summed = f"{summed} with {sampler.even:.3g} of it spread evenly"
    rule = f"at which {place} is passed" if sampler.inverse == "step" else f"nearest to {place}"
    if still:
        summed = "equal weights (nothing moves)"
    return f"Running sum of {summed}: each part of the sum picks the frame {rule}"


def _seconds(clip: Picked) -> NDArray[np.float64] | None:
    """Return the time of each frame on the axis, float64 ``[T]``; None if it is not known."""
    # Seconds are counted from the video's first frame.
    known, order = np.unique(np.append(0, clip.indices), return_index=True)
    times = np.append(0.0, clip.seconds)[order]
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        return None
    if clip.frame_rate > 0:
        end = clip.first_frame + len(clip.motion)
        times = np.append(times, times[-1] + (end - known[-1]) / clip.frame_rate)
        known = np.append(known, end)
    if len(known) == 1:
        return None
    return np.asarray(np.interp(clip.first_frame + np.arange(len(clip.motion)), known, times), np.float64)


def _names(sampler: Sampler) -> tuple[str, str]:
    """Return the heading of the row of picks, and its short name."""
    if isinstance(sampler, MotionGuided):
        return "Motion-guided: one frame from each equal part of the motion", "motion-guided picks"
    if isinstance(sampler, Segment):
        return "Segments: one frame from each equal part of the time", "segment picks"
    if isinstance(sampler, Stride):
        return f"Fixed stride: frames at a distance of {sampler.stride}", "fixed-stride picks"
    if isinstance(sampler, TopMotion):
        return "Top motion: the frames of largest motion", "top-motion picks"
    return f"Frames picked by {type(sampler).__name__}", "picks"


def _per_frame(name: str, values: ArrayLike | None, total: int) -> NDArray[np.float64] | None:
    if values is None:
        return None
    array = np.asarray(values, np.float64)
    if array.shape != (total,):
        raise ValueError(f"{name} must have shape [{total}], one value per frame, got shape {list(array.shape)}")
    return array
