"""The index rules of two projects, pick by pick as their code computes them, in plain NumPy.

- TSM: github.com/mit-han-lab/temporal-shift-module, class ``TSNDataSet`` in ``ops/dataset.py``.
- MMAction2 1.2: github.com/open-mmlab/mmaction2, classes ``SampleFrames`` and ``UniformSample`` in
  ``mmaction/datasets/transforms/loading.py``.

Both draw random integers. Here each of them comes from an offset in [0, 1): a random integer below n, ``randint(n)``,
is ``floor(offset * n)``. Indices begin at 0. For folders of frames, both projects add 1, because the first file has the
number 1.

Floating-point operations have the order of the originals, because rounding decides picks.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mgdali.errors import check_integer

TSMMode = Literal["train", "val", "test", "twice", "dense", "dense_test"]
OutOfBound = Literal["loop", "repeat_last"]

__all__ = [
    "OutOfBound",
    "TSMMode",
    "check_frames",
    "check_tsm",
    "check_uniform",
    "count_frames",
    "count_tsm",
    "count_uniform",
    "sample_frames",
    "sample_tsm",
    "sample_uniform",
]

_DENSE_RANGE = 64
"""Number of frames that TSM's dense rule spreads its picks over."""
_DENSE_CLIPS = 10
"""Number of clips of TSM's dense rule in testing."""


def sample_tsm(
    total: int, num_segments: int, *, new_length: int = 1, mode: TSMMode = "train", offsets: ArrayLike = 0.5
) -> NDArray[np.int64]:
    """Pick frames as TSM does: ``TSNDataSet._sample_indices``, ``_get_val_indices``, ``_get_test_indices``, ``get``.

    With T frames, N segments and L frames per segment, the first frames of the segments are:

    - ``"train"``: ``i * a + randint(a)`` with ``a = (T - L + 1) // N``. If a = 0 and T > N, N sorted random integers
      below T - L + 1. Otherwise 0.
    - ``"val"``: ``floor(t / 2 + t * i)`` with ``t = (T - L + 1) / N``. If T <= N + L - 1, 0.
    - ``"test"``: the same for every T.
    - ``"twice"``: those of ``"test"``, and after them ``floor(t * i)`` (option ``--twice_sample``).
    - ``"dense"``: ``(s + i * (64 // N)) mod T`` (option ``--dense_sample``). With ``p = max(1, T - 63)``, s is a random
      integer below p - 1, or 0 if p = 1. TSM has this rule in training and in validation.
    - ``"dense_test"``: the same for ten s at even steps from 0 to p - 1, one clip after another.

    A segment continues with the next L - 1 frames. Past the end, the last frame is repeated. If N < T < L, TSM's code
    fails in training; here the segments begin at 0. Where its code finds no file, because T < L - 1 in ``"test"`` or
    ``"twice"``, it takes the first frame, and so does this function.

    Args:
        total: Number of frames in the video, T >= 1.
        num_segments: Number of segments, N >= 1.
        new_length: Frames per segment, L >= 1 (for RGB differences, TSM adds 1 to its argument of this name).
        mode: The rule.
        offsets: The random numbers, a float or float ``[picks]`` in [0, 1). ``"train"`` uses the first N, ``"dense"``
            the first one, the other modes none.

    Returns:
        int64 ``[picks]`` in ``[0, T)``, with :func:`count_tsm` picks.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sample_tsm(20, 8, mode="train", offsets=0.0)
        array([ 0,  2,  4,  6,  8, 10, 12, 14])
    """
    check_integer("total", total, least=1)
    check_tsm(num_segments, new_length, mode)
    chances = _check_offsets(offsets, count_tsm(num_segments, new_length, mode))
    places = total - new_length + 1
    if mode == "train":
        starts = _tsm_train(total, places, chances[:num_segments])
    elif mode in ("dense", "dense_test"):
        starts = _tsm_dense(total, num_segments, chances[0] if mode == "dense" else None)
    elif mode == "val" and places <= num_segments:
        starts = np.zeros(num_segments, np.int64)
    else:
        starts = _tsm_even(places, num_segments, twice=mode == "twice")
    frames = starts[:, None] + np.arange(new_length)
    return np.asarray(np.clip(frames, 0, total - 1), np.int64).ravel()


def sample_frames(
    total: int,
    clip_len: int,
    *,
    frame_interval: int = 1,
    num_clips: int = 1,
    test_mode: bool = False,
    twice_sample: bool = False,
    out_of_bound_opt: OutOfBound = "loop",
    keep_tail_frames: bool = False,
    offsets: ArrayLike = 0.5,
) -> NDArray[np.int64]:
    """Pick frames as ``SampleFrames`` of MMAction2 1.2 does, with ``temporal_jitter=False`` and no ``target_fps``.

    With T frames, N clips, L frames per clip at interval s, the first frames of the clips in training
    (``_get_train_clips``) are, with ``a = (T - L * s + 1) // N``:

    - a > 0: ``i * a + randint(a)``.
    - a <= 0, T > max(N, L * s): N sorted random integers below T - L * s + 1.
    - a = 0 otherwise: ``round(i * (T - L * s + 1) / N)``, halves to the even integer.
    - a < 0: 0.
    - With ``keep_tail_frames``: ``floor(i * b + uniform(0, b))`` with ``b = (T - L * s + 1) / N``, or 0 if T < L * s.

    In testing (``_get_test_clips``):

    - L = 1: ``floor(i * T / N + T / N / 2)``; with ``twice_sample`` followed by ``floor(i * T / N)``.
    - L > 1: ``round(i * m / (N - 1))`` with ``m = max(T - (L - 1) * s - 1, 0)``; with ``twice_sample`` for 2 N clips,
      still divided by N - 1. For one clip, ``m // 2``.

    Past the end, ``"loop"`` takes each index modulo T. ``"repeat_last"`` repeats the clip's last pick within the video,
    or frame 0 if the whole clip is past the end.

    Args:
        total: Number of frames in the video, T >= 1.
        clip_len: Frames per clip, L >= 1.
        frame_interval: Distance between the frames of a clip, s >= 1.
        num_clips: Number of clips, N >= 1.
        test_mode: Which of the two rules.
        twice_sample: Twice as many clips, in testing only.
        out_of_bound_opt: What replaces indices past the end.
        keep_tail_frames: Whether the clips cover the last ``(T - L * s + 1) mod N`` places too, in training only.
        offsets: The random numbers, a float or float ``[picks]`` in [0, 1). Training uses the first N, testing none.

    Returns:
        int64 ``[picks]`` in ``[0, T)``, clip after clip, with :func:`count_frames` picks.

    Raises:
        ValueError: If an argument is out of range, or has no effect or no result in MMAction2.

    Example:
        >>> sample_frames(6, 1, num_clips=8, test_mode=True)
        array([0, 1, 1, 2, 3, 4, 4, 5])
    """
    check_integer("total", total, least=1)
    check_frames(clip_len, frame_interval, num_clips, test_mode, twice_sample, out_of_bound_opt, keep_tail_frames)
    chances = _check_offsets(offsets, count_frames(clip_len, num_clips, twice_sample))[:num_clips]
    if test_mode:
        starts = _frames_test(total, clip_len, (clip_len - 1) * frame_interval + 1, num_clips, twice=twice_sample)
    elif keep_tail_frames:
        starts = _frames_tail(total - clip_len * frame_interval + 1, chances)
    else:
        starts = _frames_train(total, clip_len * frame_interval, chances)
    if out_of_bound_opt == "loop":
        # The remainder of the interval gives the same frames, and large intervals cannot overflow.
        frames = np.mod(starts[:, None] + np.arange(clip_len) * (frame_interval % total), total)
    else:
        # Any interval of T and more leaves the video at once.
        frames = starts[:, None] + np.arange(clip_len) * min(frame_interval, total)
        within = np.where(frames < total, frames, 0)
        frames = np.where(frames < total, frames, within.max(axis=1, keepdims=True))
    return np.asarray(frames, np.int64).ravel()


def sample_uniform(
    total: int, clip_len: int, *, num_clips: int = 1, test_mode: bool = False, offsets: ArrayLike = 0.5
) -> NDArray[np.int64]:
    """Pick frames as ``UniformSample`` of MMAction2 1.2 does (``_get_sample_clips``).

    With T frames, L frames per clip and N clips, part i begins at ``b_i = round(i * (T - 1) / L)``, halves to the even
    integer. Pick i in training is a random integer from b_i to b_(i+1), both included. In testing, pick i of clip k is
    ``b_i + floor((k + 1) * (T - 1) / L / (N + 1))``.

    Args:
        total: Number of frames in the video, T >= 1.
        clip_len: Frames per clip, L >= 1.
        num_clips: Number of clips, N >= 1; more than one only in testing.
        test_mode: Which of the two rules.
        offsets: The random numbers, a float or float ``[picks]`` in [0, 1). Testing uses none.

    Returns:
        int64 ``[picks]`` in ``[0, T)``, clip after clip, with :func:`count_uniform` picks.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sample_uniform(17, 4, test_mode=True)
        array([ 2,  6, 10, 14])
    """
    check_integer("total", total, least=1)
    check_uniform(clip_len, num_clips, test_mode)
    chances = _check_offsets(offsets, count_uniform(clip_len, num_clips))
    part = float(total - 1) / clip_len
    bounds = np.round(part * np.arange(clip_len + 1)).astype(np.int64)
    if not test_mode:
        return bounds[:-1] + _integers(chances, np.diff(bounds) + 1)
    shifts = (part / (num_clips + 1) * np.arange(1, num_clips + 1)).astype(np.int64)
    return (shifts[:, None] + bounds[:-1]).ravel()


def count_tsm(num_segments: int, new_length: int, mode: TSMMode) -> int:
    """Return the number of picks of :func:`sample_tsm`: N * L, twice or ten times as many for several clips."""
    clips = {"twice": 2, "dense_test": _DENSE_CLIPS}.get(mode, 1)
    return clips * num_segments * new_length


def count_frames(clip_len: int, num_clips: int, twice_sample: bool) -> int:
    """Return the number of picks of :func:`sample_frames`: L * N, and twice as many with ``twice_sample``."""
    return clip_len * num_clips * (2 if twice_sample else 1)


def count_uniform(clip_len: int, num_clips: int) -> int:
    """Return the number of picks of :func:`sample_uniform`: L * N."""
    return clip_len * num_clips


def check_tsm(num_segments: int, new_length: int, mode: str) -> None:
    """Raise ValueError unless these are arguments of :func:`sample_tsm`."""
    check_integer("num_segments", num_segments, least=1)
    check_integer("new_length", new_length, least=1)
    if mode not in get_args(TSMMode):
        raise ValueError(f"mode must be one of {get_args(TSMMode)}, got {mode!r}")


def check_frames(
    clip_len: int,
    frame_interval: int,
    num_clips: int,
    test_mode: bool,
    twice_sample: bool,
    out_of_bound_opt: str,
    keep_tail_frames: bool,
) -> None:
    """Raise ValueError unless these are arguments of :func:`sample_frames` that have an effect and a result."""
    check_integer("clip_len", clip_len, least=1)
    check_integer("frame_interval", frame_interval, least=1)
    check_integer("num_clips", num_clips, least=1)
    _check_flags(test_mode=test_mode, twice_sample=twice_sample, keep_tail_frames=keep_tail_frames)
    if out_of_bound_opt not in get_args(OutOfBound):
        raise ValueError(f"out_of_bound_opt must be one of {get_args(OutOfBound)}, got {out_of_bound_opt!r}")
    if twice_sample and not test_mode:
        raise ValueError("twice_sample=True needs test_mode=True: MMAction2 ignores it in training")
    if keep_tail_frames and test_mode:
        raise ValueError("keep_tail_frames=True needs test_mode=False: MMAction2 ignores it in testing")
    if twice_sample and clip_len > 1 and num_clips == 1:
        raise ValueError(
            f"twice_sample=True with clip_len={clip_len!r} needs num_clips >= 2, got 1: MMAction2 divides by "
            "num_clips - 1"
        )


def check_uniform(clip_len: int, num_clips: int, test_mode: bool) -> None:
    """Raise ValueError unless these are arguments of :func:`sample_uniform` that have an effect."""
    check_integer("clip_len", clip_len, least=1)
    check_integer("num_clips", num_clips, least=1)
    _check_flags(test_mode=test_mode)
    if num_clips > 1 and not test_mode:
        raise ValueError(f"num_clips={num_clips!r} needs test_mode=True: MMAction2 picks one clip in training")


def _tsm_train(total: int, places: int, chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the segments' first frames in training. A segment can begin at ``places`` frames: T - L + 1."""
    count = len(chances)
    step = places // count
    if step > 0:
        return np.arange(count) * step + _integers(chances, step)
    if total > count:
        return np.sort(_integers(chances, max(places, 1)))
    return np.zeros(count, np.int64)


def _tsm_even(places: int, count: int, *, twice: bool) -> NDArray[np.int64]:
    """Return the middles of N parts, and with ``twice`` also their beginnings."""
    step = places / float(count)
    beginnings = step * np.arange(count)
    middles = step / 2.0 + beginnings
    return (np.concatenate([middles, beginnings]) if twice else middles).astype(np.int64)


def _tsm_dense(total: int, count: int, chance: float | None) -> NDArray[np.int64]:
    """Return the picks of one clip that begins at random, or of ten clips if there is no random number."""
    places = max(1, total - _DENSE_RANGE + 1)
    if chance is None:
        starts = np.linspace(0, places - 1, num=_DENSE_CLIPS, dtype=np.int64)
    else:
        # TSM's random integers exclude the last of the places.
        starts = _integers(np.array([chance]), max(places - 1, 1))
    return ((starts[:, None] + np.arange(count) * (_DENSE_RANGE // count)) % total).ravel()


def _frames_train(total: int, span: int, chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the first frames of clips that span ``span`` frames, in training."""
    count = len(chances)
    places = total - span + 1
    step = places // count
    if step > 0:
        return np.arange(count) * step + _integers(chances, step)
    if total > max(count, span):
        return np.sort(_integers(chances, places))
    if step == 0:
        return np.around(np.arange(count) * (float(places) / count)).astype(np.int64)
    return np.zeros(count, np.int64)


def _frames_tail(places: int, chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the first frames of clips in training with ``keep_tail_frames``."""
    if places < 1:
        return np.zeros(len(chances), np.int64)
    step = places / float(len(chances))
    return (np.arange(len(chances)) * step + step * chances).astype(np.int64)


def _frames_test(total: int, clip_len: int, span: int, count: int, *, twice: bool) -> NDArray[np.int64]:
    """Return the first frames of clips that span ``span`` frames, in testing."""
    if clip_len == 1:
        step = total / float(count)
        beginnings = np.arange(count) * step
        middles = beginnings + step / 2.0
        return (np.concatenate([middles, beginnings]) if twice else middles).astype(np.int64)
    last = max(total - span, 0)
    if count == 1:
        return np.array([last // 2], np.int64)
    return np.round(np.arange(2 * count if twice else count) * (last / float(count - 1))).astype(np.int64)


def _integers(chances: NDArray[np.float64], below: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the random integers in ``[0, below)`` that numbers in [0, 1) stand for."""
    return np.minimum(np.floor(chances * below).astype(np.int64), np.subtract(below, 1))


def _check_offsets(offsets: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return the offsets as float64 ``[count]``."""
    places = np.asarray(offsets, dtype=np.float64)
    if places.shape not in ((), (count,)):
        raise ValueError(f"offsets must be one number or have shape [{count}], got shape {list(places.shape)}")
    if not ((places >= 0) & (places < 1)).all():
        raise ValueError(f"offsets must be in [0, 1), got {offsets!r}")
    return np.broadcast_to(places, (count,))


def _check_flags(**flags: bool) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, got {value!r}")
