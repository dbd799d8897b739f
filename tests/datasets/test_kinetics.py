import warnings
from pathlib import Path

import pytest

from mgdali import VideoDataset
from mgdali.datasets.kinetics import read_all_listed
from mgdali.errors import DatasetError
from tests.support import official_sets
from tests.support.official_sets import VIDEO, put

HEAD = "label,youtube_id,time_start,time_end,split\n"


def names(dataset: VideoDataset, root: Path) -> list[str]:
    return [Path(video.path).relative_to(root).as_posix() for video in dataset]


def test_clips_are_found_by_name_however_their_folders_are_named(tmp_path: Path) -> None:
    root = official_sets.kinetics(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, validation = (VideoDataset.kinetics(root, split) for split in ("train", "val"))
    assert train.classes == validation.classes == ["high jump", 'playing "tag", outside']
    assert names(train, root) == [
        'train/playing "tag", outside/-_0aBcDeFgH_000084_000094.mp4',
        "train/high_jump/#bBcDeFgHiJ_000005_000015.mp4",
    ]
    assert [video.label for video in train] == [1, 0]
    assert names(validation, root) == ["val/---QUuC4vJs_001000_001010.mp4", "val/cCcDeFgHiJk_000000_000010.mkv"]
    assert [video.label for video in validation] == [0, 1]


def test_classes_come_from_the_training_list_so_that_splits_agree(tmp_path: Path) -> None:
    root = official_sets.kinetics(tmp_path)
    put(root, {"annotations/val.csv": HEAD + 'high jump,---QUuC4vJs,1000,1010,val\n"zumba",cCcDeFgHiJk,0,10,val\n'})
    with pytest.raises(DatasetError, match=r"val\.csv, line 3: 'zumba' .*train\.csv"):
        VideoDataset.kinetics(root, "val")
    (root / "annotations/train.csv").unlink()
    assert VideoDataset.kinetics(root, "val").classes == ["high jump", "zumba"]


def test_clips_without_a_file_are_left_out_and_counted(tmp_path: Path) -> None:
    root = official_sets.kinetics(tmp_path)
    (root / "val/---QUuC4vJs_001000_001010.mp4").unlink()
    with pytest.warns(UserWarning, match=r"1 of the 2 clips in .*val\.csv .*val.*left out") as told:
        dataset = VideoDataset.kinetics(root, "val")
    assert told[0].filename == __file__
    assert names(dataset, root) == ["val/cCcDeFgHiJk_000000_000010.mkv"]
    assert dataset[0].label == 1
    listing = read_all_listed(root, "val")
    assert [Path(path).name for path in listing.paths] == [
        "---QUuC4vJs_001000_001010.mp4",
        "cCcDeFgHiJk_000000_000010.mkv",
    ]


def test_the_error_for_a_folder_without_listed_clips_names_the_expected_names(tmp_path: Path) -> None:
    root = official_sets.kinetics(tmp_path)
    for path in (root / "val").iterdir():
        path.rename(path.with_name(f"my_{path.name}"))
    with pytest.raises(DatasetError, match=r"none of the 2 clips .*---QUuC4vJs_001000_001010\.mp4"):
        VideoDataset.kinetics(root, "val")


def test_a_test_list_without_labels_is_reported(tmp_path: Path) -> None:
    root = official_sets.kinetics(tmp_path)
    with pytest.raises(DatasetError, match=r"test\.csv has no labels"):
        VideoDataset.kinetics(root, "test")
    put(root, {"annotations/test.csv": HEAD + "high jump,dDcDeFgHiJk,7,17,test\n"})
    assert [video.label for video in VideoDataset.kinetics(root, "test")] == [0]


@pytest.mark.parametrize("name", ["validate.csv", "kinetics_600_val.csv", "annotations/kinetics-400_val.csv"])
def test_lists_are_found_under_the_names_of_each_release(tmp_path: Path, name: str) -> None:
    root = official_sets.kinetics(tmp_path)
    (root / "annotations/val.csv").rename(root / name)
    assert len(VideoDataset.kinetics(root, "val")) == 2


def test_lists_of_two_releases_in_one_folder_are_an_error(tmp_path: Path) -> None:
    root = official_sets.kinetics(tmp_path)
    content = (root / "annotations/val.csv").read_bytes()
    (root / "annotations/val.csv").unlink()
    put(root, {"kinetics_400_val.csv": content, "kinetics_600_val.csv": content})
    with pytest.raises(DatasetError, match="more than one .*kinetics_400_val.csv, kinetics_600_val.csv.*annotations="):
        VideoDataset.kinetics(root, "val")
    assert len(VideoDataset.kinetics(root, "val", annotations=root / "kinetics_600_val.csv")) == 2


@pytest.mark.parametrize("folder", ["validate", "validation", "videos/val", "videos_val"])
def test_the_usual_folders_of_a_split_are_found(tmp_path: Path, folder: str) -> None:
    root = official_sets.kinetics(tmp_path)
    (root / folder).parent.mkdir(exist_ok=True)
    (root / "val").rename(root / folder)
    assert names(VideoDataset.kinetics(root, "validate"), root)[0].startswith(f"{folder}/")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("label,id,start,end\n", "line 1: no column youtube_id or time_start or time_end"),
        ("", "line 1: no column"),
        (
            HEAD + "run,aBcDeFgHiJk,1,11,val\nrun,aBcDeFgHiJk,soon,later,val\n",
            "line 3: 'run,aBcDeFgHiJk,soon,later,val'",
        ),
        (HEAD + "\nrun,aBcDeFgHiJk,1\n", "line 3: 'run,aBcDeFgHiJk,1' lacks a label, an id or times"),
        (HEAD, r"val\.csv lists no video"),
    ],
)
def test_an_invalid_line_of_a_list_is_named(tmp_path: Path, content: str, message: str) -> None:
    root = put(official_sets.kinetics(tmp_path), {"annotations/val.csv": content})
    with pytest.raises(DatasetError, match=message):
        VideoDataset.kinetics(root, "val")


def test_the_error_for_a_missing_list_names_the_searched_folders(tmp_path: Path) -> None:
    put(tmp_path, {"val/a_000000_000010.mp4": VIDEO})
    with pytest.raises(DatasetError, match=r"val\.csv was not found: looked for val\.csv or .*CVD Foundation"):
        VideoDataset.kinetics(tmp_path, "val")
