"""The labelled videos that an argument of packing names."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from mgdali import TimeRange, VideoDataset
from mgdali.datasets.video_dataset import Video
from mgdali.errors import DatasetError
from mgdali.packing.sources import labelled_videos
from mgdali.video.media import Media


def labels(data: VideoDataset) -> list[tuple[str, str]]:
    """Names of the files and their classes."""
    return [(Path(video.path).name, data.classes[video.label]) for video in data]


def write_tar(path: Path, video: Path, label: dict[str, bytes]) -> Path:
    """A shard with two samples of the same video, with labels by ending."""
    with tarfile.open(path, "w") as tar:
        for key in ("a", "b"):
            tar.add(video, f"{key}.mp4")
            for ending, content in label.items():
                entry = tarfile.TarInfo(f"{key}.{ending}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def test_a_data_set_is_taken_as_it_is(class_folders: Path) -> None:
    data = VideoDataset.from_folder(class_folders)
    assert labelled_videos(data) is data


def test_subfolders_are_classes(class_folders: Path) -> None:
    data = labelled_videos(class_folders)
    assert data.classes == ["jump", "run", "sit"]
    assert labels(data) == labels(VideoDataset.from_folder(class_folders))


def test_a_folder_without_subfolders_is_one_class(class_folders: Path) -> None:
    data = labelled_videos(str(class_folders / "jump"))
    assert (data.classes, len(data)) == (["0"], 3)


def test_videos_beside_subfolders_are_refused(class_folders: Path, tmp_path: Path) -> None:
    shutil.copytree(class_folders, tmp_path / "mixed")
    shutil.copy(class_folders / "jump" / "clip0.mp4", tmp_path / "mixed" / "stray.mp4")
    with pytest.raises(DatasetError, match=r"beside its subfolders, such as .*stray\.mp4"):
        labelled_videos(tmp_path / "mixed")


def test_lists_bring_their_labels(class_folders: Path, sample_videos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("run/clip1.mp4 fast\njump/clip0.mp4 high\n")
    data = labelled_videos(str(tmp_path / "list.txt"), root=class_folders)
    assert labels(data) == [("clip1.mp4", "fast"), ("clip0.mp4", "high")]
    (tmp_path / "frames.txt").write_text("00001 16 2\n")
    data = labelled_videos(str(tmp_path / "frames.txt"), root=sample_videos / "frames", template="%05d.jpg")
    assert (data[0].label, data[0].path.endswith("00001/%05d.jpg")) == (2, True)


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        ({"cls": b"3"}, ["0", "1", "2", "3"]),
        ({"json": json.dumps({"label": "run"}).encode()}, ["run"]),
        ({}, ["0"]),
        ({"txt": b"a caption"}, ["0"]),
    ],
)
def test_shards_bring_their_labels_if_they_have_some(
    files: dict[str, bytes], classes: list[str], class_folders: Path, tmp_path: Path
) -> None:
    tar = write_tar(tmp_path / "s.tar", class_folders / "jump" / "clip0.mp4", files)
    data = labelled_videos(str(tar))
    assert (data.classes, len(data)) == (classes, 2)
    assert data[0].span is not None


def test_videos_are_taken_with_and_without_labels(class_folders: Path) -> None:
    path = str(class_folders / "jump" / "clip0.mp4")
    assert [video.label for video in labelled_videos([Video(path, 2), Video(path, 1)])] == [2, 1]
    assert [video.label for video in labelled_videos([path, Media(path.replace("0", "3"))])] == [0, 0]
    assert labelled_videos(Video(path, 1))[0].label == 1
    segments = [Video(path, 2, time_range=TimeRange(1.0, 2.0)), Video(path, 0), Video(f"{path}::a.mp4", 1, (8, 9))]
    assert list(labelled_videos(segments)) == segments


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_tables_bring_labels_segments_and_columns(class_folders: Path, tmp_path: Path, name: str) -> None:
    rows = [
        {"path": "jump/clip0.mp4", "label": "jump", "start": 0.5, "end": 2.0, "id": 7},
        {"path": "run/clip1.mp4", "label": "run", "start": 0.0, "end": 1.5, "id": 8},
    ]
    table = pa.Table.from_pylist(rows)
    if name.endswith(("csv", "tsv")):
        pacsv.write_csv(table, tmp_path / name, pacsv.WriteOptions(delimiter="," if name == "a.csv" else "\t"))
    elif name == "a.jsonl":
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pq.write_table(table, tmp_path / name)
    data = labelled_videos(tmp_path / name, root=class_folders)
    assert labels(data) == [("clip0.mp4", "jump"), ("clip1.mp4", "run")]
    assert [video.time_range for video in data] == [TimeRange(0.5, 2.0), TimeRange(0.0, 1.5)]
    assert list(data.columns["id"]) == [7, 8]


def test_a_list_may_have_the_ending_of_a_table(class_folders: Path, tmp_path: Path) -> None:
    path = sorted(class_folders.rglob("*.mp4"))[0]
    (tmp_path / "list.csv").write_text(f"{path} 1\n")
    assert [video.label for video in labelled_videos(tmp_path / "list.csv")] == [1]


def test_what_names_no_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        labelled_videos(str(tmp_path / "none"))
    with pytest.raises(DatasetError, match="no videos"):
        labelled_videos([])


def test_a_pack_is_not_packed_again(packed: Path) -> None:
    for data in (packed, VideoDataset.from_pack(packed)):
        with pytest.raises(DatasetError, match=f"{packed} is a packed data set.*: pack the originals"):
            labelled_videos(data)
