"""Indices on the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.filesize import decimal

from mgdali.datasets.named_videos import videos_named
from mgdali.datasets.video_dataset import Video
from mgdali.errors import DatasetError
from mgdali.index.build import build_index
from mgdali.index.inspect import check_index, summarize_index
from mgdali.index.writer import IndexWriter
from mgdali.video.media import Media
from tests.support.commands import ENVIRONMENT, MGDALI, run_here
from tests.support.commands import run as run_apart
from tests.support.faulty_server import FaultyServer
from tests.support.index_records import make_record
from tests.support.videos import moving_square, write_video


def run(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``mgdali index`` in this process."""
    return run_here("index", *arguments, folder=folder)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Three videos, of 5, 6 and 7 frames."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for i in range(3):
        write_video(folder / f"{i}.mp4", moving_square(5 + i, 48, 64, seed=i))
    return folder


@pytest.fixture
def index(videos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "i.parquet"
    build_index(videos, path, num_workers=0)
    return path


def pack(path: Path, *files: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for file in files:
            tar.add(file, f"sub/{file.name}")
    return path


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ((), ["build", "show", "check", "merge"]),
        (
            ("build",),
            [
                *("DATA", "--out", "--motion", "--engine", "--num-workers", "--root", "--list", "--template"),
                *("--prune", "--retry-failed"),
                *(".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq"),
            ],
        ),
        (("show",), ["FILE", "--json", "--failed", "--still"]),
        (("check",), ["FILE", "DATA", "--root", "--moved", "--list", "--template", "--json"]),
        (("merge",), ["FILE", "--out", "--root", "--moved"]),
    ],
)
def test_help(command: tuple[str, ...], names: list[str]) -> None:
    done = run(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in names)


def test_building_says_what_was_done_and_again_that_nothing_was_left_to_do(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "i.parquet"
    done = run_apart("index", "build", videos, "--out", path, "--motion", "both", "--num-workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3/3 videos" in done.stdout
    assert "Measured 3 videos (18 frames) in " in done.stdout
    assert f"{path}: 3 rows, {decimal(path.stat().st_size)}" in done.stdout
    assert summarize_index(path).representations == {"image": 3, "feature": 3}
    again = run("build", videos, "--out", path)
    assert again.returncode == 0
    assert "3 videos unchanged since measured, 0 to measure" in again.stdout
    assert "Measured 0 videos" in again.stdout


@pytest.mark.slow
def test_failed_videos_are_listed_and_end_it_with_1(videos: Path, tmp_path: Path) -> None:
    for i in range(23):
        (videos / f"bad{i:02}.mp4").write_bytes(b"no video")
    path = tmp_path / "i.parquet"
    # In a separate process, stderr would also contain what FFmpeg prints.
    done = run_apart("index", "build", videos, "--out", path, "--num-workers", "1")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    listed = [line for line in lines if line.startswith(f"  {videos}/bad")]
    assert len(listed) == 20
    assert "bad00.mp4: Invalid data found when processing input" in listed[0]
    assert lines[-1] == f"  and 3 more: mgdali index show {path} --failed"
    all_of_them = run("show", path, "--failed")
    assert all_of_them.returncode == 0
    assert len(all_of_them.stdout.splitlines()) == 23
    as_json = json.loads(run("show", path, "--failed", "--json").stdout)
    assert {entry["path"] for entry in as_json} == {str(videos / f"bad{i:02}.mp4") for i in range(23)}
    assert all(entry["error"].startswith("Invalid data") for entry in as_json)


def records_in_journals(folder: Path) -> int:
    count = 0
    for journal in folder.glob("*.journal"):
        try:
            with pa.ipc.open_stream(journal.read_bytes()) as stream:
                count += sum(batch.num_rows for batch in stream)
        except (pa.ArrowException, OSError):
            continue
    return count


@pytest.mark.slow
def test_ctrl_c_ends_it_with_130_and_the_same_command_goes_on(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    # A pipe that nobody writes to: one worker waits in it, as it may in a network file system.
    stuck = tmp_path / "stuck.mp4"
    os.mkfifo(stuck)
    (tmp_path / "list.txt").write_text("".join(f"{file} 0\n" for file in [stuck, *sorted(videos.iterdir())]))
    command = [*MGDALI, "index", "build", str(tmp_path / "list.txt"), "--out", str(path), "--num-workers", "2"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            # None of them waits for the next to be done.
            deadline = time.monotonic() + 60
            while records_in_journals(Path(f"{path}.parts")) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == "interrupted: measured videos are kept; run the same command to resume\n"
    stuck.unlink()
    write_video(stuck, moving_square(8, 48, 64, seed=8))
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "3 videos unchanged since measured, 1 to measure" in done.stdout
    assert summarize_index(path).videos == 4


@pytest.mark.slow
def test_pruning_and_trying_again_are_options(index: Path, videos: Path) -> None:
    (videos / "0.mp4").unlink()
    (videos / "1.mp4").write_bytes(b"no video")
    assert run("build", videos, "--out", index, "--num-workers", "0").returncode == 1
    assert summarize_index(index).videos == 3
    done = run("build", videos, "--out", index, "--num-workers", "0", "--prune", "--retry-failed")
    assert "Measured 1 video (0 frames)" in done.stdout
    assert summarize_index(index).videos == 2


@pytest.mark.slow
def test_show_tells_what_there_is(index: Path, videos: Path) -> None:
    done = run("show", index)
    assert (done.returncode, done.stderr) == (0, "")
    facts = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    facts = {name.strip(): words.strip() for name, words in facts.items()}
    assert (facts["videos"], facts["failed"], facts["frames"]) == ("3", "0", "18")
    assert (facts["codecs"], facts["sizes"], facts["pixel formats"]) == ("h264 (3)", "64x48 (3)", "yuv420p (3)")
    assert facts["motion"] == "image (3)"
    found = json.loads(run("show", index, "--json").stdout)
    assert found["hours"] == pytest.approx(18 / 30 / 3600)
    assert (found["path"], found["size"]) == (str(index), index.stat().st_size)


@pytest.mark.slow
def test_a_summary_adds_up_over_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    writer = IndexWriter(path)
    for i in range(5000):
        changes: dict[str, Any] = {"codec": "vp9"} if i % 5 == 0 else {}
        if i % 2:
            # Without times the rate tells how long it is; without that too nothing does.
            changes |= {"times": None, "rate": 25.0 if i % 4 == 1 else 0.0, "motion": {}}
        writer.add(make_record(f"/{i}.mp4", 10, i, **changes))
    for i in range(7):
        writer.add(make_record(f"/failed{i}.mp4", error="broken"))
    writer.commit()
    summary = summarize_index(path)
    assert (summary.videos, summary.failed, summary.frames, summary.untimed) == (5007, 7, 50_000, 1250)
    assert summary.hours == pytest.approx((2500 * 10 / 30 + 1250 * 10 / 25) / 3600)
    assert list(summary.codecs.items()) == [("h264", 4000), ("vp9", 1000)]
    assert summary.representations == {"image": 2500, "feature": 2500}


@pytest.mark.slow
def test_a_long_summary_names_the_most_frequent(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    writer = IndexWriter(path)
    for i in range(30):
        writer.add(make_record(f"/{i}.mp4", width=100 + i % 8))
    writer.commit()
    done = run("show", path)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("sizes"))
    assert line.endswith("100x64 (4), 101x64 (4), 102x64 (4), 103x64 (4), 104x64 (4), 3 others (10)")


def test_an_index_that_is_current_is_said_to_be_and_ends_with_0(index: Path, videos: Path) -> None:
    for arguments in ((), (videos,)):
        done = run("check", index, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [f"{index}: 3 of 3 rows are current", "Current."]


def test_every_kind_of_row_that_is_not_current_is_named_and_ends_it_with_1(index: Path, videos: Path) -> None:
    (videos / "bad.mp4").write_bytes(b"no video")
    build_index([*map(Media, map(str, [videos / "bad.mp4", videos / "gone.mp4"]))], index, num_workers=0)
    (videos / "0.mp4").unlink()
    write_video(videos / "1.mp4", moving_square(12, 48, 64, seed=9))
    shutil.copy(videos / "2.mp4", videos / "new.mp4")
    done = run("check", index, videos, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    named = {kind: found[kind]["first"] for kind in ("missing", "changed", "failed", "not_in_index")}
    assert {kind: [os.path.basename(name) for name in names] for kind, names in named.items()} == {
        "missing": ["0.mp4", "gone.mp4"],
        "changed": ["1.mp4"],
        "failed": ["bad.mp4"],
        "not_in_index": ["new.mp4"],
    }
    assert (found["videos"], found["current"], found["complete"]) == (5, 1, False)
    text = run("check", index).stdout
    assert f"Missing or cannot be read (2): {videos}/0.mp4, {videos}/gone.mp4" in text
    assert "Not in the index" not in text
    # One that could not be read and is there now has changed.
    shutil.copy(videos / "2.mp4", videos / "gone.mp4")
    assert str(videos / "gone.mp4") in check_index(index).changed.first


def test_a_video_that_was_only_copied_is_current(index: Path, videos: Path) -> None:
    os.utime(videos / "0.mp4", ns=(1, 1))
    assert check_index(index).complete


@pytest.mark.slow
def test_members_of_tars_are_indexed_and_checked_where_they_now_lie(videos: Path, tmp_path: Path) -> None:
    files = sorted(videos.iterdir())
    for number, part in enumerate((files[:2], files[2:])):
        pack(tmp_path / f"s{number}.tar", *part)
    path = tmp_path / "i.parquet"
    pattern = str(tmp_path / "s{0..1}.tar")
    done = run("build", pattern, "--out", path, "--num-workers", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Measured 3 videos (18 frames)" in done.stdout
    assert check_index(path).complete
    assert check_index(path, videos_named(pattern)).complete
    # Another order in the tar is no other content; another file is.
    write_video(files[0], moving_square(9, 48, 64, seed=4))
    pack(tmp_path / "s0.tar", files[1], files[0])
    (tmp_path / "s1.tar").unlink()
    for found in (check_index(path), check_index(path, videos_named(str(tmp_path / "s0.tar")))):
        assert found.current == 1
        assert found.changed.first == (f"{tmp_path}/s0.tar::sub/0.mp4",)
        assert found.missing.first == (f"{tmp_path}/s1.tar::sub/2.mp4",)
    pack(tmp_path / "s0.tar", files[0])
    assert f"{tmp_path}/s0.tar::sub/1.mp4" in check_index(path).missing.first


def test_a_list_a_folder_and_shards_name_the_same_videos(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(videos)
    (tmp_path / "list.txt").write_text("# a comment\n0.mp4 jump\n1.mp4 7\n\n2.mp4 run\n")
    assert videos_named(str(tmp_path / "list.txt")) == [Media(f"{i}.mp4") for i in range(3)]
    assert videos_named(str(videos)) == [Media(str(videos / f"{i}.mp4")) for i in range(3)]
    (tmp_path / "0.txt").write_text("a label")
    tar = pack(tmp_path / "a.tar", videos / "0.mp4", tmp_path / "0.txt", videos / "1.mp4")
    assert [media.path for media in videos_named(str(tar))] == [f"{tar}::sub/{i}.mp4" for i in range(2)]
    assert [media.read() for media in videos_named(str(tmp_path / "*.tar"))] == [
        (videos / f"{i}.mp4").read_bytes() for i in range(2)
    ]


@pytest.mark.slow
def test_a_list_of_frame_folders_below_another_folder_is_built_and_checked(sample_videos: Path, tmp_path: Path) -> None:
    frames = len(list((sample_videos / "frames" / "00001").iterdir()))
    (tmp_path / "list.txt").write_text(f"00001 {frames} 3\n")
    done = run("build", "list.txt", "--out", "i.parquet", folder=tmp_path)
    assert (done.returncode, os.listdir(tmp_path)) == (1, ["list.txt"])
    assert done.stderr.startswith("error: none of the 1 videos in list.txt exists, for example 00001/img_%05d.jpg")
    options = ("--root", sample_videos / "frames", "--list", "frames", "--template", "%05d.jpg")
    done = run("build", "list.txt", "--out", "i.parquet", "--num-workers", "0", *options, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Measured 1 video ({frames} frames)" in done.stdout
    assert run("check", "i.parquet", "list.txt", *options, folder=tmp_path).returncode == 0


def test_an_index_is_built_from_plain_paths(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    report = build_index([str(videos / "0.mp4"), videos / "1.mp4"], path, num_workers=0)
    assert (report.measured, report.failed) == (2, {})
    assert build_index(Video(str(videos / "1.mp4"), 0), path, num_workers=0).kept == 1


def test_data_that_names_no_videos_says_what_to_give(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "a.tgz").write_bytes(b"\x1f\x8b")
    for name, words in {
        "none": "does not exist: give a folder",
        "empty": "no videos",
        "none{0..1}.tar": "cannot read the shard",
        "*.none": "no shard",
        "a.txt": "line 1",
        "a.tgz": "is compressed",
        "videos/0.mp4": "is a video: give the folder",
    }.items():
        with pytest.raises(DatasetError, match=words):
            videos_named(str(tmp_path / name))
    with pytest.raises(DatasetError, match="no videos"):
        videos_named(str(pack(tmp_path / "b.tar", tmp_path / "a.txt")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "none", "--out", "i.parquet"), "error: none does not exist"),
        (("build", "videos", "--out", "notes"), "error: notes is not a motion index"),
        (("build", "videos", "--out", "notes/i.parquet"), "error: cannot write the index notes/i.parquet"),
        (("build", "videos", "--out", "videos"), "error: videos is not a motion index: it is a folder"),
        (("build", "videos", "--out", "memory://x/i.parquet"), "error: cannot write the index to the URL memory://x/i"),
        (("build", "videos", "--out", "s3://x/i.parquet"), "error: cannot write the index to the URL s3://x/i.parquet"),
        (("show", "memory://x/i.parquet"), "error: cannot read the index memory://x/i.parquet"),
        (("show", "none.parquet"), "error: the index none.parquet does not exist"),
        (("show", "notes", "--failed"), "error: notes is not a motion index"),
        (("check", "notes"), "error: notes is not a motion index"),
        (("merge", "none", "--out", "i.parquet"), "error: the index none does not exist"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_ends_with_1(
    arguments: tuple[str, ...], message: str, videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").write_text("notes")
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert "Measur" not in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["notes", "videos"]


def test_moved_videos_are_checked_at_their_new_place(index: Path, videos: Path, tmp_path: Path) -> None:
    new = videos.rename(tmp_path / "new")
    assert check_index(index).missing.count == 3
    found = check_index(index, videos_named(str(new)), root=new)
    assert (found.current, found.complete) == (3, True)
    (new / "0.mp4").unlink()
    done = run("check", index, "--moved", f"{videos}={new}")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"Missing or cannot be read (1): {new}/0.mp4" in done.stdout


@pytest.mark.slow
def test_the_root_of_a_folder_of_a_list_and_of_an_option(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("0.mp4 0\n1.mp4 1\n")
    for arguments, root in (
        ((videos,), videos),
        (("list.txt", "--root", "videos"), videos),
        ((videos, "--root", "."), tmp_path),
    ):
        path = tmp_path / f"{len(arguments)}{root.name}.parquet"
        done = run("build", *arguments, "--out", path, "--num-workers", "0", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert summarize_index(path).root == str(root)


@pytest.mark.slow
def test_indices_are_merged_and_still_videos_and_renamed_ones_are_told(
    index: Path, videos: Path, tmp_path: Path
) -> None:
    (videos / "0.mp4").rename(videos / "renamed.mp4")
    write_video(videos / "still.mp4", np.full((5, 48, 64, 3), 90, np.uint8))
    other = tmp_path / "other.parquet"
    shutil.copy(index, other)
    done = run("build", videos, "--out", other, "--num-workers", "0")
    assert "kept 2, found 1 under other names (same size and beginning); 0 cannot be decoded" in done.stdout
    done = run("merge", index, other, "--out", index)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["Merged 8 rows into 5", f"{index}: 5 rows, root {videos}"]
    done = run("show", index, "--still", "1")
    assert done.stdout.splitlines()[1].split() == ["0.000", "100.0%", "5", f"{videos}/still.mp4"]
    (found,) = json.loads(run("show", index, "--still", "1", "--json").stdout)
    assert found == {"path": f"{videos}/still.mp4", "motion": 0.0, "unchanged": 1.0, "num_frames": 5}


@pytest.mark.slow
def test_an_index_at_a_url_is_shown_and_checked(index: Path, videos: Path, server: FaultyServer) -> None:
    url = f"{server.url}/{index.name}"
    found = json.loads(run("show", url, "--json").stdout)
    assert (found["path"], found["size"], found["videos"]) == (url, index.stat().st_size, 3)
    done = run("check", url, videos)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{url}: 3 of 3 rows are current", "Current."]


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "."),
        ("build", ".", "--out", "i", "--motion", "colour"),
        ("show",),
        ("check", "--data"),
        ("check", "i", "--list", "videos"),
        ("check", "i", "--moved", "/a=/b=c"),
        pytest.param(("check", "i", "--moved", "/a"), marks=pytest.mark.slow),
        pytest.param(("show", "i", "--still", "0"), marks=pytest.mark.slow),
        pytest.param(("show", "i", "--still", "1", "--failed"), marks=pytest.mark.slow),
        pytest.param(("merge", "i"), marks=pytest.mark.slow),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: mgdali index" in done.stderr
