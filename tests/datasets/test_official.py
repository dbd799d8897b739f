"""Made-up lists in the official formats of Something-Something, Jester, Diving48, UCF101 and HMDB51."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mgdali import VideoDataset
from mgdali.errors import DatasetError
from tests.support import official_sets
from tests.support.official_sets import HMDB_LISTS, put
from tests.support.videos import moving_square, write_video

LOADERS: dict[str, Callable[..., VideoDataset]] = {
    "something-something-v1": VideoDataset.something_something_v1,
    "something-something-v2": VideoDataset.something_something_v2,
    "jester": VideoDataset.jester,
    "diving48": VideoDataset.diving48,
    "ucf101": VideoDataset.ucf101,
    "hmdb51": VideoDataset.hmdb51,
    "kinetics": VideoDataset.kinetics,
}


def found(dataset: VideoDataset, root: Path) -> list[tuple[str, str]]:
    return [(Path(video.path).relative_to(root).as_posix(), dataset.classes[video.label]) for video in dataset]


def test_something_something_v1_has_folders_of_frames_and_classes_in_file_order(tmp_path: Path) -> None:
    root = official_sets.something_something_v1(tmp_path)
    dataset = VideoDataset.something_something_v1(root, "train")
    table = "Putting something, something and something on the table"
    assert dataset.classes == ["Holding something", table, "Turning something"]
    assert [video.label for video in dataset] == [1, 0, 2, 1]
    assert found(dataset, root / "20bn-something-something-v1")[:2] == [("7", table), ("12", "Holding something")]
    assert len(VideoDataset.something_something_v1(str(root), "validation")) == 3


def test_classes_of_jester_keep_the_order_of_the_file(tmp_path: Path) -> None:
    root = official_sets.jester(tmp_path)
    dataset = VideoDataset.jester(root, "val")
    assert dataset.classes == ["Swiping Left", "No gesture", "Doing other things"]
    expected = [("3", "Doing other things"), ("100", "Swiping Left"), ("4", "No gesture")]
    assert found(dataset, root / "20bn-jester-v1") == expected


def test_something_something_v2_takes_classes_from_templates_and_numbers_from_labels_json(tmp_path: Path) -> None:
    root = official_sets.something_something_v2(tmp_path)
    dataset = VideoDataset.something_something_v2(root, "train")
    assert dataset.classes == [
        "Holding something",
        'Showing "something", twice',
        "Pushing something from left to right",
    ]
    assert found(dataset, root / "20bn-something-something-v2") == [
        ("78687.webm", "Pushing something from left to right"),
        ("42326.webm", "Holding something"),
        ("9.webm", 'Showing "something", twice'),
    ]
    assert [video.label for video in VideoDataset.something_something_v2(root, "val")] == [0, 1, 2]


def test_the_newer_releases_short_names_in_a_folder_labels_are_found(tmp_path: Path) -> None:
    root = official_sets.something_something_v2(tmp_path / "v2")
    expected = found(VideoDataset.something_something_v2(root, "train"), root)
    (root / "labels").mkdir()
    for path in list(root.glob("*.json")):
        path.rename(root / "labels" / path.name.removeprefix("something-something-v2-"))
    assert found(VideoDataset.something_something_v2(root, "train"), root) == expected
    root = official_sets.jester(tmp_path / "jester")
    expected = found(VideoDataset.jester(root, "train"), root)
    (root / "labels").mkdir()
    for path in list(root.glob("*.csv")):
        path.rename(root / "labels" / path.name.removeprefix("jester-v1-"))
    assert found(VideoDataset.jester(root, "train"), root) == expected


@pytest.mark.parametrize("name", ["something-something-v1", "something-something-v2", "jester"])
def test_a_test_split_has_labels_only_if_the_answers_are_next_to_it(tmp_path: Path, name: str) -> None:
    root = official_sets.WRITERS[name](tmp_path)
    with pytest.raises(DatasetError, match=r"-test\.(csv|json) has no labels.*another split.*test-answers\.csv"):
        LOADERS[name](root, "test")
    classes = LOADERS[name](root, "train").classes
    answer = classes[1].replace('"', '""')
    put(root, {"labels/test-answers.csv": f'56;"{answer}"\n55;{classes[2]}\n'})
    dataset = LOADERS[name](root, "test")
    assert [Path(video.path).stem for video in dataset] == ["56", "55"]
    assert [video.label for video in dataset] == [1, 2]


def test_diving48_names_classes_by_the_words_of_its_vocabulary(tmp_path: Path) -> None:
    root = official_sets.diving48(tmp_path)
    dataset = VideoDataset.diving48(root, "train")
    assert dataset.classes == ["Back 15som 05Twis FREE", "Forward 35som NoTwis PIKE"]
    expected = [("_8Vy3dlHg2w_00000.mp4", dataset.classes[1]), ("_8Vy3dlHg2w_00001.mp4", dataset.classes[0])]
    assert found(dataset, root / "rgb") == expected
    assert len(VideoDataset.diving48(root, "test")) == 2


def test_the_first_labels_of_diving48_are_read_only_on_request(tmp_path: Path) -> None:
    root = official_sets.diving48(tmp_path)
    put(root, {"Diving48_train.json": json.dumps([{"vid_name": "x_00000", "label": 1}])})
    assert found(VideoDataset.diving48(root, "train", version=1), root) == [
        ("rgb/x_00000.mp4", "Forward 35som NoTwis PIKE")
    ]
    (root / "Diving48_V2_train.json").unlink()
    with pytest.raises(DatasetError, match=r"Diving48_V2_train\.json was not found"):
        VideoDataset.diving48(root, "train")
    with pytest.raises(DatasetError, match="version 3 .*1 or 2"):
        VideoDataset.diving48(root, "train", version=3)


def test_ucf101_takes_a_videos_class_from_its_folder(tmp_path: Path) -> None:
    root = official_sets.ucf101(tmp_path)
    dataset = VideoDataset.ucf101(root, "test")
    assert dataset.classes == ["ApplyEyeMakeup", "HandstandPushups"]
    assert found(dataset, root / "UCF-101") == [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup"),
        ("HandstandPushups/v_HandStandPushups_g01_c01.avi", "HandstandPushups"),
    ]
    train = VideoDataset.ucf101(root, "train", fold=3)
    assert [Path(video.path).stem[-7:-4] for video in train] == ["g01", "g02"] * 2
    assert [video.label for video in train] == [0, 0, 1, 1]


def test_hmdb51_takes_the_videos_that_a_fold_marks(tmp_path: Path) -> None:
    root = official_sets.hmdb51(tmp_path)
    dataset = VideoDataset.hmdb51(root, "train")
    assert dataset.classes == ["sword", "sword_exercise"]
    assert found(dataset, root) == [
        ("sword/#20_Rhythm_sword_f_nm_np1_ri_med_0.avi", "sword"),
        ("sword_exercise/a&b_sword_exercise_0.avi", "sword_exercise"),
    ]
    assert found(VideoDataset.hmdb51(root, "test", 1), root)[0][0] == "sword/(HQ)_Duel!_sword_f_cm_np2_le_bad_1.avi"
    assert (
        found(VideoDataset.hmdb51(root, "train", fold=3), root)[0][0]
        == f"sword/{'(HQ)_Duel!_sword_f_cm_np2_le_bad_1.avi'}"
    )


@pytest.mark.parametrize("name", LOADERS)
def test_lists_with_windows_line_ends_and_byte_order_mark_give_the_same_result(tmp_path: Path, name: str) -> None:
    root = official_sets.WRITERS[name](tmp_path)
    expected = found(LOADERS[name](root, "train"), root)
    for path in [p for p in root.rglob("*") if p.suffix in (".csv", ".json", ".txt")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert found(LOADERS[name](root, "train"), root) == expected


@pytest.mark.parametrize("name", LOADERS)
def test_lists_and_videos_may_be_in_different_folders(tmp_path: Path, name: str) -> None:
    root = official_sets.WRITERS[name](tmp_path / "both")
    expected = [(path.rpartition("both/")[2], label) for path, label in found(LOADERS[name](root, "train"), root)]
    lists = tmp_path / "lists"
    for path in [p for p in root.rglob("*") if p.suffix in (".csv", ".json", ".txt")]:
        put(lists, {path.relative_to(root).as_posix(): path.read_bytes()})
        path.unlink()
    dataset = LOADERS[name](tmp_path / "nowhere", "train", annotations=lists, videos=root)
    assert found(dataset, root) == expected


@pytest.mark.parametrize("name", LOADERS)
def test_the_error_for_an_unknown_split_names_the_available_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="split 'dev' .*train, "):
        LOADERS[name](tmp_path, "dev")


@pytest.mark.parametrize("name", ["diving48", "ucf101", "hmdb51"])
def test_a_set_without_a_validation_split_reports_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="split 'val' .*train, test"):
        LOADERS[name](tmp_path, "val")


@pytest.mark.parametrize("name", ["ucf101", "hmdb51"])
@pytest.mark.parametrize("fold", [0, 4, "1"])
def test_the_error_for_an_unknown_fold_names_the_available_ones(tmp_path: Path, name: str, fold: Any) -> None:
    with pytest.raises(DatasetError, match=f"fold {fold!r} .*1, 2, 3"):
        LOADERS[name](tmp_path, "train", fold=fold)


@pytest.mark.parametrize(
    ("name", "file", "origin"),
    [
        ("something-something-v1", "something-something-v1-train.csv", "Qualcomm"),
        ("something-something-v2", "something-something-v2-labels.json", "Qualcomm"),
        ("jester", "jester-v1-labels.csv", "Qualcomm"),
        ("diving48", "Diving48_vocab.json", "UCSD"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "Center for Research in Computer Vision"),
    ],
)
def test_the_error_for_a_missing_list_names_the_searched_folders_and_the_source(
    tmp_path: Path, name: str, file: str, origin: str
) -> None:
    root = official_sets.WRITERS[name](tmp_path)
    (root / file).unlink()
    where = f"{re.escape(Path(file).name)} was not found: looked for .* in {re.escape(f'{root}, {root}/annotations')}"
    with pytest.raises(DatasetError, match=f"{where}.*{origin}.*annotations="):
        LOADERS[name](root, "train")


def test_missing_lists_of_hmdb51_are_named_by_their_folder(tmp_path: Path) -> None:
    root = official_sets.hmdb51(tmp_path)
    for path in (root / HMDB_LISTS).glob("*_test_split2.txt"):
        path.unlink()
    assert len(VideoDataset.hmdb51(root, "train", 1)) == 2
    with pytest.raises(DatasetError, match=rf"_test_split2\.txt was not found.*{HMDB_LISTS}.*Serre Lab"):
        VideoDataset.hmdb51(root, "train", 2)


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("jester", "jester-v1-train.csv", "1;No gesture\n\n2;Waving\n", r"train\.csv, line 3: 'Waving' "),
        ("jester", "jester-v1-train.csv", "1,No gesture\n", r"line 1: '1,No gesture' is not 'id;label'"),
        ("jester", "jester-v1-train.csv", "1\n2\n", r"line 1: '1' is not 'id;label'"),
        ("jester", "jester-v1-train.csv", ";No gesture\n", r"line 1: ';No gesture' is not 'id;label'"),
        ("jester", "jester-v1-train.csv", "", r"train\.csv lists no video"),
        ("jester", "jester-v1-labels.csv", "a\nb\na\n", r"labels\.csv has the class 'a' twice"),
        ("something-something-v2", "something-something-v2-train.json", "{}", "is not a list of videos"),
        ("something-something-v2", "something-something-v2-train.json", "[", "line 1: .*not JSON"),
        (
            "something-something-v2",
            "something-something-v2-train.json",
            '[{"id": "1", "template": "Holding [something]"}, {"id": "2"}]',
            "entry 2: .* lacks one of id, template",
        ),
        (
            "something-something-v2",
            "something-something-v2-train.json",
            '[{"id": "1", "template": "Eating [something]"}]',
            r"entry 1: 'Eating something' .*labels\.json",
        ),
        ("something-something-v2", "something-something-v2-labels.json", '{"a": "1"}', "number the classes 0, 1, 2"),
        ("something-something-v2", "something-something-v2-labels.json", '["a"]', "number the classes 0, 1, 2"),
        ("something-something-v2", "something-something-v2-labels.json", "{}", "number the classes 0, 1, 2"),
        (
            "diving48",
            "Diving48_V2_train.json",
            '[{"vid_name": "a", "label": 2}]',
            r"entry 1: label 2 is not the number of one of the 2 classes .*Diving48_vocab\.json",
        ),
        ("diving48", "Diving48_V2_train.json", '[{"label": 1}]', "entry 1: .* lacks one of vid_name, label"),
        ("diving48", "Diving48_vocab.json", '[["Back"], "x"]', "entry 2: 'x' is not a list of words"),
        (
            "ucf101",
            "ucfTrainTestlist/trainlist01.txt",
            "\nApplyLipstick/v_x.avi 1\n",
            r"trainlist01\.txt, line 2: 'ApplyLipstick' .*classInd\.txt",
        ),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "1 A\n3 B\n", r"classInd\.txt, line 2: '3 B' is not '2 <class>'"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "1\n", r"classInd\.txt, line 1: '1' is not '1 <class>'"),
        (
            "hmdb51",
            f"{HMDB_LISTS}/sword_test_split1.txt",
            "a.avi 1\nb.avi 3\n",
            r"sword_test_split1\.txt, line 2: 'b\.avi 3' is not a file and 0, 1 or 2",
        ),
        ("hmdb51", f"{HMDB_LISTS}/sword_test_split1.txt", "a.avi\n", r"line 1: 'a\.avi' is not a file and 0, 1 or 2"),
    ],
)
def test_an_invalid_entry_of_a_list_is_named_with_its_place(
    tmp_path: Path, name: str, file: str, content: str, message: str
) -> None:
    root = put(official_sets.WRITERS[name](tmp_path), {file: content})
    with pytest.raises(DatasetError, match=message):
        LOADERS[name](root, "train")


@pytest.mark.parametrize(
    ("name", "folder"),
    [("jester", "20bn-jester-v1"), ("something-something-v2", "20bn-something-something-v2"), ("diving48", "rgb")],
)
def test_a_missing_folder_of_videos_is_named(tmp_path: Path, name: str, folder: str) -> None:
    root = official_sets.WRITERS[name](tmp_path)
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(DatasetError, match=rf"folder of videos was not found: looked for .*/{folder} or .*videos="):
        LOADERS[name](root, "train")
    assert Path(LOADERS[name](root, "train", videos=root / "elsewhere")[0].path).parent == root / "elsewhere"


def test_folders_of_classes_are_found_in_root_itself_by_their_names(tmp_path: Path) -> None:
    root = official_sets.ucf101(tmp_path)
    for folder in list((root / "UCF-101").iterdir()):
        folder.rename(root / folder.name)
    (root / "UCF-101" / "other").mkdir()
    assert Path(VideoDataset.ucf101(root, "test")[0].path).parent == root / "ApplyEyeMakeup"
    for folder in list(root.glob("[AH]*")):
        folder.rename(root / "UCF-101" / "other" / folder.name)
    with pytest.raises(DatasetError, match="not found: .* with folders such as ApplyEyeMakeup.*videos="):
        VideoDataset.ucf101(root, "test")


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("something-something-v2", "libvpx-vp9"),
        ("diving48", "libx264"),
        ("ucf101", "mpeg4"),
        ("hmdb51", "mpeg4"),
        ("kinetics", "libx264"),
    ],
)
def test_a_set_can_be_loaded_from_its_official_files(tmp_path: Path, name: str, codec: str) -> None:
    from mgdali import MGDaliIterator, Segment

    dataset = LOADERS[name](official_sets.WRITERS[name](tmp_path), "train")
    for number, video in enumerate(dataset):
        write_video(Path(video.path), moving_square(5, 48, 64, seed=number), codec=codec)
    with MGDaliIterator(dataset, sampler=Segment(num_frames=2), crop_size=32, resize=40, num_workers=0) as loader:
        labels = [int(label) for _, batch in loader for label in batch]
    assert labels == [video.label for video in dataset]
