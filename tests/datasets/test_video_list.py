from pathlib import Path

import pytest

from mgdali import VideoDataset
from mgdali.datasets.video_list import Entry, lists_frame_folders, read_entries, read_video_list
from mgdali.errors import DatasetError


def write_list(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_text(text)
    return path


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_entries_have_the_numbers_of_their_lines_and_labels_as_written(tmp_path: Path) -> None:
    path = write_list(tmp_path, "# a comment\n\nmy video.mp4 1,5\n  b.mp4\trun \n")
    assert read_entries(path) == [Entry(3, "my video.mp4", "1,5"), Entry(4, "b.mp4", "run")]


def test_a_list_of_frame_folders_is_referred_to_the_constructor_for_it(tmp_path: Path) -> None:
    path = write_list(tmp_path, "# TSM\n100218 42 94\nsome/my folder 3 0\n")
    with pytest.raises(DatasetError, match=r"list\.txt, line 2: '100218 42 94' has .*VideoDataset\.from_frame_list"):
        VideoDataset.from_list(path, root=tmp_path)
    assert len(VideoDataset.from_frame_list(write_list(tmp_path, "100218 42 94\n"))) == 1


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("my video 3.mp4 1\n", []),
        # The names of these videos end in a number. They exist.
        ("clip 1 0\nclip 2 1\n", ["clip 2"]),
        ("video.mp4 2 1\n", ["video.mp4 2"]),
        ("a 60 3\nb.mp4 1\n", []),
        ("a 60 run\nb 30 run\n", []),
    ],
)
def test_paths_that_contain_spaces_and_numbers_are_not_frame_folders(
    tmp_path: Path, text: str, files: list[str]
) -> None:
    make_files(tmp_path, *files)
    dataset = VideoDataset.from_list(write_list(tmp_path, text), root=tmp_path)
    expected = [str(tmp_path / line.rpartition(" ")[0]) for line in text.splitlines()]
    assert list(dataset.paths) == expected


def test_a_folder_of_frames_may_have_the_name_of_a_video(tmp_path: Path) -> None:
    (tmp_path / "v_Run_g01.avi").mkdir()
    entries = read_entries(write_list(tmp_path, "v_Run_g01.avi 60 3\n"))
    assert lists_frame_folders(entries, tmp_path)
    assert not lists_frame_folders(entries, "elsewhere")


def test_a_line_with_several_labels_is_named(tmp_path: Path) -> None:
    path = write_list(tmp_path, "a.mp4 1\nb.mp4 1 5 7\n")
    with pytest.raises(DatasetError, match=r"list\.txt, line 2: 'b\.mp4 1 5 7' has several labels"):
        read_video_list(path, "", None)
    with pytest.raises(DatasetError, match=r"list\.txt, line 1: label '1,5' contains several class indices"):
        read_video_list(write_list(tmp_path, "a.mp4 1,5\n"), "", None)
    with pytest.raises(DatasetError, match=r"list\.txt, line 2: label '1\.0' is not a class index: write an integer"):
        read_video_list(write_list(tmp_path, "a.mp4 0\nb.mp4 1.0\n"), "", None)
