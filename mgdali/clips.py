"""From a video to the clip that enters the DALI graph: decode, cut the crop window out, note where it lies.

This is the work of one worker for one video; it knows nothing of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.decode import Decoder
from mgdali.order import Draw
from mgdali.samplers import Sampler
from mgdali.transforms import SpatialTransform, Window

__all__ = ["ClipConfig", "ClipJob", "ClipLoader", "ClipResult"]


@dataclass(frozen=True)
class ClipConfig:
    """What is the same for all clips of a loader; pickled once to each worker."""

    sampler: Sampler
    transform: SpatialTransform
    memory_budget: int


@dataclass(frozen=True)
class ClipJob:
    """One video to make a clip of, and the random choices for it."""

    path: str
    choices: Draw


@dataclass(frozen=True)
class ClipResult:
    """What is known of a clip beside its pixels.

    Attributes:
        shape: of the pixels, uint8 ``[N, H, W, 3]``: the crop window and the margin that resizing looks at.
        window: the crop window within these pixels: top, left, bottom, right.
        flip: whether the clip is to be mirrored.
        picks: int64 ``[N]``.
        num_frames: T, frames in the video.
        frames_decoded: frames the decoder put out for it.
    """

    shape: tuple[int, int, int, int]
    window: Window
    flip: bool
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int


class ClipLoader:
    """Makes clips, one after another."""

    def __init__(self, config: ClipConfig) -> None:
        self._transform = config.transform
        self._decoder = Decoder(config.sampler, memory_budget=config.memory_budget)

    def load(self, job: ClipJob, allocate: Callable[[tuple[int, int, int, int]], NDArray[np.uint8]]) -> ClipResult:
        """Decode a video and write its clip.

        Args:
            job: the video.
            allocate: gives the memory for the clip's pixels, uint8 of the shape asked for.

        Raises:
            VideoDecodeError: the file cannot be decoded.
        """
        video = self._decoder.decode(job.path, job.choices.offsets)
        height, width, _ = next(iter(video.frames.values())).shape
        window = self._transform.window(height, width, job.choices)
        top, left, bottom, right = _with_margin(window, height, width, self._transform.crop_size)
        shape = (len(video.picks), bottom - top, right - left, 3)
        pixels = allocate(shape)
        for i, t in enumerate(video.picks.tolist()):
            pixels[i] = video.frames[t][top:bottom, left:right]
        return ClipResult(
            shape=shape,
            window=Window(window.top - top, window.left - left, window.bottom - top, window.right - left),
            flip=self._transform.flip(job.choices),
            picks=video.picks,
            num_frames=video.num_frames,
            frames_decoded=video.frames_decoded,
        )


def _with_margin(window: Window, height: int, width: int, crop_size: int) -> tuple[int, int, int, int]:
    """Whole pixels that resizing the window reads: DALI's antialiasing filter reaches past the window's edge."""
    reach_high = math.ceil(max(1.0, (window.bottom - window.top) / crop_size)) + 1
    reach_wide = math.ceil(max(1.0, (window.right - window.left) / crop_size)) + 1
    return (
        max(0, math.floor(window.top) - reach_high),
        max(0, math.floor(window.left) - reach_wide),
        min(height, math.ceil(window.bottom) + reach_high),
        min(width, math.ceil(window.right) + reach_wide),
    )
