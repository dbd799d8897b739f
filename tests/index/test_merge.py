"""Merging index files: newest rows, united motion, names of one root, and no loss if the merge is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mgdali.errors import DatasetError
from mgdali.index import merge, names
from mgdali.index.merge import MergeReport, merge_indices
from mgdali.index.reader import MotionIndex
from mgdali.index.schema import REQUIRED, to_batch
from mgdali.index.writer import IndexWriter
from mgdali.video.media import Fingerprint
from mgdali.video.record import VideoRecord
from tests.support.index_records import contents, make_record
from tests.support.loading import SCRIPT_ENVIRONMENT

CONTENT, OTHER_CONTENT = Fingerprint(10, 5, "aa"), Fingerprint(11, 4, "bb")
IMAGE, FEATURE = {"image": np.ones(5, np.float32)}, {"feature": np.full(5, 2, np.float32)}

# Kills itself at the given step: while rows are compared, or before the new file replaces the old one.
KILLED = """
import os, signal, sys
import mgdali.index.merge
def kill(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "rows":
    mgdali.index.merge._united_records = kill
else:
    sys.addaudithook(lambda name, arguments: name == "os.rename" and str(arguments[1]).endswith("a.parquet") and kill())
mgdali.index.merge.merge_indices(["a.parquet", "b.parquet"], "a.parquet")
"""


def write(path: Path, *records: VideoRecord, root: str | None = None) -> Path:
    writer = IndexWriter(path, root=root)
    writer.add(*records)
    writer.commit()
    return path


def found(path: Path, name: str) -> VideoRecord:
    record = MotionIndex(path).find(name)
    assert record is not None
    return record


def of(fingerprint: Fingerprint | None = CONTENT, **changes: Any) -> VideoRecord:
    if "error" in changes:
        return VideoRecord(path="/v.mp4", fingerprint=fingerprint, error=changes["error"])
    return make_record("/v.mp4", 5, fingerprint=fingerprint, **changes)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (of(rate=1.0), of(rate=2.0), 1),
        (of(Fingerprint(12, 9, "cc")), of(OTHER_CONTENT), 0),
        (of(OTHER_CONTENT), of(CONTENT), 1),
        (of(Fingerprint(10, 0, "cc")), of(OTHER_CONTENT), 1),
        (of(), of(error="broken"), 0),
        (of(error="broken"), of(), 1),
        (of(), of(Fingerprint(11, 6, "bb"), error="broken"), 1),
        (of(), of(None, error="missing"), 0),
        (of(None, error="missing"), of(error="broken"), 1),
        (of(motion=IMAGE, origin="/o.mp4", filters=None), of(motion=FEATURE, origin=None), 1),
    ],
    ids=[
        "later",
        "newer",
        "newest",
        "unknown time",
        "good",
        "good later",
        "changed",
        "readable",
        "readable 2",
        "packed",
    ],
)
def test_one_row_of_a_video_is_kept(first: VideoRecord, second: VideoRecord, kept: int, tmp_path: Path) -> None:
    out = tmp_path / "c.parquet"
    report = merge_indices([write(tmp_path / "a", first), write(tmp_path / "b", second)], out)
    assert report == MergeReport(read=2, rows=1, united=0, root=None)
    assert contents(found(out, "/v.mp4")) == contents((first, second)[kept])


def test_motion_of_the_same_content_is_united(tmp_path: Path) -> None:
    copied = Fingerprint(CONTENT.size, 99, CONTENT.head)
    first = write(tmp_path / "a", of(motion=IMAGE, filters=None))
    second = write(tmp_path / "b", of(copied, motion=FEATURE, filters="f"))
    for paths in ([first, second], [second, first]):
        out = tmp_path / f"{paths[0].name}.parquet"
        assert merge_indices(paths, out).united == 1
        record = found(out, "/v.mp4")
        assert {key: values.tolist() for key, values in record.motion.items()} == {"image": [1] * 5, "feature": [2] * 5}
        assert record.filters == "f"


def test_names_of_different_roots_become_those_of_one_root(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a", make_record("/data/x/a.mp4"), root="/data/x"),
        write(tmp_path / "b", make_record("/data/y/b.mp4"), make_record("/data/x/a.mp4", seed=1), root="/data/y"),
        write(tmp_path / "c", make_record("/data/z/c.mp4")),
    ]
    out = tmp_path / "out.parquet"
    assert merge_indices(files, out) == MergeReport(4, 3, 0, "/data")
    assert sorted(pq.read_table(out)["path"].to_pylist()) == ["x/a.mp4", "y/b.mp4", "z/c.mp4"]
    assert merge_indices([out], out, root="/data/z").root == "/data/z"
    assert sorted(pq.read_table(out)["path"].to_pylist()) == ["/data/x/a.mp4", "/data/y/b.mp4", "c.mp4"]
    # Videos of two machines that are now at one place.
    moved = [("/data/x", "s3://b/x"), ("/data", "s3://b")]
    assert merge_indices([out], out, root="s3://b", moved=moved).rows == 3
    assert sorted(pq.read_table(out)["path"].to_pylist()) == ["x/a.mp4", "y/b.mp4", "z/c.mp4"]
    assert found(out, "s3://b/x/a.mp4").path == "s3://b/x/a.mp4"


def test_files_of_all_formats_are_merged(tmp_path: Path) -> None:
    old = pa.Table.from_batches([to_batch([make_record("/d/1.mp4", times=None)])]).select(list(REQUIRED))
    pq.write_table(old.replace_schema_metadata(None), tmp_path / "1")
    write(tmp_path / "2", make_record("/d/2.mp4"))
    write(tmp_path / "3", make_record("/d/3.mp4"), root="/d")
    out = tmp_path / "out.parquet"
    assert merge_indices([tmp_path / "1", tmp_path / "2", tmp_path / "3"], out).rows == 3
    assert found(out, "/d/1.mp4").packet_sizes is None
    assert contents(found(out, "/d/3.mp4")) == contents(make_record("/d/3.mp4"))
    assert pq.read_schema(out).metadata[b"mgdali.format"] == b"3"


@pytest.mark.parametrize("same_key", [False, True])
def test_many_rows_are_merged_in_batches(same_key: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "_BATCH_ROWS", 7)
    if same_key:
        # Different names may have the same key.
        monkeypatch.setattr(merge, "name_key", lambda name: names.name_key(name) % 5)
    write(tmp_path / "a", *(make_record(f"/v/{i}.mp4", seed=i, motion=IMAGE) for i in range(40)))
    write(tmp_path / "b", *(make_record(f"/v/{i}.mp4", seed=i, motion=FEATURE) for i in range(59, 19, -1)), root="/v")
    out = tmp_path / "out.parquet"
    assert merge_indices([tmp_path / "a", tmp_path / "b"], out) == MergeReport(80, 60, 20, "/v")
    for i in range(60):
        record = found(out, f"/v/{i}.mp4")
        assert record.fingerprint == make_record("", seed=i).fingerprint
        assert record.motion.keys() == ({"image"} if i < 40 else set()) | ({"feature"} if i >= 20 else set())


@pytest.mark.slow
@pytest.mark.parametrize("step", ["rows", "rename"])
def test_a_merge_that_is_killed_leaves_the_old_file(step: str, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", of(motion=IMAGE))
    write(tmp_path / "b.parquet", of(motion=FEATURE))
    before = (tmp_path / "a.parquet").read_bytes()
    command = [sys.executable, "-c", KILLED, step]
    assert subprocess.run(command, env=SCRIPT_ENVIRONMENT, cwd=tmp_path).returncode == -signal.SIGKILL
    assert (tmp_path / "a.parquet").read_bytes() == before
    assert merge_indices([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "a.parquet").united == 1
    assert sorted(os.listdir(tmp_path)) == ["a.parquet", "a.parquet.map", "b.parquet"]


def test_errors_name_the_file_and_leave_nothing(tmp_path: Path) -> None:
    good, damaged = write(tmp_path / "good", *(make_record(f"/{i}") for i in range(50))), tmp_path / "damaged"
    content = bytearray(good.read_bytes())
    content[200:1200] = bytes(1000)
    damaged.write_bytes(content)
    shutil.copy(good, tmp_path / "existing")
    for paths, out, words in (
        ([good, tmp_path / "none"], "new/out", "the index .*none does not exist"),
        ([good, damaged], "out", "cannot read the index .*damaged .*it is damaged"),
        ([good], "existing", "existing exists and is not one of the files to merge"),
        ([good], "", "is not one of the files to merge"),
    ):
        with pytest.raises(DatasetError, match=words):
            merge_indices(paths, tmp_path / out)
    with pytest.raises(DatasetError, match=r"pack contains relative paths \(s.tar::a.mp4\) and no root"):
        merge_indices([good, write(tmp_path / "pack", make_record("s.tar::a.mp4"))], tmp_path / "out", root="/")
    (tmp_path / "pack").unlink()
    with pytest.raises(DatasetError, match="cannot write the index to the URL"):
        merge_indices([good], "s3://bucket/out.parquet")
    with pytest.raises(ValueError, match="paths must be one or more"):
        merge_indices([], tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["damaged", "existing", "good"]
