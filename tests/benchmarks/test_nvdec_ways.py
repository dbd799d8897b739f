"""The table of files and their ways: one row per file and folder of frames, and counts that add up."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.videos import moving_square, write_video

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "nvdec_ways.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_table_has_the_way_with_and_without_an_index_and_no_absolute_path(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    (folder / "inner").mkdir(parents=True)
    write_video(folder / "a.mp4", moving_square(5, 64, 96))
    write_video(folder / "inner" / "b.avi", moving_square(5, 64, 96))
    (folder / "c.mp4").write_bytes(b"garbage" * 99)
    done = run(folder, "--out", tmp_path / "ways.tsv")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "ways.tsv").read_text()
    assert str(tmp_path) not in text
    assert text.startswith("# PyAV ")
    rows = list(csv.reader((line for line in text.splitlines() if not line.startswith("#")), delimiter="\t"))
    why = "its container avi does not have reliable presentation times"
    broken = "Invalid data found when processing input"
    assert rows[:2] == [
        ["file", "way", "reason", "way_indexed", "reason_indexed"],
        ["clips/a.mp4", "as is", "", "as is", ""],
    ]
    assert [row[:2] + row[3:4] for row in rows[2:]] == [
        ["clips/c.mp4", "error", "error"],
        ["clips/inner/b.avi", "pyav", "remuxed"],
    ]
    assert rows[2][2].startswith(broken)
    assert rows[3][2:] == [f"{why}, and no motion index has the order of its frames", "remuxed", why]
    assert "3 files without an index: 1 as is, 1 error, 1 pyav" in done.stdout
    assert "3 files with an index: 1 as is, 1 error, 1 remuxed" in done.stdout


@pytest.mark.slow
def test_folders_without_files_are_an_error(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "contain no files" in done.stderr
