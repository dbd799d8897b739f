"""Picking frames of videos on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mgdali.cli.pick_names import name_videos
from mgdali.one_video.pick import pick_frames
from mgdali.samplers import MotionGuided, Stride
from tests.support.commands import ENVIRONMENT, MGDALI, run_here
from tests.support.videos import moving_square, write_video


def pick(*arguments: str | Path | float) -> subprocess.CompletedProcess[str]:
    """Run ``mgdali pick`` in this process, without the picture, which takes longer than everything else."""
    return run_here("pick", "--no-picture", *map(str, arguments))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files whose names differ in their extensions, one in a subfolder, and one that is broken."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "sub").mkdir()
    for seed, name in enumerate(("a.mp4", "a.mkv", "sub/b.mp4")):
        write_video(folder / name, moving_square(12, 48, 64, seed))
    (folder / "broken.mp4").write_bytes(b"not a video" * 500)
    return folder


def table(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "picks.json").read_text())
    return found


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_video_gets_the_images_and_the_table_of_pick_frames(videos: Path, tmp_path: Path) -> None:
    options = ("-n", 5, "--format", "png", "--size", 24, "--start", 0.1, "--end", 0.35, "--mu", 0.8, "--even", 0.1)
    done = pick(videos / "a.mp4", "--out", tmp_path, *options)
    assert (done.returncode, done.stderr) == (0, "")
    clip = pick_frames(videos / "a.mp4", sampler=MotionGuided(5, mu=0.8, even=0.1), size=24, start=0.1, end=0.35)
    assert clip.frames.shape == (5, 24, 32, 3)
    names = [f"00{number}.png" for number in range(1, 6)]
    assert files(tmp_path) == [*names, "picks.json"]
    for name, frame in zip(names, clip.frames, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / name))[..., ::-1], frame)
    found = table(tmp_path)
    assert [row["file"] for row in found["picks"]] == names
    assert [row["index"] for row in found["picks"]] == clip.indices.tolist()
    assert [row["seconds"] for row in found["picks"]] == clip.seconds.tolist()
    assert [row["motion"] for row in found["picks"]] == clip.motion[clip.indices - clip.first_frame].tolist()
    assert (found["video"], found["first_frame"]) == (str(videos / "a.mp4"), clip.first_frame)
    assert (found["video_frames"], found["width"], found["height"]) == (len(clip.motion), 32, 24)
    expected = {"strategy": "motion", "num_frames": 5, "mu": 0.8, "even": 0.1, "motion": "image"}
    assert found["settings"] == {**expected, "start": 0.1, "end": 0.35, "size": 24}


def test_bad_videos_are_named_and_the_others_are_finished(videos: Path, tmp_path: Path) -> None:
    done = pick(videos, "missing.mp4", "--out", tmp_path / "1", "-n", 2, "--num-workers", 1)
    assert done.returncode == 1
    title, *lines = done.stderr.splitlines()
    assert title == "2 videos failed:"
    assert lines[0].startswith(f"  {videos}/broken.mp4: Invalid data found")
    assert lines[1].startswith("  missing.mp4: No such file")
    assert "2 frames of each of 3 videos" in done.stdout
    again = pick(videos, "missing.mp4", "--out", tmp_path / "4", "-n", 2, "--num-workers", 4)
    assert again.stderr == done.stderr
    written = files(tmp_path / "1")
    assert len(written) == 9
    assert files(tmp_path / "4") == written
    for name in written:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "4" / name).read_bytes()


def test_each_video_has_its_own_folder(videos: Path, tmp_path: Path) -> None:
    def names(*arguments: str) -> dict[str, str]:
        found, failed = name_videos(arguments, tmp_path)
        assert not failed
        return {os.path.relpath(video.path, videos): os.path.relpath(video.folder, tmp_path) for video in found}

    def at(*parts: str) -> str:
        return str(videos.joinpath(*parts))

    all_videos = {"a.mkv": "a.mkv", "a.mp4": "a.mp4", "broken.mp4": "broken", "sub/b.mp4": "sub/b"}
    assert names(at()) == names(at(), at("a.mp4"), at("sub")) == all_videos
    assert names(at("a.mp4")) == {"a.mp4": "."}
    assert names(at("sub")) == {"sub/b.mp4": "b"}
    assert names(at("a.mp4"), at("sub")) == {"a.mp4": "a", "sub/b.mp4": "sub/b"}
    urls = ["https://host/x/v.mp4?id=1", "https://host/x/v.mp4?id=2", "https://host/../w.mp4"]
    found, _ = name_videos(urls, tmp_path)
    assert [str(video.folder.relative_to(tmp_path)) for video in found] == ["x/v.mp4", "x/v.mp4-2", "w"]


def test_output_replaces_output_only(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for count in (6, 3):
        assert pick(videos / "a.mp4", "--out", out, "-n", count).returncode == 0
    assert files(out) == ["001.jpg", "002.jpg", "003.jpg", "picks.json"]
    (out / "004.jpg").write_bytes(b"a photo")
    done = pick(videos / "a.mp4", "--out", out, "-n", 4)
    assert done.returncode == 1
    assert f"{out / '004.jpg'} exists and was not written by mgdali pick" in done.stderr
    assert len(table(out)["picks"]) == 3
    assert (out / "004.jpg").read_bytes() == b"a photo"
    (tmp_path / "a").write_bytes(b"a file with the name of a folder")
    done = pick(videos / "a.mp4", videos / "sub", "--out", tmp_path, "-n", 4)
    assert (done.returncode, (tmp_path / "sub" / "b" / "004.jpg").is_file()) == (1, True)
    assert f"{videos / 'a.mp4'}: {tmp_path / 'a'} is a file: move it" in done.stderr
    # The images of an earlier run are not a video that consists of JPEG files.
    assert name_videos([str(tmp_path)], out) == ([], {str(tmp_path): "the folder and its subfolders contain no videos"})


def test_other_strategies_and_options_that_do_not_apply(videos: Path, tmp_path: Path) -> None:
    assert pick(videos / "a.mkv", "--out", tmp_path, "-n", 3, "--strategy", "stride", "--stride", 2).returncode == 0
    clip = pick_frames(videos / "a.mkv", sampler=Stride(3, stride=2))
    assert [row["index"] for row in table(tmp_path)["picks"]] == clip.indices.tolist()
    wrong = pick(videos / "a.mkv", "--out", tmp_path, "--strategy", "segment", "--mu", 1)
    assert wrong.returncode == 2
    assert "--mu does not apply to --strategy segment" in wrong.stderr
    assert pick(videos / "a.mkv", "--out", tmp_path, "--start", 2, "--end", 1).returncode == 1
    assert pick(videos / "a.mkv", "--out", tmp_path, "-n", 10**13).returncode == 2
    wrong = pick(videos / "a.mkv", "--out", videos / "a.mp4")
    assert (wrong.returncode, wrong.stderr) == (1, f"error: --out {videos / 'a.mp4'} is a file: name a folder\n")


def test_without_matplotlib_the_picture_is_skipped(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules is Python's own way to say that a module cannot be imported.
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "mgdali.one_video.picture", raising=False)
    done = run_here("pick", videos / "a.mp4", "--out", tmp_path, "-n", "2")
    assert done.returncode == 0
    assert done.stderr.startswith("picks.png is not written: the picture needs matplotlib: pip install 'mgdali[plot]'")
    assert done.stderr.count("\n") == 1
    assert files(tmp_path) == ["001.jpg", "002.jpg", "picks.json"]


@pytest.mark.slow
def test_the_picture_is_that_of_the_clip_and_no_package_of_the_loader_is_imported(videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code = (
        "import sys; from mgdali.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(*{'torch', 'nvidia.dali', 'cupy', 'numba', 'matplotlib.pyplot'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, "pick", str(videos / "a.mp4"), "--out", str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("", "")
    pick_frames(videos / "a.mp4").plot().savefig(tmp_path / "expected.png", dpi=120)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "picks.png")), cv2.imread(str(tmp_path / "expected.png")))


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_leaves_whole_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    first = write_video(tmp_path / "in" / "first.mp4", moving_square(60, 96, 128))
    # So many that they take a minute: this process may wait for a second before it can send the signal.
    count = 3000
    for number in range(count - 1):
        os.link(first, tmp_path / "in" / f"{number}.mp4")
    out = tmp_path / "out"
    command = [*MGDALI, "pick", str(tmp_path / "in"), "--out", str(out), "--no-picture"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob("*/picks.json")) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted: the output of finished videos is kept\n")
    written = sorted(out.iterdir())
    assert 0 < len(written) < count
    for folder in written:
        assert files(folder) == [*(row["file"] for row in table(folder)["picks"]), "picks.json"]
