from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mgdali.datasets.label_kinds import read_labels, stored_labels
from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.errors import DatasetError

PATHS = ["a.mp4", "b.mp4", "c.mp4"]
NAN = float("nan")


@pytest.mark.parametrize(
    ("labels", "classes", "values", "found"),
    [
        (None, None, [-1, -1, -1], []),
        (None, ["run", "sit"], [-1, -1, -1], ["run", "sit"]),
        ([None, NAN, ""], None, [-1, -1, -1], []),
        ([2, None, 0], None, [2, -1, 0], ["0", "1", "2"]),
        ([NAN, 1, 0], ["run", "sit"], [-1, 1, 0], ["run", "sit"]),
        (["sit", "run", "sit"], None, [1, 0, 1], ["run", "sit"]),
        (["sit", "", None], None, [0, -1, -1], ["sit"]),
        (["2", "0", "2"], None, [2, 0, 2], ["0", "1", "2"]),
        (["sit", None, 0], ["run", "sit"], [1, -1, 0], ["run", "sit"]),
    ],
)
def test_integers_and_names_are_class_indices(labels: Any, classes: Any, values: list[int], found: list[str]) -> None:
    labels = read_labels(labels, PATHS, classes)
    assert labels.values.dtype == np.int64
    assert (labels.values.tolist(), labels.classes) == (values, found)


@pytest.mark.parametrize(
    "labels", [[0.5, 2, NAN], [0.5, 2, None], np.array([0.5, 2, NAN]), torch.tensor([0.5, 2.0, NAN]), [0.5, 2.0, ""]]
)
def test_floats_are_numbers(labels: Any) -> None:
    dataset = VideoDataset(PATHS, labels)
    assert dataset.labels.dtype == np.float32
    np.testing.assert_array_equal(dataset.labels, np.array([0.5, 2, NAN], np.float32))
    assert (dataset.classes, dataset.num_classes, type(dataset[0].label)) == ([], 0, float)


@pytest.mark.parametrize(
    ("labels", "classes", "found"),
    [
        ([["run", "sit"], [], None], None, ["run", "sit"]),
        ([{"sit", "run"}, (), NAN], None, ["run", "sit"]),
        ([[1, 0], [], None], None, ["0", "1"]),
        ([np.array([0, 1]), np.array([], int), None], ["run", "sit"], ["run", "sit"]),
    ],
)
def test_lists_of_integers_or_names_are_sets_of_classes(labels: Any, classes: Any, found: list[str]) -> None:
    dataset = VideoDataset(PATHS, labels, classes)
    assert dataset.labels.dtype == np.float32
    np.testing.assert_array_equal(dataset.labels, [[1, 1], [0, 0], [NAN, NAN]])
    assert (dataset.classes, dataset.num_classes) == (found, 2)


@pytest.mark.parametrize(
    "labels",
    [
        [[0.0, 1], [1.0, 0.0], [0, 0]],
        [[False, True], [True, False], [False, False]],
        np.array([[0, 1], [1, 0], [0, 0]]),
        torch.tensor([[False, True], [True, False], [False, False]]),
        [torch.tensor([0.0, 1.0]), [1.0, 0.0], (0.0, 0.0)],
    ],
)
def test_arrays_and_lists_of_floats_are_vectors(labels: Any) -> None:
    dataset = VideoDataset(PATHS, labels)
    assert dataset.labels.dtype == np.float32
    assert dataset.labels.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert (dataset.classes, dataset.num_classes) == ([], 2)
    assert VideoDataset(PATHS, labels, ["run", "sit"]).classes == ["run", "sit"]


def test_videos_with_vectors_can_be_compared() -> None:
    dataset = VideoDataset(PATHS, np.eye(3))
    assert dataset[0] == Video("a.mp4", np.array([1, 0, 0], np.float32))
    assert dataset[0] != Video("a.mp4", np.array([0, 1, 0], np.float32))
    assert dataset[1] in dataset
    assert len({*dataset}) == 3
    for labels in ([[0.5, 1.0], None, [0.0, 1.0]], [0.5, None, 1.0]):
        missing = VideoDataset(PATHS, labels)
        assert missing[1] in missing, "a missing label, which is NaN, equals itself"
        assert missing[1] != missing[0]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0.5, "run", 1], None, r"b\.mp4: label 'run' \(str\) is not a number, but other labels are"),
        ([0.5, True, 1], None, r"b\.mp4: label True \(bool\) is not a number"),
        ([0, 1e39, 0.5], None, r"b\.mp4: label 1e\+39 is not a finite float32"),
        ([0, 10**400, 0.5], None, r"b\.mp4: label inf is not a finite float32"),
        ([b"run", b"sit", b"run"], None, r"a\.mp4: label b'run' is a bytes, but a video has one label"),
        (["run", 3, "sit"], None, r"a\.mp4: label 'run' is a name, but the classes have no names"),
        ([[0], 1, [1]], None, r"b\.mp4: label 1 \(int\) is not a list, but other labels are"),
        ([[0, 1], [1, 1], [0]], None, r"b\.mp4: label \[1, 1\] contains the class '1' twice.*give floats or an array"),
        ([[0], [-1], [0]], None, r"b\.mp4: label -1 is outside"),
        ([[0], [None], [0]], None, r"b\.mp4: label \[None\] contains None: remove it"),
        ([["run"], ["fly"], []], ["run"], r"b\.mp4: label 'fly' is not one of the 1 classes"),
        ([[0.5, 1], [0.5], None], None, r"b\.mp4: label \[0\.5\] has 1 numbers, but the first label has 2"),
        ([[0.5], ["run"], None], None, r"b\.mp4: label \['run'\] is not a list of numbers"),
        (np.eye(3), ["run", "sit"], r"vectors of 3 numbers, but there are 2 classes: give one name per number"),
        (np.eye(2), None, "3 paths and 2 labels: give each path one label"),
        ([0, 1], None, "3 paths and 2 labels: give each path one label"),
        (np.array([["a", "b"]] * 3), None, "labels is an array of <U1: give numbers"),
    ],
)
def test_a_wrong_label_is_named_with_its_video(labels: Any, classes: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        VideoDataset(PATHS, labels, classes)


def test_labels_that_were_stored_may_be_missing_but_not_unknown() -> None:
    assert stored_labels([0, -1, 1], PATHS, ("run", "sit")).values.tolist() == [0, -1, 1]
    assert stored_labels(np.array([0.5, 7, NAN], np.float32), PATHS, ()).classes == []
    with pytest.raises(DatasetError, match=r"b\.mp4: label 2 is outside \[0, 2\)"):
        stored_labels([0, 2, 1], PATHS, ("run", "sit"))
