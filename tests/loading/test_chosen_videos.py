"""Videos of an epoch that are drawn by weights, or listed by a function."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mgdali.loading.chosen_videos import ChosenVideos, choose_videos, occurrences_of


def choose(num_videos: int = 5, **arguments: Any) -> ChosenVideos:
    given = {"weights": None, "order": None, "samples_per_epoch": None, "shuffle": False, **arguments}
    chosen = choose_videos(num_videos, **given)
    assert chosen is not None
    return chosen


def test_videos_are_drawn_in_proportion_to_their_weights() -> None:
    weights = np.array([0, 1, 2, 0, 5, 0.5, 0])
    chosen = choose(7, weights=weights, samples_per_epoch=5000)
    expected = weights / weights.sum()
    counts = sum(np.bincount(chosen.indices(1, epoch), minlength=7) for epoch in range(4))
    # Five standard deviations of a binomial distribution.
    bounds = 5 * np.sqrt(20_000 * expected * (1 - expected))
    assert (np.abs(counts - 20_000 * expected) <= bounds).all()


def test_each_seed_and_epoch_has_its_own_draw_whatever_was_drawn_before() -> None:
    draws = {tuple(choose(weights=[1] * 5).indices(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(draws) == 9
    chosen = choose(weights=[1] * 5)
    chosen.indices(0, 4)
    assert tuple(chosen.indices(2, 2)) in draws


@pytest.mark.parametrize("scale", [1e-320, 1e307])
def test_very_small_and_very_large_weights_are_drawn_like_others(scale: float) -> None:
    drawn = choose(weights=np.array([0, 10, 0, 10, 0]) * scale, samples_per_epoch=100).indices(0, 0)
    assert set(drawn.tolist()) == {1, 3}


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, torch.tensor, lambda values: torch.tensor(values, dtype=torch.bfloat16)]
)
def test_weights_and_indices_may_be_lists_arrays_or_tensors(kind: Callable[[Any], Any]) -> None:
    expected = choose(weights=[1.0, 2.0, 0.0, 4.0, 1.0])
    weighted = choose(weights=kind([1.0, 2.0, 0.0, 4.0, 1.0]))
    assert weighted.indices(0, 0).tolist() == expected.indices(0, 0).tolist()
    assert weighted.identity == expected.identity
    if "lambda" not in str(kind):
        assert choose(order=lambda epoch: kind([epoch, 1, 1])).indices(0, 3).tolist() == [3, 1, 1]


def test_what_a_state_contains_can_be_written_as_json() -> None:
    weighted = choose(weights=np.ones(5, np.float32), samples_per_epoch=np.int64(3)).identity
    assert json.loads(json.dumps(weighted)) == weighted
    assert weighted["samples_per_epoch"] == 3
    listed = choose(order=lambda epoch: [0])
    assert json.dumps([listed.identity, listed.digest(0)])


def test_a_function_is_called_once_per_epoch_and_its_result_may_change_later() -> None:
    calls: list[int] = []
    values = np.array([4, 2, 2])

    def order(epoch: int) -> Any:
        calls.append(epoch)
        return values[: epoch + 1]

    chosen = choose(order=order)
    for epoch in (1, 2):
        assert [chosen.num_samples(epoch), *chosen.indices(0, epoch)] == [epoch + 1, *[4, 2, 2][: epoch + 1]]
    values[:] = 0
    assert chosen.indices(0, 1).tolist() == [4, 2]
    assert chosen.digest(1) == choose(order=lambda epoch: [4, 2]).digest(0) != chosen.digest(2)
    assert calls == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        chosen.indices(0, 1)[0] = 1


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_occurrences_count_earlier_ones(indices: list[int]) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for index in indices:
        expected.append(seen[index])
        seen[index] += 1
    assert occurrences_of(np.array(indices)).tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [1, 2]}, "weights must be 5 numbers >= 0, one per video, got a list of length 2"),
        ({"weights": np.ones((5, 1))}, r"weights must be 5 numbers .* got float64 of shape \[5, 1\]"),
        ({"weights": "abcde"}, "weights must be 5 numbers"),
        ({"weights": [1, [2], 3, 4, 5]}, "weights must be 5 numbers"),
        ({"weights": [1, 2, None, 4, 5]}, "weights must be 5 numbers"),
        ({"weights": [1, 2, float("nan"), 4, 5]}, "finite numbers >= 0, got nan for the video at index 2"),
        ({"weights": [1, 2, 3, 4, -5]}, r"finite numbers >= 0, got -5\.0 for the video at index 4"),
        ({"weights": [0] * 5}, "all 5 weights are 0"),
        ({"weights": [1] * 5, "samples_per_epoch": 0}, "samples_per_epoch must be an integer >= 1, got 0"),
        ({"samples_per_epoch": 3}, "samples_per_epoch=3 needs weights="),
        ({"order": [0, 1]}, "order must be a function .* got a list of length 2"),
        ({"order": len, "shuffle": True}, "shuffle=True contradicts order="),
        ({"order": len, "weights": [1] * 5}, "order and weights both choose the videos"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(**arguments)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([0, 5], r"order\(3\) must return indices of the data set, integers in \[0, 5\); got 5 at position 1"),
        (np.array([-1]), "got -1 at position 0"),
        ([2**64], r"order\(3\)"),
        ([0.0, 1.0], r"order\(3\) must return a list or an array of .* got a list of length 2: \[0.0, 1.0\]"),
        (np.ones(5, np.bool_), r"got bool of shape \[5\]"),
        (torch.ones(2, 2, dtype=torch.int64), r"got torch.int64 of shape \[2, 2\]"),
        (iter([1]), r"order\(3\) must return a list or an array"),
        (None, "got a NoneType: None"),
        ([], r"order\(3\) returned no index"),
    ],
)
def test_what_a_function_must_not_return_is_named_with_the_epoch(returned: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(order=lambda epoch: returned).indices(0, 3)
