"""Launches of the CUDA kernels on random videos, and the check of their results against the reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from kernel_floors import HIDDEN_COLUMNS, HIDDEN_ROWS, Case
from kernel_timing import Device, Launch
from numpy.typing import NDArray

from mgdali import motion as reference
from mgdali import sampling
from mgdali.gpu.cuda_kernels import (
    GATHER_BLOCK,
    IMAGE_BLOCK,
    PICK_BLOCK,
    Kernels,
    feature_grid,
    gather_grid,
    image_grid,
)
from mgdali.gpu.feature_filters import FeatureKernel, feature_plan, feature_units

__all__ = ["NUM_PICKS", "Batch", "check", "feature_kernels"]

NUM_PICKS = 8
"""Number of frames to pick per video."""


@dataclass
class Batch:
    """Random videos on the device, with the arguments of each kernel."""

    device: Device
    kernels: Kernels
    case: Case
    table: NDArray[Any] = field(init=False)
    on_device: Any = field(init=False)

    def __post_init__(self) -> None:
        case, cupy = self.case, self.device.cupy
        shape = (case.videos, case.frames, case.height, case.width, 3)
        self.frames = self.device.random_bytes(case.batch_bytes).reshape(shape)
        self.table, self.on_device = self.kernels.describe(list(self.frames))
        window = np.array([0, 0, case.height - HIDDEN_ROWS, case.width - HIDDEN_COLUMNS], np.int32)
        _, self.partly_visible = self.kernels.describe(list(self.frames), [cupy.asarray(window)] * case.videos)
        # The same bytes as luma planes of three times the height.
        planes = self.frames.reshape(case.videos, case.frames, 3 * case.height, case.width)
        self.planes_table, self.planes = self.kernels.describe(list(planes))
        self.matrices = cupy.asarray(np.tile(np.linspace(-0.1, 1, 9, dtype=np.float32), (case.videos, 1)))
        self.motion = cupy.zeros(case.videos * case.frames, np.uint64)
        rng = np.random.default_rng()
        whole = rng.integers(0, 2**40, len(self.motion)).astype(np.uint64)
        self.random_motion = cupy.asarray(whole)
        self.offsets = cupy.asarray(rng.random((case.videos, NUM_PICKS)))
        self.scratch = cupy.empty(len(self.motion), np.float64)
        self.picks = cupy.empty((case.videos, NUM_PICKS), np.int64)
        self.chosen = cupy.asarray(rng.integers(0, case.frames, (case.videos, NUM_PICKS)))
        self.clips = cupy.empty((case.videos, NUM_PICKS, case.height, case.width, 3), np.uint8)
        self.addresses = cupy.asarray(np.array([clip.data.ptr for clip in self.clips], np.uint64))

    # These functions only launch kernels, because the methods of Kernels also allocate outputs and upload arguments.
    # Motion adds up over the launches and is not read; `check` has compared the results before.

    def image(self, channels: str, *, partly_visible: bool = False) -> Launch:
        kernel = self.kernels.function("image_difference", f"image_difference_{channels}")
        videos = self.partly_visible if partly_visible else self.on_device
        return self._launch(kernel, image_grid(self.table), IMAGE_BLOCK, videos, self.motion)

    def image_of_planes(self) -> Launch:
        kernel = self.kernels.function("image_difference", "image_difference_plane")
        grid = image_grid(self.planes_table, pixel_bytes=1)
        return self._launch(kernel, grid, IMAGE_BLOCK, self.planes, self.motion)

    def feature(self, kernel: FeatureKernel) -> Launch:
        filters = reference.default_filters()
        plan = feature_plan(filters, tensor_cores=self.kernels.tensor_cores, kernel=kernel)
        weights = () if plan.weights is None else (self.device.cupy.asarray(plan.weights),)
        units = np.float64(feature_units(filters, self.table) * plan.scale)
        function = self.kernels.function(plan.source, plan.function, plan.head)
        grid = feature_grid(self.table, plan)
        return self._launch(function, grid, plan.block, self.on_device, *weights, units, self.motion)

    def pick(self, mu: float, even: float = 0.0) -> Launch:
        arguments = (self.on_device, self.random_motion, np.float64(1), np.float64(mu), np.float64(even), np.int32(0))
        outputs = (self.offsets, np.int32(NUM_PICKS), self.scratch, self.picks)
        kernel = self.kernels.function("pick", "pick_motion_guided")
        return self._launch(kernel, (self.case.videos,), PICK_BLOCK, *arguments, *outputs)

    def top_motion(self) -> Launch:
        arguments = (self.on_device, self.random_motion, np.float64(1), np.int32(NUM_PICKS), self.picks)
        return self._launch(
            self.kernels.function("pick", "pick_top_motion"), (self.case.videos,), PICK_BLOCK, *arguments
        )

    def gather(self, *, corrected: bool = False) -> Launch:
        """Return a launch for whole frames; ``corrected`` is for partly visible ones whose colours are changed."""
        kernel = self.kernels.function("gather", "gather_frames")
        grid = gather_grid(self.table, NUM_PICKS)
        # A null pointer stands for no matrices.
        videos, matrices = (self.partly_visible, self.matrices) if corrected else (self.on_device, np.uint64(0))
        return self._launch(kernel, grid, GATHER_BLOCK, videos, self.chosen, matrices, self.addresses)

    @staticmethod
    def _launch(kernel: Any, grid: tuple[int, ...], block: int, *arguments: Any) -> Launch:
        return lambda: kernel(grid, (block,), arguments)


def feature_kernels(kernels: Kernels) -> tuple[FeatureKernel, ...]:
    """Return the kernels of the feature level that this GPU runs."""
    return ("separable", "float32", "tensor cores") if kernels.tensor_cores else ("separable", "float32")


# --- Check ------------------------------------------------------------------------------------------------------------


def check(device: Device, kernels: Kernels) -> list[str]:
    """Compare the kernels with the reference on a small batch, and return the names of the kernels that differ."""
    rng = np.random.default_rng()
    shapes = [(3, 33, 47), (1, 20, 20), (20, 17, 130), (5, 7, 5), (3, 64, 96)]
    videos = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    arrays = [device.cupy.asarray(video) for video in videos]
    described = kernels.describe(arrays)
    wrong = _wrong_motion(kernels, described, videos) + _wrong_picks(device.cupy, kernels, described, videos)
    return wrong + _wrong_visible_parts(device.cupy, kernels, arrays, videos)


def _wrong_motion(kernels: Kernels, described: tuple[NDArray[Any], Any], videos: list[NDArray[np.uint8]]) -> list[str]:
    wrong = []
    for channels in ("luma", "rgb"):
        found = _parts(kernels.image_difference(*described, channels), described[0])
        expected = [reference.image_difference(video, channels=channels) for video in videos]
        if not all(map(np.array_equal, found, expected)):
            wrong.append(f"image {channels}")
    expected = [reference.feature_difference(video) for video in videos]
    filters = reference.default_filters()
    for kernel in feature_kernels(kernels):
        raw, unit = kernels.feature_difference(*described, filters, kernel=kernel)
        tolerance = 2e-3 if kernel == "tensor cores" else 1e-5
        parts = _parts(raw, described[0])
        if not all(np.allclose(own * unit, right, tolerance, 1e-6) for own, right in zip(parts, expected, strict=True)):
            wrong.append(f"feature {kernel}")
    return wrong


def _wrong_picks(
    cupy: Any, kernels: Kernels, described: tuple[NDArray[Any], Any], videos: list[NDArray[np.uint8]]
) -> list[str]:
    wrong = []
    raw = kernels.image_difference(*described, "luma")
    motions = _parts(raw, described[0])
    offsets = np.random.default_rng().random((len(videos), NUM_PICKS))
    for even in (0.5, 0.0):
        guided = kernels.pick_motion_guided(*described, raw, 1.0, cupy.asarray(offsets), 0.5, even, "step")
        expected = [
            sampling.sample_motion_guided(np.float32(motion), NUM_PICKS, even=even, offsets=own)
            for motion, own in zip(motions, offsets, strict=True)
        ]
        if not np.array_equal(guided.get(), expected):
            wrong.append(f"pick, even {even}")
    top = kernels.pick_top_motion(*described, raw, 1.0, NUM_PICKS)
    if not np.array_equal(top.get(), [sampling.sample_top_motion(np.float32(motion), NUM_PICKS) for motion in motions]):
        wrong.append("top motion")
    clips = kernels.gather_frames(*described, cupy.asarray(np.array(expected)))
    triples = zip(clips, videos, expected, strict=True)
    if not all(np.array_equal(clip.get(), video[picks]) for clip, video, picks in triples):
        wrong.append("gather")
    return wrong


def _wrong_visible_parts(cupy: Any, kernels: Kernels, arrays: list[Any], videos: list[NDArray[np.uint8]]) -> list[str]:
    wrong = []
    sizes = [(video.shape[1] - 1, video.shape[2] - 3) for video in videos]
    visible = [cupy.asarray(np.array([0, 0, *size], np.int32)) for size in sizes]
    described = kernels.describe(arrays, visible)
    shown = [np.ascontiguousarray(v[:, :rows, :columns]) for v, (rows, columns) in zip(videos, sizes, strict=True)]
    found = _parts(kernels.image_difference(*described, "luma"), described[0])
    if not all(map(np.array_equal, found, map(reference.image_difference, shown))):
        wrong.append("image luma, visible")
    planes = [np.ascontiguousarray(video[..., 0]) for video in videos]
    described_planes = kernels.describe([cupy.asarray(plane) for plane in planes])
    found = _parts(kernels.image_difference(*described_planes, "plane"), described_planes[0])
    if not all(map(np.array_equal, found, map(reference.image_difference, planes))):
        wrong.append("image planes")
    # This matrix exchanges the colours: (R, G, B) becomes (B, R, G).
    matrices = [cupy.asarray(np.roll(np.eye(3, dtype=np.float32), 1, axis=0).ravel())] * len(videos)
    clips = kernels.gather_frames(*described, cupy.zeros((len(videos), 1), np.int64), matrices)
    expected = [np.roll(np.pad(v[0], ((0, 1), (0, 3), (0, 0)), mode="edge"), 1, axis=-1) for v in shown]
    if not all(np.array_equal(clip.get()[0], right) for clip, right in zip(clips, expected, strict=True)):
        wrong.append("gather, corrected")
    return wrong


def _parts(values: Any, table: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(values.get(), table["first"][1:])
