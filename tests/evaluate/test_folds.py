"""Folds: which videos stay together, and which data cannot be put into folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgdali.errors import DatasetError
from mgdali.evaluate.folds import block_folds, check_folds, column_folds, random_folds


@settings(max_examples=30)
@given(st.lists(st.integers(0, 9), min_size=5, max_size=60), st.integers(2, 5))
def test_equal_values_of_a_column_are_in_one_fold_and_no_fold_is_empty(values: list[int], folds: int) -> None:
    if len(set(values)) < folds:
        with pytest.raises(DatasetError, match=f"has {len(set(values))} different values"):
            column_folds(values, folds, "person")
        return
    found = column_folds(values, folds, "person")
    assert sorted(set(found.tolist())) == list(range(folds))
    assert all(
        len({int(fold) for fold, own in zip(found, values, strict=True) if own == value}) == 1 for value in values
    )


def test_values_with_many_videos_are_spread_over_the_folds() -> None:
    assert column_folds(["a"] * 4 + ["b"] * 3 + ["c"] * 2 + ["d"], 2, "person").tolist() == [0] * 4 + [1] * 3 + [
        1
    ] * 2 + [0]


def test_a_missing_value_of_the_column_is_an_error() -> None:
    with pytest.raises(DatasetError, match="the column 'person' is empty for 2 videos"):
        column_folds(["a", None, "b", float("nan")], 2, "person")


def test_blocks_are_neighbours_in_the_order_of_the_numbers_in_names() -> None:
    names = [f"run/clip_{number}.mp4" for number in range(12)]
    assert block_folds(names, np.zeros(12, np.int64), 3).tolist() == [0] * 4 + [1] * 4 + [2] * 4


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), min_size=8, max_size=60), st.integers(2, 4))
def test_folds_never_split_a_block_or_a_file(videos: list[tuple[int, int]], folds: int) -> None:
    names = [f"clip_{number}" for number, _ in videos]
    labels = np.array([label for _, label in videos], np.int64)
    if len(set(names)) < folds:
        with pytest.raises(DatasetError, match=f"cannot fill {folds} folds"):
            block_folds(names, labels, folds)
        return
    for found in (block_folds(names, labels, folds), random_folds(names, labels, folds, seed=3)):
        fold_of = dict(zip(names, found.tolist(), strict=True))
        # Segments of a file are in one fold.
        assert [fold_of[name] for name in names] == found.tolist()
    found = block_folds(names, labels, folds)
    class_of: dict[int, int] = {}
    for number, label in videos:
        class_of.setdefault(number, label)
    for label in set(class_of.values()):
        fold_of_number = {number: int(found[names.index(f"clip_{number}")]) for number in class_of}
        in_order = [fold_of_number[number] for number in sorted(class_of) if class_of[number] == label]
        changes = sum(a != b for a, b in zip(in_order, in_order[1:], strict=False))
        assert changes == len(set(in_order)) - 1


def test_random_folds_spread_each_class_evenly_and_depend_on_the_seed_only() -> None:
    names = [str(number) for number in range(40)]
    labels = np.repeat([0, 1], 20)
    found = [random_folds(names, labels, 4, seed) for seed in (0, 0, 1)]
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
    for label in (0, 1):
        assert np.bincount(found[0][labels == label]).tolist() == [5] * 4


@pytest.mark.parametrize(
    ("assigned", "labels", "message"),
    [
        ([0, 1, 0], [0, 0, 1], "the class 'jump' has one video, which cannot be both learned and tested"),
        ([0, 1, 0, 0], [0, 0, 1, 1], "all 2 videos of the class 'jump' are in one fold"),
    ],
)
def test_a_class_that_cannot_be_learned_is_named(assigned: list[int], labels: list[int], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        check_folds(np.array(assigned), np.array(labels), ["run", "jump"])
