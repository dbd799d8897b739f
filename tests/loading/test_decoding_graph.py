"""The decoding graph on the CPU: DALI's decoder on VP9, and the CUDA kernels in their host build.

A GPU differs in the device that runs the graph and in the codecs that DALI's decoder supports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mgdali import MotionGuided, Segment, Stride, TopMotion, VideoDataset, VideoDecodeError
from mgdali.choices import transform_seed
from mgdali.errors import TransformError
from mgdali.gpu.driver import DecoderCaps
from mgdali.gpu.picking import FrameFunctions
from mgdali.index.measure import measure_video
from mgdali.loading.feed import Feed, make_pool
from mgdali.loading.order import WHOLE, EpochOrder
from mgdali.loading.route import Route
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.source import ClipSource
from mgdali.loading.tally import Tally
from mgdali.samplers import Representation, Sampler
from mgdali.transforms import OutputFormat, SpatialTransform
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord
from mgdali.workers.clip_function import ClipFunction
from mgdali.workers.clip_job import ClipConfig
from mgdali.workers.encoded_job import EncodedResult
from mgdali.workers.pool import LocalPool
from mgdali.workers.protocols import Outcome
from tests.support.host_kernels import KernelsOnHost
from tests.support.kernel_build import HostKernels, needs_compiler
from tests.support.videos import moving_square, rotate_by_metadata, write_video
from tests.video.test_packet_bytes import without_container

pytestmark = needs_compiler

# The codecs that DALI's releases decode on the CPU, as the table of codecs that the "GPU" decodes.
VP9_ONLY = {"vp9": DecoderCaps("vp9", "4:2:0", 8, 1, 1, 1, 8192, 8192, 1 << 18)}
CROP = 24


@pytest.fixture(scope="module")
def graph_kernels(host_kernels: HostKernels) -> Any:
    return partial(KernelsOnHost, host_kernels)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    """Nine videos: VP9 for DALI's decoder, and H.264, 4:4:4 and rotated videos, which PyAV decodes."""
    folder = tmp_path_factory.mktemp("mixed")
    # With alternate reference frames, which are not displayed, PyAV would decode these videos.
    options = {"crf": "20", "b": "0", "cpu-used": "8", "auto-alt-ref": "0"}
    vp9: dict[str, Any] = {"codec": "libvpx-vp9", "options": options}
    paths = [
        write_video(folder / f"{i}.webm", moving_square(6 + 5 * i, 48, 64 + 8 * i, seed=i), **vp9) for i in range(6)
    ]
    paths.insert(1, write_video(folder / "h264.mp4", moving_square(9, 40, 40)))
    paths.insert(4, write_video(folder / "444.webm", moving_square(7, 50, 64), pixel_format="yuv444p", **vp9))
    turned = write_video(folder / "turned.mp4", moving_square(8, 44, 60))
    rotate_by_metadata(turned, 1)
    paths.append(turned)
    return VideoDataset(paths, [i % 3 for i in range(len(paths))])


class PicksKnown(LocalPool):
    """A pool that passes whole files to the graph with the picks that are known for their paths."""

    def __init__(self, config: ClipConfig, known: Mapping[str, list[int]]) -> None:
        super().__init__(config)
        self._known = known
        self._paths: dict[int, str] = {}

    def submit(self, slot: int, job: Any) -> None:
        self._paths[slot] = job.path
        super().submit(slot, job)

    def receive(self, count: int = 1) -> list[tuple[int, Outcome]]:
        ((slot, outcome),) = super().receive()
        picks = self._known.get(self._paths[slot])
        if isinstance(outcome, EncodedResult) and picks is not None:
            outcome = dataclasses.replace(outcome, picks=np.array(picks), places=np.array(picks))
        return [(slot, outcome)]


def feed_of(
    dataset: VideoDataset,
    sampler: Sampler,
    kernels: Any = None,
    *,
    budget: float = float("inf"),
    workers: int = 0,
    batch_size: int = 4,
    training: bool = True,
    replace: bool = False,
    known: Mapping[str, list[int]] | None = None,
    index: Any = None,
    tally: Tally | None = None,
    num_graphs: int = 1,
    function: Any = None,
    spatial: SpatialTransform | None = None,
) -> Feed:
    """Return the feed of the decoding graph on the CPU or, without kernels, of the graph that gets finished clips."""
    settings = LoaderSettings(
        sampler=sampler,
        order=EpochOrder(num_videos=len(dataset), batch_size=batch_size, shuffle=training),
        transform=spatial or SpatialTransform(training=training, crop_size=CROP, resize=CROP),
        function=function and ClipFunction(function),
        output=OutputFormat(dtype="uint8"),
        route=Route(torch.device("cpu"), VP9_ONLY if kernels else None),
        num_workers=workers,
        on_error="replace" if replace else "raise",
        memory_budget=1 << 30,
        gpu_memory_budget=budget,
        num_graphs=num_graphs,
    )
    return Feed(
        settings,
        partial(ClipSource, dataset, tally=tally or Tally(), index=index),
        make_pool=make_pool if workers else lambda settings: PicksKnown(settings.clip_config, known or {}),
        make_functions=partial(FrameFunctions, sampler, kernels) if kernels else None,
    )


def epoch_of(feed: Feed) -> list[Any]:
    feed.start(0, WHOLE)
    return list(iter(feed.next, None))


@pytest.mark.parametrize(
    "sampler",
    [
        MotionGuided(num_frames=4),
        MotionGuided(num_frames=4, channels="rgb", mu=1.0, inverse="nearest", even=0.5),
        MotionGuided(num_frames=3, motion="feature"),
        TopMotion(num_frames=4),
        Segment(num_frames=5),
        Stride(num_frames=4, stride=3),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_both_graphs_give_the_same_batches(mixed: VideoDataset, graph_kernels: Any, sampler: Sampler) -> None:
    # On the host the feature level takes most of a second per frame.
    feature = sampler.representation is not None and sampler.representation.motion == "feature"
    videos = mixed[:5] if feature else mixed
    decoded = epoch_of(feed_of(videos, sampler, graph_kernels))
    assert_near(decoded, epoch_of(feed_of(videos, sampler)))


@pytest.mark.parametrize(
    "spatial",
    [
        SpatialTransform(training=True, crop="random_resized", crop_size=(20, 36)),
        SpatialTransform(crop_size=(30, 38), resize=None),
    ],
    ids=["random", "without resizing"],
)
def test_both_graphs_give_the_same_rectangular_clips(
    mixed: VideoDataset, graph_kernels: Any, spatial: SpatialTransform
) -> None:
    feed = partial(feed_of, mixed, Segment(num_frames=2), spatial=spatial)
    decoded = epoch_of(feed(graph_kernels))
    assert {tuple(outputs["clips"].shape[2:]) for outputs, _ in decoded} == {(3, *spatial.size)}
    assert_near(decoded, epoch_of(feed()))


def test_strategies_of_this_package_never_leave_the_device(mixed: VideoDataset, graph_kernels: Any) -> None:
    class Strict(KernelsOnHost):
        def to_host(self, array: Any) -> NDArray[Any]:
            raise AssertionError("waits for the device")

    strict = partial(Strict, *graph_kernels.args)
    for sampler in (MotionGuided(), TopMotion(), Segment(), Stride(), MotionGuided(motion="feature")):
        assert epoch_of(feed_of(mixed[:2], sampler, strict, batch_size=2))


class LoudestThenFirst:
    """A user-defined strategy."""

    num_frames = 2
    representation = Representation()

    def pick(self, motion: Any, total: int, offsets: Any) -> NDArray[np.int64]:
        assert len(motion) == total
        assert len(offsets) == 2
        return np.array([int(np.argmax(motion)), 0])


def test_a_user_defined_strategy_picks_on_the_host(mixed: VideoDataset, graph_kernels: Any) -> None:
    decoded = epoch_of(feed_of(mixed, LoudestThenFirst(), graph_kernels, training=False))
    reference = epoch_of(feed_of(mixed, LoudestThenFirst(), training=False))
    picks = [outputs["frames"].tolist() for outputs, _ in decoded]
    assert picks == [outputs["frames"].tolist() for outputs, _ in reference]


class FirstFrames(MotionGuided):
    """A subclass that changes how frames are picked."""

    def pick(self, motion: Any, total: int, offsets: Any) -> NDArray[np.int64]:
        return np.arange(self.num_frames) % total


def test_a_subclass_with_its_own_pick_picks_the_same_in_both_graphs(mixed: VideoDataset, graph_kernels: Any) -> None:
    sampler = FirstFrames(num_frames=3)
    for graph in (feed_of(mixed[:3], sampler, graph_kernels), feed_of(mixed[:3], sampler)):
        assert [outputs["frames"].tolist() for outputs, _ in epoch_of(graph)] == [[[0, 1, 2]] * 3]


class RoundedOnly:
    """Motion at the feature level that float32 cannot represent exactly."""

    num_frames = 1
    representation = Representation(motion="feature")

    def pick(self, motion: Any, total: int, offsets: Any) -> NDArray[np.int64]:
        assert motion.dtype == np.float64
        assert motion[1:].all()
        assert motion.tolist() == np.float32(motion).tolist()
        return np.zeros(1, np.int64)


def test_a_user_defined_strategy_gets_motion_rounded_to_float32(mixed: VideoDataset, graph_kernels: Any) -> None:
    assert epoch_of(feed_of(mixed[:1], RoundedOnly(), graph_kernels))


class BackAndForth:
    """Unsorted picks, some of them repeated."""

    num_frames = 5
    representation = Representation()

    def pick(self, motion: Any, total: int, offsets: Any) -> NDArray[np.int64]:
        return np.array([total - 1, 0, total // 2, total // 2, 0])


def picks_of(batches: list[Any]) -> dict[int, list[int]]:
    """Return the picks of each video, by its position in the data set."""
    return {at: own for outputs, videos in batches for at, own in zip(videos, outputs["frames"].tolist(), strict=True)}


def assert_near(found: list[Any], expected: list[Any]) -> None:
    """Compare batches of two decoders. Their RGB differs a little, and luma computed from RGB differs from the decoded
    luma plane, so picks may differ by one frame.
    """
    assert [videos for _, videos in found] == [videos for _, videos in expected]
    for (outputs, videos), (right, _) in zip(found, expected, strict=True):
        assert outputs["labels"].tolist() == right["labels"].tolist()
        assert outputs["num_frames"].tolist() == right["num_frames"].tolist()
        assert outputs["clips"].shape == right["clips"].shape
        assert (outputs["frames"] - right["frames"]).abs().max() <= 1
        for i, video in enumerate(videos):
            if outputs["frames"][i].tolist() == right["frames"][i].tolist():
                difference = (outputs["clips"][i].int() - right["clips"][i].int()).abs().float()
                assert difference.mean() < 4, video


def assert_same_bytes(found: list[Any], expected: list[Any]) -> None:
    for (outputs, videos), (right, right_videos) in zip(found, expected, strict=True):
        assert videos == right_videos
        assert {name: own.numpy().tobytes() for name, own in outputs.items()} == {
            name: own.numpy().tobytes() for name, own in right.items()
        }


# With batches of one, each batch contains one kind of sample only; one batch of all videos mixes the kinds.
@pytest.mark.parametrize("batch_size", [1, 3, 9])
@pytest.mark.parametrize("step", [1, 2], ids=["all known", "every other known"])
# The shortest video has 6 frames, so some of its 9 picks are repeated.
@pytest.mark.parametrize("sampler", [MotionGuided(num_frames=9), BackAndForth()], ids=["guided", "in no order"])
def test_known_picks_give_the_same_bytes_as_measured_picks(
    mixed: VideoDataset, graph_kernels: Any, sampler: Sampler, step: int, batch_size: int
) -> None:
    measured = epoch_of(feed_of(mixed, sampler, graph_kernels, batch_size=batch_size))
    names = [f"{i}.webm" for i in range(6)]
    paths = {at: mixed[at].path for at in range(len(mixed))}
    known = {paths[at]: own for at, own in picks_of(measured).items() if Path(paths[at]).name in names[::step]}
    assert_same_bytes(epoch_of(feed_of(mixed, sampler, graph_kernels, batch_size=batch_size, known=known)), measured)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_memory_budget_splits_batches_and_changes_nothing(
    mixed: VideoDataset, graph_kernels: Any, workers: int
) -> None:
    sampler = MotionGuided(num_frames=4)
    whole = epoch_of(feed_of(mixed, sampler, graph_kernels))
    sizes: list[int] = []

    class Counting(KernelsOnHost):
        def describe(self, frames: Any, visible: Any = None) -> tuple[NDArray[Any], Any]:
            sizes.append(sum(frame.nbytes for frame in frames))
            return super().describe(frames, visible)

    # The largest video needs 643,968 bytes with its picks and the frames that its decoder holds.
    budget = 650_000
    parts = epoch_of(feed_of(mixed, sampler, partial(Counting, *graph_kernels.args), budget=budget, workers=workers))
    largest = max(3 * (6 + 5 * i) * 48 * (64 + 8 * i) for i in range(6))
    assert max(sizes) <= max(budget, largest)
    assert len(sizes) > len(whole)
    assert len(parts) == len(whole)
    for (outputs, videos), (expected, expected_videos) in zip(parts, whole, strict=True):
        assert videos == expected_videos
        assert all((outputs[name] == expected[name]).all() for name in expected)


@pytest.mark.parametrize("num_graphs", [2, 3])
@pytest.mark.parametrize("budget", [float("inf"), 650_000], ids=["whole", "in parts"])
def test_graphs_that_take_turns_give_the_same_bytes_in_the_same_order(
    mixed: VideoDataset, graph_kernels: Any, budget: float, num_graphs: int
) -> None:
    sampler = MotionGuided(num_frames=4)
    feed = partial(feed_of, mixed, sampler, graph_kernels, batch_size=2)
    expected = epoch_of(feed())
    turns = feed(budget=budget, num_graphs=num_graphs)
    turns.start(0, WHOLE)
    assert_same_bytes([turns.next()], expected[:1])
    # An epoch that is stopped early, while all graphs have parts, is followed by a complete one.
    assert_same_bytes(epoch_of(turns), expected)
    # The rest of an epoch, as in a resumed run.
    turns.start(0, WHOLE, taken=6)
    assert_same_bytes(list(iter(turns.next, None)), expected[3:])
    turns.close()


@pytest.mark.slow
def test_graphs_that_take_turns_and_workers_give_the_same_bytes(mixed: VideoDataset, graph_kernels: Any) -> None:
    feed = partial(feed_of, mixed, MotionGuided(num_frames=4), graph_kernels, batch_size=2)
    assert_same_bytes(epoch_of(feed(budget=650_000, num_graphs=3, workers=2)), epoch_of(feed()))


@pytest.mark.parametrize("num_graphs", [1, 3])
def test_an_unreadable_file_raises_after_all_batches_before_it_whatever_the_number_of_graphs(
    mixed: VideoDataset, graph_kernels: Any, tmp_path: Path, num_graphs: int
) -> None:
    bad = tmp_path / "bad.webm"
    bad.write_bytes(b"garbage" * 99)
    paths = [video.path for video in mixed]
    paths[7] = str(bad)
    feed = feed_of(
        VideoDataset(paths, [0] * len(paths)),
        Segment(num_frames=2),
        graph_kernels,
        training=False,
        batch_size=1,
        num_graphs=num_graphs,
    )
    feed.start(0, WHOLE)
    for video in range(7):
        assert feed.next()[1] == [video]  # type: ignore[index]
    with pytest.raises(VideoDecodeError, match=r"bad\.webm"):
        feed.next()
    feed.close()


def test_a_bad_file_raises_when_its_turn_comes(mixed: VideoDataset, graph_kernels: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.webm"
    bad.write_bytes(b"garbage" * 99)
    paths = [video.path for video in mixed]
    paths[5] = str(bad)
    feed = feed_of(VideoDataset(paths, [0] * len(paths)), Segment(num_frames=2), graph_kernels, training=False)
    feed.start(0, WHOLE)
    assert feed.next() is not None
    with pytest.raises(VideoDecodeError, match=r"bad\.webm"):
        feed.next()
    feed.close()


def test_an_epoch_that_ends_within_a_split_batch_is_followed_by_a_complete_one(
    mixed: VideoDataset, graph_kernels: Any
) -> None:
    sampler = Segment(num_frames=2)
    feed = feed_of(mixed, sampler, graph_kernels, budget=1)
    whole = epoch_of(feed)
    feed.start(0, WHOLE)
    feed.next()
    again = epoch_of(feed)
    assert [videos for _, videos in again] == [videos for _, videos in whole]
    assert all((a["clips"] == b["clips"]).all() for (a, _), (b, _) in zip(again, whole, strict=True))


def shrunk_noise(clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Add noise in place, and return every other column."""
    return clip.add_(torch.randint(0, 9, clip.shape, generator=generator, dtype=torch.uint8))[..., ::2]


@pytest.mark.parametrize("num_graphs", [1, 2])
def test_the_users_function_changes_clips_of_all_kinds_before_they_are_mirrored(
    mixed: VideoDataset, graph_kernels: Any, num_graphs: int
) -> None:
    feed = partial(feed_of, mixed, Segment(num_frames=3), graph_kernels, training=False)
    changed = epoch_of(feed(function=shrunk_noise, num_graphs=num_graphs, budget=650_000))
    seen = []
    for (outputs, videos), (plain, _) in zip(changed, epoch_of(feed()), strict=True):
        for clip, before, index in zip(outputs["clips"], plain["clips"], videos, strict=True):
            expected = ClipFunction(shrunk_noise).change(before.clone(), transform_seed(0, 0, index), "")
            assert torch.equal(clip, expected)
            seen.append(index)
    assert sorted(seen) == list(range(len(mixed)))

    def mark(clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        clip[..., 0], clip[..., -1] = 255, 0
        return clip

    sides = {
        tuple(clip[0, 0, 0, [0, -1]].tolist())
        for outputs, _ in epoch_of(feed_of(mixed, Segment(num_frames=3), graph_kernels, function=mark))
        for clip in outputs["clips"]
    }
    assert sides == {(255, 0), (0, 255)}


def test_an_error_of_the_users_function_in_the_graph_names_the_video(mixed: VideoDataset, graph_kernels: Any) -> None:
    count = 0

    def fails(clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        nonlocal count
        count += 1
        return clip if count < 3 else clip.nonsense()  # type: ignore[attr-defined,no-any-return]

    def narrows(clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        nonlocal count
        count += 1
        return clip[..., : CROP - count // 3]

    names = [Path(video.path).name for video in mixed]
    differ = f"24 by 23 .* 24 by 24 for .*{names[0]}"
    for function, message, at in ((fails, "nonsense", 2), (fails, "nonsense", 0), (narrows, differ, 2)):
        count = 2 - at
        feed = feed_of(mixed, Segment(num_frames=2), graph_kernels, training=False, function=function)
        with pytest.raises(TransformError, match=rf"(?s){function.__name__} on the clip of .*{names[at]}: .*{message}"):
            epoch_of(feed)


class Records:
    """An index: the records of videos by their paths."""

    def __init__(self, records: Mapping[str, VideoRecord]) -> None:
        self._records = records

    @classmethod
    def of(cls, dataset: VideoDataset) -> Records:
        """Measure the videos of a data set."""
        return cls({v.path: measure_video(v.media, v.path, (Representation(),)) for v in dataset})

    def find(self, path: str) -> VideoRecord:
        return self._records[path]


@pytest.mark.parametrize("sampler", [MotionGuided(num_frames=5), BackAndForth()], ids=["guided", "in no order"])
def test_with_an_index_only_needed_frames_are_decoded_and_picks_are_those_of_pyav(
    mixed: VideoDataset, graph_kernels: Any, sampler: Sampler
) -> None:
    index, tallies = Records.of(mixed), (Tally(), Tally())
    decoded = epoch_of(feed_of(mixed, sampler, graph_kernels, index=index, tally=tallies[0]))
    reference = epoch_of(feed_of(mixed, sampler, index=index, tally=tallies[1]))
    assert picks_of(decoded) == picks_of(reference)
    assert_near(decoded, reference)
    # PyAV also decodes no more than the picks need.
    assert tallies[0].frames_decoded == tallies[1].frames_decoded
    assert {Path(path).name for path in tallies[0].by_pyav} == {"h264.mp4", "444.webm", "turned.mp4"}
    assert not tallies[1].by_pyav


@pytest.fixture(scope="module")
def packets_alone(
    mixed: VideoDataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[VideoDataset, VideoDataset, Records]:
    """The VP9 videos; files with nothing but the packets of each, which FFmpeg cannot open; the records of both."""
    folder = tmp_path_factory.mktemp("packets")
    videos = [video for video in mixed if Path(video.path).name in [f"{i}.webm" for i in range(6)]]
    paths, records = [], {}
    for video in videos:
        path = folder / f"{Path(video.path).stem}.packets"
        record = without_container(Path(video.path), path)
        paths.append(path)
        records[video.path] = dataclasses.replace(record, packet_offsets=None, packet_sizes=None)
        records[str(path)] = dataclasses.replace(record, fingerprint=Media(str(path)).fingerprint())
    labels = [video.label for video in videos]
    return VideoDataset([video.path for video in videos], labels), VideoDataset(paths, labels), Records(records)


@pytest.mark.parametrize(
    ("sampler", "workers"),
    [
        pytest.param(MotionGuided(num_frames=5), 0, id="guided"),
        pytest.param(MotionGuided(num_frames=5), 2, id="by workers", marks=pytest.mark.slow),
        pytest.param(BackAndForth(), 0, id="in no order", marks=pytest.mark.slow),
    ],
)
def test_packets_that_are_read_without_their_container_give_the_batches_of_the_files(
    packets_alone: tuple[VideoDataset, VideoDataset, Records], graph_kernels: Any, sampler: Sampler, workers: int
) -> None:
    files, packets, index = packets_alone
    tallies = (Tally(), Tally(), Tally())
    feed = partial(feed_of, sampler=sampler, index=index)
    expected = epoch_of(feed(files, kernels=graph_kernels, tally=tallies[0]))
    found = epoch_of(feed(packets, kernels=graph_kernels, tally=tallies[1], workers=workers))
    reference = epoch_of(feed(packets, tally=tallies[2]))
    assert_same_bytes(found, expected)
    assert picks_of(found) == picks_of(reference)
    assert_near(found, reference)
    assert len({tally.frames_decoded for tally in tallies}) == 1
    assert not tallies[1].by_pyav
