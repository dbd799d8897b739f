"""Resuming: states of the loader, in new processes, after an epoch's end, on other ranks, and of earlier versions."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mgdali import VideoDataset
from tests.support.loading import digest, load, run_script

ARGUMENTS: dict[str, Any] = {"batch_size": 4, "shuffle": True, "training": True, "return_meta": True, "num_workers": 0}


@pytest.mark.slow
def test_a_stop_after_any_batch_is_resumed_in_a_new_process(dataset: VideoDataset, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"batch_size": 3, "shuffle": True, "training": True, "seed": 11, "return_meta": True}
    with load(dataset, num_workers=2, **arguments) as loader:
        states, digests = [loader.state_dict()], []
        for _ in range(2):
            for batch in loader:
                digests.append(digest(batch))
                states.append(loader.state_dict())
    (tmp_path / "states.json").write_text(json.dumps(states))
    script = f"""
        import json
        from mgdali import VideoDataset
        from tests.support.loading import digest, load
        dataset = VideoDataset({[v.path for v in dataset]!r}, {[v.label for v in dataset]!r})
        rests = []
        for state in json.load(open("states.json")):
            with load(dataset, **{arguments!r}) as loader:
                loader.load_state_dict(state)
                rests.append([digest(batch) for epoch in range(loader.epoch, 2) for batch in loader])
        print(json.dumps(rests))
    """
    result = run_script(tmp_path, script)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [digests[start:] for start in range(len(digests) + 1)]


def test_a_state_taken_after_the_last_batch_or_the_end_resumes_with_the_next_epoch(dataset: VideoDataset) -> None:
    with load(dataset, **ARGUMENTS) as loader:
        batches = iter(loader)
        for _ in range(len(loader)):
            next(batches)
        states = [loader.state_dict()]
        assert loader.epoch == 0
        assert list(batches) == []
        states.append(loader.state_dict())
        expected = [digest(batch) for batch in loader]
    for state in states:
        with load(dataset, **ARGUMENTS) as loader:
            loader.load_state_dict(state)
            assert loader.epoch == 1
            assert [digest(batch) for batch in loader] == expected


def test_choosing_the_finished_epoch_of_a_state_yields_nothing_and_warns(dataset: VideoDataset) -> None:
    with load(dataset, **ARGUMENTS) as loader:
        batches = iter(loader)
        for _ in range(len(loader)):
            next(batches)
        state = loader.state_dict()
    with load(dataset, **ARGUMENTS) as loader:
        loader.load_state_dict(state)
        loader.set_epoch(0)
        with pytest.warns(RuntimeWarning, match=r"set_epoch\(0\): all batches .*range\(loader.epoch, epochs\)"):
            assert list(loader) == []
        assert loader.epoch == 1
        # Afterwards it is an epoch like any other.
        loader.set_epoch(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(list(loader)) == len(loader)


@pytest.mark.slow
def test_the_documented_loop_resumes_without_an_empty_or_repeated_epoch(dataset: VideoDataset) -> None:
    def run(loader: Any, epochs: int, stop: int | None = None) -> list[str]:
        seen: list[str] = []
        for epoch in range(loader.epoch, epochs):
            loader.set_epoch(epoch)
            for batch in loader:
                seen.append(digest(batch))
                if len(seen) == stop:
                    return seen
        return seen

    with load(dataset, **ARGUMENTS) as loader:
        expected = run(loader, 3)
    for stop in range(1, len(expected) + 1):
        with load(dataset, **ARGUMENTS) as loader:
            before = run(loader, 3, stop)
            state = loader.state_dict()
        with load(dataset, **ARGUMENTS) as loader, warnings.catch_warnings():
            warnings.simplefilter("error")
            loader.load_state_dict(state)
            assert before + run(loader, 3) == expected


def test_a_state_can_be_loaded_during_an_epoch(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=2, shuffle=True, return_meta=True, num_workers=2) as loader:
        running = iter(loader)
        next(running)
        state = loader.state_dict()
        expected = [digest(batch) for batch in running]
        next(iter(loader))
        loader.load_state_dict(state)
        assert [digest(batch) for batch in loader] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed=0, this loader has seed=1"),
        ({"shuffle": False}, "shuffle=True, this loader has shuffle=False"),
        ({"drop_last": True}, "drop_last=False, this loader has drop_last=True"),
    ],
)
def test_a_state_of_a_loader_with_another_order_is_rejected(
    dataset: VideoDataset, change: dict[str, Any], message: str
) -> None:
    with load(dataset, **ARGUMENTS) as loader:
        state = loader.state_dict()
    with load(dataset, **{**ARGUMENTS, **change}) as loader, pytest.raises(ValueError, match=message):
        loader.load_state_dict(state)
    with load(dataset[:5], **ARGUMENTS) as loader, pytest.raises(ValueError, match="num_videos=11.*num_videos=5"):
        loader.load_state_dict(state)


@pytest.mark.parametrize("state", [{}, {"model": 1}, {"version": 3, "epoch": 0}])
def test_something_else_than_a_state_is_rejected(dataset: VideoDataset, state: dict[str, Any]) -> None:
    with load(dataset) as loader, pytest.raises(ValueError, match="not a state that this version of mgdali can load"):
        loader.load_state_dict(state)


def test_states_of_version_0_1_are_loaded(dataset: VideoDataset) -> None:
    with load(dataset, rank=0, world_size=2, **{**ARGUMENTS, "batch_size": 2}) as loader:
        batches = iter(loader)
        next(batches)
        expected = [digest(batch) for batch in batches] + [digest(batch) for batch in loader]
        identity = {"num_videos": 11, "batch_size": 2, "shuffle": True, "drop_last": False, "seed": 0, "world_size": 2}
        for epoch, batch, rest in ((0, 1, expected), (0, 3, expected[2:]), (1, 0, expected[2:])):
            loader.load_state_dict({"epoch": epoch, "batch": batch, **identity})
            assert [digest(batch) for _ in range(loader.epoch, 2) for batch in loader] == rest


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 1), (1, 2)])
def test_on_other_ranks_the_remaining_videos_are_loaded_once_each(
    dataset: VideoDataset, before: int, after: int
) -> None:
    arguments = {**ARGUMENTS, "batch_size": 2}

    def videos_of(batches: Any) -> dict[str, list[int]]:
        metas = [meta for _, _, meta in batches]
        return {path: meta["frames"][i].tolist() for meta in metas for i, path in enumerate(meta["path"])}

    with load(dataset, **arguments) as loader:
        everything = videos_of(loader)
    seen: dict[str, list[int]] = {}
    for rank in range(before):
        with load(dataset, rank=rank, world_size=before, **arguments) as loader:
            seen |= videos_of([next(loader)])
            state = loader.state_dict()
    assert len(seen) == 2 * before
    loaded: Counter[str] = Counter()
    for rank in range(after):
        with load(dataset, rank=rank, world_size=after, **{**arguments, "batch_size": 3}) as loader:
            loader.load_state_dict(state)
            rest = videos_of(loader)
            assert loader.epoch == 1
            loaded.update(rest.keys())
            # The picks depend on the video and the epoch only.
            assert all(everything[path] == frames for path, frames in rest.items())
    remaining = everything.keys() - seen.keys()
    assert loaded.keys() >= remaining
    assert loaded.total() - len(remaining) == -len(remaining) % after


def test_a_run_on_other_ranks_is_resumed_on_yet_others(dataset: VideoDataset) -> None:
    arguments = {**ARGUMENTS, "batch_size": 1, "training": False}
    seen: list[str] = []
    state = None
    for world_size, batches in ((2, 2), (3, 1), (1, 4)):
        states = []
        for rank in range(world_size):
            with load(dataset, rank=rank, world_size=world_size, **arguments) as loader:
                if state is not None:
                    loader.load_state_dict(state)
                for _ in range(batches):
                    seen += next(loader)[2]["path"]
                states.append(loader.state_dict())
        assert all(each == states[0] for each in states)
        state = states[0]
    assert sorted(seen) == sorted(dataset.paths)


def test_skipped_batches_are_not_decoded_and_the_rest_is_unchanged(dataset: VideoDataset) -> None:
    with load(dataset, **ARGUMENTS) as loader:
        expected = [digest(batch) for _ in range(2) for batch in loader]
    with load(dataset, **ARGUMENTS) as loader:
        loader.skip(2)
        assert [digest(batch) for batch in loader] == expected[2:3]
        assert loader.frames_decoded == sum(sum(meta["num_frames"].tolist()) for _, _, meta in [_third(dataset)])
        loader.set_epoch(0)
        loader.skip(1)
        loader.skip(1)
        assert [digest(batch) for batch in loader] == expected[2:3]
        # After an epoch that was left early, the next one is skipped into.
        loader.set_epoch(0)
        next(loader)
        loader.skip(1)
        assert [digest(batch) for batch in loader] == expected[4:]
        # With nothing left, the next iteration yields the next epoch.
        loader.set_epoch(0)
        loader.skip(3)
        assert loader.epoch == 1
        assert [digest(batch) for batch in loader] == expected[3:]


def _third(dataset: VideoDataset) -> Any:
    with load(dataset, **ARGUMENTS) as loader:
        return list(loader)[2]


@pytest.mark.parametrize("n", [-1, 4, 1.5])
def test_more_batches_than_remain_cannot_be_skipped(dataset: VideoDataset, n: Any) -> None:
    with load(dataset, **ARGUMENTS) as loader, pytest.raises(ValueError, match=f"{n}"):
        loader.skip(n)
