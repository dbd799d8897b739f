"""The CUDA kernels from Python: the location of their sources, their arguments, and their launches.

The sources in ``kernels/`` describe what each kernel computes and what bounds its speed. Everything except
:class:`Kernels` works without a GPU, and the tests on the CPU use it too.

Shapes: T frames of H x W pixels per video, N picks per video. S is the motion of a frame (Eq. 1 to 3).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.gpu.feature_filters import FeatureKernel, FeaturePlan, feature_plan, feature_units
from mgdali.sampling import Inverse

__all__ = [
    "GATHER_BLOCK",
    "IMAGE_BLOCK",
    "PICK_BLOCK",
    "VIDEO",
    "Kernels",
    "compile_options",
    "describe_videos",
    "feature_grid",
    "gather_grid",
    "image_grid",
    "kernel_folder",
]

VIDEO = np.dtype(
    [
        ("frames", np.uint64),
        ("first", np.int64),
        ("num_frames", np.int32),
        ("rows", np.int32),
        ("columns", np.int32),
        ("top", np.int32),
        ("left", np.int32),
        ("height", np.int32),
        ("width", np.int32),
        ("unused", np.int32),
    ]
)
"""One video of a batch, in the layout of ``Video`` in ``kernels/video.cuh``.

``frames`` is the address of uint8 ``[num_frames, rows, columns, 3]``. ``first`` is the index of the video's first value
in arrays over all frames of the batch. ``top``, ``left``, ``height`` and ``width`` are the visible part of the stored
frame, in pixels; the kernels measure only this part.
"""

_WORDS = VIDEO.itemsize // 4
_VISIBLE_WORDS = slice(VIDEO.fields["top"][1] // 4, VIDEO.fields["unused"][1] // 4)  # type: ignore[index]

IMAGE_BLOCK = 128
PICK_BLOCK = 256
GATHER_BLOCK = 256
_IMAGE_BYTES_PER_THREAD = 48
_FEATURE_FRAMES_PER_BLOCK = 16
_GATHER_BYTES_PER_BLOCK = GATHER_BLOCK * 16 * 4


def kernel_folder() -> Path:
    """Return the folder of the CUDA sources: inside the installed package, or at the top level of a checkout."""
    here = Path(__file__).parent
    return next(folder for folder in (here / "sources", here.parents[1] / "kernels") if folder.is_dir())


def compile_options() -> tuple[str, ...]:
    """Return NVRTC's options except the architecture. Fast math is off, so that motion is equal on all GPUs."""
    return ("--std=c++17", f"-I{kernel_folder()}")


def describe_videos(frames: Sequence[int], shapes: Sequence[tuple[int, int, int]]) -> NDArray[Any]:
    """Return the description of a batch of videos for the kernels.

    Args:
        frames: Address of the frames of each video, uint8 RGB ``[T, H, W, 3]``.
        shapes: ``(T, H, W)`` of each video.

    Returns:
        An array of :data:`VIDEO`. The batch's frames are numbered one video after another, and all of them are visible
        as a whole.

    Raises:
        ValueError: If a video has no frame or no pixel.
    """
    if any(0 in shape for shape in shapes):
        raise ValueError(f"a video has no frame or no pixel: shapes are {list(shapes)}")
    videos = np.zeros(len(frames), VIDEO)
    videos["frames"] = frames
    for name, values in zip(("num_frames", "rows", "columns"), zip(*shapes, strict=True), strict=True):
        videos[name] = values
    videos["height"], videos["width"] = videos["rows"], videos["columns"]
    videos["first"] = np.cumsum(videos["num_frames"], dtype=np.int64) - videos["num_frames"]
    return videos


def image_grid(videos: NDArray[Any], pixel_bytes: int = 3) -> tuple[int, int]:
    """Return the grid of the image-level kernels, in blocks, for a batch (an array of :data:`VIDEO`).

    It covers any visible part of the frames.

    Args:
        videos: The batch.
        pixel_bytes: 3 for RGB, 1 for luma planes.
    """
    groups_per_row = -(-pixel_bytes * videos["columns"].astype(np.int64) // _IMAGE_BYTES_PER_THREAD)
    return math.ceil(int((videos["rows"] * groups_per_row).max()) / IMAGE_BLOCK), len(videos)


def feature_grid(videos: NDArray[Any], plan: FeaturePlan) -> tuple[int, int, int]:
    """Return the grid of the plan's kernel, in blocks, for a batch (an array of :data:`VIDEO`)."""
    rows, columns = plan.tile
    across, down = -(-videos["width"] // columns), -(-videos["height"] // rows)
    stretches = math.ceil((int(videos["num_frames"].max()) - 1) / _FEATURE_FRAMES_PER_BLOCK)
    return int((across * down).max()), max(1, stretches), len(videos)


def gather_grid(videos: NDArray[Any], num_picks: int) -> tuple[int, int, int]:
    """Return the grid of the gathering kernel, in blocks, for ``num_picks`` frames per video of a batch."""
    frame_bytes = int((3 * videos["rows"].astype(np.int64) * videos["columns"]).max())
    return math.ceil(frame_bytes / _GATHER_BYTES_PER_BLOCK), num_picks, len(videos)


class Kernels:
    """The kernels, compiled for the current CUDA device and launched through CuPy on its current stream.

    Arrays are CuPy arrays on that device, unless typed as NumPy arrays. Only :meth:`to_host` waits for the device. CuPy
    checks every launch and raises ``cupy.cuda.driver.CUDADriverError``.

    Attributes:
        arrays: The module ``cupy``.
    """

    def __init__(self) -> None:
        import cupy

        self.arrays: Any = cupy
        self._modules: dict[tuple[str, str], Any] = {}

    @cached_property
    def tensor_cores(self) -> bool:
        """Whether the GPU has the tensor cores that a feature-level kernel needs (sm_80 or newer)."""
        return int(self.arrays.cuda.Device().compute_capability) >= 80

    def describe(self, frames: Sequence[Any], visible: Sequence[Any] | None = None) -> tuple[NDArray[Any], Any]:
        """Describe a batch of videos for the other methods.

        Args:
            frames: Frames of each video, uint8 RGB ``[T, H, W, 3]`` or luma ``[T, H, W]``, contiguous.
            visible: Visible part of each video's frames, int32 ``[4]`` (top, left, height, width) in pixels, on the
                device. It is not copied to the host, so that nothing waits for the device. None means all of it.

        Returns:
            The array of :data:`VIDEO` on the host (``videos``), and a copy of it on the device (``on_device``). If
            ``visible`` is given, only the copy has the visible parts; on the host, the whole frames are an upper bound.
        """
        videos = describe_videos([self._address(array) for array in frames], [array.shape[:3] for array in frames])
        on_device = self.arrays.array(videos.view(np.int32).reshape(-1, _WORDS))
        if visible is not None:
            on_device[:, _VISIBLE_WORDS] = self.arrays.stack(list(visible))
        return videos, on_device

    def to_host(self, array: Any) -> NDArray[Any]:
        """Wait for the device, and return a copy of an array on the host."""
        return np.asarray(self.arrays.asnumpy(array))

    def no_motion(self, videos: NDArray[Any]) -> Any:
        """Return zeros, uint64 ``[sum of T]``: S of all frames of a batch before it is measured."""
        return self.arrays.zeros(int(videos["num_frames"].sum()), np.uint64)

    def image_difference(self, videos: NDArray[Any], on_device: Any, channels: str) -> Any:
        """Measure S at the image level of all frames of a batch.

        Args:
            videos: The batch on the host.
            on_device: The batch on the device.
            channels: ``"luma"`` or ``"rgb"``; or ``"plane"`` if the frames are luma planes, ``[T, H, W]``.

        Returns:
            S, uint64 ``[sum of T]``.
        """
        motion = self.no_motion(videos)
        kernel = self.function("image_difference", f"image_difference_{channels}")
        grid = image_grid(videos, pixel_bytes=1 if channels == "plane" else 3)
        kernel(grid, (IMAGE_BLOCK,), (on_device, motion))
        return motion

    def feature_difference(
        self,
        videos: NDArray[Any],
        on_device: Any,
        filters: NDArray[np.float32],
        *,
        planes: bool = False,
        kernel: FeatureKernel | None = None,
    ) -> tuple[Any, float]:
        """Measure S at the feature level of all frames of a batch.

        Args:
            videos: The batch on the host.
            on_device: The batch on the device.
            filters: Float32 ``[8, 3, 7, 7]``.
            planes: Whether the frames are luma planes, ``[T, H, W]``, measured as RGB frames with R = G = B.
            kernel: The kernel to use; None uses the fastest one, see
                :func:`mgdali.gpu.feature_filters.feature_plan`.

        Returns:
            S in integer units, uint64 ``[sum of T]``, and the value of one unit.

        Raises:
            ValueError: If the filters or the frames need another kernel than the one given.
        """
        plan = feature_plan(filters, tensor_cores=self.tensor_cores, planes=planes, kernel=kernel)
        units = feature_units(filters, videos)
        motion = self.no_motion(videos)
        weights = () if plan.weights is None else (self.arrays.asarray(plan.weights),)
        heads = (plan.head,) if plan.head else ()
        arguments = (on_device, *weights, np.float64(units * plan.scale), motion)
        self.function(plan.source, plan.function, *heads)(feature_grid(videos, plan), (plan.block,), arguments)
        return motion, 1 / units

    def pick_motion_guided(
        self,
        videos: NDArray[Any],
        on_device: Any,
        motion: Any,
        unit: float,
        offsets: Any,
        mu: float,
        even: float,
        inverse: Inverse,
    ) -> Any:
        """Pick frames by motion, as :func:`mgdali.sampling.sample_motion_guided` does. S is rounded to float32 before.

        Args:
            videos: The batch on the host.
            on_device: The batch on the device.
            motion: S in integer units, uint64 ``[sum of T]``.
            unit: Value of one unit.
            offsets: Position of each pick within its part of the cumulative distribution, float64 ``[videos, N]`` in
                [0, 1).
            mu: Exponent of S, >= 0.
            even: Share of the distribution that is spread evenly over time, in [0, 1].
            inverse: ``"step"`` or ``"nearest"``.

        Returns:
            Indices of the picked frames, int64 ``[videos, N]``.
        """
        picks = self.arrays.empty(offsets.shape, np.int64)
        scratch = self.arrays.empty(len(motion), np.float64)
        rule = (np.float64(mu), np.float64(even), np.int32(inverse == "nearest"))
        arguments = (on_device, motion, np.float64(unit), *rule, offsets, np.int32(offsets.shape[1]), scratch, picks)
        self.function("pick", "pick_motion_guided")((len(videos),), (PICK_BLOCK,), arguments)
        return picks

    def pick_top_motion(self, videos: NDArray[Any], on_device: Any, motion: Any, unit: float, num_picks: int) -> Any:
        """Pick the N frames of largest S of each video, in temporal order. S is rounded to float32 before.

        Args:
            videos: The batch on the host.
            on_device: The batch on the device.
            motion: S in integer units, uint64 ``[sum of T]``.
            unit: Value of one unit.
            num_picks: Number of frames to pick per video, N.

        Returns:
            Indices of the picked frames, int64 ``[videos, N]``.
        """
        picks = self.arrays.empty((len(videos), num_picks), np.int64)
        arguments = (on_device, motion, np.float64(unit), np.int32(num_picks), picks)
        self.function("pick", "pick_top_motion")((len(videos),), (PICK_BLOCK,), arguments)
        return picks

    def gather_frames(
        self, videos: NDArray[Any], on_device: Any, picks: Any, colours: Sequence[Any] | None = None
    ) -> list[Any]:
        """Return the picked frames of each video in their stored size, uint8 ``[N, H, W, 3]``.

        Pixels outside the visible part repeat the nearest visible pixel. A resize of the visible part therefore gives
        the same as one that repeats the pixels at its edge, and its caller need not know the visible part.

        Args:
            videos: The batch on the host.
            on_device: The batch on the device.
            picks: Indices of the frames, int64 ``[videos, N]`` in ``[0, T)``. Other indices are limited to this range.
            colours: A matrix for each video, float32 ``[9]`` in row order, which is applied to the (R, G, B) of its
                pixels. The results are rounded to the nearest integer, halves to the even one, and limited to 0 to 255.
                None leaves the colours unchanged, and so does the identity matrix.
        """
        count = picks.shape[1]
        clips = [self.arrays.empty((count, int(v["rows"]), int(v["columns"]), 3), np.uint8) for v in videos]
        # A null pointer stands for no matrices.
        matrices = np.uint64(0) if colours is None else self.arrays.stack(list(colours)).astype(np.float32, copy=False)
        arguments = (on_device, picks, matrices, self._addresses(clips))
        self.function("gather", "gather_frames")(gather_grid(videos, count), (GATHER_BLOCK,), arguments)
        return clips

    def _address(self, array: Any) -> int:
        return int(array.data.ptr)

    def _addresses(self, arrays: list[Any]) -> Any:
        return self.arrays.asarray(np.array([self._address(array) for array in arrays], np.uint64))

    def function(self, source: str, name: str, head: str = "") -> Any:
        """Return the kernel ``name`` of ``kernels/<source>.cu``, with ``head`` before the source, ready to launch.

        The source is compiled on the first call; CuPy keeps the compiled code on disk.
        """
        if (source, head) not in self._modules:
            code = head + (kernel_folder() / f"{source}.cu").read_text()
            headers = b"".join(path.read_bytes() for path in sorted(kernel_folder().glob("*.cuh")))
            # CuPy's cache on disk is keyed by the text of the source, which does not include the text of its headers.
            code += f"// headers: {hashlib.sha256(headers).hexdigest()}\n"
            self._modules[source, head] = self.arrays.RawModule(code=code, options=compile_options())
        return self._modules[source, head].get_function(name)
