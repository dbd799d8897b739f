import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali.datasets.video_dataset import VIDEO_EXTENSIONS, Video, VideoDataset
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.video.media import Media
from tests.datasets.test_shards import write_shard


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_list(folder: Path, text: str | bytes) -> Path:
    path = folder / "videos.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def found(dataset: VideoDataset, root: Path) -> list[tuple[str, int]]:
    return [(Path(video.path).relative_to(root).as_posix(), video.label) for video in dataset]


@pytest.fixture
def three() -> VideoDataset:
    return VideoDataset(["a.mp4", "b.mp4", "c.mp4"], [0, 2, 1], ["run", "jump", "sit"])


def test_a_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/2.mp4", "run/10.mp4", "jump/b.webm", "jump/a.mkv", "Sit/c.avi")
    dataset = VideoDataset.from_folder(root)
    assert dataset.classes == ["Sit", "jump", "run"]
    expected = [("Sit/c.avi", 0), ("jump/a.mkv", 1), ("jump/b.webm", 1), ("run/10.mp4", 2), ("run/2.mp4", 2)]
    assert found(dataset, root) == expected


def test_a_folder_may_be_given_as_text(tmp_path: Path) -> None:
    make_files(tmp_path, "run/a.mp4")
    dataset = VideoDataset.from_folder(str(tmp_path))
    assert dataset[0] == Video(str(tmp_path / "run" / "a.mp4"), 0)


def test_folders_within_a_class_are_searched(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/a/deep/2.mp4", "run/a/deep/1.mp4", "run/b/3.mp4", "jump/4.mp4")
    expected = [("jump/4.mp4", 0), ("run/a/deep/1.mp4", 1), ("run/a/deep/2.mp4", 1), ("run/b/3.mp4", 1)]
    assert found(VideoDataset.from_folder(root), root) == expected


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path) -> None:
    root = make_files(
        tmp_path, "run/a.mp4", "run/.b.mp4", "run/.cache/c.mp4", "run/notes.txt", "run/mp4", ".git/d.mp4", "stray.mp4"
    )
    dataset = VideoDataset.from_folder(root)
    assert dataset.classes == ["run"]
    assert found(dataset, root) == [("run/a.mp4", 0)]


def test_suffixes_may_be_in_upper_case(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/A.MP4", "run/b.WebM")
    assert found(VideoDataset.from_folder(root), root) == [("run/A.MP4", 0), ("run/b.WebM", 0)]


@pytest.mark.parametrize("ending", sorted(VIDEO_EXTENSIONS))
def test_each_known_suffix_counts_as_a_video(tmp_path: Path, ending: str) -> None:
    assert len(VideoDataset.from_folder(make_files(tmp_path, f"run/a{ending}"))) == 1


def test_other_suffixes_can_be_requested(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/a.y4m", "run/b.mp4")
    assert found(VideoDataset.from_folder(root, extensions=[".y4m"]), root) == [("run/a.y4m", 0)]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    make_files(tmp_path, "elsewhere/a.mp4", "other/c.mp4", "root/run/b.mp4")
    root = tmp_path / "root"
    (root / "jump").symlink_to(tmp_path / "elsewhere")
    (root / "run" / "more").symlink_to(tmp_path / "other")
    expected = [("jump/a.mp4", 0), ("run/b.mp4", 1), ("run/more/c.mp4", 1)]
    assert found(VideoDataset.from_folder(root), root) == expected


def test_a_link_back_to_its_own_folder_does_not_repeat_videos(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/a.mp4")
    (root / "run" / "again").symlink_to(root / "run")
    assert found(VideoDataset.from_folder(root), root) == [("run/a.mp4", 0)]


def test_a_link_next_to_its_folder_treats_all_videos_in_it_alike(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/folder/a.mp4", "run/folder/deep/b.mp4")
    (root / "run" / "again").symlink_to(root / "run" / "folder")
    names = [Path(video.path).name for video in VideoDataset.from_folder(root)]
    assert names.count("a.mp4") == names.count("b.mp4") >= 1


def test_a_folder_of_frames_is_a_video(tmp_path: Path) -> None:
    names = (
        "run/clip2/1.jpg",
        "run/clip2/2.jpg",
        "run/clip10/1.JPEG",
        "run/a.mp4",
        "jump/deep/clip/1.jpg",
        "run/x/notes",
    )
    root = make_files(tmp_path, *names)
    expected = [("jump/deep/clip", 0), ("run/a.mp4", 1), ("run/clip10", 1), ("run/clip2", 1)]
    assert found(VideoDataset.from_folder(root), root) == expected


def test_images_directly_in_a_class_folder_are_not_a_video(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/clip/1.jpg", "run/cover.jpg", "jump/1.jpg", "jump/2.jpg")
    with pytest.raises(DatasetError, match=r"jump contains no video"):
        VideoDataset.from_folder(root)
    (root / "jump").rename(root / "run" / "jump")
    assert found(VideoDataset.from_folder(root), root) == [("run/clip", 0), ("run/jump", 0)]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        VideoDataset.from_folder(tmp_path / "nowhere")


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4")
    with pytest.raises(DatasetError, match=r"a\.mp4 is a file, not a folder"):
        VideoDataset.from_folder(tmp_path / "a.mp4")


@pytest.mark.parametrize("names", [(), ("a.mp4",), (".hidden/a.mp4",)])
def test_the_error_for_a_folder_without_classes_describes_the_layout(tmp_path: Path, names: tuple[str, ...]) -> None:
    make_files(tmp_path, *names)
    with pytest.raises(DatasetError, match=f"{re.escape(str(tmp_path))} has no subfolders.*<class>/<file>.*from_list"):
        VideoDataset.from_folder(tmp_path)


def test_a_class_without_videos_is_named(tmp_path: Path) -> None:
    make_files(tmp_path, "run/a.mp4", "jump/notes.txt")
    with pytest.raises(DatasetError, match=r"jump contains no video .*\.mp4.*remove the folder.*extensions="):
        VideoDataset.from_folder(tmp_path)


def test_a_list_with_names_as_labels_sorts_the_classes(tmp_path: Path) -> None:
    dataset = VideoDataset.from_list(write_list(tmp_path, "a.mp4 run\nb.mp4 jump\nc.mp4 run\n"))
    assert dataset.classes == ["jump", "run"]
    assert list(dataset) == [Video("a.mp4", 1), Video("b.mp4", 0), Video("c.mp4", 1)]


def test_a_list_with_numbers_as_labels_counts_the_classes(tmp_path: Path) -> None:
    dataset = VideoDataset.from_list(write_list(tmp_path, "a.mp4 2\nb.mp4 0\n"))
    assert dataset.classes == ["0", "1", "2"]
    assert list(dataset) == [Video("a.mp4", 2), Video("b.mp4", 0)]


@pytest.mark.parametrize("text", ["a.mp4 run\nb.mp4 jump\n", "a.mp4 1\nb.mp4 0\n", "a.mp4 run\nb.mp4 0\n"])
def test_labels_in_a_list_are_names_or_numbers_of_the_given_classes(tmp_path: Path, text: str) -> None:
    dataset = VideoDataset.from_list(write_list(tmp_path, text), classes=["jump", "run", "sit"])
    assert dataset.classes == ["jump", "run", "sit"]
    assert list(dataset) == [Video("a.mp4", 1), Video("b.mp4", 0)]


def test_comments_and_blank_lines_are_ignored(tmp_path: Path) -> None:
    text = "# the list\n\na.mp4 0\n   \n  # more\nb.mp4 1"
    assert list(VideoDataset.from_list(write_list(tmp_path, text))) == [Video("a.mp4", 0), Video("b.mp4", 1)]


def test_paths_in_a_list_may_contain_spaces(tmp_path: Path) -> None:
    text = "my  holiday video.mp4 0\n  b c.mp4 \t 1  \n"
    dataset = VideoDataset.from_list(write_list(tmp_path, text))
    assert list(dataset) == [Video("my  holiday video.mp4", 0), Video("b c.mp4", 1)]


def test_a_list_may_have_windows_line_ends(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfa.mp4 run\r\n\r\n# x\r\nb.mp4 jump\r\n"
    dataset = VideoDataset.from_list(write_list(tmp_path, text))
    assert dataset.classes == ["jump", "run"]
    assert list(dataset) == [Video("a.mp4", 1), Video("b.mp4", 0)]


def test_a_list_may_name_files_in_any_script(tmp_path: Path) -> None:
    dataset = VideoDataset.from_list(write_list(tmp_path, "été/走る.mp4 走る\n"))
    assert dataset[0] == Video("été/走る.mp4", 0)
    assert dataset.classes == ["走る"]


def test_relative_paths_in_a_list_start_at_root(tmp_path: Path) -> None:
    path = write_list(tmp_path, "a.mp4 0\n/data/b.mp4 0\n")
    assert [video.path for video in VideoDataset.from_list(path, root="/videos")] == ["/videos/a.mp4", "/data/b.mp4"]


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("a.mp4 run\nb.mp4 sit\n", ["run", "jump"], "line 2: label 'sit' is unknown; write .*below 2 or .*names"),
        ("\n# x\na.mp4 2\n", ["run", "jump"], "line 3: label '2' is unknown; write .*below 2 or .*names"),
        ("a.mp4 0\nb.mp4 -1\n", None, "line 2: label '-1' is unknown; write a number from 0 on"),
        ("a.mp4 0\r\n\r\nb.mp4\r\n", None, r"line 3: 'b\.mp4' has no label; each line is 'path label'"),
        ("a.mp4 0\nb.mp4 99999999999999999999\n", None, "line 2: label '99999999999999999999'"),
    ],
)
def test_a_bad_label_is_named_with_its_line_and_the_fix(
    tmp_path: Path, text: str, classes: list[str] | None, message: str
) -> None:
    with pytest.raises(DatasetError, match=rf"videos\.txt, {message}"):
        VideoDataset.from_list(write_list(tmp_path, text), classes=classes)


@pytest.mark.parametrize("text", ["", "\n\n", "# a.mp4 0\n"])
def test_a_list_without_videos_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatasetError, match=r"videos\.txt lists no video: each line is a path, a space and a label"):
        VideoDataset.from_list(write_list(tmp_path, text))


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read the list .*nowhere\.txt: No such file"):
        VideoDataset.from_list(tmp_path / "nowhere.txt")
    with pytest.raises(DatasetError, match=f"cannot read the list {re.escape(str(tmp_path))}: Is a directory"):
        VideoDataset.from_list(tmp_path)


def test_a_list_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"videos\.txt.* not UTF-8"):
        VideoDataset.from_list(write_list(tmp_path, b"a.mp4 0\n\xe9t\xe9.mp4 1\n"))


def test_a_list_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"videos\.txt, line 2.*UTF-8"):
        VideoDataset.from_list(write_list(tmp_path, b"a.mp4 0\n\xe9t\xe9.mp4 1\n"))


def test_a_data_set_is_a_sequence_of_videos(three: VideoDataset) -> None:
    assert len(three) == 3
    assert list(three) == [Video("a.mp4", 0), Video("b.mp4", 2), Video("c.mp4", 1)]
    assert three[-1] == Video("c.mp4", 1)
    assert three[np.int64(1)] == Video("b.mp4", 2)
    assert Video("b.mp4", 2) in three
    assert repr(three) == "VideoDataset(3 videos, 3 classes)"


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_outside_the_data_set_is_an_error(three: VideoDataset, index: int) -> None:
    with pytest.raises(IndexError):
        _ = three[index]
    with pytest.raises(IndexError):
        three.subset([0, index])


@pytest.mark.parametrize("part", [slice(1, None), slice(None, None, -1), slice(-2, 9), slice(0, 3, 2)])
def test_a_slice_is_a_data_set_with_the_same_classes(three: VideoDataset, part: slice) -> None:
    sliced = three[part]
    assert isinstance(sliced, VideoDataset)
    assert list(sliced) == list(three)[part]
    assert sliced.classes == three.classes


def test_a_subset_is_in_the_requested_order(three: VideoDataset) -> None:
    subset = three.subset(np.array([2, 0, 2, -2]))
    assert list(subset) == [three[2], three[0], three[2], three[1]]
    assert subset.classes == three.classes


@pytest.mark.parametrize("indices", [[True, False], [0.5], np.eye(2, dtype=int)])
def test_a_subset_of_something_other_than_indices_is_rejected(three: VideoDataset, indices: Any) -> None:
    with pytest.raises(DatasetError, match="subset got"):
        three.subset(indices)


def test_an_empty_subset_is_rejected(three: VideoDataset) -> None:
    with pytest.raises(DatasetError, match="at least one video"):
        three.subset([])
    with pytest.raises(DatasetError, match="at least one video"):
        _ = three[1:1]


@pytest.mark.parametrize("labels", [[1, 0], np.array([1, 0]), torch.tensor([1, 0]), iter([1, 0])], ids=type)
def test_paths_and_labels_may_be_of_any_usual_kind(labels: Any) -> None:
    dataset = VideoDataset([Path("a.mp4"), "b.mp4"], labels)
    assert list(dataset) == [Video("a.mp4", 1), Video("b.mp4", 0)]
    assert dataset.classes == ["0", "1"]
    assert type(dataset[0].label) is int


def test_a_data_set_can_be_sent_to_another_process(three: VideoDataset) -> None:
    sent = pickle.loads(pickle.dumps(three))
    assert list(sent) == list(three)
    assert sent.classes == three.classes


@pytest.mark.parametrize("path", ["a.mp4", Path("a.mp4"), b"a.mp4"])
def test_a_single_path_is_an_error_that_shows_the_list_to_give(path: Any) -> None:
    with pytest.raises(DatasetError, match=r"paths is one path, .*a\.mp4'\)?: give a list of paths, such as \["):
        VideoDataset(path, [0])


@pytest.mark.parametrize("path", [3, None, b"a.mp4", Video("a.mp4", 0)])
def test_something_that_is_not_a_path_is_named_with_its_type(path: Any) -> None:
    with pytest.raises(DatasetError, match=rf"path .* is a {type(path).__name__}: give paths as str or pathlib\.Path"):
        VideoDataset(["b.mp4", path], [0, 0])


def test_the_classes_may_be_those_of_another_data_set(three: VideoDataset, tmp_path: Path) -> None:
    # None of these contains a video of "run", the class with index 0.
    lines, frames = write_list(tmp_path, "a.mp4 sit\nb.mp4 jump\n"), tmp_path / "frames.txt"
    frames.write_text("a 3 2\nb 4 1\n")
    shard = write_shard(tmp_path / "s.tar", {"a.mp4": b"", "a.cls": b"sit", "b.mp4": b"", "b.cls": b"jump"})
    for dataset in (
        VideoDataset(["a.mp4", "b.mp4"], ["sit", "jump"], three),
        VideoDataset.from_list(lines, classes=three),
        VideoDataset.from_frame_list(frames, classes=three),
        VideoDataset.from_shards(shard, classes=three),
    ):
        assert dataset.classes == three.classes
        assert dataset.classes is not three.classes
        assert [video.label for video in dataset] == [2, 1]


def test_a_class_that_the_other_data_set_does_not_have_is_named(three: VideoDataset, tmp_path: Path) -> None:
    lines, frames = write_list(tmp_path, "a.mp4 fly\n"), tmp_path / "frames.txt"
    frames.write_text("a 3 7\n")
    shard = write_shard(tmp_path / "s.tar", {"a.mp4": b"", "a.cls": b"fly"})
    with pytest.raises(DatasetError, match=r"a\.mp4: label 'fly' is not one of the 3 classes \(run, jump, sit\)"):
        VideoDataset(["a.mp4"], ["fly"], three)
    with pytest.raises(DatasetError, match=r"videos\.txt, line 1: label 'fly' is unknown"):
        VideoDataset.from_list(lines, classes=three)
    with pytest.raises(DatasetError, match=r"a/img_%05d\.jpg: label 7 is outside \[0, 3\)"):
        VideoDataset.from_frame_list(frames, classes=three)
    with pytest.raises(DatasetError, match=r"s\.tar::a\.mp4: label 'fly' is unknown"):
        VideoDataset.from_shards(shard, classes=three)


@pytest.mark.parametrize("classes", ["run", ["run", "run"]])
def test_each_constructor_checks_the_classes(classes: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lines, frames = write_list(tmp_path, "a.mp4 run\n"), tmp_path / "frames.txt"
    frames.write_text("a 3 0\n")
    shard = write_shard(tmp_path / "s.tar", {"a.mp4": b"", "a.cls": b"run"})
    for construct, source in (
        (VideoDataset.from_folder, make_files(tmp_path, "run/a.mp4")),
        (VideoDataset.from_list, lines),
        (VideoDataset.from_frame_list, frames),
        (VideoDataset.from_shards, shard),
    ):
        with pytest.raises(DatasetError, match="classes (is one string|contains 'run' twice)"):
            construct(source, classes=classes)
    with pytest.raises(DatasetError, match="classes (is one string|contains 'run' twice)"):
        VideoDataset(["a.mp4"], [0], classes)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_outside_the_classes_is_named_with_its_path(label: int) -> None:
    with pytest.raises(DatasetError, match=rf"b\.mp4: label {label} is outside \[0, 2\)"):
        VideoDataset(["a.mp4", "b.mp4"], [0, label], ["run", "jump"])


def test_a_negative_label_is_named_if_no_classes_are_given() -> None:
    with pytest.raises(DatasetError, match=r"b\.mp4: label -3 is outside"):
        VideoDataset(["a.mp4", "b.mp4"], [0, -3])


@pytest.mark.parametrize("label", [0.5, 10**20])
def test_a_label_that_is_not_a_class_index_is_named(label: Any) -> None:
    with pytest.raises(DatasetError, match=str(label)):
        VideoDataset(["a.mp4", "b.mp4"], [0, label], ["run", "jump"])


def test_paths_and_labels_must_have_the_same_length() -> None:
    with pytest.raises(DatasetError, match="2 paths and 1 labels: give each path one label"):
        VideoDataset(["a.mp4", "b.mp4"], [0])


def test_a_data_set_without_videos_is_rejected() -> None:
    with pytest.raises(DatasetError, match="at least one video, got none"):
        VideoDataset([], [])


SPANS = [(512, 100), None, (2048, 1 << 40)]


@pytest.fixture
def members() -> VideoDataset:
    return VideoDataset(["s.tar::a.mp4", "b.mp4", "s.tar::c.mp4"], [0, 2, 1], spans=SPANS)


def test_spans_are_kept_with_their_videos(members: VideoDataset) -> None:
    assert [video.span for video in members] == SPANS
    assert [video.span for video in members[::-1]] == SPANS[::-1]
    assert [video.span for video in members.subset([1, 1])] == [None, None]
    assert [video.span for video in pickle.loads(pickle.dumps(members))] == SPANS
    assert members[0].media == Media("s.tar::a.mp4", (512, 100))
    assert members[1].media == Media("b.mp4")


def test_spans_may_be_an_array() -> None:
    spans = np.array([[512, 100], [-1, -1], [2048, 1 << 40]])
    dataset = VideoDataset(["s.tar::a.mp4", "b.mp4", "s.tar::c.mp4"], [0, 2, 1], spans=spans)
    spans[:] = 0
    assert [video.span for video in dataset] == SPANS


def test_videos_without_spans_have_none(three: VideoDataset) -> None:
    assert three[0].span is None
    assert three[0].media == Media("a.mp4")


@pytest.mark.parametrize("spans", [[(0, 1)], [(0, 1), (0, 1, 2)], [(0, 1), 3], [(0.5, 1), (0, 1)], [(0, 1)] * 3])
def test_spans_must_be_two_integers_for_each_path(spans: Any) -> None:
    with pytest.raises(DatasetError, match="spans must .*offset and a length, or None"):
        VideoDataset(["s.tar::a.mp4", "s.tar::b.mp4"], [0, 1], spans=spans)


@pytest.mark.parametrize("span", [(-1, 5), (5, -1), (-2, -1)])
def test_an_invalid_span_is_named_with_its_path(span: tuple[int, int]) -> None:
    with pytest.raises(DatasetError, match=r"s\.tar::b\.mp4: span \[.*\] is not an offset and a length"):
        VideoDataset(["s.tar::a.mp4", "s.tar::b.mp4"], [0, 1], spans=[(0, 1), span])


def test_shards_are_read_in_order_with_their_labels(tmp_path: Path) -> None:
    for shard, numbers in (("s-00.tar", (3, 1)), ("s-01.tar", (2,))):
        files = [(f"{i}/v.mp4", b"v" * i, f"{i}/v.cls", str(i).encode()) for i in numbers]
        write_shard(tmp_path / shard, {name: content for a, b, c, d in files for name, content in ((a, b), (c, d))})
    dataset = VideoDataset.from_shards(tmp_path / "s-{00..01}.tar")
    assert found(dataset, tmp_path) == [("s-00.tar::3/v.mp4", 3), ("s-00.tar::1/v.mp4", 1), ("s-01.tar::2/v.mp4", 2)]
    assert [video.media.read() for video in dataset] == [b"vvv", b"v", b"vv"]
    assert [video.media.read() for video in dataset.subset([2, 0])] == [b"vv", b"vvv"]
    assert dataset.classes == ["0", "1", "2", "3"]
    assert list(VideoDataset.from_shards([tmp_path / "s-*.tar"])) == list(dataset)


def test_labels_of_shards_may_be_names(tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path / "s.tar", {"a.mp4": b"", "a.json": b'{"act": "run"}', "b.mp4": b"", "b.json": b'{"act": "jump"}'}
    )
    assert [video.label for video in VideoDataset.from_shards(shard, label="json:act")] == [1, 0]
    assert VideoDataset.from_shards(shard, label="json:act").classes == ["jump", "run"]
    given = VideoDataset.from_shards(shard, label="json:act", classes=["run", "sit", "jump"])
    assert [video.label for video in given] == [0, 2]
    with pytest.raises(DatasetError, match=r"s\.tar::b\.mp4: label 'jump' is unknown; write .*below 1 or .*names"):
        VideoDataset.from_shards(shard, label="json:act", classes=["run"])


def test_indices_of_shards_are_stored_in_the_given_folder(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", {"a.mp4": b"", "a.cls": b"0"})
    VideoDataset.from_shards(shard, cache_dir=tmp_path / "cache")
    assert sorted(os.listdir(tmp_path)) == ["cache", "s.tar"]


def test_the_sample_folder_has_one_video_per_class(real_videos: Path) -> None:
    folder = real_videos / "labelled"
    dataset = VideoDataset.from_folder(folder)
    assert dataset.classes == sorted(os.listdir(folder))
    assert [video.label for video in dataset] == list(range(len(dataset.classes)))


@pytest.mark.parametrize(
    ("frame", "where"), [(0, "before its first frame"), (7, "after 7 frames")], ids=["unopened", "midway"]
)
def test_a_decoding_error_names_the_file_the_place_the_reason_and_the_fix(frame: int, where: str) -> None:
    error = VideoDecodeError("run/a.mp4", frame, "no such codec")
    assert str(error).startswith(f"cannot decode run/a.mp4: no such codec ({where}). Remove the file")
    assert 'on_error="replace"' in str(error)


def test_a_decoding_error_can_be_sent_to_another_process() -> None:
    sent = pickle.loads(pickle.dumps(VideoDecodeError("run/a.mp4", 7, "no such codec")))
    assert (sent.path, sent.frame, sent.reason) == ("run/a.mp4", 7, "no such codec")


def test_paths_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    tar = tmp_path / "s.tar"
    tar.touch()
    with pytest.raises(DatasetError, match="position of this member .* VideoDataset.from_shards, or give spans="):
        VideoDataset([f"{tar}::a.mp4"], [0])
    with pytest.raises(DatasetError, match=r"path 'a\\x00.mp4' contains a null character"):
        VideoDataset(["a\0.mp4"], [0])
