"""Labels of every kind are kept by packing: class indices, missing labels, numbers and vectors."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mgdali import VideoDataset, pack
from mgdali.datasets.pack_format import MANIFEST, TABLE, read_manifest
from mgdali.errors import DatasetError
from mgdali.packing.verify import check_pack
from tests.support.packs import contents, encode_once, table

NAN = float("nan")
KINDS: dict[str, tuple[list[Any], list[str] | None, list[Any]]] = {
    "missing": ([1, None, 0], ["run", "jump"], [1, -1, 0]),
    "none": ([None, None, None], None, [-1, -1, -1]),
    "numbers": ([0.1, NAN, -3.0], None, [float(np.float32(0.1)), None, -3.0]),
    "vectors": ([[0.5, 1.0], [0.0, -2.0], [3.0, 0.25]], None, [[0.5, 1.0], [0.0, -2.0], [3.0, 0.25]]),
    "one number": ([[0.5], [0.25], [1.0]], None, [[0.5], [0.25], [1.0]]),
    "sets": ([["run"], [], ["jump", "run"]], ["run", "jump"], [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]),
}


@pytest.fixture(autouse=True)
def _copies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    encode_once(monkeypatch)


def labelled(folder: Path, labels: list[Any], classes: list[str] | None = None) -> VideoDataset:
    return VideoDataset(sorted(folder.rglob("*.mp4"))[: len(labels)], labels, classes)


def json_labels(out: Path) -> list[Any]:
    """The labels in the JSON files of the first shard."""
    with tarfile.open(out / "shard-000000.tar") as tar:
        files = [tar.extractfile(name) for name in tar.getnames() if name.endswith(".json")]
        return [json.load(file)["label"] for file in files if file is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_come_back_with_their_kind(kind: str, class_folders: Path, tmp_path: Path) -> None:
    labels, classes, written = KINDS[kind]
    data = labelled(class_folders, labels, classes)
    pack(data, tmp_path, num_workers=0)
    dataset = VideoDataset.from_pack(tmp_path)
    assert dataset.labels.dtype == data.labels.dtype
    np.testing.assert_array_equal(dataset.labels, data.labels)
    assert dataset.classes == data.classes
    assert json_labels(tmp_path) == written
    assert read_manifest(tmp_path).format == 2
    assert check_pack(tmp_path).complete
    before = contents(tmp_path)
    again = pack(data, tmp_path, num_workers=0)
    assert (again.packed, again.changed) == (0, ())
    assert contents(tmp_path) == before


def test_a_pack_of_whole_videos_with_classes_has_the_format_of_older_versions(packed: Path) -> None:
    assert read_manifest(packed).format == 1
    assert {(row["label_values"], row["start"], row["end"], row["unit"]) for row in table(packed)} == {(None,) * 4}


def test_changed_labels_are_named_and_labels_of_another_kind_refused(class_folders: Path, tmp_path: Path) -> None:
    pack(labelled(class_folders, [[0.5, 1.0], [0.0, 2.0]]), tmp_path, num_workers=0)
    changed = labelled(class_folders, [[0.5, 1.0], [0.0, 3.0]])
    assert pack(changed, tmp_path, num_workers=0).changed == (changed.paths[1],)
    for labels, words in (([0, 1], "class indices"), ([0.5, 1.0], "numbers"), ([[1.0]] * 2, "vectors of length 1")):
        with pytest.raises(DatasetError, match=f"are vectors of length 2, and those of the data set are {words}: "):
            pack(labelled(class_folders, labels), tmp_path, num_workers=0)


def test_a_pack_without_the_columns_of_this_version_is_read_checked_and_added_to(
    class_folders: Path, packed: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(packed, tmp_path / "pack"))
    rows = pq.read_table(old / TABLE)
    pq.write_table(rows.drop_columns(["label_values", "start", "end", "unit"]), old / TABLE)
    manifest = json.loads((old / MANIFEST).read_text())
    del manifest["label_shape"]
    manifest["left_out"] = [{"path": "/gone.mp4", "error": "broken"}]
    (old / MANIFEST).write_text(json.dumps(manifest))
    data = VideoDataset.from_folder(class_folders)
    assert VideoDataset.from_pack(old).labels.tolist() == data.labels.tolist()
    assert check_pack(old).complete
    more = VideoDataset([*data.paths, data.paths[0]], [*data.labels, 2], data.classes)
    assert pack(more, old, num_workers=0).packed == 1
    assert VideoDataset.from_pack(old).labels.tolist() == more.labels.tolist()
    assert [(each.path, each.part) for each in read_manifest(old).left_out] == [("/gone.mp4", None)]
