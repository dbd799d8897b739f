"""The functions of the decoding graph, with the CUDA kernels in their host build."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import MotionClip, MotionGuided, Segment, Stride, TopMotion
from mgdali import motion as reference
from mgdali.gpu.cuda_kernels import Kernels
from mgdali.gpu.picking import FrameGatherer, FramePicker, Guarded
from mgdali.samplers import Sampler
from mgdali.video.colour import colour_correction
from tests.support.host_kernels import KernelsOnHost
from tests.support.kernel_build import HostKernels, needs_compiler

# Stored size, and visible part: of rows, of columns, of both, and all of it.
SIZES = [((9, 24, 32), (0, 0, 21, 32)), ((12, 16, 32), (0, 0, 16, 27)), ((7, 17, 23), (3, 2, 9, 11))]
SIZES.append(((5, 20, 20), (0, 0, 20, 20)))
N = 4
IDENTITY = np.eye(3, dtype=np.float32).ravel()


@pytest.fixture
def make_kernels(host_kernels: HostKernels) -> Any:
    return partial(KernelsOnHost, host_kernels)


def batch(seed: int = 0) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.float64]], list[NDArray[np.int32]]]:
    """Return videos with random bytes outside the visible part too, offsets and visible parts."""
    rng = np.random.default_rng(seed)
    frames = [rng.integers(0, 256, (*size, 3), np.uint8) for size, _ in SIZES]
    return frames, [rng.random(N) for _ in SIZES], [np.array(window, np.int32) for _, window in SIZES]


def shown(frames: NDArray[np.uint8], window: NDArray[np.int32]) -> NDArray[np.uint8]:
    top, left, height, width = (int(value) for value in window)
    return np.ascontiguousarray(frames[:, top : top + height, left : left + width])


def repeated(frames: NDArray[np.uint8], window: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the frames with the edge of the visible part repeated."""
    top, left, height, width = (int(value) for value in window)
    rows = np.clip(np.arange(frames.shape[1]), top, top + height - 1)
    columns = np.clip(np.arange(frames.shape[2]), left, left + width - 1)
    return frames[:, rows][:, :, columns]


def motion_of(sampler: Sampler, frames: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    if sampler.representation is None:
        return None
    return reference.image_difference(frames, channels=sampler.representation.channels)


pytestmark = needs_compiler


@pytest.mark.parametrize(
    "sampler",
    [
        MotionGuided(num_frames=N),
        MotionGuided(num_frames=N, channels="rgb", even=0.9),
        Segment(num_frames=N),
        Stride(num_frames=N, stride=2),
        Stride(num_frames=N, stride=3, past_end="loop"),
        MotionClip(num_frames=N, stride=2),
        MotionClip(num_frames=N, stride=3, even=0.5, past_end="loop"),
        TopMotion(num_frames=N),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_frames_are_picked_by_the_motion_of_the_visible_part(make_kernels: Any, sampler: Sampler) -> None:
    frames, offsets, visible = batch()
    clips, picks = FramePicker(sampler, make_kernels)(frames, offsets, visible)
    for video, own, window, clip, pick in zip(frames, offsets, visible, clips, picks, strict=True):
        expected = sampler.pick(motion_of(sampler, shown(video, window)), len(video), own)
        assert pick.tolist() == expected.tolist()
        assert np.array_equal(clip, repeated(video, window)[pick])


def test_without_visible_parts_the_whole_frames_count(make_kernels: Any) -> None:
    sampler = MotionGuided(num_frames=N)
    frames, offsets, _ = batch()
    clips, picks = FramePicker(sampler, make_kernels)(frames, offsets)
    for video, own, clip, pick in zip(frames, offsets, clips, picks, strict=True):
        assert pick.tolist() == sampler.pick(motion_of(sampler, video), len(video), own).tolist()
        assert np.array_equal(clip, video[pick])


def test_a_strategy_on_the_host_gets_the_motion_of_the_visible_part(make_kernels: Any) -> None:
    class First(MotionGuided):
        def pick(self, motion: Any, num_frames: int, offsets: Any) -> Any:
            motions.append(motion)
            return super().pick(motion, num_frames, offsets)

    motions: list[NDArray[np.float64]] = []
    frames, offsets, visible = batch()
    FramePicker(First(num_frames=N), make_kernels)(frames, offsets, visible)
    for video, window, motion in zip(frames, visible, motions, strict=True):
        assert motion.tolist() == reference.image_difference(shown(video, window)).tolist()


def test_known_picks_are_gathered_with_repeats_and_in_any_order(make_kernels: Any) -> None:
    frames, _, visible = batch()
    picks = [np.array([len(video) - 1, 0, 0, 2]) for video in frames]
    clips = FrameGatherer(make_kernels)(frames, picks, visible)
    for video, window, pick, clip in zip(frames, visible, picks, clips, strict=True):
        assert np.array_equal(clip, repeated(video, window)[pick])


def test_colours_are_corrected_in_picked_and_in_gathered_frames(make_kernels: Any) -> None:
    frames, offsets, visible = batch()
    matrices = [colour_correction(name) for name in ("bt709", "bt601", "bt2020", "bt709")]
    plain, picks = FramePicker(Segment(num_frames=N), make_kernels)(frames, offsets, visible)
    clips, same = FramePicker(Segment(num_frames=N), make_kernels)(frames, offsets, visible, matrices)
    again = FrameGatherer(make_kernels)(frames, picks, visible, matrices)
    assert np.array_equal(picks, same)
    for before, clip, gathered, matrix in zip(plain, clips, again, matrices, strict=True):
        exact = before.astype(np.float64) @ matrix.reshape(3, 3).T.astype(np.float64)
        assert np.abs(clip - exact.clip(0, 255)).max() <= 0.5 + 1e-4
        assert np.array_equal(gathered, clip)
    assert np.array_equal(clips[1], plain[1])


def resized(clip: NDArray[np.uint8], start: tuple[int, int], end: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a region of the frames, resized by DALI as in the decoding graph."""
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def graph() -> Any:
        frames = fn.external_source(source=lambda: [clip], layout="FHWC")
        return fn.resize(frames, roi_start=list(start), roi_end=list(end), size=(24, 24))

    pipeline = graph()
    pipeline.build()
    (clips,) = pipeline.run()
    return clips.as_array()


@pytest.mark.parametrize("start", [(0, 0), (9, 23), (24, 38)], ids=["smaller", "same size", "larger"])
def test_dali_resizes_gathered_frames_as_frames_of_the_visible_size(make_kernels: Any, start: tuple[int, int]) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)
    window = np.array([0, 0, 33, 47], np.int32)
    (clip,) = FrameGatherer(make_kernels)([stored], [np.arange(2)], [window])
    expected = resized(shown(stored, window), start, (33, 47))
    assert np.array_equal(resized(clip, start, (33, 47)), expected)
    if start != (9, 23):
        assert not np.array_equal(resized(stored, start, (33, 47)), expected), "the edge does not matter here"


# --- Errors ----------------------------------------------------------------------------------------------------------


def no_kernels() -> Kernels:
    raise RuntimeError("no kernels")


def failing_functions() -> list[Any]:
    return [FramePicker(MotionGuided(num_frames=N), no_kernels), FrameGatherer(no_kernels)]


def test_a_guarded_function_returns_what_the_function_returns(make_kernels: Any) -> None:
    frames, offsets, visible = batch()
    guarded = Guarded(FramePicker(MotionGuided(num_frames=N), make_kernels))
    clips, picks = guarded(frames, offsets, visible, [IDENTITY] * len(frames))
    expected_clips, expected_picks = FramePicker(MotionGuided(num_frames=N), make_kernels)(frames, offsets, visible)
    assert all(map(np.array_equal, clips, expected_clips))
    assert all(map(np.array_equal, picks, expected_picks))
    assert guarded.error is None


def test_after_an_error_outputs_have_the_shapes_and_dtypes_of_results(make_kernels: Any) -> None:
    frames, offsets, visible = batch()
    # Fewer frames than picks.
    frames[2] = frames[2][:2]
    picker = Guarded(FramePicker(MotionGuided(num_frames=N), no_kernels))
    outputs = picker(frames, offsets, visible)
    expected = FramePicker(MotionGuided(num_frames=N), make_kernels)(frames, offsets, visible)
    for found, right in zip(outputs, expected, strict=True):
        assert [(each.shape, each.dtype) for each in found] == [(each.shape, each.dtype) for each in right]
    assert str(picker.error) == "no kernels"
    gatherer = Guarded(FrameGatherer(no_kernels))
    clips = gatherer(frames, [np.zeros(N, np.int64)] * len(frames), visible)
    assert [(each.shape, each.dtype) for each in clips] == [(each.shape, each.dtype) for each in expected[0]]
    assert str(gatherer.error) == "no kernels"


class Scarce(np.ndarray[Any, Any]):
    """An array on a device without free memory."""

    def repeat(self, *_: Any, **__: Any) -> Any:
        raise MemoryError

    def copy(self, *_: Any, **__: Any) -> Any:
        raise MemoryError


def test_an_error_without_free_memory_still_gives_outputs() -> None:
    frames, offsets, _ = batch()
    frames[1] = frames[1][:2]
    scarce = [video.view(Scarce) for video in frames]
    clips, picks = Guarded(FramePicker(MotionGuided(num_frames=N), no_kernels))(scarce, offsets)
    assert [len(clip) for clip in clips] == [N, 2, N, N]
    assert all(np.shares_memory(clip, video) for clip, video in zip(clips, frames, strict=True))
    assert all(np.shares_memory(pick, own) for pick, own in zip(picks, offsets, strict=True))


@pytest.mark.parametrize("first", [ValueError("first"), KeyboardInterrupt(), MemoryError()])
def test_the_first_exception_is_kept_and_the_function_is_not_called_again(first: BaseException) -> None:
    calls = []

    def make() -> Kernels:
        calls.append(1)
        raise first

    frames, offsets, _ = batch()
    guarded = Guarded(FramePicker(Segment(num_frames=N), make))
    for _ in range(3):
        guarded(frames, offsets)
    assert guarded.error is first
    assert len(calls) == 1


def test_the_arrays_of_a_failed_call_are_freed() -> None:
    class Held:
        pass

    references = []

    def make() -> Kernels:
        held = Held()
        references.append(weakref.ref(held))
        try:
            raise MemoryError
        except MemoryError as error:
            raise RuntimeError("without memory") from error

    frames, offsets, _ = batch()
    guarded = Guarded(FramePicker(Segment(num_frames=N), make))
    guarded(frames, offsets)
    gc.collect()
    assert str(guarded.error) == "without memory"
    assert references[0]() is None


def test_a_graph_of_dali_runs_on_after_an_error() -> None:
    from nvidia.dali import fn, pipeline_def

    videos = [np.full((T, 4, 6, 3), T, np.uint8) for T in (5, 2)]
    known = [np.zeros(N, np.int64)] * 2
    offsets = [np.full(N, 0.5)] * 2
    picker, gatherer = (Guarded(function) for function in failing_functions())

    @pipeline_def(batch_size=2, num_threads=1, device_id=None)
    def graph() -> Any:
        frames = fn.external_source(source=lambda: videos, layout="FHWC")
        own = fn.external_source(source=lambda: offsets)
        indices = fn.external_source(source=lambda: known)
        picked = fn.python_function(frames, own, function=picker, num_outputs=2, batch_processing=True)
        gathered = fn.python_function(frames, indices, function=gatherer, num_outputs=1, batch_processing=True)
        return *picked, gathered

    pipeline = graph()
    pipeline.build()
    for _ in range(2):
        clips, picks, gathered = (output.as_array() for output in pipeline.run())
        assert clips.shape == gathered.shape == (2, N, 4, 6, 3)
        assert picks.shape == (2, N)
        assert picks.dtype == np.int64
    assert str(picker.error) == str(gatherer.error) == "no kernels"
