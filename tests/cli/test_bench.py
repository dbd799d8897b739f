"""The comparison of loaders on the command line, at a tiny scale. No speeds are asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mgdali.bench import run as bench_run
from tests.support.commands import run_here
from tests.support.videos import moving_square, write_video


def test_help() -> None:
    done = run_here("bench", "--help")
    assert done.returncode == 0
    names = ["DATA", "--batch-size", "--num-frames", "--num-workers", "--rounds", "--seconds", "--max-videos", "--json"]
    assert all(name in done.stdout for name in names)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing"], 1, "error: missing does not exist: give a folder of videos"),
        (["missing", "--seconds", "0"], 1, "error: seconds must be a number > 0, got 0.0"),
        (["missing", "--rounds", "0"], 2, "--rounds"),
    ],
)
def test_wrong_arguments_end_with_a_message(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    done = run_here("bench", *arguments, folder=tmp_path)
    assert done.returncode == code
    assert message in done.stderr


@pytest.mark.slow
def test_loaders_are_compared_and_missing_ones_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for i in range(2):
        write_video(videos / f"{i}.mp4", moving_square(9 + i, 48, 64, seed=i))
    (tmp_path / "decord.py").write_text("raise ImportError('there is no decord')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ("decode-only", "mgdali", "mgdali-index", "mgdali-packed", "dataloader-opencv", "dataloader-decord")
    monkeypatch.setattr(bench_run, "ENTRANTS", names)
    small = ["--seconds", "0.01", "--rounds", "2", "--batch-size", "2", "--num-frames", "4", "--num-workers", "2"]
    done = run_here("bench", videos, *small, "--json", tmp_path / "out" / "bench.json")
    assert done.returncode == 0
    report = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert {"machine", "libavcodec", "route", "data", "task", "rounds", "rows", "refused"} <= set(report)
    assert {"measurements", "bound", "advice", "interrupted"} <= set(report)
    assert (report["data"]["videos"], report["data"]["frames"], report["rounds"]) == (2, 19, 2)
    # The packed entrant needs a pack.
    assert {row["name"] for row in report["rows"]} == {"decode-only", "mgdali", "mgdali-index", "dataloader-opencv"}
    assert all(len(row["clips_per_s"]["values"]) == 2 for row in report["rows"])
    assert report["fastest_peer"] == "dataloader-opencv"
    missing = "is missing: there is no decord; pip install 'mgdali[bench]'"
    assert report["refused"] == {"dataloader-decord": missing}
    for text in (f"dataloader-decord {missing}", "What limits this loader", report["bound"]["text"], report["route"]):
        assert text in done.stdout
