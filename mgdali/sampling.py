"""Picking frames: MGSampler's motion-guided rule and the rules that the paper compares it with, in plain NumPy.

These functions are the reference: tests compare every faster implementation in this package with them. They import
neither DALI, CuPy nor torch.

Reference: Zhi et al., "MGSampler: An Explainable Sampling Strategy for Video Action Recognition", ICCV 2021.
"""

from __future__ import annotations

import math
import operator
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Inverse = Literal["step", "nearest"]
PastEnd = Literal["repeat_last", "loop"]

__all__ = [
    "Inverse",
    "PastEnd",
    "check_even",
    "check_fps",
    "check_inverse",
    "check_mu",
    "check_past_end",
    "motion_weights",
    "sample_fps",
    "sample_motion_clip",
    "sample_motion_guided",
    "sample_segment",
    "sample_stride",
    "sample_top_motion",
]


# Times of frames are ticks of a clock, and steps of time are sums of floats.
_SAME_TIME = 1e-6


def motion_weights(motion: ArrayLike, mu: float = 0.5, even: float = 0.0) -> NDArray[np.float64]:
    """Return the weight of each frame, ``w = S^mu`` (Eq. 6). A share of it may be spread evenly over time.

    With ``even``, the weights are ``w' = w * (T / sum(w) * (1 - even)) + even``. As shares of the whole, these are
    ``(1 - even) * w / sum(w) + even / T``: a mixture of the paper's distribution and of segment sampling.

    Args:
        motion: S, float ``[T]``, T >= 1, finite and not negative.
        mu: Exponent that smooths S, >= 0. With 0 all frames have the same weight (``0^0 = 1``).
        even: Share of the distribution that is spread evenly over time, in [0, 1]. 0 is the paper's rule.

    Returns:
        float64 ``[T]``. If all weights would be 0 (a still video), they are all 1.

    Raises:
        ValueError: If ``motion``, ``mu`` or ``even`` is out of range.
    """
    values = _check_motion(motion)
    check_mu(mu)
    check_even(even)
    # The operator instead of np.power, because it computes the exact square root for 0.5 and the exact square for 2.
    weights = values**mu
    if not np.isfinite(weights).all():
        raise ValueError(
            f"motion ** {mu} overflows float64: the largest motion is {float(values.max())!r}; scale it down"
        )
    if not weights.any():
        return np.ones_like(weights)
    if even == 0:
        return weights
    with np.errstate(over="ignore"):
        total = np.cumsum(weights)[-1]
        scale = len(weights) / total * (1.0 - even)
    if not np.isfinite(total):
        raise ValueError("the sum of motion ** mu overflows float64: scale motion down")
    if not np.isfinite(scale):
        raise ValueError(f"the sum of motion ** mu is too small for float64, {float(total)!r}: scale motion up")
    # The kernels do the same operations in the same order. With mu = 0, the product is 1 - even without rounding.
    return np.asarray(weights * scale + even, np.float64)


def sample_motion_guided(
    motion: ArrayLike,
    num_frames: int,
    *,
    mu: float = 0.5,
    even: float = 0.0,
    offsets: ArrayLike = 0.5,
    inverse: Inverse = "step",
) -> NDArray[np.int64]:
    """Pick frames at even steps of cumulative motion (Eq. 4 to 6).

    Pick i of N is the smallest t with ``cumsum(w)[t] > (i + offsets[i]) * sum(w) / N``, with ``w = S^mu``. This is the
    paper's rule with the mass of each frame centred on its index. With ``mu=0`` or ``even=1`` it equals
    :func:`sample_segment`.

    Args:
        motion: S, float ``[T]``, T >= 1, finite and not negative; ``S[t]`` is the difference of frame t from t - 1.
        num_frames: Number of picks, N >= 1. If T < N, frames are repeated.
        mu: Exponent that smooths S, >= 0. The paper's default is 0.5 (Table 1).
        even: Share of the distribution that is spread evenly over time, in [0, 1] (:func:`motion_weights`). With more
            of it, the picks also cover parts of the video in which little moves. 0 is the paper's rule.
        offsets: Position of each pick within its part of the cumulative distribution, a float or float ``[N]`` in
            [0, 1). Random in training, 0.5 in testing.
        inverse: ``"step"`` is the rule above. ``"nearest"`` is the rule of the authors' released code: ``argmin |cdf -
            q|`` over the T - 1 differences.

    Returns:
        int64 ``[N]``, sorted, in ``[0, T)``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sample_motion_guided([0, 0, 0, 9, 9, 9, 0, 0], 3, mu=1.0)
        array([3, 4, 5])
    """
    check_inverse(inverse)
    weights = motion_weights(motion, mu, even)
    count, places = _check_picks(num_frames, offsets)
    steps = np.arange(count) + places
    with np.errstate(over="ignore"):
        cumulative = np.cumsum(weights)
        levels = steps * cumulative[-1] / count
    if not (np.isfinite(cumulative[-1]) and np.isfinite(levels[-1])):
        raise ValueError(f"{num_frames} times the sum of motion ** mu overflows float64: scale motion down")
    if inverse == "nearest":
        return _inverse_nearest(weights, steps / count)
    picks = np.searchsorted(cumulative, levels, side="right")
    # With an offset just below 1, rounding can make the level equal to the whole sum, which no frame exceeds.
    last = np.searchsorted(cumulative, cumulative[-1], side="left")
    return np.asarray(np.minimum(picks, last), np.int64)


def sample_segment(total: int, num_frames: int, *, offsets: ArrayLike = 0.5) -> NDArray[np.int64]:
    """Pick one frame from each of N equal parts of the video: TSN's segment sampling (Wang et al., ECCV 2016).

    Args:
        total: Number of frames in the video, T >= 1.
        num_frames: Number of picks, N >= 1.
        offsets: Position of each pick within its part, a float or float ``[N]`` in [0, 1).

    Returns:
        int64 ``[N]`` in ``[0, T)``: ``floor((i + offsets[i]) * T / N)``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sample_segment(10, 5)
        array([1, 3, 5, 7, 9])
    """
    frames = _check_count("total", total)
    count, places = _check_picks(num_frames, offsets)
    picks = np.floor((np.arange(count) + places) * frames / count)
    return np.asarray(np.minimum(picks, frames - 1), np.int64)


def sample_stride(
    total: int, num_frames: int, stride: int, *, start: int, past_end: PastEnd = "repeat_last"
) -> NDArray[np.int64]:
    """Pick every ``stride``-th frame, beginning with ``start`` (Table 3, "fixed stride").

    Args:
        total: Number of frames in the video, T >= 1.
        num_frames: Number of picks, N >= 1.
        stride: Distance between two picks in frames, >= 1.
        start: The first pick, in ``[0, T)``.
        past_end: Which frames replace those past the end: ``"repeat_last"`` the last frame of the video; ``"loop"``
            those of the same video played again from its beginning, ``(start + i * stride) mod T``.

    Returns:
        int64 ``[N]`` in ``[0, T)``: ``start + i * stride`` within the video. Sorted with ``"repeat_last"``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sample_stride(10, 4, 3, start=2)
        array([2, 5, 8, 9])
        >>> sample_stride(10, 4, 3, start=2, past_end="loop")
        array([2, 5, 8, 1])
    """
    check_past_end(past_end)
    frames = _check_count("total", total)
    count = _check_count("num_frames", num_frames)
    step = _check_count("stride", stride)
    try:
        first = operator.index(start)
    except TypeError:
        first = -1
    if not 0 <= first < frames:
        raise ValueError(f"the integer start must be in [0, {frames}), got {start!r}")
    # A smaller step with the same result, because a long one could overflow.
    if past_end == "loop":
        return np.asarray((first + step % frames * np.arange(count)) % frames, np.int64)
    step = min(step, frames)
    return np.asarray(np.minimum(first + step * np.arange(count), frames - 1), np.int64)


def sample_motion_clip(
    motion: ArrayLike,
    num_frames: int,
    stride: int,
    *,
    mu: float = 0.5,
    even: float = 0.0,
    offset: float = 0.5,
    past_end: PastEnd = "repeat_last",
) -> NDArray[np.int64]:
    """Pick every ``stride``-th frame of a run whose middle is drawn from the distribution of motion.

    Models that need frames at equal distances, such as SlowFast, are trained on such runs. The middle is the smallest t
    with ``cumsum(w)[t] > offset * sum(w)``, as of :func:`sample_motion_guided` with one pick. The run is moved to be
    within the video, if the video is long enough; otherwise it begins with the first frame.

    Args:
        motion: S, float ``[T]``, T >= 1, finite and not negative.
        num_frames: Number of picks, N >= 1.
        stride: Distance between two picks in frames, >= 1.
        mu: Exponent that smooths S, >= 0.
        even: Share of the distribution that is spread evenly over time, in [0, 1] (:func:`motion_weights`).
        offset: Position of the middle in the cumulative distribution, in [0, 1). Random in training; with 0.5, in
            testing, half of the motion is before the middle.
        past_end: Which frames replace those past the end of a short video (:func:`sample_stride`).

    Returns:
        int64 ``[N]`` in ``[0, T)``. Sorted with ``past_end="repeat_last"``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sample_motion_clip([0] * 20 + [9] * 4 + [0] * 20, 4, 2)
        array([19, 21, 23, 25])
    """
    count = _check_count("num_frames", num_frames)
    step = _check_count("stride", stride)
    (middle,) = sample_motion_guided(motion, 1, mu=mu, even=even, offsets=offset).tolist()
    total = np.size(motion)
    span = (count - 1) * step + 1
    start = min(max(middle - span // 2, 0), max(total - span, 0))
    return sample_stride(total, count, step, start=start, past_end=past_end)


def sample_fps(
    seconds: ArrayLike, num_frames: int, fps: float, *, offset: float = 0.5, past_end: PastEnd = "repeat_last"
) -> NDArray[np.int64]:
    """Pick the frames that are shown at even steps of time, ``1 / fps`` apart, whatever the video's frame rate.

    A frame is shown from its time to that of the next frame. Times that differ by less than a microsecond are equal.

    Args:
        seconds: Times of the frames, float ``[T]``, T >= 1, finite and not decreasing.
        num_frames: Number of picks, N >= 1.
        fps: Number of picks per second, > 0.
        offset: Position of the first pick between the first frame and the latest beginning with which all picks are
            within the video, in [0, 1). Random in training, 0.5 in testing. In a shorter video, the first pick is the
            first frame.
        past_end: Which frames replace those past the end of a short video: ``"repeat_last"`` the last frame;
            ``"loop"`` those of the same video played again. The last frame is shown for the mean time of a frame.

    Returns:
        int64 ``[N]`` in ``[0, T)``. Sorted with ``past_end="repeat_last"``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sample_fps(np.arange(60) / 30, 5, 10, offset=0)
        array([ 0,  3,  6,  9, 12])
    """
    check_past_end(past_end)
    check_fps(fps)
    count, places = _check_picks(_check_count("num_frames", num_frames), offset)
    times = _check_seconds(seconds)
    times = times - times[0]
    start = float(places) * max(times[-1] - (count - 1) / fps, 0.0)
    shown = start + np.arange(count) / fps
    if past_end == "loop":
        length = times[-1] + times[-1] / max(len(times) - 1, 1)
        shown = np.mod(shown, length) if length > 0 else np.zeros(count)
    return np.asarray(np.searchsorted(times, shown + _SAME_TIME, side="right") - 1, np.int64)


def sample_top_motion(motion: ArrayLike, num_frames: int) -> NDArray[np.int64]:
    """Pick the N frames of largest S, in temporal order (Table 3, "top motion").

    Args:
        motion: S, float ``[T]``, T >= 1, finite and not negative. Of equal values the earlier frame is preferred.
        num_frames: Number of picks, N >= 1. If T < N, every frame is picked and the repeats are spread evenly.

    Returns:
        int64 ``[N]``, sorted, in ``[0, T)``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sample_top_motion([0, 5, 1, 9, 2], 2)
        array([1, 3])
    """
    values = _check_motion(motion)
    count = _check_count("num_frames", num_frames)
    if len(values) < count:
        return sample_segment(len(values), count)
    return np.sort(np.argsort(-values, kind="stable")[:count])


def _check_count(name: str, value: int) -> int:
    """Return ``value`` as an int.

    Args:
        name: Name of the argument, for the error.
        value: A number of frames.

    Raises:
        ValueError: If it is not an integer >= 1.
    """
    try:
        count = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}") from None
    if count < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
    return count


def check_mu(mu: float) -> None:
    """Raise ValueError unless ``mu`` is a finite number >= 0."""
    try:
        valid = math.isfinite(mu) and mu >= 0
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"mu must be a finite number >= 0, got {mu!r}")


def check_even(even: float) -> None:
    """Raise ValueError unless ``even`` is a number in [0, 1]."""
    try:
        valid = math.isfinite(even) and 0 <= even <= 1
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"even must be a number in [0, 1], got {even!r}")


def check_fps(fps: float) -> None:
    """Raise ValueError unless ``fps`` is a finite number > 0."""
    try:
        valid = math.isfinite(fps) and fps > 0
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"fps must be a finite number > 0, got {fps!r}")


def check_inverse(inverse: str) -> None:
    """Raise ValueError unless ``inverse`` is one of the rules of :func:`sample_motion_guided`."""
    if inverse not in get_args(Inverse):
        raise ValueError(f"inverse must be one of {get_args(Inverse)}, got {inverse!r}")


def check_past_end(past_end: str) -> None:
    """Raise ValueError unless ``past_end`` is one of the rules of :func:`sample_stride`."""
    if past_end not in get_args(PastEnd):
        raise ValueError(f"past_end must be one of {get_args(PastEnd)}, got {past_end!r}")


def _inverse_nearest(weights: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return, for each level in [0, 1), the difference whose cumulative share is closest (the released code's rule)."""
    differences = weights[1:]
    if len(differences) == 0:
        return np.zeros(len(levels), np.int64)
    if not differences.any():
        differences = np.ones_like(differences)
    # Divide first and then sum up, as the released code does: ties depend on the order of these two steps.
    shares = np.cumsum(differences / differences.sum())
    return np.asarray(np.abs(shares[None, :] - levels[:, None]).argmin(axis=1), np.int64)


def _check_motion(motion: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(motion, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"motion must have shape [T] with T >= 1, got shape {list(values.shape)}")
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(f"motion must be finite and >= 0, got motion[{at}] = {values[at]}")
    return values


def _check_seconds(seconds: ArrayLike) -> NDArray[np.float64]:
    times = np.asarray(seconds, np.float64)
    if times.ndim != 1 or len(times) == 0:
        raise ValueError(f"seconds must have shape [T] with T >= 1, got shape {list(times.shape)}")
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError("seconds must be finite and not decreasing")
    return times


def _check_picks(num_frames: int, offsets: ArrayLike) -> tuple[int, NDArray[np.float64]]:
    count = _check_count("num_frames", num_frames)
    places = np.asarray(offsets, dtype=np.float64)
    if places.shape not in ((), (count,)):
        raise ValueError(f"offsets must be one number or have shape [{count}], got shape {list(places.shape)}")
    if not ((places >= 0) & (places < 1)).all():
        raise ValueError(f"offsets must be in [0, 1), got {offsets!r}")
    return count, places
