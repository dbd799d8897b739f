"""The loader when workers die or take too long, and with damaged videos: the batches, the state, and what is left."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from mgdali import MGDaliIterator, Segment, VideoDataset, VideoDecodeError, WorkerError, build_index
from mgdali.errors import VideoCrashError, VideoTimeoutError
from tests.support.crashing import KILLED, SEGFAULT, Crashing
from tests.support.damaged_videos import write_damaged
from tests.support.loading import digest, load
from tests.support.videos import moving_square, write_video

LENGTHS = (5, 6, 7, 13, 8, 9, 10, 11)
ARGUMENTS: dict[str, Any] = {
    "batch_size": 3, "shuffle": True, "training": True, "return_meta": True, "on_error": "replace",
}  # fmt: skip


@pytest.fixture
def videos(tmp_path: Path) -> VideoDataset:
    """Eight videos of different lengths, whose files tests may change. One has 13 frames."""
    paths = [write_video(tmp_path / f"{n}.mp4", moving_square(n, 32, 48, seed=n)) for n in LENGTHS]
    return VideoDataset(paths, [n % 2 for n in range(len(paths))])


def digests(loader: MGDaliIterator, epochs: int = 2) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [digest(batch) for _ in range(epochs) for batch in loader]


def unreadable(videos: VideoDataset, tmp_path: Path) -> list[str]:
    """The batches of a run in which the video of 13 frames cannot be read."""
    (tmp_path / "13.mp4").write_bytes(b"garbage" * 99)
    with load(videos, sampler=Crashing(), num_workers=0, **ARGUMENTS) as loader:
        return digests(loader)


@pytest.mark.parametrize("num_workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_video_that_kills_its_workers_is_replaced_as_an_unreadable_one(
    videos: VideoDataset, tmp_path: Path, num_workers: int
) -> None:
    with load(videos, sampler=Crashing({13: SEGFAULT}), num_workers=num_workers, **ARGUMENTS) as loader:
        batches = digests(loader)
        (error,) = loader.bad_videos.values()
    assert isinstance(error, VideoCrashError)
    assert error.path == str(tmp_path / "13.mp4")
    assert "signal 11" in error.reason
    assert batches == unreadable(videos, tmp_path)


def test_a_video_that_kills_its_workers_raises_by_default(videos: VideoDataset) -> None:
    with load(videos, sampler=Crashing({13: SEGFAULT}), batch_size=2, num_workers=1) as loader:
        batches = iter(loader)
        next(batches)
        with pytest.raises(VideoCrashError, match=r"13.mp4: each of two workers .* signal 11 \(Segmentation fault\)"):
            list(batches)


def test_a_video_whose_worker_dies_once_changes_no_batch(videos: VideoDataset, tmp_path: Path) -> None:
    with load(videos, sampler=Crashing(), num_workers=0, **ARGUMENTS) as loader:
        expected = digests(loader)
    with load(videos, sampler=Crashing({13: KILLED}, once=str(tmp_path)), num_workers=2, **ARGUMENTS) as loader:
        assert digests(loader) == expected
        assert loader.bad_videos == {}


def test_three_workers_that_die_by_chance_end_the_run(videos: VideoDataset, tmp_path: Path) -> None:
    sampler = Crashing(dict.fromkeys((5, 8, 11), KILLED), once=str(tmp_path))
    with load(videos, sampler=sampler, num_workers=2, **ARGUMENTS) as loader:
        with pytest.raises(WorkerError, match="may be out of memory; reduce num_workers or memory_budget"):
            list(loader)
        # The same loader can be iterated again.
        assert len(list(loader)) == len(loader)


@pytest.mark.slow
def test_a_video_that_never_answers_is_replaced_after_the_timeout(videos: VideoDataset, tmp_path: Path) -> None:
    (tmp_path / "13.mp4").unlink()
    os.mkfifo(tmp_path / "13.mp4")
    with load(videos, sampler=Crashing(), num_workers=2, timeout=0.7, **ARGUMENTS) as loader:
        batches = digests(loader)
        (error,) = loader.bad_videos.values()
    assert isinstance(error, VideoTimeoutError)
    (tmp_path / "13.mp4").unlink()
    assert batches == unreadable(videos, tmp_path)


def test_a_resumed_run_replaces_the_videos_that_were_replaced_by_chance(videos: VideoDataset) -> None:
    arguments = {**ARGUMENTS, "batch_size": 1, "num_workers": 1}
    with load(videos, sampler=Crashing({13: KILLED}), **arguments) as loader, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, states = [], []
        for batch in loader:
            expected.append(digest(batch))
            states.append(loader.state_dict())
        expected += digests(loader, 1)
    # The video was found before the first state: two batches are prepared ahead.
    where = 1 + next(i for i, state in enumerate(states) if state["crashed"])
    assert states[where]["crashed"][0][0] == LENGTHS.index(13)
    # Now the same video would be decoded, but it is not tried.
    with load(videos, sampler=Crashing(), **{**arguments, "num_workers": 0}) as loader:
        loader.load_state_dict(states[where])
        assert digests(loader) == expected[where + 1 :]
        (error,) = loader.bad_videos.values()
        assert error.reason.count("(before this run was resumed)") == 1
        # A state of a resumed run does not differ.
        loader.load_state_dict(loader.state_dict())
        assert [reason.count("resumed") for _, reason in loader.state_dict()["crashed"]] == [1]


def test_a_state_with_a_replaced_video_does_not_hide_it_with_on_error_raise(videos: VideoDataset) -> None:
    with load(videos, sampler=Crashing(), num_workers=0, return_meta=True) as loader:
        expected = digests(loader, 1)
        state = {**loader.state_dict(), "epoch": 0, "crashed": [[LENGTHS.index(13), "its worker died"]]}
        loader.load_state_dict(state)
        assert digests(loader, 1) == expected


# --- on_error="keep" -------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(videos: VideoDataset, tmp_path: Path) -> tuple[VideoDataset, VideoDataset]:
    """The videos with one that is damaged after 25 frames, and the same videos with one that ends there."""
    broken, whole = write_damaged(tmp_path, "cut")
    found = [[*videos.paths[:4], str(path), *videos.paths[4:]] for path in (broken, whole)]
    labels = list(range(len(found[0])))
    return VideoDataset(found[0], labels), VideoDataset(found[1], labels)


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_kept_video_gives_the_batches_of_one_that_ends_before_the_damage(
    damaged: tuple[VideoDataset, VideoDataset], num_workers: int
) -> None:
    arguments = {**ARGUMENTS, "on_error": "keep", "num_workers": num_workers, "return_meta": False}
    with load(damaged[1], **arguments) as loader:
        expected = [batch for _ in range(2) for batch in loader]
        assert loader.bad_videos == {}
    with load(damaged[0], **arguments) as loader:
        with pytest.warns(RuntimeWarning, match="is used up to its damage, 25 frames") as given:
            batches = [batch for _ in range(2) for batch in loader]
        assert len(given) == 1
        assert list(loader.bad_videos) == [damaged[0].paths[4]]
        assert loader.bad_videos[damaged[0].paths[4]].frame == 25
    for (clips, labels), (other_clips, other_labels) in zip(batches, expected, strict=True):
        assert torch.equal(clips, other_clips)
        assert torch.equal(labels, other_labels)


def test_a_kept_video_with_too_few_frames_is_replaced(damaged: tuple[VideoDataset, VideoDataset]) -> None:
    batches = []
    for on_error in ("keep", "replace"):
        arguments = {**ARGUMENTS, "on_error": on_error, "sampler": Segment(num_frames=26), "num_workers": 0}
        with load(damaged[0], **arguments) as loader:
            batches.append(digests(loader))
            assert list(loader.bad_videos) == [damaged[0].paths[4]]
    assert batches[0] == batches[1]


@pytest.mark.parametrize("index", ["file", "auto"])
def test_an_index_does_not_change_the_frames_of_a_kept_video(
    damaged: tuple[VideoDataset, VideoDataset], tmp_path: Path, index: str
) -> None:
    arguments = {**ARGUMENTS, "on_error": "keep"}
    with load(damaged[0], **arguments) as loader:
        expected = digests(loader, 3)
    if index == "file":
        build_index(damaged[0], tmp_path / "index.parquet", num_workers=0)
        arguments["index"] = tmp_path / "index.parquet"
    else:
        arguments |= {"index": "auto", "cache_dir": tmp_path}
    with load(damaged[0], **arguments) as loader:
        assert digests(loader, 3) == expected


def test_a_damaged_video_is_replaced_or_raised_unless_it_is_kept(damaged: tuple[VideoDataset, VideoDataset]) -> None:
    with load(damaged[0], **{**ARGUMENTS, "num_workers": 0}) as loader:
        digests(loader)
        assert damaged[0].paths[4] in loader.bad_videos
    with load(damaged[0], num_workers=0) as loader, pytest.raises(VideoDecodeError, match="after 25 frames"):
        list(loader)
