"""Reading an index with other tools, as docs/motion-index.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mgdali.index.still import still_videos
from mgdali.index.writer import IndexWriter
from mgdali.video.record import VideoRecord
from tests.support.index_records import make_record

PAGE = Path(__file__).parents[2] / "docs" / "motion-index.md"


def test_the_lines_for_pandas_find_the_same_still_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    (script,) = re.findall(r"^```python\n(import pandas\n.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    writer = IndexWriter("videos.parquet", root=tmp_path)
    for i in range(1, 6):
        motion = {"image": np.arange(i, dtype=np.float32) * 1000}
        writer.add(make_record(f"{tmp_path}/{i}.mp4", i, motion=motion))
    writer.add(VideoRecord(path=f"{tmp_path}/failed.mp4", error="broken"))
    writer.add(make_record(f"{tmp_path}/feature.mp4", motion={}))
    writer.commit()
    names: dict[str, object] = {}
    exec(script, names)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    found = [(path, float(num_frames), float(motion)) for _, path, num_frames, motion in printed]
    expected = [
        (Path(video.path).name, video.num_frames, pytest.approx(video.motion, abs=1e-5))
        for video in still_videos("videos.parquet", 20)
    ]
    assert found == expected
    assert len(found) == 4
