import re
import time
from pathlib import Path

import pytest

from mgdali import VideoDataset
from mgdali.datasets.listing import (
    Listing,
    class_numbers,
    printf_template,
    read_frame_list,
    read_json,
    read_lines,
    read_rows,
)
from mgdali.errors import DatasetError


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "list.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_frame_list_names_folders_with_the_pattern_of_their_frames(tmp_path: Path) -> None:
    path = write(tmp_path, "100218 42 94\nsome/my folder 3 0\n\n/data/#20_x 7 1\n")
    listing = read_frame_list(path, "/videos", "img_{:05d}.jpg")
    assert listing.paths == [
        "/videos/100218/img_%05d.jpg",
        "/videos/some/my folder/img_%05d.jpg",
        "/data/#20_x/img_%05d.jpg",
    ]
    assert (listing.labels, listing.classes) == ([94, 0, 1], None)


def test_a_frame_list_may_have_windows_line_ends_and_start_with_a_hash(tmp_path: Path) -> None:
    listing = read_frame_list(write(tmp_path, b"\xef\xbb\xbf#20_x 3 1\r\nb\t4\t0\r\n"), "", "{:05d}.jpg")
    assert (listing.paths, listing.labels) == (["#20_x/%05d.jpg", "b/%05d.jpg"], [1, 0])


def test_a_data_set_of_frames_is_made_from_a_frame_list(tmp_path: Path) -> None:
    path = write(tmp_path, "a 42 2\nb 3 0\n")
    dataset = VideoDataset.from_frame_list(path, root="/v", template="%06d.jpg")
    assert [(video.path, video.label) for video in dataset] == [("/v/a/%06d.jpg", 2), ("/v/b/%06d.jpg", 0)]
    assert dataset.classes == ["0", "1", "2"]
    assert VideoDataset.from_frame_list(path, classes=["run", "sit", "jump"]).classes == ["run", "sit", "jump"]
    with pytest.raises(DatasetError, match=r"label 2 is outside \[0, 2\)"):
        VideoDataset.from_frame_list(path, classes=["run", "sit"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 3 0\n\nb 3 x\n", "line 3: 'b 3 x' is not 'folder frames label'"),
        ("a many 0\n", "line 1: 'a many 0' is not 'folder frames label'"),
        ("a 3 -1\n", "line 1: 'a 3 -1' is not 'folder frames label'"),
        ("a.mp4 1\n", "line 1: .*VideoDataset.from_list reads lists of 'path label'"),
        ("a 0 1\n", "line 1: a has no frames; remove the line"),
    ],
)
def test_a_bad_line_of_a_frame_list_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"list\.txt, {message}"):
        read_frame_list(write(tmp_path, text), "", "img_{:05d}.jpg")


def test_a_frame_list_without_videos_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"list\.txt lists no video"):
        read_frame_list(write(tmp_path, "\n \n"), "", "img_{:05d}.jpg")


@pytest.mark.slow
def test_a_million_lines_are_read_in_seconds(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f"videos/v_{i:07} 120 {i % 400}\n" for i in range(1_000_000)))
    started = time.perf_counter()
    listing = read_frame_list(path, "/data", "img_{:05d}.jpg")
    seconds = time.perf_counter() - started
    assert (len(listing.paths), listing.paths[-1]) == (1_000_000, "/data/videos/v_0999999/img_%05d.jpg")
    # About two seconds on a slow machine; ten leave room for other processes.
    assert seconds < 10


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("img_{:05d}.jpg", "img_%05d.jpg"),
        ("img_{:06}.jpg", "img_%06d.jpg"),
        ("{:d}.jpeg", "%d.jpeg"),
        ("{}.jpg", "%d.jpg"),
        ("frame-%010d.JPG", "frame-%010d.JPG"),
        ("%d.jpg", "%d.jpg"),
    ],
)
def test_templates_of_python_and_c_become_one_form(template: str, expected: str) -> None:
    assert printf_template(template) == expected


@pytest.mark.parametrize(
    "template", ["img.jpg", "{:05d}_{:05d}.jpg", "{:x}.jpg", "{name}.jpg", "100%_{:05d}.jpg", "%s.jpg", "x/{:05d}.jpg"]
)
def test_a_template_without_exactly_one_number_is_rejected(template: str) -> None:
    with pytest.raises(DatasetError, match=rf"template {re.escape(repr(template))} is not .*img_{{:05d}}\.jpg"):
        printf_template(template)


def test_lines_are_read_without_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    assert read_lines(write(tmp_path, "\ufeffété\r\n\nb")) == ["été", "", "b"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read the list .*nowhere\.csv: No such file.*; give a JSON file"):
        read_json(tmp_path / "nowhere.csv")
    with pytest.raises(DatasetError, match=r"list\.txt, line 2: .*not UTF-8"):
        list(read_rows(write(tmp_path, b"1;a\n2;\xe9\n"), ";"))


def test_rows_keep_quoted_separators_and_the_numbers_of_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, '"a, b",1\r\n\r\n \n"say ""hi""", 2 \r\nit\'s 5" long,3\n')
    assert list(read_rows(path, ",")) == [(1, ["a, b", "1"]), (4, ['say "hi"', "2"]), (5, ["it's 5\" long", "3"])]


def test_a_quotation_that_is_not_closed_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"list\.txt, line 2: .*quotation marks"):
        list(read_rows(write(tmp_path, '1;a\n2;"b\n3;c\n'), ";"))


def test_invalid_json_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"list\.txt, line 2: .*not JSON"):
        read_json(write(tmp_path, "[1,\n2;3]"))
    assert read_json(write(tmp_path, '\ufeff["é"]\r\n')) == ["é"]


def test_a_class_listed_twice_is_named() -> None:
    assert class_numbers("labels.csv", ["run", "sit"]) == {"run": 0, "sit": 1}
    with pytest.raises(DatasetError, match=r"labels\.csv has the class 'run' twice"):
        class_numbers("labels.csv", ["run", "sit", "run"])


def test_missing_labels_that_are_required_are_an_error() -> None:
    assert Listing("test.csv", "", ["a"], [0], ["run"]).needed_labels() == [0]
    with pytest.raises(DatasetError, match=r"test\.csv has no labels.*another split.*test-answers\.csv"):
        Listing("test.csv", "", ["a"], None, ["run"]).needed_labels()
