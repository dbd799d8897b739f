"""Measuring motion and picking on the GPU: what the decoding graph calls with each batch of decoded videos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.gpu.cuda_kernels import Kernels
from mgdali.samplers import MotionGuided, Sampler, Segment, Stride, TopMotion, checked_picks

__all__ = ["FramePicker"]


class FramePicker:
    """Picks frames of decoded videos with the CUDA kernels, on CuPy's current stream.

    The strategies of this package stay on the device: nothing waits for it. A strategy of the user's own is asked on
    the host, for which motion and offsets are fetched.

    Args:
        sampler: the sampling strategy.
        make_kernels: makes the kernels at the first call, in the thread and on the device that DALI runs it on.
    """

    def __init__(self, sampler: Sampler, make_kernels: Callable[[], Kernels] = Kernels) -> None:
        self._sampler = sampler
        # Asked once: these make the filters anew at each call.
        self._representation = sampler.representation
        self._filters: NDArray[np.float32] | None = None
        if self._representation is not None and self._representation.motion == "feature":
            self._filters = self._representation.filters
        self._make_kernels = make_kernels
        self._kernels: Kernels | None = None

    def __call__(self, frames: list[Any], offsets: list[Any]) -> tuple[list[Any], list[Any]]:
        """Pick from a batch.

        Args:
            frames: the videos, uint8 ``[T, H, W, 3]`` each, CuPy arrays.
            offsets: float64 ``[N]`` each, in [0, 1).

        Returns:
            The picked frames, uint8 ``[N, H, W, 3]`` each, and the picks, int64 ``[N]`` each.
        """
        if self._kernels is None:
            self._kernels = self._make_kernels()
        videos, on_device = self._kernels.describe(frames)
        picks = self._pick(self._kernels, videos, on_device, self._kernels.arrays.stack(offsets))
        return self._kernels.gather_frames(videos, on_device, picks), list(picks)

    def _pick(self, kernels: Kernels, videos: NDArray[Any], on_device: Any, offsets: Any) -> Any:
        """Picks int64 ``[videos, N]``."""
        sampler = self._sampler
        if isinstance(sampler, Segment):
            # With mu = 0 the rule is TSN's, whatever the motion.
            motion = kernels.no_motion(videos)
            return kernels.pick_motion_guided(videos, on_device, motion, 1.0, offsets, 0.0, "step")
        if isinstance(sampler, Stride):
            return _pick_stride(kernels.arrays, videos, offsets, sampler.stride)
        motion, unit = None, 1.0
        if self._filters is not None:
            motion, unit = kernels.feature_difference(videos, on_device, self._filters)
        elif self._representation is not None:
            motion = kernels.image_difference(videos, on_device, self._representation.channels)
        if isinstance(sampler, MotionGuided):
            return kernels.pick_motion_guided(videos, on_device, motion, unit, offsets, sampler.mu, sampler.inverse)
        if isinstance(sampler, TopMotion):
            return kernels.pick_top_motion(videos, on_device, motion, unit, sampler.num_frames)
        return kernels.arrays.asarray(_pick_on_host(kernels, sampler, videos, motion, unit, offsets))


def _pick_stride(arrays: Any, videos: NDArray[Any], offsets: Any, stride: int) -> Any:
    """As :class:`Stride` picks, for a batch."""
    count = offsets.shape[1]
    totals = arrays.asarray(videos["num_frames"].astype(np.int64))[:, None]
    starts = arrays.maximum(totals - ((count - 1) * stride + 1), 0) + 1
    first = arrays.minimum((offsets[:, :1] * starts).astype(np.int64), starts - 1)
    return arrays.minimum(first + stride * arrays.arange(count, dtype=np.int64), totals - 1)


def _pick_on_host(
    kernels: Kernels, sampler: Sampler, videos: NDArray[Any], motion: Any, unit: float, offsets: Any
) -> NDArray[np.int64]:
    motions: list[NDArray[np.float64] | None] = [None] * len(videos)
    if motion is not None:
        # Rounded as an index file keeps it, and as the kernels do.
        rounded = (kernels.to_host(motion) * unit).astype(np.float32).astype(np.float64)
        motions = list(np.split(rounded, videos["first"][1:]))
    picks = []
    for own_motion, total, own_offsets in zip(motions, videos["num_frames"], kernels.to_host(offsets), strict=True):
        picks.append(checked_picks(sampler, sampler.pick(own_motion, int(total), own_offsets), int(total)))
    return np.stack(picks)
