"""The loader on a GPU, compared with the loader on the CPU: picks, pixels, repetition, memory, errors.

The kernels alone are tested in `test_kernels_on_gpu.py`, the graph on the CPU in `test_decoding_graph.py`.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mgdali import MotionGuided, Segment, Stride, TopMotion, VideoDataset, VideoDecodeError, build_index
from mgdali.gpu import driver
from mgdali.gpu.cuda_kernels import Kernels
from mgdali.gpu.decoder_memory import decoding_bytes
from mgdali.gpu.nvdec import choose_way
from mgdali.loading.route import nvdec_table
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.meters import measure_motion
from mgdali.video.stream_facts import probe
from tests.support.gpu_device import skip_without_gpu
from tests.support.sample_videos import shared_folder
from tests.support.videos import moving_square, rotate_by_metadata, write_video
from tests.video.test_colour import TAGS, planes, write_tagged

pytestmark = pytest.mark.gpu

SAMPLERS = {
    "image": MotionGuided(num_frames=8),
    "feature": MotionGuided(num_frames=8, motion="feature"),
}
BUDGET = 256 << 20
ALLOWANCE = 1 << 30
"""What the GPU may hold beside decoded frames: NVDEC's surfaces, pools' rounding, kernels, clips."""


@pytest.fixture(scope="module", autouse=True)
def cupy() -> Any:
    skip_without_gpu()
    return importlib.import_module("cupy")


@pytest.fixture(scope="module")
def nvdec() -> None:
    try:
        driver.load_library(driver.NVDEC)
    except driver.LibraryError as error:
        pytest.skip(f"NVDEC's library is missing: {error}")


@pytest.fixture(scope="module")
def clips() -> Path:
    """The folder of real clips: next to the checkout, or the path in the environment variable MGDALI_CLIPS."""
    folder = shared_folder() / "clips"
    if not folder.is_dir() and "MGDALI_CLIPS" in os.environ:
        folder = Path(os.environ["MGDALI_CLIPS"])
    if not (folder / "labelled").is_dir() or not (folder / "formats").is_dir():
        pytest.skip(f"{folder} holds no labelled/ and formats/; MGDALI_CLIPS can name a folder that does")
    return folder


@pytest.fixture(scope="module")
def labelled(clips: Path) -> VideoDataset:
    return VideoDataset.from_folder(clips / "labelled")


@pytest.fixture(scope="module")
def formats(clips: Path) -> VideoDataset:
    paths = sorted(path for path in (clips / "formats").iterdir() if path.is_file())
    return VideoDataset(paths, range(len(paths)))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    """Eleven H.264 videos of several lengths and sizes, each large enough for NVDEC."""
    folder = tmp_path_factory.mktemp("written")
    sizes = [(256, 340), (340, 256), (200, 200), (144, 176)]
    paths = [
        write_video(folder / f"{i:02}.mp4", moving_square(9 + 7 * i % 40, *sizes[i % len(sizes)], seed=i))
        for i in range(11)
    ]
    return VideoDataset(paths, [i % 3 for i in range(11)])


@pytest.fixture(scope="module")
def rejected_by_nvdec(tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    """Videos in 4:4:4, in 10 bits and with a rotation, which DALI's decoder does not get, and two that it gets."""
    folder = tmp_path_factory.mktemp("rejected_by_nvdec")
    frames = moving_square(20, 160, 240, seed=3)
    turned = write_video(folder / "turned.mp4", frames)
    rotate_by_metadata(turned, 1)
    paths = [
        write_video(folder / "first.mp4", frames),
        write_video(folder / "444.mp4", frames, pixel_format="yuv444p"),
        write_video(folder / "10bit.mp4", frames, pixel_format="yuv420p10le"),
        turned,
        write_video(folder / "last.mp4", frames),
    ]
    return VideoDataset(paths, range(len(paths)))


def load(dataset: VideoDataset, **arguments: Any) -> Any:
    from mgdali import MGDaliIterator

    defaults = {"sampler": SAMPLERS["image"], "num_workers": 2, "crop_size": 112, "resize": 128, "return_meta": True}
    return MGDaliIterator(dataset, **{**defaults, **arguments})


def epoch_of(dataset: VideoDataset, **arguments: Any) -> list[Any]:
    """Return the batches of an epoch, of the CPU route unless the arguments name a device."""
    with load(dataset, **{"device": "cpu", **arguments}) as loader:
        return list(loader)


def on_gpu(dataset: VideoDataset, **arguments: Any) -> list[Any]:
    return epoch_of(dataset, device="cuda", **{"decode": "nvdec", **arguments})


def digest(batch: tuple[Any, ...]) -> str:
    clips, labels, meta = batch
    parts = [clips, labels, meta["frames"], meta["num_frames"]]
    content = b"".join(part.cpu().numpy().tobytes() for part in parts) + "\n".join(meta["path"]).encode()
    return hashlib.sha256(content).hexdigest()


def digests(loader: Any) -> list[str]:
    return [digest(batch) for batch in loader]


def picks_of(batches: list[Any]) -> dict[str, list[int]]:
    metas = [meta for _, _, meta in batches]
    return {path: own for meta in metas for path, own in zip(meta["path"], meta["frames"].tolist(), strict=True)}


def totals_of(batches: list[Any]) -> dict[str, int]:
    metas = [meta for _, _, meta in batches]
    return {path: own for meta in metas for path, own in zip(meta["path"], meta["num_frames"].tolist(), strict=True)}


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> int:
    return int((one.cpu().int() - other.cpu().int()).abs().max())


# --- Both routes -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nvdec")
@pytest.mark.parametrize("motion", SAMPLERS)
@pytest.mark.parametrize("videos", ["labelled", "formats", "written"])
def test_both_routes_pick_within_one_frame(request: pytest.FixtureRequest, videos: str, motion: str) -> None:
    dataset = request.getfixturevalue(videos)
    arguments: dict[str, Any] = {"sampler": SAMPLERS[motion], "batch_size": 8, "training": True, "seed": 5}
    found = on_gpu(dataset, **arguments)
    expected = epoch_of(dataset, device="cpu", **{**arguments, "num_workers": None})
    assert totals_of(found) == totals_of(expected)
    right = picks_of(expected)
    apart = {
        Path(path).name: (own, right[path])
        for path, own in picks_of(found).items()
        if np.abs(np.subtract(own, right[path])).max() > 1
    }
    assert not apart


@pytest.mark.usefixtures("nvdec")
def test_without_a_device_argument_the_loader_uses_the_gpu(written: VideoDataset) -> None:
    with load(written, batch_size=4) as loader:
        clips, labels, _ = next(iter(loader))
    assert loader.device.type == clips.device.type == labels.device.type == "cuda"


@pytest.mark.usefixtures("nvdec")
@pytest.mark.parametrize("sampler", [Segment(num_frames=5), Stride(num_frames=4, stride=3)], ids=["segment", "stride"])
def test_picks_without_motion_are_equal_on_both_routes(written: VideoDataset, sampler: Any) -> None:
    found = on_gpu(written, sampler=sampler, batch_size=4, training=True)
    assert picks_of(found) == picks_of(epoch_of(written, sampler=sampler, batch_size=4, training=True))


@pytest.mark.usefixtures("nvdec")
def test_pixels_of_both_routes_are_near(labelled: VideoDataset) -> None:
    # The two decoders' conversions to RGB differ a little; a wrong range or matrix would differ by much more.
    arguments: dict[str, Any] = {"sampler": Segment(num_frames=4), "batch_size": 8, "dtype": "uint8"}
    for (own, *_), (expected, *_) in zip(on_gpu(labelled, **arguments), epoch_of(labelled, **arguments), strict=True):
        assert (own.cpu().int() - expected.int()).abs().float().mean() < 4


@pytest.mark.usefixtures("nvdec")
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW", "NTHWC"])
def test_tensors_are_on_the_gpu_and_otherwise_as_on_the_cpu(written: VideoDataset, dtype: str, layout: str) -> None:
    arguments: dict[str, Any] = {"batch_size": 4, "dtype": dtype, "layout": layout}
    for own, expected in zip(on_gpu(written, **arguments), epoch_of(written, **arguments), strict=True):
        pairs = [(own[0], expected[0]), (own[1], expected[1])]
        pairs += [(own[2][name], expected[2][name]) for name in ("frames", "num_frames")]
        for tensor, other in pairs:
            assert tensor.is_cuda
            assert (tensor.shape, tensor.dtype) == (other.shape, other.dtype)
        assert own[1].tolist() == expected[1].tolist()
        assert own[2]["path"] == expected[2]["path"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("videos", ["labelled", "written"])
def test_decoding_on_the_cpu_gives_the_cpu_routes_clips(
    request: pytest.FixtureRequest, videos: str, training: bool
) -> None:
    dataset = request.getfixturevalue(videos)
    arguments: dict[str, Any] = {"batch_size": 4, "training": training, "dtype": "uint8"}
    found = on_gpu(dataset, decode="cpu", **arguments)
    expected = epoch_of(dataset, **arguments)
    assert picks_of(found) == picks_of(expected)
    for (own, labels, _), (other, other_labels, _) in zip(found, expected, strict=True):
        assert own.is_cuda
        assert labels.tolist() == other_labels.tolist()
        assert largest_difference(own, other) <= 1


# --- Motion ----------------------------------------------------------------------------------------------------------


def frames_by_pyav(path: str) -> NDArray[np.uint8]:
    return np.stack([frame.to_ndarray(format="rgb24") for frame in read_frames(path)]).astype(np.uint8, copy=False)


def frames_by_nvdec(path: str) -> Any:
    """Decode a file by DALI as the GPU's route does; the frames stay on the device."""
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=1, num_threads=1, device_id=0)
    def decoding() -> Any:
        files = fn.external_source(source=lambda: [np.fromfile(path, np.uint8)], batch=True)
        return fn.decoders.video(files, device="mixed")

    pipeline = decoding()
    pipeline.build()
    return pipeline, pipeline.run()[0][0]


def assert_same_motion(cupy: Any, kernels: Kernels, frames: Any, path: str) -> None:
    table, on_device = kernels.describe([cupy.asarray(frames)])
    filters = Representation(motion="feature").filters
    found = {
        "image": kernels.to_host(kernels.image_difference(table, on_device, "luma")),
        "feature": kernels.to_host(kernels.feature_difference(table, on_device, filters)[0]),
    }
    for motion, own in found.items():
        expected = measure_motion(path, SAMPLERS[motion].representation)
        assert len(own) == len(expected)
        assert np.corrcoef(own.astype(np.float64), expected)[0, 1] > 0.998, (path, motion)


def clips_for_motion(labelled: VideoDataset, formats: VideoDataset) -> list[str]:
    """Real clips that DALI decodes as they are, long enough for a correlation and small enough for the host."""
    table = nvdec_table(0)
    chosen = []
    for video in [*labelled[:8], *formats]:
        facts = probe(Path(video.path).read_bytes(), video.path)
        if choose_way(facts, table).kind == "as is" and facts.num_packets >= 8 and facts.width <= 640:
            chosen.append(video.path)
    return chosen


def test_motion_of_pyavs_frames_correlates_with_the_hosts(
    cupy: Any, labelled: VideoDataset, formats: VideoDataset
) -> None:
    kernels = Kernels()
    for path in clips_for_motion(labelled, formats):
        assert_same_motion(cupy, kernels, frames_by_pyav(path), path)


@pytest.mark.usefixtures("nvdec")
def test_motion_of_nvdecs_frames_correlates_with_the_hosts(
    cupy: Any, labelled: VideoDataset, formats: VideoDataset
) -> None:
    kernels = Kernels()
    for path in clips_for_motion(labelled, formats):
        pipeline, frames = frames_by_nvdec(path)
        assert_same_motion(cupy, kernels, frames, path)
        del frames, pipeline


# --- Repetition and epochs -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nvdec")
@pytest.mark.parametrize("motion", SAMPLERS)
def test_a_seed_gives_the_same_bytes_with_any_number_of_workers(written: VideoDataset, motion: str) -> None:
    arguments: dict[str, Any] = {"sampler": SAMPLERS[motion], "batch_size": 3, "shuffle": True, "training": True}
    seen = []
    for num_workers in (0, 1, 1, 4):
        with load(written, device="cuda", decode="nvdec", seed=7, num_workers=num_workers, **arguments) as loader:
            seen.append([digests(loader) for _ in range(2)])
    assert seen[0][0] != seen[0][1]
    assert seen[1:] == seen[:1] * 3


@pytest.mark.usefixtures("nvdec")
def test_a_run_resumes_from_any_batch(written: VideoDataset) -> None:
    arguments: dict[str, Any] = {"device": "cuda", "decode": "nvdec", "batch_size": 3, "shuffle": True, "seed": 2}
    with load(written, training=True, **arguments) as loader:
        whole = digests(loader)
    for count in range(len(whole)):
        with load(written, training=True, **arguments) as loader:
            batches = iter(loader)
            seen = [digest(next(batches)) for _ in range(count)]
            state = loader.state_dict()
        with load(written, training=True, **arguments) as loader:
            loader.load_state_dict(state)
            assert seen + digests(loader) == whole


@pytest.mark.usefixtures("nvdec")
def test_an_unfinished_epoch_is_followed_by_a_complete_one(written: VideoDataset) -> None:
    with load(written, device="cuda", decode="nvdec", batch_size=2) as loader:
        whole = digests(loader)
        next(iter(loader))
        assert digests(loader) == whole


@pytest.mark.usefixtures("nvdec")
@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 3]), (True, [4, 4])])
def test_the_last_batch_may_be_smaller(written: VideoDataset, drop_last: bool, sizes: list[int]) -> None:
    with load(written, device="cuda", decode="nvdec", batch_size=4, drop_last=drop_last) as loader:
        for _ in range(2):
            assert [(len(clips), len(labels)) for clips, labels, _ in loader] == [(size, size) for size in sizes]


@pytest.mark.usefixtures("nvdec")
def test_every_strategy_runs(written: VideoDataset) -> None:
    for sampler in (TopMotion(num_frames=3), MotionGuided(num_frames=3, channels="rgb", mu=1.0, inverse="nearest")):
        assert len(picks_of(on_gpu(written, sampler=sampler, batch_size=4))) == len(written)


@pytest.mark.usefixtures("nvdec")
@pytest.mark.parametrize("step", [1, 2], ids=["all known", "every other known"])
@pytest.mark.parametrize("num_frames", [8, 60], ids=["few picks", "more picks than frames"])
def test_known_picks_give_the_bytes_of_measured_ones(
    written: VideoDataset, rejected_by_nvdec: VideoDataset, monkeypatch: pytest.MonkeyPatch, num_frames: int, step: int
) -> None:
    from tests.loading.test_decoding_graph import PicksKnown

    # Batches mix clips made by PyAV, known picks and measured picks: all three kinds or fewer.
    paths = [video.path for video in [*written, *rejected_by_nvdec]]
    dataset = VideoDataset(paths, range(len(paths)))
    arguments: dict[str, Any] = {"sampler": MotionGuided(num_frames=num_frames), "training": True, "num_workers": 0}
    sizes = (1, 4, len(dataset))
    measured = {size: on_gpu(dataset, batch_size=size, **arguments) for size in sizes}
    known = {path: picks for path, picks in picks_of(measured[1]).items() if path in paths[::step]}
    monkeypatch.setattr("mgdali.workers.pool.LocalPool", partial(PicksKnown, known=known))
    for size in sizes:
        found = on_gpu(dataset, batch_size=size, **arguments)
        assert [digest(batch) for batch in found] == [digest(batch) for batch in measured[size]]


@pytest.mark.usefixtures("nvdec")
def test_with_an_index_only_needed_frames_are_decoded_and_picks_are_those_of_the_cpu(
    written: VideoDataset, tmp_path: Path
) -> None:
    index = tmp_path / "motion.parquet"
    build_index(written, index, num_workers=0)
    arguments: dict[str, Any] = {"batch_size": 4, "training": True, "dtype": "uint8", "index": index}
    with load(written, device="cuda", decode="nvdec", **arguments) as loader:
        found = list(loader)
        assert not loader.decoded_by_pyav
        frames_decoded = loader.frames_decoded
    with load(written, device="cpu", **arguments) as loader:
        expected = list(loader)
        assert loader.frames_decoded == frames_decoded
    assert picks_of(found) == picks_of(expected)
    for (own, *_), (other, *_) in zip(found, expected, strict=True):
        assert (own.cpu().int() - other.int()).abs().float().mean() < 4


@pytest.mark.usefixtures("nvdec")
@pytest.mark.parametrize("tag", TAGS)
def test_colours_follow_the_streams_matrix_as_on_the_cpu(tmp_path: Path, tag: str) -> None:
    path = write_tagged(tmp_path / "tagged.mp4", planes(seed=1), matrix=TAGS[tag], full=False)
    dataset, sampler = VideoDataset([path], [0]), Segment(num_frames=3)
    # The clip is the middle of the frame in its own size.
    arguments: dict[str, Any] = {"sampler": sampler, "dtype": "uint8", "crop_size": 96, "resize": 96}
    ((own, *_),), ((expected, *_),) = on_gpu(dataset, **arguments), epoch_of(dataset, **arguments)
    inside = (expected > 0) & (expected < 255)
    apart = (own.cpu().int() - expected.int()).abs()[inside].float().mean()
    assert apart < 2, f"{apart:.2f} of 255, {int((~inside).sum())} values are clipped"


# --- What NVDEC does not decode --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nvdec")
def test_videos_that_nvdec_rejects_are_decoded_by_pyav_in_the_same_batch(rejected_by_nvdec: VideoDataset) -> None:
    table = nvdec_table(0)
    facts = [probe(Path(video.path).read_bytes(), video.path) for video in rejected_by_nvdec]
    here = [choose_way(own, table).kind == "pyav" for own in facts]
    assert here == [False, True, True, True, False]
    arguments: dict[str, Any] = {"batch_size": len(rejected_by_nvdec), "training": True, "dtype": "uint8"}
    ((clips, labels, meta),) = on_gpu(rejected_by_nvdec, **arguments)
    ((expected, _, expected_meta),) = epoch_of(rejected_by_nvdec, **arguments)
    assert clips.is_cuda
    assert labels.tolist() == list(range(len(rejected_by_nvdec)))
    assert meta["num_frames"].tolist() == expected_meta["num_frames"].tolist()
    assert (meta["frames"].cpu() - expected_meta["frames"]).abs().max() <= 1
    for i in np.flatnonzero(here).tolist():
        assert meta["frames"][i].tolist() == expected_meta["frames"][i].tolist()
        assert largest_difference(clips[i], expected[i]) <= 1


@pytest.mark.usefixtures("nvdec")
def test_a_batch_without_videos_for_nvdec(rejected_by_nvdec: VideoDataset) -> None:
    own = rejected_by_nvdec.subset([1, 2, 3])
    assert picks_of(on_gpu(own, batch_size=3)) == picks_of(epoch_of(own, batch_size=3))


@pytest.mark.usefixtures("nvdec")
def test_a_garbage_file_raises_with_its_path_when_its_turn_comes(written: VideoDataset, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"garbage" * 99)
    paths = [video.path for video in written[:6]]
    paths[4] = str(bad)
    with load(VideoDataset(paths, [0] * 6), device="cuda", decode="nvdec", batch_size=2) as loader:
        batches = iter(loader)
        assert len(next(batches)[0]) == len(next(batches)[0]) == 2
        with pytest.raises(VideoDecodeError) as raised:
            next(batches)
    assert raised.value.path == str(bad)


@pytest.mark.usefixtures("nvdec")
def test_a_garbage_file_can_be_replaced(written: VideoDataset, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"garbage" * 99)
    dataset = VideoDataset([str(bad), *(video.path for video in written[:3])], [0] * 4)
    with load(dataset, device="cuda", decode="nvdec", batch_size=4, on_error="replace") as loader:
        with pytest.warns(RuntimeWarning, match=r"bad\.mp4"):
            ((clips, _, _),) = loader
        assert list(loader.bad_videos) == [str(bad)]
    assert len(clips) == 4


# --- Memory ----------------------------------------------------------------------------------------------------------


class PeakUsage:
    """Peak of the GPU memory in use above its value at the start, sampled in a thread."""

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._start = self._used()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakUsage:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.is_set():
            self.peak = max(self.peak, self._used() - self._start)
            time.sleep(0.002)

    @staticmethod
    def _used() -> int:
        free, total = torch.cuda.mem_get_info(0)
        return total - free


@pytest.fixture
def freed(cupy: Any) -> None:
    """Release memory that earlier tests left in pools, so that it does not hide this test's memory."""
    from nvidia.dali import backend

    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    cupy.get_default_memory_pool().free_all_blocks()
    backend.ReleaseUnusedMemory()


@pytest.mark.usefixtures("nvdec", "freed")
def test_decoded_frames_stay_within_the_budget(tmp_path: Path) -> None:
    frames, height, width, count = 300, 256, 340, 64
    assert 3 * frames * height * width * count > 2 * (BUDGET + ALLOWANCE)
    paths = [
        write_video(
            tmp_path / f"{i}.mp4", moving_square(frames, height, width, seed=i), options={"preset": "ultrafast"}
        )
        for i in range(4)
    ]
    dataset = VideoDataset(paths * (count // 4), [0] * count)
    with PeakUsage() as usage:
        ((clips, _, meta),) = on_gpu(dataset, batch_size=count, gpu_memory_budget=BUDGET)
    assert len(clips) == count
    assert meta["num_frames"].tolist() == [frames] * count
    assert usage.peak < BUDGET + ALLOWANCE, f"{usage.peak / 2**20:.0f} MiB"


@pytest.mark.usefixtures("nvdec")
def test_a_budget_changes_no_batch(written: VideoDataset) -> None:
    arguments: dict[str, Any] = {"batch_size": 5, "training": True}
    largest = 0
    for video in written:
        facts = probe(video.media.read(), video.path)
        frame_bytes = 3 * facts.coded_height * facts.coded_width
        largest = max(largest, decoding_bytes(facts.num_packets, SAMPLERS["image"].num_frames, frame_bytes))
    whole = [digest(batch) for batch in on_gpu(written, **arguments)]
    assert [digest(batch) for batch in on_gpu(written, gpu_memory_budget=largest, **arguments)] == whole


@pytest.mark.usefixtures("nvdec")
def test_a_video_beyond_the_budget_goes_through_pyav(written: VideoDataset) -> None:
    found = on_gpu(written, batch_size=5, gpu_memory_budget=1, dtype="uint8")
    expected = epoch_of(written, batch_size=5, dtype="uint8")
    assert picks_of(found) == picks_of(expected)
    for (own, *_), (other, *_) in zip(found, expected, strict=True):
        assert largest_difference(own, other) <= 1
