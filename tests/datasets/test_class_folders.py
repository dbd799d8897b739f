from pathlib import Path

import pytest

from mgdali import VideoDataset
from mgdali.errors import DatasetError


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_a_class_that_is_missing_from_a_split_does_not_shift_the_labels(tmp_path: Path) -> None:
    make_files(tmp_path, "train/jump/a.mp4", "train/run/b.mp4", "train/sit/c.mp4", "val/run/d.mp4", "val/sit/e.mp4")
    train = VideoDataset.from_folder(tmp_path / "train")
    for classes in (train, train.classes):
        val = VideoDataset.from_folder(tmp_path / "val", classes=classes)
        assert val.classes == ["jump", "run", "sit"]
        assert [(Path(video.path).name, video.label) for video in val] == [("d.mp4", 1), ("e.mp4", 2)]


def test_given_classes_have_their_own_order(tmp_path: Path) -> None:
    root = make_files(tmp_path, "jump/a.mp4", "run/b.mp4")
    dataset = VideoDataset.from_folder(root, classes=["run", "jump"])
    assert [(Path(video.path).name, video.label) for video in dataset] == [("a.mp4", 1), ("b.mp4", 0)]


def test_a_given_class_may_have_a_folder_without_videos(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/b.mp4", "jump/notes.txt")
    assert [video.label for video in VideoDataset.from_folder(root, classes=["jump", "run"])] == [1]


def test_a_folder_that_is_not_a_given_class_is_named(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/b.mp4", "Jump/a.mp4")
    with pytest.raises(DatasetError, match=r"/Jump: 'Jump' is not one of the 2 classes \(jump, run\): add it"):
        VideoDataset.from_folder(root, classes=["jump", "run"])


def test_a_folder_without_videos_in_any_class_is_named(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/b.txt", "jump/a.txt")
    with pytest.raises(DatasetError, match=r"contains no video \(.*\.mp4.*\) in its 2 subfolders"):
        VideoDataset.from_folder(root, classes=["jump", "run"])


def test_one_ending_must_be_in_a_list(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/a.y4m", "run/b.mp4")
    with pytest.raises(
        DatasetError, match=r"extensions is one string, '\.y4m': give a list of endings, such as \['\.y4m'\]"
    ):
        VideoDataset.from_folder(root, extensions=".y4m")
