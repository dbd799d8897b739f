"""`Kernels` on the CPU: arrays are NumPy arrays, and the host build of the CUDA sources runs the launches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.gpu.cuda_kernels import VIDEO, Kernels, describe_videos
from tests.support.kernel_build import HostKernels, Out, Structs

__all__ = ["KernelsOnHost"]


class KernelsOnHost(Kernels):
    """The kernels on the CPU.

    Args:
        host: The host build of the sources.

    Attributes:
        launched: Names of the kernels in the order of their launches.
    """

    tensor_cores = True  # type: ignore[assignment]

    def __init__(self, host: HostKernels) -> None:
        self.arrays = np
        self.launched: list[str] = []
        self._host = host

    def describe(self, frames: Sequence[Any], visible: Sequence[Any] | None = None) -> tuple[NDArray[Any], Any]:
        videos = describe_videos([0] * len(frames), [array.shape[:3] for array in frames])
        on_device = videos.copy()
        for row, window in zip(on_device, visible or (), strict=visible is not None):
            row["top"], row["left"], row["height"], row["width"] = window
        rows = [(np.ascontiguousarray(f), *tuple(row)[1:]) for f, row in zip(frames, on_device, strict=True)]
        return videos, Structs(VIDEO, rows)

    def to_host(self, array: Any) -> NDArray[Any]:
        return np.asarray(array)

    def _addresses(self, arrays: list[Any]) -> Any:
        return Structs(np.uint64, [Out(array) for array in arrays])

    def function(self, source: str, name: str) -> Any:
        return partial(self._launch, name)

    def _launch(self, name: str, grid: Any, block: Any, args: tuple[Any, ...]) -> None:
        self.launched.append(name)
        wrapped = [Out(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        outs = [arg for arg in wrapped if isinstance(arg, Out)]
        outs += [row for arg in wrapped if isinstance(arg, Structs) for row in arg.rows if isinstance(row, Out)]
        results = self._host.run(name, grid=grid, block=block, args=wrapped)
        assert len(results) == len(outs)
        for out, result in zip(outs, results, strict=True):
            out.array[...] = result
