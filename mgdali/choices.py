"""Random choices, each a function of the seed, the epoch and the video.

No random state is carried from one choice to the next. The choices are therefore the same for any number of workers
and after a resume.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draw", "Purpose", "draw", "generator", "transform_seed"]


class Purpose(IntEnum):
    """Purposes of random numbers. Each has its own stream, so that two kinds of choices never share numbers."""

    SHUFFLE = 0
    REPLACE = 1
    DRAW = 2
    SPLIT = 3
    RESIZED_CROP = 4
    TRANSFORM = 6
    WEIGHTED = 5


_NO_NUMBERS = np.empty(0)


@dataclass(frozen=True)
class Draw:
    """Random choices for one video in one epoch: uniform numbers in [0, 1), all 0.5 in testing.

    Attributes:
        offsets: Position of each pick within its part of the cumulative distribution, float64 ``[N]``.
        crop: Choice of the crop's size and of its position, float64 ``[2]``.
        flip: Choice of whether the clip is mirrored.
        resized_crop: Choices of the tries and of the position of a random resized crop, float64 ``[K]``; empty if the
            clip has another crop.
    """

    offsets: NDArray[np.float64]
    crop: NDArray[np.float64]
    flip: float
    resized_crop: NDArray[np.float64] = field(default_factory=lambda: _NO_NUMBERS)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle takes ten times as long for an array as for its bytes.
        return _unpickled, (self.offsets.tobytes(), self.crop.tobytes(), self.flip, self.resized_crop.tobytes())


def _unpickled(offsets: bytes, crop: bytes, flip: float, resized_crop: bytes) -> Draw:
    return Draw(np.frombuffer(offsets), np.frombuffer(crop), flip, np.frombuffer(resized_crop))


def generator(purpose: Purpose, seed: int, epoch: int, *video: int) -> np.random.Generator:
    """Return the random generator for one purpose.

    Args:
        purpose: What the numbers are used for.
        seed: The loader's seed, >= 0.
        epoch: The epoch, >= 0.
        video: For choices that concern one video: its index in the data set; if it occurs again in the epoch, then the
            number of its occurrence, >= 1.
    """
    return np.random.default_rng([int(purpose), seed, epoch, *video])


def draw(
    seed: int,
    epoch: int,
    index: int,
    num_frames: int,
    *,
    training: bool,
    occurrence: int = 0,
    resized_crop: int = 0,
    view: int = 0,
) -> Draw:
    """Return the random choices for the video at ``index`` of the data set.

    Args:
        seed: The loader's seed, >= 0.
        epoch: The epoch, >= 0.
        index: The video's index in the data set.
        num_frames: Number of frames to pick, N.
        training: Whether to draw at random; otherwise every choice is 0.5.
        occurrence: How often the video has occurred before in this epoch. Each occurrence has its own choices.
        resized_crop: Number of choices for a random resized crop, K. They have their own stream, so the other choices
            do not depend on it.
        view: Number of the view of the video. Each view has its own choices.
    """
    if not training:
        return _middles(num_frames)
    video = _key(index, occurrence, view)
    numbers = generator(Purpose.DRAW, seed, epoch, *video).random(num_frames + 3)
    tries = generator(Purpose.RESIZED_CROP, seed, epoch, *video).random(resized_crop) if resized_crop else _NO_NUMBERS
    return Draw(numbers[3:], numbers[:2], float(numbers[2]), tries)


def transform_seed(seed: int, epoch: int, index: int, occurrence: int = 0, view: int = 0) -> int:
    """Return the seed of the user's function for the video at ``index`` of the data set, in ``[0, 2**63)``.

    Args:
        seed: The loader's seed, >= 0.
        epoch: The epoch, >= 0.
        index: The video's index in the data set.
        occurrence: How often the video has occurred before in this epoch.
        view: Number of the view of the video.
    """
    video = _key(index, occurrence, view)
    return int(generator(Purpose.TRANSFORM, seed, epoch, *video).integers(1 << 63))


def _key(index: int, occurrence: int, view: int) -> tuple[int, ...]:
    """Return the numbers by which random choices for a view of a video are told apart from others."""
    if view:
        return index, occurrence, view
    return (index, occurrence) if occurrence else (index,)


@lru_cache
def _middles(num_frames: int) -> Draw:
    """Return the choices in testing. All clips share them, so their arrays cannot be written to."""
    middles = np.full(num_frames + 2, 0.5)
    middles.flags.writeable = False
    return Draw(middles[2:], middles[:2], 0.5)
