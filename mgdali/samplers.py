"""Sampling strategies that users pass to the loader: the motion that they need, and how they pick frames.

Each strategy is a frozen dataclass over a function of :mod:`mgdali.sampling`, or of :mod:`mgdali.published_rules` for
the rules of TSM and MMAction2. Any object with the three members of :class:`Sampler` is a strategy too.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mgdali import motion as reference
from mgdali import sampling
from mgdali.errors import check_integer
from mgdali.motion import Channels
from mgdali.published_samplers import SampleFrames, TSMFrames, UniformSample
from mgdali.sampling import Inverse, PastEnd

Motion = Literal["image", "feature"]

__all__ = [
    "Fps",
    "Motion",
    "MotionClip",
    "MotionGuided",
    "Representation",
    "SampleFrames",
    "Sampler",
    "Segment",
    "Stride",
    "TSMFrames",
    "TopMotion",
    "UniformSample",
    "check_sampler",
    "checked_picks",
    "needs_times",
    "sampled_picks",
]


@dataclass(frozen=True, kw_only=True)
class Representation:
    """How motion S is measured.

    Args:
        motion: ``"image"`` (Eq. 1) or ``"feature"`` (Eq. 2 and 3).
        channels: For ``"image"``: ``"luma"``, or ``"rgb"`` to sum over R, G and B.
        weights: For ``"feature"``: the filters, float ``[8, 3, 7, 7]``, a NumPy array or a tensor; by default
            :func:`mgdali.motion.default_filters`.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    motion: Motion = "image"
    channels: Channels = "luma"
    weights: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.motion not in get_args(Motion):
            raise ValueError(f"motion must be one of {get_args(Motion)}, got {self.motion!r}")
        if self.channels not in get_args(Channels):
            raise ValueError(f"channels must be one of {get_args(Channels)}, got {self.channels!r}")
        if self.motion == "feature" and self.channels != "luma":
            raise ValueError(
                f'channels={self.channels!r} is only possible with motion="image": the filters of the feature level '
                "contain the weights of R, G and B"
            )
        if self.weights is None:
            return
        if self.motion != "feature":
            raise ValueError(f'weights are only possible with motion="feature", got motion={self.motion!r}')
        weights = self.weights.detach().cpu().float().numpy() if hasattr(self.weights, "detach") else self.weights
        object.__setattr__(self, "weights", reference.check_filters(weights))

    @property
    def filters(self) -> NDArray[np.float32]:
        """Filters of the feature level, float32 ``[8, 3, 7, 7]``."""
        return reference.default_filters() if self.weights is None else self.weights


@runtime_checkable
class Sampler(Protocol):
    """Members that the loader needs of a sampling strategy.

    A strategy with an attribute ``needs_times`` that is True also gets the times of the frames: its ``pick`` has a
    further argument ``seconds``, which is given by name: float64 ``[T]``, not decreasing, counted from the first frame
    of the file, also for a segment of it.

    Attributes:
        num_frames: Number of picks per video, N.
        representation: How motion must be measured; None if the strategy does not use motion.
    """

    @property
    def num_frames(self) -> int: ...

    @property
    def representation(self) -> Representation | None: ...

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        """Pick frames of one video.

        Args:
            motion: S, float64 ``[T]``; None if ``representation`` is None.
            total: Number of frames in the video, T.
            offsets: float64 ``[N]`` in [0, 1): random in training, 0.5 in testing. A strategy must not use any other
                source of random numbers, so that epochs can be repeated and resumed.

        Returns:
            int64 ``[N]`` in ``[0, T)``.
        """
        ...


def check_sampler(sampler: object) -> None:
    """Check the ``sampler`` argument of a loader.

    Raises:
        ValueError: If it is not a strategy; the message says what to pass instead.
    """
    if isinstance(sampler, type):
        raise ValueError(
            f"sampler={sampler.__name__} is a class: pass an object of it, such as {sampler.__name__}(num_frames=8)"
        )
    if isinstance(sampler, Sampler):
        return
    if hasattr(sampler, "__iter__") and not isinstance(sampler, str):
        raise ValueError(
            f"sampler picks the frames of each video, but {type(sampler).__name__} chooses videos: pass a strategy "
            "such as MotionGuided(num_frames=8); choose videos by shuffle=, weights= or order=, by rank= and "
            "world_size=, or by dataset.subset(indices)"
        )
    raise ValueError(f"sampler must have num_frames, representation and pick(), got {sampler!r}")


def needs_times(sampler: Sampler) -> bool:
    """Return whether a strategy needs the times of the frames."""
    return bool(getattr(sampler, "needs_times", False))


def sampled_picks(
    sampler: Sampler,
    motion: NDArray[np.float64] | None,
    total: int,
    offsets: NDArray[np.float64],
    seconds: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Call a strategy and return its picks, int64 ``[N]``, after a check.

    Args:
        sampler: The strategy.
        motion, total, offsets: As in :meth:`Sampler.pick`; offsets ``[V, N]`` give picks ``[V, N]``.
        seconds: Times of the frames, float64 ``[T]``; None unless :func:`needs_times`.

    Raises:
        ValueError: If it does not return N integers in ``[0, T)``.
    """
    if offsets.ndim == 2:
        return np.stack([sampled_picks(sampler, motion, total, own, seconds) for own in offsets])
    times = {"seconds": seconds} if needs_times(sampler) else {}
    return checked_picks(sampler, sampler.pick(motion, total, offsets, **times), total)


def checked_picks(sampler: Sampler, picks: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Return a sampler's picks as int64 ``[N]``.

    Args:
        sampler: The strategy, for the error.
        picks: The picks that it returned.
        total: Number of frames in the video, T.

    Raises:
        ValueError: If they are not N integers in ``[0, T)``.
    """
    picks = np.asarray(picks)
    expected = sampler.num_frames
    if picks.shape != (expected,) or picks.dtype.kind not in "iu":
        raise ValueError(f"{sampler!r}: pick() must return int64 [{expected}], got {picks.dtype} {list(picks.shape)}")
    if picks.min() < 0 or picks.max() >= total:
        raise ValueError(f"{sampler!r}: pick() must return indices in [0, {total}), got {picks.tolist()}")
    return picks.astype(np.int64, copy=False)


@dataclass(frozen=True)
class MotionGuided:
    """Picks at even steps of cumulative motion (Eq. 4 to 6): :func:`mgdali.sampling.sample_motion_guided`.

    Args:
        num_frames: Number of picks per video, N >= 1.
        motion, channels, weights: As in :class:`Representation`.
        mu: Exponent that smooths S, >= 0 (Table 1).
        inverse: ``"step"``, or ``"nearest"`` for the rule of the authors' released code.
        even: Share of the distribution that is spread evenly over time, in [0, 1]
            (:func:`mgdali.sampling.motion_weights`). 0 is the paper's rule.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> MotionGuided(3, mu=1.0).pick(np.array([0.0, 0, 0, 9, 9, 9, 0, 0]), 8, np.full(3, 0.5))
        array([3, 4, 5])
    """

    num_frames: int = 8
    _: KW_ONLY
    motion: Motion = "image"
    mu: float = 0.5
    channels: Channels = "luma"
    weights: Any = field(default=None, repr=False, compare=False)
    inverse: Inverse = "step"
    even: float = 0.0

    def __post_init__(self) -> None:
        check_integer("num_frames", self.num_frames, least=1)
        sampling.check_mu(self.mu)
        sampling.check_inverse(self.inverse)
        sampling.check_even(self.even)
        object.__setattr__(self, "weights", self.representation.weights)

    @property
    def representation(self) -> Representation:
        return Representation(motion=self.motion, channels=self.channels, weights=self.weights)

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        assert motion is not None
        return sampling.sample_motion_guided(
            motion, self.num_frames, mu=self.mu, even=self.even, offsets=offsets, inverse=self.inverse
        )


@dataclass(frozen=True)
class Segment:
    """One frame from each of N equal parts, as in TSN: :func:`mgdali.sampling.sample_segment`.

    Args:
        num_frames: Number of picks per video, N >= 1.

    Raises:
        ValueError: If ``num_frames`` is not an integer >= 1.
    """

    num_frames: int = 8

    def __post_init__(self) -> None:
        check_integer("num_frames", self.num_frames, least=1)

    @property
    def representation(self) -> None:
        return None

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        return sampling.sample_segment(total, self.num_frames, offsets=offsets)


@dataclass(frozen=True)
class Stride:
    """Every ``stride``-th frame from a random start; in testing, a centred run: :func:`mgdali.sampling.sample_stride`.

    Args:
        num_frames: Number of picks per video, N >= 1.
        stride: Distance between two picks in frames, >= 1.
        past_end: Which frames replace those past the end of a short video: ``"repeat_last"`` or ``"loop"``
            (:func:`mgdali.sampling.sample_stride`).

    Raises:
        ValueError: If an argument is out of range.
    """

    num_frames: int = 8
    _: KW_ONLY
    stride: int = 4
    past_end: PastEnd = "repeat_last"

    def __post_init__(self) -> None:
        check_integer("num_frames", self.num_frames, least=1)
        check_integer("stride", self.stride, least=1)
        sampling.check_past_end(self.past_end)

    @property
    def representation(self) -> None:
        return None

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        span = (self.num_frames - 1) * self.stride + 1
        starts = max(total - span, 0) + 1
        start = min(int(offsets[0] * starts), starts - 1)
        return sampling.sample_stride(total, self.num_frames, self.stride, start=start, past_end=self.past_end)


@dataclass(frozen=True)
class Fps:
    """Frames at even steps of time from a random start; in testing, a centred run: :func:`mgdali.sampling.sample_fps`.

    For data sets whose videos have different frame rates. Only the first of the N offsets is used.

    Args:
        fps: Number of picks per second, > 0.
        num_frames: Number of picks per video, N >= 1.
        past_end: Which frames replace those past the end of a short video: ``"repeat_last"`` or ``"loop"``.

    Raises:
        ValueError: If an argument is out of range.
    """

    fps: float
    num_frames: int = 8
    _: KW_ONLY
    past_end: PastEnd = "repeat_last"

    def __post_init__(self) -> None:
        sampling.check_fps(self.fps)
        check_integer("num_frames", self.num_frames, least=1)
        sampling.check_past_end(self.past_end)

    @property
    def representation(self) -> None:
        return None

    @property
    def needs_times(self) -> bool:
        """Whether ``pick`` gets the times of the frames: True."""
        return True

    def pick(
        self,
        motion: NDArray[np.float64] | None,
        total: int,
        offsets: NDArray[np.float64],
        *,
        seconds: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        if seconds is None:
            raise ValueError(f"{self!r} needs the times of the frames: pass seconds=, float64 [{total}]")
        return sampling.sample_fps(seconds, self.num_frames, self.fps, offset=float(offsets[0]), past_end=self.past_end)


@dataclass(frozen=True)
class MotionClip:
    """Every ``stride``-th frame of a run around motion: :func:`mgdali.sampling.sample_motion_clip`.

    For models that need frames at equal distances, such as SlowFast. Only the first of the N offsets is used.

    Args:
        num_frames: Number of picks per video, N >= 1.
        stride: Distance between two picks in frames, >= 1.
        motion, channels, weights: As in :class:`Representation`.
        mu: Exponent that smooths S, >= 0.
        even: Share of the distribution that is spread evenly over time, in [0, 1].
        past_end: Which frames replace those past the end of a short video: ``"repeat_last"`` or ``"loop"``
            (:func:`mgdali.sampling.sample_stride`).

    Raises:
        ValueError: If an argument is out of range.
    """

    num_frames: int = 8
    _: KW_ONLY
    stride: int = 8
    motion: Motion = "image"
    mu: float = 0.5
    channels: Channels = "luma"
    weights: Any = field(default=None, repr=False, compare=False)
    even: float = 0.0
    past_end: PastEnd = "repeat_last"

    def __post_init__(self) -> None:
        check_integer("num_frames", self.num_frames, least=1)
        check_integer("stride", self.stride, least=1)
        sampling.check_mu(self.mu)
        sampling.check_even(self.even)
        sampling.check_past_end(self.past_end)
        object.__setattr__(self, "weights", self.representation.weights)

    @property
    def representation(self) -> Representation:
        return Representation(motion=self.motion, channels=self.channels, weights=self.weights)

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        assert motion is not None
        return sampling.sample_motion_clip(
            motion,
            self.num_frames,
            self.stride,
            mu=self.mu,
            even=self.even,
            offset=float(offsets[0]),
            past_end=self.past_end,
        )


@dataclass(frozen=True)
class TopMotion:
    """The N frames of largest motion, in temporal order: :func:`mgdali.sampling.sample_top_motion`.

    Args:
        num_frames: Number of picks per video, N >= 1.
        motion, channels, weights: As in :class:`Representation`.

    Raises:
        ValueError: If an argument is out of range.
    """

    num_frames: int = 8
    _: KW_ONLY
    motion: Motion = "image"
    channels: Channels = "luma"
    weights: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_integer("num_frames", self.num_frames, least=1)
        object.__setattr__(self, "weights", self.representation.weights)

    @property
    def representation(self) -> Representation:
        return Representation(motion=self.motion, channels=self.channels, weights=self.weights)

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        assert motion is not None
        return sampling.sample_top_motion(motion, self.num_frames)
