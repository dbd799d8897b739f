"""Choosing, joining and splitting the videos of data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.errors import DatasetError
from mgdali.video.time_range import TimeRange

ROWS = [
    {"path": f"{i // 2}.mp4", "label": ("run", "sit", None)[i % 3], "id": i, "w": i / 2, "start": i, "end": i + 1}
    for i in range(12)
]


@pytest.fixture(scope="module")
def table() -> VideoDataset:
    return VideoDataset.from_table(ROWS)


def ids(dataset: VideoDataset) -> list[int]:
    return list(dataset.columns["id"])


def test_subsets_keep_labels_columns_and_segments(table: VideoDataset) -> None:
    for part in (table.subset([7, 2, -1]), table.subset(np.array([7, 2, 11])), table[::-1].subset(iter([4, 9, 0]))):
        assert list(part) == [table[7], table[2], table[11]]
        assert part.classes == ["run", "sit"]
        assert part.columns == {"id": [7, 2, 11], "w": [3.5, 1.0, 5.5]}
    assert part[1] == Video("1.mp4", -1, None, TimeRange(2, 3))
    for mask in (np.ones(12, bool), torch.ones(12, dtype=torch.bool).numpy()):
        with pytest.raises(DatasetError, match=r"subset got bools: give indices, or use filter\(bools\)"):
            table.subset(mask)


def test_a_filter_is_a_function_of_the_row_or_bools(table: VideoDataset) -> None:
    expected = [i for i in range(12) if i % 3 == 1 and i > 3]
    assert ids(table.filter(lambda row: row["class"] == "sit" and row["time_range"].start > 3)) == expected
    assert ids(table.filter((table.labels == 1) & (np.arange(12) > 3))) == expected
    assert ids(table.filter([i in expected for i in range(12)])) == expected
    seen: list[Any] = []
    table[:3].filter(lambda row: seen.append(row) or True)  # type: ignore[func-returns-value]
    assert seen[2] == {
        "id": 2, "w": 1.0, "path": "1.mp4", "label": -1, "class": None, "time_range": TimeRange(2, 3)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ([1, 2], r"filter got int64 of shape \[2\]: give a function, or 12 bools"),
        ([True], r"filter got bool of shape \[1\]"),
        (lambda row: row["id"] > 99, "filter keeps none of the 12 videos"),
    ],
)
def test_a_wrong_filter_is_named(table: VideoDataset, keep: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        table.filter(keep)


def test_joined_data_sets_have_the_classes_and_columns_of_all(table: VideoDataset) -> None:
    other = VideoDataset(
        ["x.mp4", "s.tar::y.mp4"], ["sit", "fly"], spans=[None, (512, 9)], columns={"note": ["n", "o"]}
    )
    both = table[:2].concat(other, table[2:4])
    assert both.classes == ["run", "sit", "fly"]
    assert both.labels.tolist() == [0, 1, 1, 2, -1, 0]
    assert both.columns["id"] == [0, 1, None, None, 2, 3]
    assert both.columns["note"] == [None, None, "n", "o", None, None]
    np.testing.assert_array_equal(both.columns["w"], [0, 0.5, np.nan, np.nan, 1, 1.5])
    assert [video.time_range for video in both][1:4] == [TimeRange(1, 2), None, None]
    assert [video.span for video in both] == [None, None, None, (512, 9), None, None]
    assert other.concat(table[:1]).columns["id"] == [None, None, 0]


@pytest.mark.parametrize(
    ("first", "second", "labels", "classes"),
    [
        ([0, 1], [2], [0, 1, 2], ["0", "1", "2"]),
        (None, ["run"], [-1, -1, 0], ["run"]),
        ([0.5, 1.0], None, [0.5, 1.0, None], []),
        ([[0.5, 1.0]] * 2, None, [[0.5, 1.0], [0.5, 1.0], [None, None]], []),
        ([["a"], ["b"]], [["b", "a"]], [[1, 0], [0, 1], [1, 1]], ["a", "b"]),
    ],
)
def test_labels_of_one_kind_are_joined(first: Any, second: Any, labels: Any, classes: list[str]) -> None:
    both = VideoDataset(["a", "b"], first).concat(VideoDataset(["c"], second))
    np.testing.assert_array_equal(both.labels, np.array(labels, both.labels.dtype))
    assert both.classes == classes


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (["run"], [0], r"classes without names cannot be joined with one that has names \(run\)"),
        (["run"], [0.5], "labels are class indices and numbers cannot be joined"),
        ([[0.5]], [[0.5, 1.0]], "labels are vectors of 1 and vectors of 2 cannot be joined"),
        ([["a"]], [["b"]], "vectors need the same classes in the same order"),
    ],
)
def test_labels_of_different_kinds_are_not_joined(first: Any, second: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        VideoDataset(["a"], first).concat(VideoDataset(["b"], second))


def test_only_data_sets_are_joined(table: VideoDataset) -> None:
    with pytest.raises(DatasetError, match=r"concat got a list: give data sets, as in first\.concat\(second, third\)"):
        table.concat([table])  # type: ignore[arg-type]


def test_a_split_has_the_fraction_and_keeps_the_order(table: VideoDataset) -> None:
    np.random.seed(3)
    first, second = table.split(0.75, seed=5)
    assert (len(first), len(second)) == (9, 3)
    assert sorted(ids(first) + ids(second)) == list(range(12))
    assert ids(first) == sorted(ids(first))
    assert ids(second) == sorted(ids(second))
    np.random.seed(4)
    assert ids(table.split(0.75, seed=5)[0]) == ids(first)
    assert len({tuple(ids(table.split(0.75, seed=seed)[0])) for seed in range(6)}) > 1


@pytest.mark.parametrize("seed", range(4))
def test_groups_stay_together(table: VideoDataset, seed: int) -> None:
    first, second = table.split(0.6, by="path", seed=seed)
    assert not set(first.paths) & set(second.paths)
    assert len(first) in (6, 8)
    people = VideoDataset([str(i) for i in range(9)], None, columns={"person": list("aaaaabbcd")})
    first, second = people.split(0.4, by="person", seed=seed)
    assert not set(first.columns["person"]) & set(second.columns["person"])


@pytest.mark.parametrize("seed", range(4))
def test_a_stratified_split_gives_each_class_its_share(seed: int) -> None:
    dataset = VideoDataset([str(i) for i in range(17)], ["a"] * 10 + ["b"] * 5 + [None] * 2)
    first, second = dataset.split(0.6, stratify=True, seed=seed)
    assert np.bincount(first.labels + 1).tolist() == [1, 6, 3]
    assert sorted([*first.paths, *second.paths], key=int) == dataset.paths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 1.0}, r"fraction must be a number in \(0, 1\), got 1.0"),
        ({"fraction": "x"}, r"fraction must be a number in \(0, 1\), got 'x'"),
        ({"fraction": 0.5, "by": "person"}, r"by must be 'path' or one of the columns \['id', 'w'\], got 'person'"),
        ({"fraction": 0.5, "seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"fraction": 0.5, "by": "id", "stratify": True}, "by='id' and stratify=True exclude each other"),
    ],
)
def test_a_wrong_split_echoes_the_argument(table: VideoDataset, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table.split(**arguments)


def test_an_empty_part_and_labels_without_classes_are_errors(table: VideoDataset) -> None:
    with pytest.raises(DatasetError, match="leaves no video for the first part, because there are too few videos"):
        table[:1].split(0.5)
    with pytest.raises(DatasetError, match="too few groups of equal 'path': change the fraction, or by="):
        table[:2].split(0.5, by="path")
    with pytest.raises(DatasetError, match="stratify=True needs labels that are class indices"):
        VideoDataset(["a", "b"], [0.5, 1.5]).split(0.5, stratify=True)
    with pytest.raises(DatasetError, match="column 'x' contains lists or dicts"):
        VideoDataset(["a", "b"], None, columns={"x": [[1], [2]]}).split(0.5, by="x")
