"""The endings that the help of the commands names."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mgdali import VideoDataset
from mgdali.datasets.named_videos import is_table
from mgdali.datasets.tables.endings import TABLE_ENDINGS


@pytest.mark.parametrize("ending", TABLE_ENDINGS.split(", "))
def test_tables_with_all_named_endings_are_read(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{ending}"
    if ending in (".csv", ".tsv"):
        path.write_text("path,label\na.mp4,1\n".replace(",", "," if ending == ".csv" else "\t"))
    elif ending in (".parquet", ".pq"):
        pq.write_table(pa.table({"path": ["a.mp4"], "label": [1]}), path)
    else:
        path.write_text('{"path": "a.mp4", "label": 1}\n')
    assert is_table(str(path))
    assert [(video.path, video.label) for video in VideoDataset.from_table(path)] == [("a.mp4", 1)]
