"""Measuring motion and picking on the GPU: the function that the decoding graph calls for each batch of videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.gpu.cuda_kernels import Kernels
from mgdali.samplers import MotionGuided, Sampler, Segment, Stride, TopMotion, checked_picks

__all__ = ["FramePicker"]


class FramePicker:
    """Picks frames of decoded videos with the CUDA kernels, on CuPy's current stream.

    The strategies of this package run on the device, and nothing waits for it. The ``pick()`` of any other strategy,
    including a subclass that overrides it, runs on the host: its motion and offsets are copied there first.

    Args:
        sampler: The sampling strategy.
        make_kernels: Creates the kernels at the first call, in DALI's thread and on DALI's device.
    """

    def __init__(self, sampler: Sampler, make_kernels: Callable[[], Kernels] = Kernels) -> None:
        self._sampler = sampler
        # Read once, because a representation computes its filters again at each access.
        self._representation = sampler.representation
        self._filters: NDArray[np.float32] | None = None
        if self._representation is not None and self._representation.motion == "feature":
            self._filters = self._representation.filters
        # A subclass may override pick(): what counts is the method, not the class.
        self._pick_on_device = _ON_DEVICE.get(getattr(sampler.pick, "__func__", None), _pick_on_host)
        self._make_kernels = make_kernels
        self._kernels: Kernels | None = None

    def __call__(self, frames: list[Any], offsets: list[Any]) -> tuple[list[Any], list[Any]]:
        """Pick frames from a batch of videos.

        Args:
            frames: The videos, CuPy arrays, uint8 ``[T, H, W, 3]`` each.
            offsets: Position of each pick within its part of the cumulative distribution, float64 ``[N]`` each, in
                [0, 1).

        Returns:
            The picked frames, uint8 ``[N, H, W, 3]`` each, and the picks, int64 ``[N]`` each.
        """
        if self._kernels is None:
            self._kernels = self._make_kernels()
        kernels = self._kernels
        videos, on_device = kernels.describe(frames)
        batch = _Batch(kernels, videos, on_device, kernels.arrays.stack(offsets))
        if self._filters is not None:
            batch.motion, batch.unit = kernels.feature_difference(videos, on_device, self._filters)
        elif self._representation is not None:
            batch.motion = kernels.image_difference(videos, on_device, self._representation.channels)
        picks = self._pick_on_device(self._sampler, batch)
        return kernels.gather_frames(videos, on_device, picks), list(picks)


class _Batch:
    """Decoded videos and what was measured of them.

    Attributes:
        kernels: The kernels.
        videos: Description of the videos on the host.
        on_device: The same description on the device.
        offsets: float64 ``[videos, N]`` on the device.
        motion: S of all frames in units, uint64 ``[sum of T]`` on the device; None if the strategy needs no motion.
        unit: The size of a unit of motion.
    """

    def __init__(self, kernels: Kernels, videos: NDArray[Any], on_device: Any, offsets: Any) -> None:
        self.kernels = kernels
        self.videos = videos
        self.on_device = on_device
        self.offsets = offsets
        self.motion: Any = None
        self.unit = 1.0


def _pick_motion_guided(sampler: Any, batch: _Batch) -> Any:
    return batch.kernels.pick_motion_guided(
        batch.videos, batch.on_device, batch.motion, batch.unit, batch.offsets, sampler.mu, sampler.inverse
    )


def _pick_segment(sampler: Any, batch: _Batch) -> Any:
    # With mu = 0 the motion-guided rule is TSN's, for any motion.
    motion = batch.kernels.no_motion(batch.videos)
    return batch.kernels.pick_motion_guided(batch.videos, batch.on_device, motion, 1.0, batch.offsets, 0.0, "step")


def _pick_stride(sampler: Any, batch: _Batch) -> Any:
    """Do what :meth:`Stride.pick` does, for a batch."""
    arrays, offsets, stride = batch.kernels.arrays, batch.offsets, sampler.stride
    count = offsets.shape[1]
    totals = arrays.asarray(batch.videos["num_frames"].astype(np.int64))[:, None]
    starts = arrays.maximum(totals - ((count - 1) * stride + 1), 0) + 1
    first = arrays.minimum((offsets[:, :1] * starts).astype(np.int64), starts - 1)
    return arrays.minimum(first + stride * arrays.arange(count, dtype=np.int64), totals - 1)


def _pick_top_motion(sampler: Any, batch: _Batch) -> Any:
    return batch.kernels.pick_top_motion(batch.videos, batch.on_device, batch.motion, batch.unit, sampler.num_frames)


def _pick_on_host(sampler: Any, batch: _Batch) -> Any:
    """Call the strategy's own ``pick()`` for each video of a batch."""
    videos = batch.videos
    motions: list[NDArray[np.float64] | None] = [None] * len(videos)
    if batch.motion is not None:
        # Rounded as an index file stores it, and as the kernels round it.
        rounded = (batch.kernels.to_host(batch.motion) * batch.unit).astype(np.float32).astype(np.float64)
        motions = list(np.split(rounded, videos["first"][1:]))
    offsets = batch.kernels.to_host(batch.offsets)
    picks = [
        checked_picks(sampler, sampler.pick(motion, int(total), own_offsets), int(total))
        for motion, total, own_offsets in zip(motions, videos["num_frames"], offsets, strict=True)
    ]
    return batch.kernels.arrays.asarray(np.stack(picks))


_ON_DEVICE: Mapping[Any, Callable[[Any, _Batch], Any]] = {
    MotionGuided.pick: _pick_motion_guided,
    Segment.pick: _pick_segment,
    Stride.pick: _pick_stride,
    TopMotion.pick: _pick_top_motion,
}
"""The methods whose result the kernels compute, and the function that does it."""
