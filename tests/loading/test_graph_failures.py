"""Files that break DALI's decoder midway: the decoding graph on the CPU, with VP9.

The reference is a run in which PyAV decodes every video, for the batches on which the graph fails, and a run with an
intact file in place of each broken one, for all other batches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import MGDaliIterator, Segment, VideoDataset, VideoDecodeError
from mgdali import iterator as iterator_module
from mgdali.gpu.driver import DecoderCaps
from mgdali.gpu.picking import FrameFunctions, Guarded
from mgdali.loading import feed as feed_module
from mgdali.loading.feed import Feed, make_pool
from mgdali.loading.order import WHOLE, EpochOrder, Share
from mgdali.loading.route import Route
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.source import ClipSource
from mgdali.loading.tally import Tally
from mgdali.transforms import OutputFormat, SpatialTransform
from mgdali.workers.encoded_job import GRAPH_FAILED, EncodedResult
from mgdali.workers.pool import LocalPool
from tests.support.broken_vp9 import VP9, write_broken_vp9
from tests.support.loading import SCRIPT_ENVIRONMENT, digest
from tests.support.videos import moving_square, write_video

# Videos are damaged on purpose. Tests that expect a warning still see it.
pytestmark = pytest.mark.filterwarnings("ignore:.* is used up to its damage:RuntimeWarning")

ON_GPU = Route(torch.device("cpu"), {"vp9": DecoderCaps("vp9", "4:2:0", 8, 1, 1, 1, 8192, 8192, 1 << 18)})
SAMPLER = Segment(num_frames=3)
NUM_VIDEOS = 12
BATCH_SIZE = 3
# One in the first batch, two in the third, one in the last; without shuffling.
BROKEN = (1, 6, 7, 11)


class HostPicker:
    """Picks frames of decoded videos as the kernels do, by the sampler.

    Args:
        before: Called with the videos before they are picked.
    """

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, frames: list[Any], offsets: list[Any], visible: Any, colours: Any) -> Any:
        self._before(frames)
        picks = [SAMPLER.pick(None, len(video), own) for video, own in zip(frames, offsets, strict=True)]
        return [np.ascontiguousarray(video[own]) for video, own in zip(frames, picks, strict=True)], picks

    def placeholders(self, frames: list[Any], offsets: list[Any]) -> Any:
        return [video[: len(own)] for video, own in zip(frames, offsets, strict=True)], [
            own.view(np.int64) for own in offsets
        ]


class HostFunctions(FrameFunctions):
    """The functions of a graph without kernels. No picks are known beforehand in these tests."""

    def __init__(self, before: Any = lambda frames: None) -> None:
        super().__init__(SAMPLER)
        self.pick = Guarded(HostPicker(before))


class OnlyPyAV(LocalPool):
    """A pool in which PyAV decodes every video."""

    def submit(self, slot: int, job: Any) -> None:
        super().submit(slot, dataclasses.replace(job, on_gpu=False))


class Overwritten(LocalPool):
    """A pool that overwrites the files with one of the names before the graph gets them."""

    def __init__(self, names: Sequence[str], config: Any) -> None:
        super().__init__(config)
        self._names = names
        self._paths: dict[int, str] = {}

    def submit(self, slot: int, job: Any) -> None:
        self._paths[slot] = job.path
        super().submit(slot, job)

    def receive(self, count: int = 1) -> list[tuple[int, Any]]:
        ((slot, outcome),) = super().receive()
        if isinstance(outcome, EncodedResult) and Path(self._paths[slot]).name in self._names:
            self.memory(slot, outcome.shape)[len(self.memory(slot, outcome.shape)) // 2 :] = 0xFF
            self.memory(slot, outcome.shape)[:64] = 0
        return [(slot, outcome)]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    """Twelve VP9 videos."""
    folder = tmp_path_factory.mktemp("vp9")
    paths = [
        write_video(folder / f"{i:02}.webm", moving_square(12 + i, 48, 64 + 8 * (i % 4), seed=i), **VP9)
        for i in range(NUM_VIDEOS)
    ]
    return VideoDataset(paths, range(NUM_VIDEOS), list(map(str, range(NUM_VIDEOS))))


@pytest.fixture(scope="module")
def broken(intact: VideoDataset, tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    """The same videos. Four of them have a damaged packet that only a decoder finds."""
    folder = tmp_path_factory.mktemp("broken")
    paths: list[str | Path] = [video.path for video in intact]
    for i in BROKEN:
        paths[i] = write_broken_vp9(Path(paths[i]), folder / f"broken{i:02}.webm", packet=8)
    return VideoDataset(paths, range(NUM_VIDEOS), intact.classes)


def feed_of(
    dataset: VideoDataset,
    tally: Tally | None = None,
    *,
    pool: Any = None,
    workers: int = 0,
    functions: Any = HostFunctions,
    shuffle: bool = False,
    on_error: Any = "replace",
    **more: Any,
) -> Feed:
    settings = LoaderSettings(
        sampler=SAMPLER,
        order=EpochOrder(num_videos=len(dataset), batch_size=BATCH_SIZE, shuffle=shuffle),
        transform=SpatialTransform(training=True, crop_size=24, resize=24),
        output=OutputFormat(dtype="uint8"),
        route=ON_GPU,
        num_workers=workers,
        on_error=on_error,
        decoder_threads=2,
        **more,
    )
    create = make_pool if workers else lambda settings: (pool or LocalPool)(settings.clip_config)
    make_source = partial(ClipSource, dataset, tally=Tally() if tally is None else tally)
    return Feed(settings, make_source, make_pool=create, make_functions=functions)


Sample = tuple[bytes, int, list[int], str]


def samples_of(batch: Any) -> list[Sample]:
    outputs, paths = batch
    return [
        (outputs["clips"][i].numpy().tobytes(), int(outputs["labels"][i]), outputs["frames"][i].tolist(), path)
        for i, path in enumerate(paths)
    ]


def rest_of(feed: Feed) -> list[list[Sample]]:
    return [samples_of(batch) for batch in iter(feed.next, None)]


def epoch_of(feed: Feed, epoch: int = 0, share: Share = WHOLE, taken: int = 0) -> list[list[Sample]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        feed.start(epoch, share, taken)
        batches = rest_of(feed)
        feed.close()
    return batches


def is_broken(batch: list[Sample]) -> bool:
    return any(label in BROKEN for _, label, _, _ in batch)


def expected_batches(
    intact: VideoDataset, broken: VideoDataset, *, epoch: int = 0, share: Share = WHOLE, **arguments: Any
) -> list[list[Sample]]:
    """Return the batches of an epoch in which PyAV decodes the batches with broken files and the graph the others."""
    graph = epoch_of(feed_of(intact, **arguments), epoch, share)
    pyav = epoch_of(feed_of(broken, pool=OnlyPyAV, **arguments), epoch, share)
    # A replacement brings its own label, so the intact run tells which batches have a broken file.
    return [other if is_broken(own) else own for own, other in zip(graph, pyav, strict=True)]


@pytest.mark.parametrize("num_graphs", [1, 2, 3])
@pytest.mark.parametrize("on_error", ["replace", "keep"])
def test_an_epoch_with_broken_files_is_complete_and_in_order(
    intact: VideoDataset, broken: VideoDataset, on_error: str, num_graphs: int
) -> None:
    tally = Tally()
    feed = feed_of(broken, tally, on_error=on_error, num_graphs=num_graphs)
    feed.start(0, WHOLE)
    with pytest.warns(RuntimeWarning, match=r"the GPU's decoder failed on one of these videos") as caught:
        batches = rest_of(feed)
    feed.close()
    assert batches == expected_batches(intact, broken, on_error=on_error)
    # One warning for each batch with a broken file, and one for each broken file.
    assert tally.graph_failures == 3
    words = [str(warning.message) for warning in caught]
    assert sum("failed on one of these videos" in each for each in words) == 3
    assert sorted(tally.failed_on_gpu) == list(BROKEN)
    assert {Path(path).stem for path in tally.bad_videos} == {f"broken{i:02}" for i in BROKEN}
    assert set(tally.by_pyav.values()) == {GRAPH_FAILED}
    used_up = "used up to its damage" if on_error == "keep" else "is replaced by another video"
    assert sum(used_up in each for each in words) == len(BROKEN)


@pytest.mark.slow
@pytest.mark.parametrize("num_graphs", [1, 3])
def test_workers_and_order_change_nothing(intact: VideoDataset, broken: VideoDataset, num_graphs: int) -> None:
    expected = expected_batches(intact, broken, shuffle=True)
    assert epoch_of(feed_of(broken, shuffle=True, workers=2, num_graphs=num_graphs)) == expected


def test_with_raise_the_broken_file_ends_the_epoch_when_its_batch_comes(
    intact: VideoDataset, broken: VideoDataset
) -> None:
    paths = [video.path for video in intact]
    paths[7] = broken[7].path
    feed = feed_of(VideoDataset(paths, range(NUM_VIDEOS), intact.classes), on_error="raise")
    feed.start(0, WHOLE)
    batches = [samples_of(feed.next()), samples_of(feed.next())]
    with (
        pytest.warns(RuntimeWarning, match="failed on one of these videos"),
        pytest.raises(VideoDecodeError, match=r"broken07\.webm") as caught,
    ):
        feed.next()
    assert caught.value.frame == 8
    assert batches == epoch_of(feed_of(intact))[:2]
    # As after any error, the loader can be iterated again.
    feed.start(0, WHOLE)
    assert samples_of(feed.next()) == batches[0]
    feed.close()


def test_later_epochs_decode_only_the_broken_files_by_pyav(intact: VideoDataset, broken: VideoDataset) -> None:
    tally = Tally()
    feed = feed_of(broken, tally, on_error="keep", shuffle=True)
    feed.start(0, WHOLE)
    with pytest.warns(RuntimeWarning, match="failed on one of these videos"):
        rest_of(feed)
    failures = tally.graph_failures
    feed.start(1, WHOLE)
    batches = rest_of(feed)
    feed.close()
    assert tally.graph_failures == failures
    graph = epoch_of(feed_of(intact, shuffle=True), 1)
    pyav = epoch_of(feed_of(broken, pool=OnlyPyAV, on_error="keep", shuffle=True), 1)
    for found, own, other in zip(batches, graph, pyav, strict=True):
        assert found == [b if b[1] in BROKEN else a for a, b in zip(own, other, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("num_graphs", [1, 2])
def test_a_run_resumes_exactly_after_each_batch(broken: VideoDataset, num_graphs: int) -> None:
    tally = Tally()
    feed = feed_of(broken, tally, shuffle=True, num_graphs=num_graphs)
    states, batches = [(tally.failures(), tally.crashes())], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        feed.start(0, WHOLE)
        while (batch := feed.next()) is not None:
            batches.append(samples_of(batch))
            states.append((tally.failures(), tally.crashes()))
        feed.close()
    for count, (failures, _) in enumerate(states):
        resumed = Tally()
        resumed.restore_failures(failures)  # type: ignore[arg-type]
        rest = epoch_of(feed_of(broken, resumed, shuffle=True), taken=count * BATCH_SIZE)
        assert rest == batches[count:]


def test_each_rank_recovers_from_its_own_failures(intact: VideoDataset, broken: VideoDataset) -> None:
    for rank in range(2):
        share = Share(rank, 2)
        expected = expected_batches(intact, broken, share=share)
        assert any(map(is_broken, epoch_of(feed_of(intact), share=share)))
        assert epoch_of(feed_of(broken, num_graphs=2), share=share) == expected


@pytest.mark.slow
def test_an_epoch_that_is_stopped_after_a_failure_is_followed_by_a_complete_one(
    intact: VideoDataset, broken: VideoDataset
) -> None:
    expected = expected_batches(intact, broken)
    for num_graphs in (1, 2):
        tally = Tally()
        feed = feed_of(broken, tally, num_graphs=num_graphs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            feed.start(0, WHOLE)
            assert samples_of(feed.next()) == expected[0]
            assert tally.graph_failures == 1
            # The graphs have failed on the third batch, or will, when the epoch is stopped.
            feed.start(0, WHOLE)
            again = rest_of(feed)
        feed.close()
        # The broken file of the first batch is known: the graph decodes the others of that batch.
        assert again[1:] == expected[1:]
        feed.close()


def test_a_failure_whose_video_pyav_does_not_find_sends_all_videos_of_the_part_to_pyav(intact: VideoDataset) -> None:
    tally = Tally()
    feed = feed_of(intact, tally, pool=partial(Overwritten, ["04.webm"]))
    feed.start(0, WHOLE)
    with pytest.warns(RuntimeWarning, match=r"03\.webm, .*04\.webm, .*05\.webm\. The error: "):
        batches = rest_of(feed)
    assert sorted(tally.failed_on_gpu) == [3, 4, 5]
    assert not tally.bad_videos
    graph, pyav = epoch_of(feed_of(intact)), epoch_of(feed_of(intact, pool=OnlyPyAV))
    assert batches == [graph[0], pyav[1], *graph[2:]]
    feed.start(1, WHOLE)
    rest_of(feed)
    feed.close()
    assert tally.graph_failures == 1


def test_only_the_part_of_a_batch_on_which_the_graph_failed_is_decoded_again(
    intact: VideoDataset, broken: VideoDataset
) -> None:
    # The sessions alone take more than this budget, so each part is one video.
    budget = 450_000
    tally = Tally()
    batches = epoch_of(feed_of(broken, tally, on_error="keep", gpu_memory_budget=budget, num_graphs=2))
    graph = epoch_of(feed_of(intact))
    pyav = epoch_of(feed_of(broken, pool=OnlyPyAV, on_error="keep"))
    for found, own, other in zip(batches, graph, pyav, strict=True):
        assert found == [b if b[1] in BROKEN else a for a, b in zip(own, other, strict=True)]
    assert tally.graph_failures == len(BROKEN)


def test_a_recovery_that_takes_too_long_is_an_error_that_names_the_videos(
    broken: VideoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "RECOVERY_SECONDS", -1.0)
    feed = feed_of(broken)
    feed.start(0, WHOLE)
    with (
        pytest.warns(RuntimeWarning, match="failed on one of these videos"),
        pytest.raises(RuntimeError, match=r"took longer than -1 seconds: .*00\.webm, .*broken01\.webm, .*02\.webm$"),
    ):
        feed.next()
    assert not feed.started


def test_an_error_that_the_picker_caught_is_raised_with_the_videos(intact: VideoDataset) -> None:
    def fail(frames: list[Any]) -> None:
        raise KeyError("picks")

    feed = feed_of(intact, functions=partial(HostFunctions, fail))
    feed.start(0, WHOLE)
    with pytest.raises(RuntimeError, match=r"picking frames failed on one of these videos: .*00\.webm") as caught:
        feed.next()
    assert isinstance(caught.value.__cause__, KeyError)
    assert not feed.started


@pytest.fixture
def loader_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that returns a loader whose graph decodes, on the CPU."""
    monkeypatch.setattr(iterator_module, "choose_route", lambda device, decode: ON_GPU)
    monkeypatch.setattr(feed_module, "FrameFunctions", lambda sampler: HostFunctions())

    def load(dataset: VideoDataset, **arguments: Any) -> MGDaliIterator:
        size: dict[str, Any] = {"crop_size": 24, "resize": 24, "batch_size": BATCH_SIZE, "gpu_memory_budget": 1 << 30}
        more = {"sampler": SAMPLER, "num_workers": 0, "on_error": "replace", "return_meta": True}
        return MGDaliIterator(dataset, **{**size, **more, **arguments})

    return load


@pytest.mark.slow
def test_a_loader_resumes_exactly_from_a_state_after_a_failure(broken: VideoDataset, loader_of: Any) -> None:
    arguments = {"shuffle": True, "training": True, "num_graphs": 2, "decoder_threads": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with loader_of(broken, **arguments) as loader:
            batches = [digest(batch) for _ in range(2) for batch in loader]
        with loader_of(broken, **arguments) as loader:
            first = [digest(next(loader)) for _ in range(3)]
            state = json.loads(json.dumps(loader.state_dict()))
    assert state["failed_on_gpu"]
    assert {index for index, _ in state["failed_on_gpu"]} <= set(BROKEN)
    with loader_of(broken, **arguments) as loader, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        loader.load_state_dict(state)
        rest = [digest(batch) for _ in range(2) for batch in loader]
    assert first + rest == batches


def test_a_loader_lists_the_videos_that_pyav_decoded_and_warns_at_the_users_line(
    intact: VideoDataset, broken: VideoDataset, loader_of: Any
) -> None:
    with loader_of(intact) as loader:
        assert len(list(loader)) == 4
        assert loader.decoded_by_pyav == {}
    with loader_of(broken) as loader:
        with pytest.warns(RuntimeWarning, match="failed on one of these videos") as caught:
            next(loader)
        assert loader.decoded_by_pyav[intact[0].path] == GRAPH_FAILED
    (warning,) = [each for each in caught if "failed on one" in str(each.message)]
    assert warning.filename == __file__


def run(script: str) -> str:
    """Run a script that uses this module; return what it prints."""
    text = f"from tests.loading.test_graph_failures import *\n{script}"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True, timeout=60, env=SCRIPT_ENVIRONMENT
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def paths_and_labels(dataset: VideoDataset) -> str:
    return f"dataset = VideoDataset({[video.path for video in dataset]!r}, range({NUM_VIDEOS}))\n"


STUCK = """
import threading
from mgdali.loading.graphs import Graph
# As if the decoder were stuck on the seventh video, which keeps the graph from finishing earlier parts too.
share = Graph._share
stuck = []
def get_stuck(self):
    if any(path.endswith("06.webm") and part.gpu_bytes for part in self.parts for path in part.paths):
        stuck.append(1)
        threading.Event().wait()
    return share(self)
"""


@pytest.mark.slow
def test_a_decoder_that_never_returns_costs_only_the_batch_on_which_it_is_stuck(intact: VideoDataset) -> None:
    script = f"""{paths_and_labels(intact)}{STUCK}
graph = epoch_of(feed_of(dataset))
pyav = epoch_of(feed_of(dataset, pool=OnlyPyAV))
feed_module.WAIT_SECONDS = 5.0
Graph._share = get_stuck
tally = Tally()
feed = feed_of(dataset, tally, num_graphs=2)
feed.start(0, WHOLE)
batches = rest_of(feed)
feed.close()
right = [graph[0], graph[1], pyav[2], graph[3]]
print([own == other for own, other in zip(batches, right, strict=True)], tally.graph_failures, bool(stuck), flush=True)
"""
    assert run(script) == "[True, True, True, True] 1 True\n"


NEVER = """
import threading
inside = threading.Event()
def never_return(frames):
    inside.set()
    threading.Event().wait()
"""


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_for_a_graph_that_never_returns_and_the_program_ends(intact: VideoDataset) -> None:
    script = f"""{paths_and_labels(intact)}{NEVER}
import os, signal
feed = feed_of(dataset, functions=partial(HostFunctions, never_return))
feed.start(0, WHOLE)
def interrupt():
    inside.wait()
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    rest_of(feed)
except KeyboardInterrupt:
    print("interrupted", feed.started, flush=True)
"""
    assert run(script) == "interrupted False\n"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_program_may_end_while_graphs_have_parts(intact: VideoDataset, workers: int) -> None:
    script = f"""{paths_and_labels(intact)}
def slow(frames):
    time.sleep(0.2)
iterator_module.choose_route = lambda device, decode: ON_GPU
feed_module.FrameFunctions = lambda sampler: HostFunctions(slow)
loader = MGDaliIterator(
    dataset, sampler=SAMPLER, num_workers={workers}, num_graphs=2, gpu_memory_budget=1 << 30, crop_size=24, resize=24
)
next(loader)
print("end", flush=True)
"""
    assert run(script) == "end\n"


@pytest.mark.slow
def test_a_graph_that_never_returns_is_left_when_the_loader_is_closed(intact: VideoDataset) -> None:
    script = f"""{paths_and_labels(intact)}{NEVER}
from mgdali.loading import graphs
feed_module.WAIT_SECONDS = graphs.CLOSE_SECONDS = 1.0
feed = feed_of(dataset, functions=partial(HostFunctions, never_return))
feed.start(0, WHOLE)
# PyAV decodes the first batch; the next ones are in a graph that never returns either.
print(samples_of(feed.next()) == epoch_of(feed_of(dataset, pool=OnlyPyAV))[0])
feed.close()
print("closed", flush=True)
"""
    assert run(script) == "True\nclosed\n"


@pytest.mark.slow
def test_memory_that_a_stuck_graph_may_read_is_kept_and_that_of_a_failed_one_is_freed(
    intact: VideoDataset, broken: VideoDataset
) -> None:
    watch = """
import gc, weakref
from mgdali.loading import graphs
feed_module.WAIT_SECONDS = graphs.CLOSE_SECONDS = 1.0
first = []
class Watched(LocalPool):
    def memory(self, slot, shape):
        array = super().memory(slot, shape)
        if len(first) < BATCH_SIZE:
            first.append(weakref.ref(array))
        return array
def kept(dataset, **arguments):
    first.clear()
    feed = feed_of(dataset, pool=Watched, **arguments)
    feed.start(0, WHOLE)
    feed.next()
    feed.close()
    del feed
    for _ in range(20):
        gc.collect()
        if not any(array() is not None for array in first):
            break
        time.sleep(0.1)
    print([array() is not None for array in first])
"""
    script = f"""{paths_and_labels(broken)}{NEVER}{watch}
kept(dataset)
{paths_and_labels(intact)}
kept(dataset, functions=partial(HostFunctions, never_return))
"""
    assert run(script) == "[False, False, False]\n[True, True, True]\n"


def dali_threads() -> int:
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            names.append(path.read_text())
    return sum("DALI" in name for name in names)


@pytest.mark.slow
def test_failed_graphs_leave_no_threads(broken: VideoDataset) -> None:
    before = dali_threads()
    for _ in range(4):
        epoch_of(feed_of(broken))
    deadline = time.monotonic() + 30
    while dali_threads() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert dali_threads() <= before


def test_picks_of_this_picker_are_those_of_the_sampler(intact: VideoDataset) -> None:
    """The reference of this module is only as good as its picker."""
    graph, pyav = epoch_of(feed_of(intact)), epoch_of(feed_of(intact, pool=OnlyPyAV))
    assert [[own[1:] for own in batch] for batch in graph] == [[own[1:] for own in batch] for batch in pyav]
