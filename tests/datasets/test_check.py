import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from mgdali.cli.data import render
from mgdali.datasets.check import DataCheck, Names, Part, check_data, to_json
from mgdali.errors import DatasetError
from tests.support import official_sets
from tests.support.official_sets import HMDB_LISTS, VIDEO, put

NONE = Names(0, ())


def part(check: DataCheck, split: str, fold: int | None = None) -> Part:
    return next(part for part in check.parts if (part.split, part.fold) == (split, fold))


def printed(check: DataCheck) -> str:
    text = io.StringIO()
    render(check, Console(file=text, width=100))
    return text.getvalue()


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("something-something-v1", {("train", None): 4, ("validation", None): 3, ("test", None): 2}),
        ("something-something-v2", {("train", None): 3, ("validation", None): 3, ("test", None): 2}),
        ("jester", {("train", None): 4, ("validation", None): 3, ("test", None): 2}),
        ("diving48", {("train", None): 2, ("test", None): 2}),
        ("ucf101", {(split, fold): n for fold in (1, 2, 3) for split, n in (("train", 4), ("test", 2))}),
        ("hmdb51", {(split, fold): 2 for fold in (1, 2, 3) for split in ("train", "test")}),
        ("kinetics", {("train", None): 2, ("validation", None): 2, ("test", None): 1}),
    ],
)
def test_a_set_without_missing_files_is_complete(
    tmp_path: Path, name: str, listed: dict[tuple[str, int | None], int]
) -> None:
    check = check_data(name, official_sets.WRITERS[name](tmp_path))
    assert {(part.split, part.fold): part.listed for part in check.parts} == listed
    assert check.complete
    assert all((p.error, p.missing, p.empty, p.repeated, p.idle_classes) == (None, *[NONE] * 4) for p in check.parts)
    assert (check.overlaps, check.unlisted) == ((), NONE)
    assert printed(check).endswith("Complete.\n")


@pytest.mark.parametrize(
    ("name", "files", "split"),
    [
        ("something-something-v2", ["20bn-something-something-v2/78687.webm"], "train"),
        ("diving48", ["rgb/-IR-0DSrqP8_00002.mp4"], "test"),
        ("kinetics", ["val/---QUuC4vJs_001000_001010.mp4"], "validation"),
        ("jester", ["20bn-jester-v1/100/00001.jpg", "20bn-jester-v1/100/00002.jpg"], "validation"),
    ],
)
def test_missing_and_empty_files_are_named_and_make_a_set_incomplete(
    tmp_path: Path, name: str, files: list[str], split: str
) -> None:
    root = official_sets.WRITERS[name](tmp_path)
    frames = name == "jester"
    listed = Path(files[0]).parent.name if frames else files[0].partition("/")[2]
    for file in files:
        (root / file).unlink() if frames else (root / file).write_bytes(b"")
    check = check_data(name, root)
    found = part(check, split)
    assert (found.missing, found.empty, check.complete) == (NONE, Names(1, (listed,)), False)
    shutil.rmtree((root / files[0]).parent) if frames else (root / files[0]).unlink()
    check = check_data(name, root)
    found = part(check, split)
    assert (found.missing, found.empty, check.complete) == (Names(1, (listed,)), NONE, False)
    assert f"{split}: missing (1): {listed}\n" in printed(check)
    assert printed(check).endswith("Not complete.\n")


def test_a_class_whose_archive_was_not_unpacked_is_named_in_every_fold(tmp_path: Path) -> None:
    root = official_sets.hmdb51(tmp_path)
    shutil.rmtree(root / "sword")
    check = check_data("hmdb51", root)
    assert all(part.idle_classes == Names(1, ("sword",)) and part.missing.count == 1 for part in check.parts)


def test_only_the_first_few_are_named_but_all_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"{1000 + i};No gesture\n" for i in range(7))
    root = put(official_sets.jester(tmp_path), {"jester-v1-train.csv": rows})
    check = check_data("jester", root)
    assert part(check, "train").missing == Names(7, ("1000", "1001", "1002", "1003", "1004"))
    assert "train: missing (7): 1000, 1001, 1002, 1003, 1004, …\n" in printed(check)


def test_videos_that_no_list_names_are_reported(tmp_path: Path) -> None:
    root = official_sets.ucf101(tmp_path)
    put(root, {"UCF-101/ApplyEyeMakeup/mine.avi": VIDEO, "UCF-101/ApplyEyeMakeup/notes.txt": VIDEO})
    check = check_data("ucf101", root)
    assert check.unlisted == Names(1, (str(root / "UCF-101/ApplyEyeMakeup/mine.avi"),))
    assert check.complete
    assert "On disk, but in no list (1): " in printed(check)


def test_videos_that_a_list_only_marks_as_unused_are_known(tmp_path: Path) -> None:
    root = official_sets.hmdb51(tmp_path)
    for fold in (1, 2, 3):
        list_file = root / HMDB_LISTS / f"sword_test_split{fold}.txt"
        list_file.write_text(list_file.read_text() + "spare_sword_9.avi 0 \n")
    put(root, {"sword/spare_sword_9.avi": VIDEO})
    assert check_data("hmdb51", root).unlisted == NONE


def test_videos_listed_twice_are_reported(tmp_path: Path) -> None:
    root = official_sets.jester(tmp_path)
    put(root, {"jester-v1-train.csv": "7;No gesture\n7;No gesture\n3;No gesture\n"})
    check = check_data("jester", root)
    assert part(check, "train").repeated == Names(1, ("7",))
    assert [(o.fold, o.splits, o.videos) for o in check.overlaps] == [(None, ("train", "validation"), Names(1, ("3",)))]
    assert "train: shared with validation (1): 3\n" in printed(check)


def test_splits_of_different_folds_may_share_videos_and_those_of_one_may_not(tmp_path: Path) -> None:
    root = official_sets.ucf101(tmp_path)
    name = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"
    put(root, {"ucfTrainTestlist/testlist02.txt": f"{name}\n"})
    (overlap,) = check_data("ucf101", root).overlaps
    assert (overlap.fold, overlap.splits, overlap.videos.first) == (2, ("train", "test"), (name.partition("/")[2],))


def test_kinetics_splits_in_different_folders_are_compared(tmp_path: Path) -> None:
    root = official_sets.kinetics(tmp_path)
    rows = "youtube_id,time_start,time_end,split\n---QUuC4vJs,1000,1010,test\n"
    put(root, {"annotations/test.csv": rows, "test/---QUuC4vJs_001000_001010.mp4": VIDEO})
    (overlap,) = check_data("kinetics", root).overlaps
    assert overlap.splits == ("validation", "test")


def test_other_splits_are_checked_if_a_list_is_missing(tmp_path: Path) -> None:
    root = official_sets.something_something_v2(tmp_path)
    (root / "something-something-v2-validation.json").unlink()
    check = check_data("something-something-v2", root)
    error = part(check, "validation").error
    assert error is not None
    assert error.startswith("something-something-v2-validation.json was not found")
    assert (part(check, "train").listed, check.complete, check.unlisted) == (3, False, None)
    assert f"validation: {error}\n" in printed(check)
    assert "not all lists were read" in printed(check)


def test_only_the_requested_splits_are_checked(tmp_path: Path) -> None:
    root = official_sets.something_something_v2(tmp_path)
    (root / "something-something-v2-test.json").unlink()
    check = check_data("something-something-v2", root, splits=["val", "train", "val"])
    assert [part.split for part in check.parts] == ["validation", "train"]
    assert (check.complete, check.unlisted) == (True, None)


def test_a_split_without_labels_is_checked(tmp_path: Path) -> None:
    check = check_data("something-something-v1", official_sets.something_something_v1(tmp_path))
    assert [part.labelled for part in check.parts] == [True, True, False]


def test_lists_and_videos_may_be_in_different_folders(tmp_path: Path) -> None:
    root = official_sets.diving48(tmp_path / "root")
    (root / "rgb").rename(tmp_path / "dives")
    for path in list(root.glob("*.json")):
        put(tmp_path / "lists", {path.name: path.read_bytes()})
        path.unlink()
    assert not check_data("diving48", root).complete
    assert check_data("diving48", root, annotations=tmp_path / "lists", videos=tmp_path / "dives").complete


def test_the_report_can_be_written_as_json(tmp_path: Path) -> None:
    root = official_sets.kinetics(tmp_path)
    (root / "val/---QUuC4vJs_001000_001010.mp4").unlink()
    report = json.loads(to_json(check_data("kinetics", root)))
    assert report["complete"] is False
    assert [part["split"] for part in report["parts"]] == ["train", "validation", "test"]
    assert report["parts"][1]["missing"] == {"count": 1, "first": ["---QUuC4vJs_001000_001010.mp4"]}


def test_unknown_names_splits_and_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="data set 'imagenet' is not one of something-something-v1, .*kinetics"):
        check_data("imagenet", tmp_path)
    with pytest.raises(DatasetError, match="split 'val' .*train, test"):
        check_data("ucf101", tmp_path, splits=["val"])
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        check_data("ucf101", tmp_path / "nowhere")
