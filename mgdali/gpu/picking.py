"""Measuring motion, picking and gathering on the GPU: the functions that the decoding graph calls for its videos."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mgdali.gpu.cuda_kernels import Kernels
from mgdali.samplers import MotionClip, MotionGuided, Sampler, Segment, Stride, TopMotion, checked_picks

__all__ = ["FrameFunctions", "FrameGatherer", "FramePicker", "Guarded"]

Arrays = list[Any]
"""One array for each video of a batch."""


class GraphFunction(Protocol):
    """A function of a graph, which takes lists of arrays, and what it returns if it could not do its work."""

    def __call__(self, frames: Arrays, which: Arrays, visible: Arrays | None, colours: Arrays | None, /) -> Any: ...

    def placeholders(self, frames: Arrays, which: Arrays) -> Any:
        """Return outputs of the right number, dimensions and dtypes, whose content has no meaning.

        It must not fail, so it computes nothing on the device.
        """


class Guarded:
    """A function of a graph that raises nothing.

    DALI calls the function with its own CUDA stream wrapped in an object of CuPy's. If the function raises, DALI does
    not take the stream out of the object again, and CuPy destroys the stream together with the object. Therefore an
    exception is caught here, and the function's placeholders are returned. The caller of the graph must look at
    ``error`` after each batch. Once there is an error, the function is not called again.

    Args:
        function: The function.

    Attributes:
        error: The first exception, or None.
    """

    def __init__(self, function: GraphFunction) -> None:
        self._function = function
        self.error: BaseException | None = None

    def __call__(
        self, frames: Arrays, which: Arrays, visible: Arrays | None = None, colours: Arrays | None = None
    ) -> Any:
        """Return what the function returns, or its placeholders."""
        if self.error is None:
            try:
                return self._function(frames, which, visible, colours)
            except BaseException as error:  # Ctrl-C too: nothing may reach DALI.
                self.error = error
                # The arrays of the failed call would stay on the device as long as the exception.
                cause: BaseException | None = error
                while cause is not None:
                    traceback.clear_frames(cause.__traceback__)
                    cause = cause.__context__
        return self._function.placeholders(frames, which)


class FrameGatherer:
    """Gathers frames whose indices are known, with the CUDA kernels, on CuPy's current stream.

    Args:
        make_kernels: Creates the kernels at the first call, in DALI's thread and on DALI's device.
    """

    def __init__(self, make_kernels: Callable[[], Kernels] = Kernels) -> None:
        self._kernels = _Once(make_kernels)

    def __call__(
        self, frames: Arrays, picks: Arrays, visible: Arrays | None = None, colours: Arrays | None = None
    ) -> Arrays:
        """Gather the picked frames of a batch of videos.

        Args:
            frames: The videos, CuPy arrays, uint8 ``[T, H, W, 3]`` each.
            picks: Indices of the frames, int64 ``[N]`` each, in ``[0, T)``. They are not checked, because that would
                wait for the device: the caller compares T with the number of frames that it expects.
            visible: Visible part of the frames, int32 ``[4]`` each (top, left, height, width); None means all of it.
            colours: Matrix for the colours, float32 ``[9]`` each, as :meth:`Kernels.gather_frames` applies it.

        Returns:
            The frames, uint8 ``[N, H, W, 3]`` each, as :meth:`Kernels.gather_frames` returns them.
        """
        kernels = self._kernels()
        videos, on_device = kernels.describe(frames, visible)
        chosen = kernels.arrays.stack(picks).astype(np.int64, copy=False)
        return kernels.gather_frames(videos, on_device, chosen, colours)

    def placeholders(self, frames: Arrays, picks: Arrays) -> Arrays:
        """Return clips of the right shape: each the beginning of its video."""
        return _beginnings(frames, picks)


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
        self._kernels = _Once(make_kernels)

    def __call__(
        self, frames: Arrays, offsets: Arrays, visible: Arrays | None = None, colours: Arrays | None = None
    ) -> tuple[Arrays, Arrays]:
        """Pick frames from a batch of videos.

        Args:
            frames: The videos, CuPy arrays, uint8 ``[T, H, W, 3]`` each.
            offsets: Position of each pick within its part of the cumulative distribution, float64 ``[N]`` each, in
                [0, 1).
            visible: Visible part of the frames, int32 ``[4]`` each (top, left, height, width); None means all of it.
                Motion is measured there.
            colours: Matrix for the colours of the picked frames, float32 ``[9]`` each, as
                :meth:`Kernels.gather_frames` applies it. Motion is measured without it.

        Returns:
            The picked frames, uint8 ``[N, H, W, 3]`` each, as :meth:`Kernels.gather_frames` returns them, and the
            picks, int64 ``[N]`` each.
        """
        kernels = self._kernels()
        videos, on_device = kernels.describe(frames, visible)
        batch = _Batch(kernels, videos, on_device, kernels.arrays.stack(offsets))
        if self._filters is not None:
            batch.motion, batch.unit = kernels.feature_difference(videos, on_device, self._filters)
        elif self._representation is not None:
            batch.motion = kernels.image_difference(videos, on_device, self._representation.channels)
        picks = self._pick_on_device(self._sampler, batch)
        return kernels.gather_frames(videos, on_device, picks, colours), list(picks)

    def placeholders(self, frames: Arrays, offsets: Arrays) -> tuple[Arrays, Arrays]:
        """Return clips and picks of the right shapes: the beginnings of the videos, and the bits of the offsets."""
        return _beginnings(frames, offsets), [each.view(np.int64) for each in offsets]


class FrameFunctions:
    """The functions of one decoding graph, which raise nothing and share their kernels.

    Args:
        sampler: The sampling strategy.
        make_kernels: Creates the kernels at the first call, in DALI's thread and on DALI's device.

    Attributes:
        pick: Measures motion and picks (:class:`FramePicker`).
        gather: Gathers frames whose indices are known (:class:`FrameGatherer`).
    """

    def __init__(self, sampler: Sampler, make_kernels: Callable[[], Kernels] = Kernels) -> None:
        kernels = _Once(make_kernels)
        self.pick = Guarded(FramePicker(sampler, kernels))
        self.gather = Guarded(FrameGatherer(kernels))

    @property
    def error(self) -> BaseException | None:
        """The first exception of a function, or None."""
        return self.pick.error or self.gather.error


class _Once:
    """Creates the kernels at the first call, and returns the same ones afterwards."""

    def __init__(self, make_kernels: Callable[[], Kernels]) -> None:
        self._make_kernels = make_kernels
        self._kernels: Kernels | None = None

    def __call__(self) -> Kernels:
        if self._kernels is None:
            self._kernels = self._make_kernels()
        return self._kernels


def _beginnings(frames: Arrays, which: Arrays) -> Arrays:
    """Return the first N frames of each video, for ``which`` of N elements each.

    They are views, because allocating memory may be what has failed. Only a video with fewer frames than N needs memory
    for its repeated frames; without memory, its clip has fewer frames.
    """
    return [_beginning(video, len(own)) for video, own in zip(frames, which, strict=True)]


def _beginning(video: Any, count: int) -> Any:
    if len(video) < count:
        try:
            return video[:1].repeat(count, axis=0)
        except Exception:
            return video
    return video[:count]


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
    measured = (batch.videos, batch.on_device, batch.motion, batch.unit)
    return batch.kernels.pick_motion_guided(*measured, batch.offsets, sampler.mu, sampler.even, sampler.inverse)


def _pick_segment(sampler: Any, batch: _Batch) -> Any:
    # With mu = 0 the motion-guided rule is TSN's, for any motion.
    motion = batch.kernels.no_motion(batch.videos)
    return batch.kernels.pick_motion_guided(batch.videos, batch.on_device, motion, 1.0, batch.offsets, 0.0, 0.0, "step")


def _pick_stride(sampler: Any, batch: _Batch) -> Any:
    """Do what :meth:`Stride.pick` does, for a batch."""
    totals, last_start = _runs(sampler, batch)
    starts = last_start + 1
    first = (batch.offsets[:, :1] * starts).astype(np.int64)
    return _run_from(sampler, batch, batch.kernels.arrays.minimum(first, last_start), totals)


def _pick_motion_clip(sampler: Any, batch: _Batch) -> Any:
    """Do what :meth:`MotionClip.pick` does, for a batch."""
    arrays = batch.kernels.arrays
    measured = (batch.videos, batch.on_device, batch.motion, batch.unit)
    offsets = arrays.ascontiguousarray(batch.offsets[:, :1])
    middles = batch.kernels.pick_motion_guided(*measured, offsets, sampler.mu, sampler.even, "step")
    totals, last_start = _runs(sampler, batch)
    half = ((sampler.num_frames - 1) * sampler.stride + 1) // 2
    first = arrays.minimum(arrays.maximum(middles - half, 0), last_start)
    return _run_from(sampler, batch, first, totals)


def _runs(sampler: Any, batch: _Batch) -> tuple[Any, Any]:
    """Return the number of frames of each video, and the last frame at which a run can begin: int64 ``[videos, 1]``."""
    arrays = batch.kernels.arrays
    totals = arrays.asarray(batch.videos["num_frames"].astype(np.int64))[:, None]
    return totals, arrays.maximum(totals - ((sampler.num_frames - 1) * sampler.stride + 1), 0)


def _run_from(sampler: Any, batch: _Batch, first: Any, totals: Any) -> Any:
    """Return every ``stride``-th frame from the first ones, int64 ``[videos, N]``."""
    arrays = batch.kernels.arrays
    picks = first + sampler.stride * arrays.arange(sampler.num_frames, dtype=np.int64)
    return picks % totals if sampler.past_end == "loop" else arrays.minimum(picks, totals - 1)


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
    MotionClip.pick: _pick_motion_clip,
    TopMotion.pick: _pick_top_motion,
}
"""The methods whose result the kernels compute, and the function that does it."""
