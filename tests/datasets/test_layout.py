from pathlib import Path

import pytest

from mgdali.datasets.layout import OfficialFiles, files_below, known_split
from mgdali.errors import DatasetError
from tests.support.official_sets import put


def test_a_folder_of_any_name_can_be_searched(tmp_path: Path) -> None:
    root = put(tmp_path / "data [v1]*", {"labels/train.csv": ""})
    assert OfficialFiles(root, None, None, "They give it out").list_file("train.csv") == f"{root}/labels/train.csv"


def test_the_order_of_names_takes_precedence_over_the_order_of_folders(tmp_path: Path) -> None:
    root = put(tmp_path, {"labels/jester-v1-train.csv": "", "train.csv": ""})
    files = OfficialFiles(root, None, None, "They give it out")
    assert files.list_file("jester-v1-train.csv", "train.csv") == f"{root}/labels/jester-v1-train.csv"
    assert files.find_list_file("test.csv") is None


def test_a_folder_of_videos_must_contain_one_of_the_classes(tmp_path: Path) -> None:
    root = put(tmp_path, {"videos/notes/a.txt": "", "run/a.avi": "x"})
    files = OfficialFiles(root, None, None, "They give it out")
    assert files.videos_folder("videos") == f"{root}/videos"
    assert files.videos_folder("videos", holding=["sit", "run"]) == str(root)
    with pytest.raises(DatasetError, match=f"looked for {root}/videos or {root}, with folders such as sit"):
        files.videos_folder("videos", holding=["sit"])


@pytest.mark.parametrize("split", ["val", "valid", "validate", "validation"])
def test_a_validation_split_may_have_any_usual_name(split: str) -> None:
    assert known_split(split, "train", "validation") == "validation"


def test_files_are_found_in_a_folder_and_one_level_below_but_no_deeper(tmp_path: Path) -> None:
    names = ["a.mp4", "run/b.MP4", "run/.c.mp4", ".hidden/d.mp4", ".e.mp4", "run/deep/f.mp4", "g.txt", "run/mp4"]
    put(tmp_path, {name: "x" for name in names})
    found = {Path(entry.path).relative_to(tmp_path).as_posix() for entry in files_below(str(tmp_path), (".mp4",))}
    assert found == {"a.mp4", "run/b.MP4"}
