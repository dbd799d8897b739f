"""Packs on the command line, as a user meets them: in a separate process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.testing

from mgdali import DatasetError, VideoDataset, pack
from mgdali.cli.main import app
from mgdali.cli.pack import _bytes
from mgdali.datasets.pack_format import read_manifest
from tests.support.packs import table
from tests.support.videos import moving_square, write_video

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "100"}
MGDALI = [sys.executable, "-m", "mgdali", "pack"]


def here(*arguments: str | Path, columns: int = 100) -> Any:
    """Run a command in this process, which takes less time."""
    runner = typer.testing.CliRunner(env={"COLUMNS": str(columns), "TERM": "dumb"})
    return runner.invoke(app, ["pack", *map(str, arguments)])


def write_videos(folder: Path) -> Path:
    """Three videos of 5, 6 and 7 frames in two class folders."""
    for i in range(3):
        path = folder / ("jump", "run")[i % 2] / f"{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, moving_square(5 + i, 48, 64, seed=i))
    return folder


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """These videos, for changing."""
    return write_videos(tmp_path / "videos")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of these videos; not to be changed."""
    folder = tmp_path_factory.mktemp("packed")
    pack(write_videos(folder / "videos"), folder / "pack", num_workers=0)
    return folder / "pack"


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ((), ["DATA", "--out", "mgdali pack check DIR", "mgdali pack show DIR"]),
        (
            ("--help",),
            [
                *("DATA", "--out", "--preset", "--codec", "--gop", "--quality", "--short-side", "--shard-size"),
                *("--motion", "--engine", "--num-workers", "--timeout", "--root", "--list", "--template"),
                *("--retry-failed", "--work-dir", "mgdali pack check DIR", "mgdali pack show DIR"),
                *(".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq"),
            ],
        ),
        (("check", "--help"), ["DIR", "--json"]),
        (("show", "--help"), ["DIR", "--json", "--sample", "--failed"]),
    ],
)
def test_help(command: tuple[str, ...], names: list[str]) -> None:
    done = here(*command)
    assert done.exit_code == 0
    assert all(name in done.output for name in names)


def test_packing_says_what_was_done_and_again_that_nothing_was_left_to_do(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "pack"
    done = here(videos, "--out", out, "--num-workers", "0")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.output.splitlines()
    assert lines[0].startswith("Space for 3 videos: about ")
    assert "(an estimate); free: " in lines[0]
    assert "3/3 videos" in done.output
    assert "Packed 3 videos (18 frames) in " in done.output
    assert lines[-1].startswith(f"{out}: 3 videos in 1 shard, ")
    assert "% of the originals' " in lines[-1]
    assert read_manifest(out).motion == ("image",)
    again = here(videos, "--out", out)
    assert again.exit_code == 0
    assert "3 videos packed or tried before, 0 to pack" in again.output
    assert "Packed 0 videos" in again.output


def test_options_override_the_preset(videos: Path, tmp_path: Path) -> None:
    options = ["--preset", "fast", "--codec", "h264", "--gop", "2", "--quality", "30", "--short-side", "32"]
    done = here("--num-workers", "0", *options, "--shard-size", "2MB", "--out", tmp_path / "pack", videos)
    assert done.exit_code == 0
    manifest = read_manifest(tmp_path / "pack")
    assert (manifest.preset, manifest.gop, manifest.quality, manifest.short_side) == ("fast", 2, 30, 32)


@pytest.mark.parametrize(("name", "header"), [("table.csv", "path,label\n"), ("list.txt", "")])
def test_the_root_of_a_list_or_table_may_be_a_url(name: str, header: str, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    write_video(tmp_path / "a.mp4", moving_square(5, 48, 64))
    fsspec.filesystem("memory").pipe("/host/videos/a.mp4", (tmp_path / "a.mp4").read_bytes())
    separator = "," if header else " "
    (tmp_path / name).write_text(f"{header}a.mp4{separator}0\n")
    done = here(tmp_path / name, "--root", "memory://host/videos", "--out", tmp_path / "pack", "--num-workers", "0")
    assert done.exit_code == 0, done.output
    assert [row["origin"] for row in table(tmp_path / "pack")] == ["memory://host/videos/a.mp4"]


def test_failed_and_changed_videos_are_listed(videos: Path, tmp_path: Path) -> None:
    (videos / "run" / "bad.mp4").write_bytes(b"no video")
    done = here(videos, "--out", tmp_path / "pack", "--num-workers", "0")
    assert done.exit_code == 1
    assert "1 cannot be decoded" in done.output
    assert f"  {videos}/run/bad.mp4: Invalid data found when processing input" in done.output
    listed = here("show", tmp_path / "pack", "--failed")
    assert listed.exit_code == 0
    assert listed.output.startswith(f"{videos}/run/bad.mp4: Invalid data")
    shutil.copy(videos / "run" / "1.mp4", videos / "run" / "bad.mp4")
    write_video(videos / "jump" / "0.mp4", moving_square(9, 48, 64, seed=7))
    done = here(videos, "--out", tmp_path / "pack", "--num-workers", "0", "--retry-failed")
    assert done.exit_code == 0
    assert f"Changed since they were packed (1): {videos}/jump/0.mp4. Their copies were kept" in done.output


def test_a_pack_without_any_video_is_reported(tmp_path: Path) -> None:
    data, out = tmp_path / "videos", tmp_path / "pack"
    data.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (data / name).write_bytes(b"no video")
    failed = [f"{data}/{name}: Invalid data found when processing input" for name in ("a.mp4", "b.mp4")]
    done = here(data, "--out", out, "--num-workers", "0", columns=300)
    assert (done.exit_code, done.stderr) == (1, "")
    lines = done.output.splitlines()[-6:]
    assert lines[0].startswith("Packed 0 videos (0 frames) in ")
    assert lines[0].endswith(" s, kept 0; 2 cannot be decoded")
    assert lines[1:4] == [f"{out}: no video could be packed", "", "2 videos cannot be decoded:"]
    assert [line[2 : 2 + len(each)] for line, each in zip(lines[4:], failed, strict=True)] == failed
    shown, checked = here("show", out), here("check", out)
    assert (shown.exit_code, checked.exit_code) == (0, 0)
    assert "videos      0 in 0 shards" in shown.output
    assert "left out    2" in shown.output
    assert checked.output.splitlines()[0] == f"{out}: 0 videos in 0 shards, 0 bytes"
    with pytest.raises(DatasetError, match=r"contains no video, and 2 originals were left out: `mgdali pack show"):
        VideoDataset.from_pack(out)


@pytest.mark.slow
def test_ctrl_c_ends_it_with_130_and_the_same_command_resumes(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    # A pipe that nobody writes to: one worker waits in it, as it may in a network file system.
    stuck = tmp_path / "stuck.mp4"
    os.mkfifo(stuck)
    (tmp_path / "list.txt").write_text("".join(f"{file} 0\n" for file in [*sorted(videos.rglob("*.mp4")), stuck]))
    command = [*MGDALI, str(tmp_path / "list.txt"), "--out", str(out), "--num-workers", "2"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            shard = out / ".packing" / "shard-000000.tar"
            deadline = time.monotonic() + 60
            while not shard.exists() or shard.stat().st_size < 6000:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == "interrupted: packed videos are kept; run the same command to resume\n"
    stuck.unlink()
    shutil.copy(videos / "jump" / "0.mp4", stuck)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "videos packed or tried before, " in done.stdout
    assert len(table(out)) == 4


def test_check_says_that_a_pack_is_complete_or_what_is_wrong(packed: Path, tmp_path: Path) -> None:
    done = here("check", packed)
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "Complete."
    damaged = tmp_path / "pack"
    shutil.copytree(packed, damaged)
    row = table(damaged)[0]
    with open(damaged / "shard-000000.tar", "rb+") as file:
        file.seek(row["offset"])
        file.write(b"damage")
    done = here("check", damaged, columns=300)
    assert done.exit_code == 1
    assert f"  shard-000000.tar::{row['key']}.mp4: has other bytes than when it was packed" in done.output
    assert done.output.splitlines()[-1].startswith("Damaged: copy these files again")
    done = here("check", damaged, "--json")
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert (found["complete"], len(found["problems"]), found["videos"]) == (False, 1, 3)
    assert json.loads(here("check", packed, "--json").output)["problems"] == []


def test_many_problems_are_counted(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "pack"
    shutil.copytree(packed, damaged)
    os.truncate(damaged / "shard-000000.tar", 0)
    monkeypatch.setattr("mgdali.cli.pack_report._PROBLEMS_SHOWN", 3)
    assert "  and 1 more: use --json to list all" in here("check", damaged).output


def test_show_tells_what_there_is(packed: Path) -> None:
    done = here("show", packed, "--sample", "2", columns=300)
    assert done.exit_code == 0
    facts = dict(line.split("  ", 1) for line in done.output.splitlines())
    facts = {name.strip(): words.strip() for name, words in facts.items()}
    assert facts["videos"] == "3 in 1 shard, 2 classes"
    assert (facts["frames"], facts["motion"], facts["left out"]) == ("18", "image", "0")
    assert facts["encoding"].startswith("small: libx264, gop 8, quality ")
    assert "% of the originals'" in facts["bytes"]
    assert "dB mean, " in facts["luma PSNR"]
    assert facts["luma PSNR"].endswith("of 2 videos")
    assert facts["clip"].endswith(" decoded frames for 8 picks")
    found = json.loads(here("show", packed, "--json", "--sample", "0").output)
    assert (found["videos"], found["quality"], found["settings"]["preset"]) == (3, None, "small")


def test_originals_that_are_missing_are_counted(videos: Path, tmp_path: Path) -> None:
    here(videos, "--out", tmp_path / "pack", "--num-workers", "0")
    shutil.rmtree(videos)
    done = here("show", tmp_path / "pack")
    assert "luma PSNR   not known; 3 originals are missing or have changed" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", "--out", "pack"), "error: none does not exist: give a folder of videos"),
        (("check", "none"), "error: none is not a complete packed data set"),
        (("show", "none"), "error: none is not a complete packed data set"),
        (
            ("videos", "--out", "pack", "--gop", "3", "--quality", "99"),
            "error: quality must be an integer from ",
        ),
    ],
)
def test_bad_input_is_one_message(
    arguments: tuple[str, ...], message: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = here(*arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_folder_with_the_name_of_a_command_can_be_packed(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("check", "pack"):
        shutil.copytree(videos, tmp_path / name)
    for data in ("./check", "pack"):
        assert here(data, "--out", f"{data}-packed", "--num-workers", "0").exit_code == 0


@pytest.mark.parametrize(
    ("text", "size"), [("256MiB", 256 << 20), ("1GB", 10**9), ("5000000", 5_000_000), ("1.5 g", 1_500_000_000)]
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert _bytes(text) == size


def test_what_is_not_a_size_is_wrong_usage(videos: Path, tmp_path: Path) -> None:
    done = here(videos, "--out", tmp_path / "pack", "--shard-size", "large")
    assert done.exit_code == 2
    assert "'large' is not a size" in done.stderr
