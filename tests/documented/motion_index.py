"""What ``docs/motion-index.md`` promises about other tools that read an index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mgdali import MotionIndex
from mgdali.index.still import still_videos
from mgdali.index.writer import IndexWriter
from mgdali.video.record import VideoRecord
from tests.support.documented_case import Case, promise
from tests.support.index_records import make_record

PAGE = "motion-index.md"
OTHER_TOOLS = "Other tools"

Rows = list[tuple[str, int, float]]
"""The path, the number of frames and the motion per frame and pixel of videos."""


def write_rows(case: Case) -> Path:
    """Write an index of videos with and without motion, with a single frame, and with an error."""
    path = case.folder / "videos.parquet"
    path.unlink()
    root = case.folder / "elsewhere"
    writer = IndexWriter(path, root=root)
    for i in range(1, 6):
        motion = {"image": np.arange(i, dtype=np.float32) * 1000}
        writer.add(make_record(f"{root}/{i}.mp4", i, motion=motion))
    writer.add(VideoRecord(path=f"{root}/failed.mp4", error="broken"))
    writer.add(make_record(f"{root}/feature.mp4", motion={}))
    writer.commit()
    return path


def assert_the_stillest(found: Rows, index: Path) -> None:
    """Check that rows are those of ``mgdali index show --still 20``."""
    expected = [(Path(each.path).name, each.num_frames, each.motion) for each in still_videos(index, 20)]
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected], abs=1e-5)
    assert len(found) == 4


@promise(PAGE, OTHER_TOOLS)
def pandas_finds_the_same_still_videos(case: Case) -> None:
    index = write_rows(case)
    case.run()
    printed = [line.split() for line in case.printed.splitlines()[1:]]
    assert_the_stillest([(path, int(float(frames)), float(motion)) for _, path, frames, motion in printed], index)


@promise(PAGE, f"{OTHER_TOOLS} (sql)")
def duckdb_finds_the_same_still_videos_and_the_root(case: Case) -> None:
    index = write_rows(case)
    videos, root = case.run()["tables"]
    assert_the_stillest(videos, index)
    assert root == [("elsewhere",)]
    assert MotionIndex(index).root == str(case.folder / "elsewhere")
