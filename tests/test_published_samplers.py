"""The strategies with the rules of TSM and MMAction2: their members, and their picks in a loader."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from mgdali import published_rules
from mgdali.choices import draw
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.samplers import SampleFrames, Sampler, TSMFrames, UniformSample
from tests.support.loading import load

OFFSETS = np.random.default_rng(1).random(96)
CASES: list[tuple[Any, int, Any, dict[str, Any]]] = [
    # Strategy, number of picks, rule, its arguments.
    (TSMFrames(), 8, published_rules.sample_tsm, {"num_segments": 8}),
    (
        TSMFrames(3, mode="twice", new_length=5),
        30,
        published_rules.sample_tsm,
        {"num_segments": 3, "mode": "twice", "new_length": 5},
    ),
    (TSMFrames(2, mode="dense_test"), 20, published_rules.sample_tsm, {"num_segments": 2, "mode": "dense_test"}),
    (
        SampleFrames(4, 2, 3, out_of_bound_opt="repeat_last"),
        12,
        published_rules.sample_frames,
        {"clip_len": 4, "frame_interval": 2, "num_clips": 3, "out_of_bound_opt": "repeat_last"},
    ),
    (
        SampleFrames(1, num_clips=8, test_mode=True, twice_sample=True),
        16,
        published_rules.sample_frames,
        {"clip_len": 1, "num_clips": 8, "test_mode": True, "twice_sample": True},
    ),
    (
        SampleFrames(2, num_clips=3, keep_tail_frames=True),
        6,
        published_rules.sample_frames,
        {"clip_len": 2, "num_clips": 3, "keep_tail_frames": True},
    ),
    (UniformSample(8), 8, published_rules.sample_uniform, {"clip_len": 8}),
    (
        UniformSample(4, 3, test_mode=True),
        12,
        published_rules.sample_uniform,
        {"clip_len": 4, "num_clips": 3, "test_mode": True},
    ),
]


@pytest.mark.parametrize(("strategy", "count", "rule", "arguments"), CASES)
def test_a_strategy_has_the_picks_of_its_rule(strategy: Any, count: int, rule: Any, arguments: dict[str, Any]) -> None:
    assert isinstance(strategy, Sampler)
    assert strategy.num_frames == count
    assert strategy.representation is None
    for total in (1, 7, 80):
        expected = rule(total, **arguments, offsets=OFFSETS[:count])
        assert strategy.pick(None, total, OFFSETS[:count]).tolist() == expected.tolist()
    assert pickle.loads(pickle.dumps(strategy)) == strategy
    with pytest.raises(dataclasses.FrozenInstanceError):
        strategy.num_frames = 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TSMFrames(0), "num_segments must be .* got 0"),
        (lambda: TSMFrames(mode="valid"), "mode must be .* got 'valid'"),
        (lambda: SampleFrames(1, num_clips=None), "num_clips must be .* got None"),
        (lambda: SampleFrames(1, twice_sample=True), "twice_sample=True needs test_mode=True"),
        (lambda: UniformSample(8, num_clips=2), "num_clips=2 needs test_mode=True"),
    ],
)
def test_a_bad_argument_is_found_when_a_strategy_is_made(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_loader_yields_tsms_picks_with_any_number_of_workers(dataset: VideoDataset, num_workers: int) -> None:
    arguments: dict[str, Any] = {"batch_size": 2, "training": True, "seed": 3, "return_meta": True}
    with load(dataset[:2], sampler=TSMFrames(4, mode="train"), num_workers=num_workers, **arguments) as loader:
        ((_, _, meta),) = loader
    for index in range(2):
        # T // 4 is 0 for the first video, and 1 for the second.
        total, offsets = int(meta["num_frames"][index]), draw(3, 0, index, 4, training=True).offsets
        part = total // 4
        expected = [i * part + int(offsets[i] * part) for i in range(4)]
        assert meta["frames"][index].tolist() == expected


def test_a_loader_yields_picks_that_are_not_in_order(dataset: VideoDataset) -> None:
    with load(
        dataset[1:2], sampler=TSMFrames(3, mode="twice"), batch_size=1, num_workers=0, return_meta=True
    ) as loader:
        ((clips, _, meta),) = loader
    # Seven frames in three parts: the middles 1.17, 3.5 and 5.83, and the beginnings 0, 2.33 and 4.67.
    assert meta["frames"].tolist() == [[1, 3, 5, 0, 2, 4]]
    assert clips.shape[1] == 6
