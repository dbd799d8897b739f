from pathlib import Path
from typing import Any

import pytest

from mgdali import VideoDataset
from mgdali.datasets.named_videos import media_of, videos_named
from mgdali.datasets.video_dataset import Video
from mgdali.errors import DatasetError
from mgdali.video.media import Media


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two videos and two folders of frames, all empty files."""
    names = ("run/my video 3.mp4", "jump/b.mp4", "clip 1/img_00001.jpg", "clip2/img_00001.jpg", "six/000001.JPG")
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    return tmp_path / "data"


def write_list(folder: Path, text: str) -> str:
    (folder / "list.txt").write_text(text)
    return str(folder / "list.txt")


@pytest.mark.parametrize(
    "data",
    [
        ["a.mp4", Path("b.mp4"), "a.mp4"],
        (Video("a.mp4", 1), Media("b.mp4")),
        iter([Media("a.mp4"), "b.mp4"]),
        VideoDataset(["a.mp4", "b.mp4"], [0, 1]),
    ],
    ids=["paths", "videos", "iterator", "data set"],
)
def test_videos_may_be_paths_or_objects(data: Any) -> None:
    assert media_of(data) == [Media("a.mp4"), Media("b.mp4")]


def test_a_single_video_is_one_video() -> None:
    assert media_of(Video("s.tar::a.mp4", 0, (512, 9))) == [Media("s.tar::a.mp4", (512, 9))]
    assert media_of(Media("a.mp4")) == [Media("a.mp4")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["a.mp4", 3], r"3 \(int\) is not a video: give paths as str or pathlib\.Path, or Video or Media"),
        ([("a.mp4", 0)], r"\('a\.mp4', 0\) \(tuple\) is not a video"),
        ([b"a.mp4"], r"b'a\.mp4' \(bytes\) is not a video"),
        (None, r"the videos to index are None \(NoneType\): give a VideoDataset, a folder, or a list of paths"),
        ("a.mp4", r"a\.mp4 is not a folder: give a folder of videos, a list of paths such as \['a\.mp4'\]"),
    ],
)
def test_something_that_is_not_a_video_is_named(data: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        media_of(data)


def test_relative_paths_in_a_list_start_at_root(root: Path, tmp_path: Path) -> None:
    data = write_list(tmp_path, f"run/my video 3.mp4 0\n{root}/jump/b.mp4 1\n")
    expected = [Media(f"{root}/run/my video 3.mp4"), Media(f"{root}/jump/b.mp4")]
    assert videos_named(data, root=root) == expected
    assert videos_named(data, root=str(root), kind="videos") == expected


def test_labels_in_a_list_are_not_interpreted(root: Path, tmp_path: Path) -> None:
    data = write_list(tmp_path, "run/my video 3.mp4 1,5\njump/b.mp4 0.5\n")
    assert len(videos_named(data, root=root)) == 2


def test_a_list_of_frame_folders_is_detected(root: Path, tmp_path: Path) -> None:
    data = write_list(tmp_path, "clip 1 1 0\nclip2 1 3\n")
    expected = [Media(f"{root}/clip 1/img_%05d.jpg"), Media(f"{root}/clip2/img_%05d.jpg")]
    assert videos_named(data, root=root) == expected
    assert videos_named(data, root=root, kind="frames") == expected


def test_a_template_means_that_a_list_names_frame_folders(root: Path, tmp_path: Path) -> None:
    data = write_list(tmp_path, "six 1 0\n")
    assert videos_named(data, root=root, template="{:06d}.JPG") == [Media(f"{root}/six/%06d.JPG")]
    with pytest.raises(DatasetError, match=r"line 1: 'b\.mp4 0' is not 'folder frames label'"):
        videos_named(write_list(tmp_path, "b.mp4 0\n"), root=root, template="{:06d}.JPG")
    with pytest.raises(DatasetError, match="applies only to lists of frames: remove it, or use --list frames"):
        videos_named(data, root=root, kind="videos", template="{:06d}.JPG")


def test_a_video_may_be_named_like_a_line_of_a_frame_list(root: Path, tmp_path: Path) -> None:
    # "clip 1" is a folder of frames. The first line is its path and a label.
    data = write_list(tmp_path, "clip 1 0\nclip 2 1\n")
    assert videos_named(data, root=root) == [Media(f"{root}/clip 1"), Media(f"{root}/clip 2")]
    with pytest.raises(DatasetError, match=r"none of the 1 videos in .*, for example .*/clip/img_%05d.jpg"):
        videos_named(data, root=root, kind="frames")


@pytest.mark.parametrize("text", ["run/my video 3.mp4 0\njump/b.mp4 1\n", "clip 1 1 0\nclip2 1 3\n"])
def test_a_list_without_existing_videos_is_an_error_that_mentions_root(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    data = write_list(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"none of the 2 videos .*start at the working directory; .*with --root"):
        videos_named(data)
    with pytest.raises(DatasetError, match=r"for example nowhere/.*: relative paths start at nowhere; .*with --root"):
        videos_named(data, root="nowhere")
    monkeypatch.chdir(root)
    assert len(videos_named(data)) == 2


def test_absolute_paths_that_do_not_exist_are_named(tmp_path: Path) -> None:
    data = write_list(tmp_path, "/nowhere/a.mp4 0\n")
    with pytest.raises(DatasetError, match=r"for example /nowhere/a\.mp4: correct the paths, or .*--root"):
        videos_named(data)


def test_a_list_with_some_missing_videos_is_used(root: Path, tmp_path: Path) -> None:
    assert len(videos_named(write_list(tmp_path, "gone.mp4 0\njump/b.mp4 1\n"), root=root)) == 2


def test_urls_in_a_list_count_as_existing(tmp_path: Path) -> None:
    assert videos_named(write_list(tmp_path, "http://nowhere.invalid/a.mp4 0\n")) == [
        Media("http://nowhere.invalid/a.mp4")
    ]


def test_frames_with_other_names_are_an_error_that_mentions_the_template(root: Path, tmp_path: Path) -> None:
    data = write_list(tmp_path, "gone 4 1\nsix 1 0\n")
    with pytest.raises(DatasetError, match=r"its folder contains 000001\.JPG; pass --template '\{:06d\}\.JPG'"):
        videos_named(data, root=root)


@pytest.mark.parametrize("options", [{"root": "x"}, {"kind": "videos"}, {"template": "{:05d}.jpg"}])
def test_options_of_lists_are_refused_for_other_data(root: Path, options: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match="data is not a list: --root, --list and --template apply only to a list"):
        videos_named(str(root), **options)
    with pytest.raises(DatasetError, match="none does not exist, or is not a list: --root"):
        videos_named("none", **options)


def test_a_table_names_each_of_its_files_once(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "segments.csv"
    table.write_text("path,start,end\nrun/my video 3.mp4,0,1\njump/b.mp4,0,1\nrun/my video 3.mp4,1,2\n")
    found = [media.path for media in videos_named(str(table), root=root)]
    assert found == [str(root / "run/my video 3.mp4"), str(root / "jump/b.mp4")]
    with pytest.raises(DatasetError, match="none of the 2 videos in .*segments.csv exists"):
        videos_named(str(table), root=tmp_path / "elsewhere")


@pytest.mark.parametrize("text", ["", "file,label\na.mp4,0\n"])
def test_a_csv_file_without_a_column_of_paths_is_an_error_that_mentions_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DatasetError, match="To be read as a table, its first row needs a column 'path'"):
        videos_named(str(tmp_path / "t.csv"))
