"""The loader: epochs, batches, ranks, resuming, errors, and the tensors that it yields."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import MotionGuided, Segment, Stride, TopMotion, VideoDataset, VideoDecodeError
from mgdali.choices import draw
from mgdali.datasets.video_dataset import Video
from mgdali.loading.feed import Feed
from mgdali.loading.order import EpochOrder, Share
from mgdali.loading.route import Route
from mgdali.loading.source import ClipSource
from mgdali.sampling import sample_motion_guided
from mgdali.transforms import IMAGENET_MEAN, IMAGENET_STD, CropPosition, SpatialTransform
from mgdali.video.decoder import Decoder
from mgdali.video.frames import read_frames
from mgdali.video.meters import measure_motion
from mgdali.workers.pool import WorkerPool
from tests.support.loading import SAMPLER, SCRIPT_ENVIRONMENT, digest, load, run_script
from tests.support.videos import moving_square, write_video


def workers_of(process: int) -> list[int]:
    """Processes whose parent is ``process``."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def have_ended(processes: list[int], within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not any(_alive(pid) for pid in processes):
            return True
        time.sleep(0.05)
    return False


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- tensors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [pytest.param(False, marks=pytest.mark.slow), True])
def test_any_number_of_workers_gives_the_same_bytes(dataset: VideoDataset, training: bool) -> None:
    seen = []
    for num_workers in (0, 1, 3):
        with load(
            dataset, num_workers=num_workers, batch_size=3, shuffle=True, training=training, return_meta=True, seed=7
        ) as loader:
            seen.append([digest(batch) for _ in range(2) for batch in loader])
    assert len(set(seen[0])) == len(seen[0])
    assert seen[1:] == seen[:1] * 2


def test_picks_equal_the_reference(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=4, training=True, seed=3, return_meta=True) as loader:
        loader.set_epoch(5)
        metas = [meta for _, _, meta in loader]
    index = 0
    for meta in metas:
        for path, picks, total in zip(meta["path"], meta["frames"], meta["num_frames"], strict=True):
            assert path == dataset[index].path
            motion = measure_motion(path, SAMPLER.representation)
            offsets = draw(3, 5, index, SAMPLER.num_frames, training=True).offsets
            assert picks.tolist() == sample_motion_guided(motion, SAMPLER.num_frames, offsets=offsets).tolist()
            assert total == len(motion)
            index += 1
    assert index == len(dataset)


@pytest.mark.parametrize(
    "sampler",
    [
        Segment(num_frames=3),
        Stride(num_frames=3, stride=2),
        TopMotion(num_frames=3),
        MotionGuided(num_frames=3, channels="rgb", inverse="nearest"),
        pytest.param(MotionGuided(num_frames=3, motion="feature", mu=0.8), marks=pytest.mark.slow),
    ],
)
def test_every_sampler_picks_the_frames_of_its_decoder(dataset: VideoDataset, sampler: Any) -> None:
    with load(dataset, sampler=sampler, batch_size=len(dataset), return_meta=True) as loader:
        ((clips, _, meta),) = loader
    assert clips.shape == (len(dataset), 3, 3, 32, 32)
    decoder = Decoder(sampler, memory_budget=1 << 30)
    for path, picks in zip(meta["path"], meta["frames"], strict=True):
        assert picks.tolist() == decoder.decode(path, np.full(3, 0.5)).picks.tolist()


def reference_clip(path: str, picks: list[int], transform: SpatialTransform, choices: Any, crop: int) -> torch.Tensor:
    """Return torch's result for the same frames: crop, antialiased resize, flip, normalize; [T, 3, crop, crop]."""
    frames = [frame.to_ndarray(format="rgb24") for frame in read_frames(path)]
    stack = torch.from_numpy(np.stack([frames[t] for t in picks])).permute(0, 3, 1, 2).float()
    top, left, bottom, right = (round(edge) for edge in transform.window(*frames[0].shape[:2], choices))
    resized = torch.nn.functional.interpolate(
        stack[..., top:bottom, left:right], size=(crop, crop), mode="bilinear", antialias=True
    )
    if transform.flip(choices):
        resized = resized.flip(-1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (resized / 255 - mean) / std


@pytest.mark.parametrize(
    ("training", "position"), [(False, "start"), (False, "center"), (False, "end"), (True, "center")]
)
def test_clips_are_the_picked_frames_cropped_resized_and_normalized(
    dataset: VideoDataset, training: bool, position: CropPosition
) -> None:
    transform = SpatialTransform(training=training, crop_size=32, resize=40, crop_position=position)
    flips = 0
    with load(dataset, batch_size=1, training=training, crop_position=position, return_meta=True) as loader:
        for index, (clips, labels, meta) in enumerate(loader):
            choices = draw(0, 0, index, SAMPLER.num_frames, training=training)
            flips += transform.flip(choices)
            expected = reference_clip(meta["path"][0], meta["frames"][0].tolist(), transform, choices, 32)
            # DALI's and torch's antialiasing differ at the window's edge, and DALI rounds pixels to whole numbers.
            assert (clips[0] - expected).abs().mean() < 0.1
            assert labels.tolist() == [dataset[index].label]
    assert (0 < flips < len(dataset)) if training else flips == 0


@pytest.mark.parametrize(
    ("height", "width"), [(48, 120), pytest.param(120, 48, marks=pytest.mark.slow)], ids=["wide", "tall"]
)
def test_three_crops_are_both_ends_and_the_middle_of_the_frame(tmp_path: Path, height: int, width: int) -> None:
    path = write_video(tmp_path / "video.mp4", moving_square(13, height, width))
    frames = np.stack([frame.to_ndarray(format="rgb24") for frame in read_frames(str(path))])
    for position, first in (("start", 0), ("center", 36), ("end", 72)):
        with load(
            VideoDataset([path], [0]),
            crop_position=position,
            crop_size=48,
            resize=48,
            dtype="uint8",
            layout="NTHWC",
            return_meta=True,
        ) as loader:
            ((clips, _, meta),) = loader
        picked = frames[meta["frames"][0].numpy()]
        cut = picked[:, :, first : first + 48] if width > height else picked[:, first : first + 48]
        assert (clips[0].numpy() == cut).all(), position


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_yielded_clips_do_not_change_later(dataset: VideoDataset, dtype: str, training: bool) -> None:
    # A worker prepares later batches while these are held.
    with load(dataset, batch_size=2, dtype=dtype, training=training, num_workers=1) as loader:
        held = [(clips, clips.clone()) for _ in range(3) for clips, _ in loader]
    assert all(torch.equal(clips, as_it_was) for clips, as_it_was in held)


@pytest.mark.slow
def test_layouts_and_types_are_views_of_the_same_clips(dataset: VideoDataset) -> None:
    def clips(**arguments: Any) -> torch.Tensor:
        with load(dataset, batch_size=5, training=True, **arguments) as loader:
            return next(iter(loader))[0]

    base = clips()
    assert base.dtype == torch.float32
    assert base.shape == (5, 4, 3, 32, 32)
    assert torch.equal(clips(layout="NCTHW"), base.permute(0, 2, 1, 3, 4))
    assert torch.equal(clips(layout="NTHWC"), base.permute(0, 1, 3, 4, 2))
    half = clips(dtype=torch.float16)
    assert half.dtype == torch.float16
    assert (half.float() - base).abs().max() < 2e-3
    pixels = clips(dtype="uint8")
    assert pixels.dtype == torch.uint8
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    assert torch.allclose((pixels.float() / 255 - mean) / std, base, atol=1e-5)
    own = clips(mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    expected = (pixels.float() / 255 - 0.5) / torch.tensor([0.25, 0.5, 1.0])[:, None, None]
    assert torch.allclose(own, expected, atol=1e-5)


# --- epochs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 3]), (True, [4, 4])])
def test_length_and_last_batch_match_a_torch_dataloader(
    dataset: VideoDataset, drop_last: bool, sizes: list[int]
) -> None:
    with load(dataset, batch_size=4, drop_last=drop_last) as loader:
        assert len(loader) == len(sizes)
        for _ in range(3):
            assert [len(labels) for _, labels in loader] == sizes


def test_each_epoch_has_every_video_once_in_a_new_order(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=4, shuffle=True, return_meta=True) as loader:
        epochs = [[path for _, _, meta in loader for path in meta["path"]] for _ in range(3)]
        loader.set_epoch(1)
        again = [path for _, _, meta in loader for path in meta["path"]]
    everything = sorted(video.path for video in dataset)
    assert all(sorted(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert again == epochs[1]


def test_without_shuffle_videos_come_in_the_data_sets_order(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=4) as loader:
        labels = torch.cat([labels for _, labels in loader])
    assert labels.tolist() == [video.label for video in dataset]


def test_an_unfinished_epoch_is_followed_by_a_complete_one(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=2, shuffle=True, return_meta=True) as loader:
        whole = [[digest(batch) for batch in loader] for _ in range(2)]
    with load(dataset, batch_size=2, shuffle=True, return_meta=True, num_workers=2) as loader:
        for batch in loader:
            assert digest(batch) == whole[0][0]
            break
        assert [digest(batch) for batch in loader] == whole[1]


def test_an_older_iterator_raises_an_error(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=2) as loader:
        older, newer = iter(loader), iter(loader)
        next(older)
        next(newer)
        with pytest.raises(RuntimeError, match="has ended"):
            next(older)
        assert len(list(newer)) == len(loader) - 1
        with pytest.raises(StopIteration):
            next(newer)


def test_an_iterator_that_was_not_started_skips_no_epoch(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=4, shuffle=True, return_meta=True, num_workers=0) as loader:
        expected = [[digest(batch) for batch in loader] for _ in range(3)]
        loader.set_epoch(0)
        for epoch in range(3):
            iter(loader)
            batches = iter(loader)
            # Lightning and Hugging Face's Trainer request no batch after the last one.
            assert [digest(next(batches)) for _ in range(len(loader))] == expected[epoch]


def test_next_continues_the_running_epoch_and_then_begins_the_next_one(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=4, shuffle=True, return_meta=True, num_workers=0) as loader:
        expected = [digest(batch) for _ in range(2) for batch in loader]
        loader.set_epoch(0)
        seen = []
        for _ in range(2):
            for _ in range(len(loader)):
                seen.append(digest(next(loader)))
            with pytest.raises(StopIteration):
                next(loader)
        assert seen == expected


def test_after_an_error_the_next_iteration_begins_the_next_epoch(spoiled: VideoDataset) -> None:
    with load(spoiled, batch_size=2, num_workers=0) as loader:
        batches = iter(loader)
        with pytest.raises(VideoDecodeError):
            list(batches)
        with pytest.raises(StopIteration):
            next(batches)
        assert loader.epoch == 0
        next(loader)
        assert loader.epoch == 1


@pytest.mark.parametrize("copy", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_loader_refuses_to_be_copied(dataset: VideoDataset, copy: Any) -> None:
    with load(dataset) as loader, pytest.raises(TypeError, match="owns worker processes.*strategy='ddp'"):
        copy(loader)


def test_a_forked_process_refuses_to_iterate_the_loader_of_its_parent(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=2, num_workers=1) as loader:
        next(loader)
        answers, answer = os.pipe()
        if os.fork() == 0:
            try:
                iter(loader)
            except RuntimeError as error:
                os.write(answer, str(error).encode())
            os._exit(0)
        os.close(answer)
        with open(answers, "rb") as received:
            assert b"forked" in received.read()
        os.wait()
        # The parent's workers are not affected.
        assert len(list(loader)) == len(loader)


def test_no_batch_because_of_drop_last_gives_a_warning(dataset: VideoDataset) -> None:
    with pytest.warns(RuntimeWarning, match="drop_last=True leaves no batch.*batch_size=12.*11 videos"):
        loader = load(dataset, batch_size=12, drop_last=True, num_workers=0)
    with loader, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(loader) == []
    with pytest.warns(RuntimeWarning, match="drop_last=True leaves no batch"):
        load(dataset, batch_size=5, drop_last=True, rank=0, world_size=3).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(dataset, batch_size=11, drop_last=True).close()


def test_batches_are_dicts_with_the_names_that_the_user_gives(dataset: VideoDataset) -> None:
    arguments: dict[str, Any] = {"batch_size": 4, "return_meta": True, "num_workers": 0}
    with load(dataset, **arguments) as plain, load(dataset, batch_keys=("pixel_values", "y"), **arguments) as named:
        for batch, expected in zip(named, plain, strict=True):
            assert list(batch) == ["pixel_values", "y", "path", "frames", "num_frames"]
            meta = {key: batch[key] for key in ("path", "frames", "num_frames")}
            assert digest((batch["pixel_values"], batch["y"], meta)) == digest(expected)
    with load(dataset, batch_keys=("pixel_values", "labels"), num_workers=0) as loader:
        assert list(next(loader)) == ["pixel_values", "labels"]


def test_lightning_does_not_mistake_a_loader_for_a_torch_dataloader(dataset: VideoDataset) -> None:
    # Lightning looks for torch's samplers in every object that has an attribute of that name.
    with load(dataset) as loader:
        assert not hasattr(loader, "sampler")


def test_lightning_can_set_the_epoch(dataset: VideoDataset) -> None:
    with load(dataset) as loader:
        loader.batch_sampler.sampler.set_epoch(7)
        assert loader.epoch == 7


# --- ahead of the caller ---------------------------------------------------------------------------------------------


@pytest.fixture
def stuck(dataset: VideoDataset, tmp_path: Path) -> VideoDataset:
    """The data set with a third video that blocks its worker forever: a named pipe without a writer."""
    path = tmp_path / "stuck.mp4"
    os.mkfifo(path)
    videos = [*dataset[:2], Video(str(path), 0), *dataset[2:]]
    return VideoDataset([video.path for video in videos], [video.label for video in videos])


def threads_ahead() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "read-ahead"}


class Calls:
    """Records the calls of a method: the thread of each call, and how many have returned."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.threads: list[int] = []
        self.returned = 0
        method = getattr(owner, name)

        def noted(*arguments: Any) -> Any:
            self.threads.append(threading.get_ident())
            try:
                return method(*arguments)
            finally:
                self.returned += 1

        monkeypatch.setattr(owner, name, noted)

    def await_returned(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while self.returned < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.returned == count


@pytest.mark.parametrize("num_workers", [0, 1])
def test_with_workers_batches_are_prepared_in_another_thread(
    dataset: VideoDataset, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    asked = Calls(monkeypatch, ClipSource, "__call__")
    before = threads_ahead()
    with load(dataset, batch_size=2, num_workers=num_workers) as loader:
        list(loader)
        own = {thread.ident for thread in threads_ahead() - before}
    assert len(own) == num_workers
    assert set(asked.threads) == (own or {threading.get_ident()})


def test_the_next_batch_is_prepared_while_the_caller_works(
    dataset: VideoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Calls(monkeypatch, ClipSource, "__call__")
    submitted = Calls(monkeypatch, WorkerPool, "submit")
    many = VideoDataset([video.path for video in dataset] * 4, [video.label for video in dataset] * 4)
    with load(many, batch_size=2, num_workers=1, prefetch_factor=1) as loader:
        batches = iter(loader)
        for number in range(1, 10):
            next(batches)
            if number == 1:
                # The first batches are submitted in this thread.
                submitted.threads.clear()
            # The current batch, the batch in the graph, and the one after that; no more.
            asked.await_returned(number + 2)
            assert asked.threads.count(threading.get_ident()) == 0
        assert len(set(submitted.threads)) == 1
        assert threading.get_ident() not in submitted.threads


@pytest.mark.parametrize(
    "pause",
    [pytest.param(0, id="in the midst of a batch"), pytest.param(0.3, id="after one", marks=pytest.mark.slow)],
)
def test_an_unfinished_epoch_leaves_nothing_in_the_next_one(dataset: VideoDataset, pause: float) -> None:
    arguments: dict[str, Any] = {"batch_size": 3, "shuffle": True, "training": True, "return_meta": True}
    with load(dataset, num_workers=0, **arguments) as loader:
        whole = [[digest(batch) for batch in loader] for _ in range(len(loader) + 1)]
    with load(dataset, num_workers=2, **arguments) as loader:
        for taken in range(len(loader) + 1):
            loader.set_epoch(taken)
            batches = iter(loader)
            assert [digest(batch) for batch in itertools.islice(batches, taken)] == whole[taken][:taken]
            time.sleep(pause)
            loader.set_epoch(taken)
            assert [digest(batch) for batch in loader] == whole[taken]


def test_an_error_in_a_batch_of_an_abandoned_epoch_is_not_raised(stuck: VideoDataset) -> None:
    with load(stuck, num_workers=1, timeout=0.2) as loader:
        first = next(iter(loader))[0]
        assert torch.equal(next(iter(loader))[0], first)


@pytest.mark.slow
def test_ctrl_c_while_waiting_for_a_batch_ends_workers_and_thread(stuck: VideoDataset) -> None:
    before, threads = set(workers_of(os.getpid())), threads_ahead()
    with load(stuck, num_workers=2) as loader:
        batches = iter(loader)
        next(batches)
        for wait in (batches.__next__, loader.__next__):
            workers = set(workers_of(os.getpid())) - before
            assert len(workers) == 2
            threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
            started = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                wait()
            assert time.monotonic() - started < 10
            assert threads_ahead() == threads
            assert have_ended(list(workers))
            # A second Ctrl-C arrives while the abandoned epoch waits for the running batch.
            next(iter(loader))


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_loader_that_ends_leaves_no_worker_and_no_thread_and_does_not_wait_for_a_batch(
    stuck: VideoDataset, how: str
) -> None:
    before, threads = set(workers_of(os.getpid())), threads_ahead()
    loader = load(stuck, num_workers=2)
    next(iter(loader))
    workers = set(workers_of(os.getpid())) - before
    assert len(workers) == 2
    assert len(threads_ahead() - threads) == 1
    started = time.monotonic()
    if how == "closed":
        loader.close()
        loader.close()
        with pytest.raises(RuntimeError, match="closed"):
            iter(loader)
    else:
        del loader
    assert time.monotonic() - started < 10
    assert threads_ahead() == threads
    # The processes are not there any more, not even as ones that have ended.
    assert set(workers_of(os.getpid())) <= before


@pytest.mark.slow
def test_a_program_that_ends_while_a_batch_is_prepared_prints_nothing(stuck: VideoDataset, tmp_path: Path) -> None:
    script = f"""
        from mgdali import MGDaliIterator, Segment, VideoDataset
        loader = MGDaliIterator(VideoDataset({[v.path for v in stuck]!r}, [0] * {len(stuck)}),
                                sampler=Segment(num_frames=1), num_workers=2, crop_size=16, device="cpu")
        for clips, labels in loader:
            break
        print("done")
    """
    result = run_script(tmp_path, script, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


# --- ranks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_each_video_is_on_one_rank_and_ranks_have_equal_batches(dataset: VideoDataset, world_size: int) -> None:
    paths, sizes = [], []
    for rank in range(world_size):
        with load(dataset, batch_size=2, shuffle=True, return_meta=True, rank=rank, world_size=world_size) as loader:
            batches = [meta["path"] for _, _, meta in loader]
        sizes.append([len(batch) for batch in batches])
        paths += [path for batch in batches for path in batch]
    assert sizes.count(sizes[0]) == world_size
    assert set(paths) == {video.path for video in dataset}
    padded = -(-len(dataset) // world_size) * world_size
    assert len(paths) == padded


@pytest.mark.slow
def test_ranks_are_looked_up_when_iteration_begins(dataset: VideoDataset, tmp_path: Path) -> None:
    script = f"""
        import sys
        import torch.distributed as dist
        from mgdali import MGDaliIterator, Segment, VideoDataset
        rank = int(sys.argv[1])
        dataset = VideoDataset({[v.path for v in dataset]!r}, {[v.label for v in dataset]!r})
        loader = MGDaliIterator(dataset, sampler=Segment(num_frames=1), num_workers=0, return_meta=True, crop_size=16)
        assert len(loader) == 11
        dist.init_process_group("gloo", init_method="file://{tmp_path}/store", rank=rank, world_size=2)
        assert len(loader) == 6
        print(*[path for _, _, meta in loader for path in meta["path"]], sep="\\n")
        dist.destroy_process_group()
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    ranks = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "script.py"), str(rank)],
            stdout=subprocess.PIPE,
            text=True,
            env=SCRIPT_ENVIRONMENT,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].split() for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0]
    assert len(outputs[0]) == len(outputs[1]) == (len(dataset) + 1) // 2
    assert set(outputs[0] + outputs[1]) == {video.path for video in dataset}


def test_the_gpu_and_the_default_workers_are_looked_up_when_workers_start(
    dataset: VideoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Frameworks choose the GPU and start the ranks after the loader was created.
    routes = iter([Route(torch.device("cuda", 0)), Route(torch.device("cuda", 1))])
    monkeypatch.setattr("mgdali.iterator.choose_route", lambda device, decode: next(routes))
    monkeypatch.setattr("mgdali.iterator.default_workers", iter([8, 2]).__next__)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(Feed, "start", lambda feed, *start: None)
    monkeypatch.setattr(Feed, "next", lambda feed: None)
    with load(dataset, device=None, num_workers=None) as loader:
        assert (loader.device.index, loader.num_workers) == (0, 8)
        assert list(loader) == []
        assert (loader.device.index, loader.num_workers) == (1, 2)


def test_world_size_without_torch_distributed_gives_a_warning(
    dataset: VideoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with load(dataset, num_workers=0) as loader, pytest.warns(RuntimeWarning, match="every rank loads the whole"):
        next(loader)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def spoiled(dataset: VideoDataset, tmp_path: Path) -> VideoDataset:
    """The data set with two invalid files among its videos, at positions 4 and 9."""
    paths = [video.path for video in dataset]
    for place in (4, 9):
        bad = tmp_path / f"bad{place}.mp4"
        bad.write_bytes(b"garbage" * 99)
        paths[place] = str(bad)
    return VideoDataset(paths, [video.label for video in dataset], dataset.classes)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_video_raises_when_its_turn_comes(spoiled: VideoDataset, num_workers: int) -> None:
    with load(spoiled, batch_size=2, num_workers=num_workers) as loader:
        batches = iter(loader)
        assert [next(batches)[1].tolist() for _ in range(2)] == [
            [spoiled[0].label, spoiled[1].label],
            [spoiled[2].label, spoiled[3].label],
        ]
        with pytest.raises(VideoDecodeError, match="Invalid data") as caught:
            next(batches)
        assert caught.value.path == spoiled[4].path
        # The loader can still be used.
        assert len(next(iter(loader))[1]) == 2


def test_a_bad_video_is_replaced_the_same_way_every_time(spoiled: VideoDataset) -> None:
    seen = []
    for num_workers in (0, 3):
        with load(
            spoiled, batch_size=3, num_workers=num_workers, shuffle=True, on_error="replace", return_meta=True
        ) as loader:
            with pytest.warns(RuntimeWarning, match="is replaced by another video") as caught:
                batches = [batch for _ in range(2) for batch in loader]
            bad = loader.bad_videos
        assert len(caught) == 2, "one warning a bad video, not one an epoch"
        assert set(bad) == {spoiled[4].path, spoiled[9].path}
        assert all(isinstance(error, VideoDecodeError) for error in bad.values())
        label_of = {video.path: video.label for video in spoiled}
        for _, labels, meta in batches:
            assert labels.tolist() == [label_of[path] for path in meta["path"]]
            assert not set(meta["path"]) & set(bad)
        assert sum(len(labels) for _, labels, _ in batches) == 2 * len(spoiled)
        seen.append([digest(batch) for batch in batches])
    assert seen[0] == seen[1]


def test_a_replacement_comes_from_this_ranks_videos(spoiled: VideoDataset) -> None:
    own = set(EpochOrder(num_videos=len(spoiled)).indices(0, Share(1, 2)).tolist())
    assert 9 in own
    with (
        load(spoiled, rank=1, world_size=2, on_error="replace", return_meta=True) as loader,
        pytest.warns(RuntimeWarning, match="bad9"),
    ):
        paths = {path for _, _, meta in loader for path in meta["path"]}
    assert paths <= {spoiled[index].path for index in own}


def test_a_data_set_with_nothing_to_decode_raises_even_when_replacing(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.mp4" for i in range(3)]
    for path in paths:
        path.write_bytes(b"garbage" * 99)
    with load(VideoDataset(paths, [0, 0, 0]), on_error="replace", batch_size=2) as loader, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(VideoDecodeError, match="No other video of this rank can be decoded either"):
            list(loader)


@pytest.mark.slow
def test_workers_end_with_a_process_that_is_killed(dataset: VideoDataset, tmp_path: Path) -> None:
    script = f"""
        import time
        from mgdali import MGDaliIterator, Segment, VideoDataset
        loader = MGDaliIterator(VideoDataset({[v.path for v in dataset]!r}, [0] * {len(dataset)}),
                                sampler=Segment(num_frames=1), num_workers=2, crop_size=16)
        next(iter(loader))
        print("ready", flush=True)
        time.sleep(60)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        stdout=subprocess.PIPE,
        text=True,
        env=SCRIPT_ENVIRONMENT,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        workers = workers_of(process.pid)
        process.kill()
    assert len(workers) == 2
    assert have_ended(workers)


@pytest.mark.slow
def test_ctrl_c_ends_the_program_and_its_workers(dataset: VideoDataset, tmp_path: Path) -> None:
    many = [video.path for video in dataset] * 2000
    script = """
        import json
        from mgdali import MGDaliIterator, MotionGuided, VideoDataset
        paths = json.load(open("paths.json"))
        loader = MGDaliIterator(VideoDataset(paths, [0] * len(paths)), sampler=MotionGuided(), num_workers=2)
        for _ in loader:
            print("ready", flush=True)
    """
    (tmp_path / "paths.json").write_text(json.dumps(many))
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=SCRIPT_ENVIRONMENT,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            workers = workers_of(process.pid)
            os.killpg(process.pid, signal.SIGINT)
            _, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in stderr
    assert "Worker" not in stderr
    assert len(workers) == 2
    assert have_ended(workers)


OWN_SAMPLER = """
    import sys
    import numpy as np
    from mgdali import MGDaliIterator, VideoDataset

    class Ends:
        num_frames = 2
        representation = None
        def pick(self, motion, total, offsets):
            if total == 50:
                raise KeyError("my mistake")
            return np.array([0, total - 1])

    loader = MGDaliIterator(
        VideoDataset(sys.argv[1:], [0] * (len(sys.argv) - 1)),
        sampler=Ends(), num_workers=2, return_meta=True, crop_size=16,
    )
    for clips, labels, meta in loader:
        print(meta["frames"].tolist()[0], int(meta["num_frames"]))
"""


@pytest.mark.slow
def test_a_sampler_defined_in_a_script_reaches_the_workers_and_its_error_shows_its_traceback(
    dataset: VideoDataset, tmp_path: Path
) -> None:
    paths = [video.path for video in dataset]
    # Longer than the others, and the last.
    paths.append(str(write_video(tmp_path / "long.mp4", moving_square(50, 32, 32))))
    result = run_script(tmp_path, OWN_SAMPLER, *paths)
    lines = result.stdout.splitlines()
    assert len(lines) == len(dataset)
    for line in lines:
        total = int(line.split()[-1])
        assert line == f"[0, {total - 1}] {total}"
    assert result.returncode != 0
    assert "my mistake" in result.stderr
    assert "WorkerError" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"num_workers": -1}, "num_workers must be an integer >= 0, got -1"),
        ({"prefetch_factor": 0}, "prefetch_factor must be an integer >= 1, got 0"),
        ({"seed": -3}, "seed must be an integer >= 0, got -3"),
        ({"device": "tpu"}, 'device must be None, "cpu" or "cuda", got \'tpu\''),
        ({"device": "cpu", "decode": "nvdec"}, 'decode="nvdec" needs device="cuda", got device=\'cpu\''),
        ({"decode": "gpu"}, "decode must be one of .*, got 'gpu'"),
        ({"gpu_memory_budget": 0}, "gpu_memory_budget must be an integer >= 1, got 0"),
        ({"on_error": "skip"}, "on_error must be one of .*, got 'skip'"),
        ({"sampler": "motion"}, "sampler must have num_frames, representation and pick"),
        ({"sampler": MotionGuided}, r"sampler=MotionGuided is a class: .*MotionGuided\(num_frames=8\)"),
        (
            {"sampler": torch.utils.data.WeightedRandomSampler([1.0], 1)},
            "WeightedRandomSampler chooses videos: .*subset",
        ),
        ({"timeout": -1}, "timeout must be a number of seconds >= 0.*got -1"),
        ({"timeout": 5, "num_workers": 0}, "timeout=5 needs num_workers >= 1"),
        ({"mean": (123.675, 116.28, 103.53)}, r"mean must be in units of \[0, 1\].*123.675.*divide .*by 255"),
        ({"std": (58.395, 57.12, 57.375)}, r"std must be in units of \[0, 1\].*58.395.*divide .*by 255"),
        ({"batch_keys": ("clips",)}, "batch_keys must be two different names.*got"),
        ({"batch_keys": ("path", "labels")}, "batch_keys must be two different names.*got"),
        ({"rank": 1}, "give both rank and world_size or neither"),
        ({"rank": 2, "world_size": 2}, r"rank must be in \[0, 2\), got 2"),
        ({"layout": "NCHW"}, "layout must be one of .*, got 'NCHW'"),
        ({"dtype": "bfloat16"}, "dtype must be one of .*, got 'bfloat16'"),
        ({"memory_budget": -1}, "memory_budget must be an integer >= 0, got -1"),
        ({"crop_position": "left"}, "crop_position must be one of .*, got 'left'"),
        ({"crop_position": "start", "training": True}, "crop_position .*training=False.*got 'start'"),
        ({"flip_prob": 1.5}, r"flip_prob must be in \[0, 1\], got 1.5"),
    ],
)
def test_a_bad_argument_is_echoed(dataset: VideoDataset, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(dataset, **arguments)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"pin_memory": True}, r"pin_memory=True is not possible: .*clips.pin_memory\(\)"),
        ({"persistent_workers": False}, r"persistent_workers=False is not possible: .*close\(\)"),
        ({"worker_init_fn": print}, "worker_init_fn=.* is not possible: .*seed="),
        ({"collate_fn": print}, "collate_fn=.* is not possible: .*batch_keys="),
        ({"generator": torch.Generator()}, "generator=.* is not possible: .*seed="),
        ({"multiprocessing_context": "fork"}, "multiprocessing_context='fork' is not possible: .*new processes"),
        ({"batch_sampler": [[0]]}, "batch_sampler=.* is not possible: .*batch_size="),
        ({"num_worker": 2}, "no argument 'num_worker'; did you mean num_workers"),
        ({"colour": 2}, "no argument 'colour'; docs/arguments.md"),
    ],
)
def test_an_argument_that_does_not_exist_is_refused_with_what_replaces_it(
    dataset: VideoDataset, argument: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        load(dataset, **argument)


def test_arguments_of_a_torch_dataloader_are_accepted_where_they_say_what_happens_anyway(dataset: VideoDataset) -> None:
    same = {"persistent_workers": True, "pin_memory": False, "in_order": True}
    none = dict.fromkeys(["worker_init_fn", "collate_fn", "generator", "multiprocessing_context", "batch_sampler"])
    with load(dataset, batch_size=2, num_workers=1, timeout=60, **same, **none) as loader:
        assert len(list(loader)) == 6


def test_clips_larger_than_256_need_no_resize(dataset: VideoDataset) -> None:
    with (
        load(dataset, crop_size=300, resize="auto", return_meta=True, num_workers=0) as given,
        load(dataset, crop_size=300, resize=300, return_meta=True, num_workers=0) as expected,
    ):
        assert digest(next(given)) == digest(next(expected))
    with pytest.raises(ValueError, match="resize must be an integer >= 300, got 256"):
        load(dataset, crop_size=300, resize=256)


def test_prefetch_factor_does_not_change_the_batches(dataset: VideoDataset) -> None:
    seen = []
    for prefetch_factor in (1, 5):
        with load(dataset, batch_size=2, num_workers=1, prefetch_factor=prefetch_factor, return_meta=True) as loader:
            seen.append([digest(batch) for batch in loader])
    assert seen[0] == seen[1]


def test_frames_decoded_are_counted(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=3, return_meta=True, num_workers=1) as loader:
        total = sum(int(meta["num_frames"].sum()) for _, _, meta in loader)
        assert loader.frames_decoded == total


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_interrupted_in_a_notebook_can_be_iterated_again(dataset: VideoDataset, num_workers: int) -> None:
    many = VideoDataset([video.path for video in dataset] * 300, [video.label for video in dataset] * 300)
    with load(many, batch_size=8, num_workers=num_workers, shuffle=True, return_meta=True) as loader:
        loader.set_epoch(1)
        expected = digest(next(iter(loader)))
        for _ in range(3):
            threading.Timer(0.4, os.kill, [os.getpid(), signal.SIGINT]).start()
            with pytest.raises(KeyboardInterrupt):
                deque(itertools.chain.from_iterable(itertools.repeat(loader, 100)), maxlen=0)
            loader.set_epoch(1)
            assert digest(next(iter(loader))) == expected
