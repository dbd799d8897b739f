import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mgdali.datasets.labels import class_indices, class_names, written_labels
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import DatasetError

PATHS = ["a.mp4", "b.mp4", "c.mp4"]
CLASSES = ["run", "jump", "sit"]


class Act(enum.IntEnum):
    RUN = 0
    JUMP = 1
    SIT = 2


@pytest.mark.parametrize(
    "classes",
    [
        CLASSES,
        tuple(CLASSES),
        np.array(CLASSES),
        VideoDataset(["a.mp4"], [0], CLASSES),
        # A data set of torchvision also has the attribute.
        SimpleNamespace(classes=CLASSES),
    ],
    ids=["list", "tuple", "array", "data set", "other data set"],
)
def test_classes_are_names_or_those_of_another_data_set(classes: Any) -> None:
    names = class_names(classes)
    assert names == CLASSES
    assert names is not CLASSES
    assert all(type(name) is str for name in names)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("run", r"classes is one string, 'run': give a list of names, such as \['run'\]"),
        ({"run", "jump"}, "classes is a set: give a list of names in the order of their class indices"),
        ({"run": 1, "jump": 0}, "classes is a dict: give a list of names in the order"),
        (3, "classes is a int: give a list of names"),
        ([], "classes is empty: give the name of at least one class"),
        (["run", 1], r"classes\[1\] is 1 \(int\): give the classes' names as str"),
        (["run", "sit", "run", "sit"], "classes contains 'run' twice: give each class its own name"),
    ],
)
def test_wrong_classes_are_an_error_that_says_what_to_give(classes: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        class_names(classes)


@pytest.mark.parametrize(
    "labels",
    [
        [0, 2, 1],
        (number for number in (0, 2, 1)),
        np.array([0, 2, 1]),
        np.array([0, 2, 1], np.uint8),
        list(np.array([0, 2, 1])),
        torch.tensor([0, 2, 1]),
        torch.tensor([0, 2, 1], dtype=torch.int32),
        list(torch.tensor([0, 2, 1])),
        [Act.RUN, Act.SIT, Act.JUMP],
        ["run", "sit", "jump"],
        np.array(["run", "sit", "jump"]),
        ["run", 2, "jump"],
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_labels_are_integers_or_names_of_any_usual_kind(labels: Any) -> None:
    indices = class_indices(labels, PATHS, CLASSES)
    assert indices.dtype == np.int64
    assert indices.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1.0, 2], r"b\.mp4: label 1\.0 \(float\) is not a class index: give integers from 0 on"),
        (np.array([0.0, 1.0, 2.0]), r"a\.mp4: label 0\.0 \(float\) is not a class index"),
        (torch.tensor([0.0, 1.0, 2.0]), r"a\.mp4: label 0\.0 \(float\) is not a class index"),
        ([0, True, 2], r"b\.mp4: label True \(bool\) is not a class index"),
        (np.array([False, True, True]), r"a\.mp4: label False \(bool\) is not a class index"),
        ([0, np.True_, 2], r"b\.mp4: label True \(bool\) is not a class index"),
        (torch.tensor([True, False, False]), r"a\.mp4: label True \(bool\) is not a class index"),
        ([torch.tensor(True), 1, 2], r"a\.mp4: label True \(bool\) is not a class index"),
        ([0, 1, None], r"c\.mp4: label None is not a class index: give integers from 0 on"),
        ([[0], [1], [2]], r"a\.mp4: label \[0\] is a list, but a video has one label"),
        (np.eye(3, dtype=int), r"a\.mp4: label \[1, 0, 0\] is a list, but a video has one label"),
        (torch.eye(3), r"a\.mp4: label \[1\.0, 0\.0, 0\.0\] is a list, .* give each path one class index"),
        ([0, (1, 2), 2], r"b\.mp4: label \(1, 2\) is a tuple, but a video has one label"),
        (["run", "fly", "sit"], r"b\.mp4: label 'fly' is not one of the 3 classes \(run, jump, sit\): correct it"),
        ("012", "labels is one string, '012': give a list with one label per path"),
        (0, r"labels is 0 \(int\): give a list with one label per path"),
        (None, r"labels is None \(NoneType\): give a list with one label per path"),
        (torch.tensor(1), r"labels is 1 \(int\): give a list with one label per path"),
        ([0, 3, 0], r"b\.mp4: label 3 is outside \[0, 3\)"),
        (np.array([0, -1, 0]), r"b\.mp4: label -1 is outside \[0, 3\)"),
    ],
)
def test_a_label_of_a_wrong_kind_is_named_with_its_video_and_its_type(labels: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        class_indices(labels, PATHS, CLASSES)


def test_names_need_classes() -> None:
    with pytest.raises(DatasetError, match=r"a\.mp4: label 'run' is a name, but .*pass their names in classes="):
        class_indices(["run", "jump", "sit"], PATHS, None)


def test_an_error_names_only_a_few_of_many_classes() -> None:
    with pytest.raises(DatasetError, match=r"not one of the 400 classes \(0, 1, 2, 3, 4, …\)"):
        class_indices(["run"], ["a.mp4"], [str(number) for number in range(400)])


def test_written_labels_are_numbers_or_names_in_alphabetical_order() -> None:
    assert written_labels(["2", "0"], ["line 1", "line 2"], None) == ([2, 0], None)
    assert written_labels(["sit", "run"], ["line 1", "line 2"], None) == ([1, 0], ["run", "sit"])
    assert written_labels(["sit", "0"], ["line 1", "line 2"], CLASSES) == ([2, 0], CLASSES)


@pytest.mark.parametrize("word", ["1,5", "0,1,2", "3;4", "3|4"])
def test_several_written_labels_do_not_become_the_name_of_a_class(word: str) -> None:
    with pytest.raises(DatasetError, match=r"line 2: label '.*' contains several class indices.*write one.*classes="):
        written_labels(["0", word], ["line 1", "line 2"], None)
    assert written_labels([word], ["line 1"], ["run", word]) == ([1], ["run", word])


@pytest.mark.parametrize("word", ["1.0", "1.", ".5", "1e3", "+1", "-0.5"])
def test_a_written_number_that_is_not_an_index_does_not_become_the_name_of_a_class(word: str) -> None:
    with pytest.raises(DatasetError, match=r"line 2: label '.*' is not a class index: write an integer .*classes="):
        written_labels(["0", word], ["line 1", "line 2"], None)
    assert written_labels([word], ["line 1"], ["run", word]) == ([1], ["run", word])


@pytest.mark.parametrize("word", ["a,b", "v1.0", "1st", "3-4", "1.2.3", "走る"])
def test_a_name_may_contain_digits_and_punctuation(word: str) -> None:
    assert written_labels([word], ["line 1"], None) == ([0], [word])
