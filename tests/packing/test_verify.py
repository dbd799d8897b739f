"""Checking packs: every kind of damage is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mgdali.datasets.pack_format import INDEX, MANIFEST, TABLE
from mgdali.errors import DatasetError
from mgdali.packing.verify import check_pack
from tests.support.packs import table

SHARD = "shard-000000.tar"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    """A copy of the pack, for damaging."""
    return Path(shutil.copytree(packed, tmp_path / "pack"))


def overwrite(file: Path, offset: int, content: bytes) -> None:
    with open(file, "rb+") as target:
        target.seek(offset)
        target.write(content)


def edit_column(file: Path, name: str, edit: Callable[[list[object]], list[object]]) -> None:
    """Replace the values of a column of a Parquet file."""
    found = pq.read_table(file)
    column = found.schema.get_field_index(name)
    values = pa.array(edit(found.column(name).to_pylist()), found.schema.field(name).type)
    pq.write_table(found.set_column(column, found.schema.field(name), values), file)


def problems(folder: Path) -> dict[str, str]:
    check = check_pack(folder)
    assert check.complete == (not check.problems)
    return {problem.name.rpartition("::")[2]: problem.reason for problem in check.problems}


def test_a_whole_pack_is_complete(packed: Path) -> None:
    done: list[tuple[int, int]] = []
    check = check_pack(packed, on_shard=lambda *numbers: done.append(numbers))
    assert (check.complete, check.problems, check.videos, check.shards) == (True, (), 7, 1)
    assert check.bytes == os.path.getsize(packed / SHARD)
    assert done == [(1, 1)]


def test_a_changed_byte_of_a_video_is_found(copy: Path) -> None:
    row = table(copy)[2]
    overwrite(copy / SHARD, row["offset"] + row["length"] - 1, b"\x99")
    assert list(problems(copy)) == [f"{row['key']}.mp4"]
    assert "has other bytes than when it was packed" in problems(copy)[f"{row['key']}.mp4"]


def test_damaged_headers_and_json_files_are_found(copy: Path) -> None:
    first, second, third = table(copy)[:3]
    overwrite(copy / SHARD, first["offset"] - 512, b"other")
    overwrite(copy / SHARD, second["offset"] + -(-second["length"] // 512) * 512 + 512, b'{"label": 9')
    header = (copy / SHARD).read_bytes()[second["offset"] - 512 : second["offset"]]
    overwrite(copy / SHARD, third["offset"] - 512, header)
    found = problems(copy)
    assert "damaged tar header at byte 0" in found[f"{first['key']}.mp4"]
    assert "JSON file with another label" in found[f"{second['key']}.mp4"]
    assert f"has the file '{second['key']}.mp4'" in found[f"{third['key']}.mp4"]


def test_a_short_a_long_and_a_missing_shard_are_found(packed: Path, copy: Path) -> None:
    size = os.path.getsize(copy / SHARD)
    os.truncate(copy / SHARD, size - 3000)
    found = problems(copy)
    assert found[SHARD] == f"has {size - 3000} bytes instead of {size}"
    assert "is incomplete" in found[f"{table(copy)[-1]['key']}.mp4"]
    shutil.copy(packed / SHARD, copy)
    os.truncate(copy / SHARD, size + 10)
    assert problems(copy)[SHARD] == "does not end after its last video"
    (copy / SHARD).unlink()
    assert problems(copy) == {SHARD: "cannot be read: No such file or directory"}


def test_an_extra_shard_is_found(copy: Path) -> None:
    shutil.copy(copy / SHARD, copy / "shard-000001.tar")
    assert problems(copy) == {"shard-000001.tar": "is not in the manifest"}


@pytest.mark.parametrize(
    ("file", "column", "edit", "reason"),
    [
        (TABLE, "length", lambda values: [values[0] + 512, *values[1:]], "has another size in the tar"),
        (TABLE, "offset", lambda values: [values[0], values[1] + 512, *values[2:]], "but the video before it ends"),
        (TABLE, "label", lambda values: [1, *values[1:]], "has a JSON file with another label"),
        (TABLE, "key", lambda values: [values[1], *values[1:]], "has the file"),
        (TABLE, "origin_size", lambda values: [1, *values[1:]], "has other sizes of the originals"),
        (INDEX, "path", lambda values: [values[1], values[0], *values[2:]], "has the row of"),
        (INDEX, "size", lambda values: [5, *values[1:]], "has another size or original"),
        (INDEX, "packet_sizes", lambda values: [values[1], *values[1:]], "has packets at other positions"),
        (INDEX, "num_frames", lambda values: [1, *values[1:]], "and other numbers of S"),
    ],
)
def test_a_table_or_index_of_other_videos_is_found(
    file: str, column: str, edit: Callable[[list[object]], list[object]], reason: str, copy: Path
) -> None:
    edit_column(copy / file, column, edit)
    assert any(reason in text for text in problems(copy).values())


def test_a_manifest_of_another_number_of_videos_is_found(copy: Path) -> None:
    content = json.loads((copy / MANIFEST).read_text())
    content["shards"][0]["videos"] = 8
    (copy / MANIFEST).write_text(json.dumps(content))
    assert problems(copy)[TABLE] == "has 7 rows, but the shards have 8 videos"
    assert problems(copy)[SHARD] == "has 7 videos in videos.parquet instead of 8"


def test_what_is_not_a_pack_is_refused(copy: Path) -> None:
    pq.write_table(pq.read_table(copy / INDEX).slice(1), copy / INDEX)
    with pytest.raises(DatasetError, match=r"index\.parquet has 6 rows, but .* has 7"):
        check_pack(copy)
    (copy / TABLE).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"cannot read .*videos\.parquet"):
        check_pack(copy)
    (copy / MANIFEST).unlink()
    with pytest.raises(DatasetError, match="is not a complete packed data set"):
        check_pack(copy)
