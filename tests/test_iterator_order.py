"""Epochs of a loader whose videos are drawn by weights, or listed by a function of the epoch."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mgdali import MGDaliIterator, VideoDataset, mixing_weights
from tests.support.loading import digest, load

ARGUMENTS: dict[str, Any] = {"batch_size": 2, "training": True, "return_meta": True, "seed": 5}
WEIGHTS = [3, 1, 0, 0, 5, 0, 1, 0, 0, 0, 0]


def order(epoch: int) -> list[int]:
    """Seven videos, eight, and so on, some of them several times."""
    return [(3 * place + epoch) % 5 for place in range(7 + epoch)]


CHOICES: list[Any] = [
    pytest.param({"weights": WEIGHTS, "samples_per_epoch": 9}, id="weights"),
    pytest.param({"order": order}, id="order"),
]


def clips(loader: MGDaliIterator, batches: int | None = None) -> list[tuple[str, bytes]]:
    """Return path and bytes of each clip of an epoch, or of its next batches."""
    found = list(loader) if batches is None else [next(loader) for _ in range(batches)]
    pairs = [pair for pixels, _, meta in found for pair in zip(meta["path"], pixels, strict=True)]
    return [(path, clip.numpy().tobytes()) for path, clip in pairs]


def test_an_epoch_contains_what_the_function_lists(dataset: VideoDataset) -> None:
    with load(dataset, order=order, **ARGUMENTS) as loader:
        for epoch, batches in ((0, 4), (1, 4)):
            assert loader.epoch == epoch
            assert len(loader) == batches
            assert [path for path, _ in clips(loader)] == [dataset.paths[index] for index in order(epoch)]
        # Lightning and Accelerate set the epoch in these ways.
        loader.batch_sampler.sampler.set_epoch(4)
        assert len(loader) == 6
        assert [path for path, _ in clips(loader)] == [dataset.paths[index] for index in order(4)]
        loader.set_epoch(0)
        assert len(clips(loader)) == 7
    with load(dataset, order=order, drop_last=True, **ARGUMENTS) as loader:
        assert len(loader) == 3
        assert len(clips(loader)) == 6


def test_each_occurrence_of_a_video_has_its_own_clip_in_training_only(dataset: VideoDataset) -> None:
    with load(dataset, order=lambda epoch: [4, 1, 4, 4], **ARGUMENTS) as loader:
        trained = clips(loader)
        assert len({pixels for path, pixels in trained if path == dataset.paths[4]}) == 3
    with load(dataset, order=lambda epoch: [4, 1, 4, 4], **{**ARGUMENTS, "training": False}) as loader:
        assert len({pixels for path, pixels in clips(loader) if path == dataset.paths[4]}) == 1
    # The first occurrence is what a loader without the argument yields.
    with load(dataset, **ARGUMENTS) as loader:
        usual = dict(clips(loader))
    assert trained[:2] == [(dataset.paths[index], usual[dataset.paths[index]]) for index in (4, 1)]


def test_weights_decide_what_is_drawn_with_and_without_shuffling(dataset: VideoDataset) -> None:
    others = dataset[:3]
    weights = mixing_weights([dataset, others], [0, 1])
    with load(dataset.concat(others), weights=weights, samples_per_epoch=7, **ARGUMENTS) as loader:
        first, second = clips(loader), clips(loader)
        state = loader.state_dict()
    assert len(first) == len(second) == 7
    assert first != second
    assert {path for path, _ in first + second} == set(others.paths)
    with load(dataset.concat(others), weights=weights, samples_per_epoch=7, shuffle=True, **ARGUMENTS) as loader:
        assert clips(loader) == first
        loader.load_state_dict(state)
        assert loader.epoch == 2


@pytest.mark.parametrize("choice", CHOICES)
def test_ranks_share_one_epoch_and_any_other_number_of_ranks_resumes_it(
    dataset: VideoDataset, choice: dict[str, Any]
) -> None:
    arguments = {**ARGUMENTS, **choice}
    with load(dataset, **arguments) as loader:
        everything = clips(loader)
    seen, rest = [], []
    for rank in range(2):
        with load(dataset, rank=rank, world_size=2, **arguments) as loader:
            seen.append(clips(loader, batches=1))
            state = json.loads(json.dumps(loader.state_dict()))
            rest.append(clips(loader, batches=len(loader) - 1))
    turns = [clip for turn in zip(*seen, strict=True) for clip in turn]
    remaining = [clip for turn in zip(*rest, strict=True) for clip in turn]
    assert turns == everything[:4]
    assert remaining[: len(everything) - 4] == everything[4:]
    # A rank's clips that divide the others evenly are repeated as they are.
    assert remaining[len(everything) - 4 :] == everything[: len(everything) % 2]
    with load(dataset, **{**arguments, "batch_size": 3}) as loader:
        loader.load_state_dict(state)
        assert loader.epoch == 0
        assert clips(loader) == everything[4:]
        assert loader.epoch == 1


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
def test_any_number_of_workers_gives_the_same_batches(dataset: VideoDataset, choice: dict[str, Any]) -> None:
    digests = []
    for num_workers in (0, 1, 3):
        with load(dataset, num_workers=num_workers, **ARGUMENTS, **choice) as loader:
            digests.append([digest(batch) for _ in range(2) for batch in loader])
    assert digests[0] == digests[1] == digests[2]


def test_a_broken_video_is_replaced_by_another_one_of_the_epoch(dataset: VideoDataset, tmp_path: Any) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    spoiled = VideoDataset([*dataset.paths, broken], None)
    arguments = {**ARGUMENTS, "order": lambda epoch: [11, 2, 11, 7, 11, 2], "on_error": "replace"}
    with load(spoiled, **arguments) as loader:
        with pytest.warns(RuntimeWarning, match="broken"):
            loaded = clips(loader)
        assert {path for path, _ in loaded} == {dataset.paths[2], dataset.paths[7]}
        loader.set_epoch(0)
        assert clips(loader) == loaded


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({}, {"weights": WEIGHTS}, "taken with samples_per_epoch=None, this loader has samples_per_epoch=11"),
        ({"weights": WEIGHTS}, {}, "taken with samples_per_epoch=11, this loader has samples_per_epoch=None"),
        ({"weights": WEIGHTS}, {"weights": np.ones(11)}, r"taken with weights=\(digest .*, this loader has weights=\("),
        ({"weights": WEIGHTS}, {"order": order}, r"taken with order=None, this loader has order=\(a function\)"),
        ({"order": order}, {"order": lambda epoch: [0] * 7}, r"order\(0\) returns other indices than when the state"),
        ({"shuffle": True}, {"order": order}, r"taken with order=None, this loader has order=\(a function\)"),
    ],
)
def test_a_state_of_another_choice_is_rejected(
    dataset: VideoDataset, before: dict[str, Any], after: dict[str, Any], message: str
) -> None:
    with load(dataset, **ARGUMENTS, **before) as loader:
        next(loader)
        state = loader.state_dict()
    with load(dataset, **ARGUMENTS, **after) as loader, pytest.raises(ValueError, match=message):
        loader.load_state_dict(state)


def test_states_have_a_new_version_only_where_earlier_versions_would_ignore_the_choice(dataset: VideoDataset) -> None:
    with load(dataset, **ARGUMENTS) as loader:
        assert loader.state_dict().keys() == {
            "version", "epoch", "videos", "num_videos", "shuffle", "drop_last", "seed", "crashed", "failed_on_gpu"
        }  # fmt: skip
        assert loader.state_dict()["version"] == 2
    with load(dataset, weights=WEIGHTS, **ARGUMENTS) as loader:
        assert loader.state_dict()["version"] == 3


def test_what_a_function_raises_reaches_the_caller_and_the_epoch_can_be_tried_again(dataset: VideoDataset) -> None:
    ready: list[int] = []

    def not_yet(epoch: int) -> list[int]:
        if not ready:
            raise KeyError("no scores yet")
        return ready

    # It is not called before it is needed.
    with load(dataset, order=not_yet, **ARGUMENTS) as loader:
        loader.set_epoch(1)
        with pytest.raises(KeyError, match="no scores yet"):
            next(iter(loader))
        ready.append(11)
        with pytest.raises(ValueError, match=r"order\(1\) must return .* got 11 at position 0"):
            next(iter(loader))
        ready[:] = [3]
        assert [path for path, _ in clips(loader)] == [dataset.paths[3]]
        assert loader.epoch == 2
