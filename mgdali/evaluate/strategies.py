"""The strategies that are compared, and their picks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import draw
from mgdali.evaluate.options import EvaluateOptions
from mgdali.evaluate.videos import MeasuredVideo
from mgdali.samplers import MotionGuided, Sampler, Segment, Stride, TopMotion, sampled_picks

__all__ = ["BASELINE", "Strategy", "picks_of", "strategies_of"]

BASELINE = "segment"
"""Name of the strategy that the others are compared with."""


@dataclass(frozen=True)
class Strategy:
    """A strategy for any number of frames.

    Attributes:
        name: Its name in the report.
        make: Returns the sampler for a number of frames.
        guided: Whether it is motion-guided sampling.
    """

    name: str
    make: Callable[[int], Sampler]
    guided: bool = False


def strategies_of(options: EvaluateOptions) -> list[Strategy]:
    """Return the strategies that the options name, the baseline first.

    Top motion uses the first of the levels.
    """
    level = options.levels[0]
    found = [Strategy(BASELINE, Segment)]
    found += [Strategy(f"stride {step}", lambda n, step=step: Stride(n, stride=step)) for step in options.stride]  # type: ignore[misc]
    found.append(Strategy(f"top motion, {level}", lambda n: TopMotion(n, motion=level)))
    found += [
        Strategy(
            f"motion-guided, {level}, mu {mu:g}" + (f", even {even:g}" if even else ""),
            lambda n, level=level, mu=mu, even=even: MotionGuided(n, motion=level, mu=mu, even=even),  # type: ignore[misc]
            guided=True,
        )
        for level in options.levels
        for mu in options.mu
        for even in options.even
    ]
    return found


def picks_of(
    sampler: Sampler, video: MeasuredVideo, index: int, *, seed: int, clip: int, training: bool
) -> NDArray[np.int64]:
    """Return the picks of a video's clip, int64 ``[N]``.

    All strategies with the same number of frames get the same offsets.

    Args:
        sampler: The strategy.
        video: The video.
        index: Place of the video among all videos.
        seed: The seed of the offsets.
        clip: Number of the clip of the video, >= 0.
        training: Whether offsets are random; otherwise they are 0.5.
    """
    offsets = draw(seed, clip, index, sampler.num_frames, training=training).offsets
    motion = None if sampler.representation is None else video.motion[sampler.representation.motion]
    return sampled_picks(sampler, motion, video.num_frames, offsets)
