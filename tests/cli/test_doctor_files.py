"""``mgdali doctor FILE``: the way of each file and the reason, on machines with and without a GPU."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from mgdali.cli.main import app
from mgdali.errors import VideoDecodeError
from mgdali.gpu import driver, nvdec
from tests.support.faulty_server import FaultyServer
from tests.support.videos import moving_square, rotate_by_metadata, write_video


def doctor(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def lines_of(result: Any) -> list[str]:
    return result.stdout.splitlines()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of a file for each way."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write_video(folder / "a.mp4", moving_square(5, 64, 96))
    write_video(folder / "b.mp4", moving_square(5, 60, 96))
    write_video(folder / "c.avi", moving_square(5, 64, 96))
    rotate_by_metadata(write_video(folder / "d.mp4", moving_square(5, 64, 96)), 1)
    return folder


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test run as on a machine without a driver."""

    def missing(name: str) -> None:
        raise driver.LibraryError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(driver, "_library", missing)


def test_each_file_of_a_folder_has_a_line_with_its_way_and_the_reason(clips: Path) -> None:
    found = doctor(clips)
    assert found.exit_code == 0
    assert lines_of(found) == [
        f"{clips}/a.mp4: as is",
        f"{clips}/b.mp4: remuxed: its coded size 96x64 differs from its displayed size 96x60",
        f"{clips}/c.avi: PyAV: its container avi does not have reliable presentation times, and no motion index "
        "has the order of its frames",
        f"{clips}/d.mp4: PyAV: it is rotated by -90 degrees",
        "The limits of the GPU's decoder are unknown, because no GPU is usable here: libcuda.so.1: cannot open shared "
        "object file",
    ]


def test_frames_tars_members_of_tars_and_urls_are_files_too(clips: Path, server: FaultyServer, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for t in range(3):
        cv2.imwrite(str(frames / f"img_{t:05}.jpg"), np.full((64, 96, 3), 40 * t, np.uint8))
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for name in ("a.mp4", "b.mp4"):
            tar.add(clips / name, name)
    member, tar_path = f"{tmp_path}/train.tar::b.mp4", f"{tmp_path}/train.tar"
    found = doctor(frames, frames / "img_%05d.jpg", member, tar_path, f"{server.url}/clips/a.mp4")
    assert found.exit_code == 0, found.output
    *lines, _ = lines_of(found)
    cropped = "remuxed: its coded size 96x64 differs from its displayed size 96x60"
    assert lines == [
        f"{frames}: PyAV: DALI does not decode mjpeg on a GPU",
        f"{frames}/img_%05d.jpg: PyAV: DALI does not decode mjpeg on a GPU",
        f"{member}: {cropped}",
        f"{tar_path}::a.mp4: as is",
        f"{tar_path}::b.mp4: {cropped}",
        f"{server.url}/clips/a.mp4: as is",
    ]


def test_a_file_that_cannot_be_decoded_has_its_error_and_the_exit_code_is_1(clips: Path) -> None:
    (clips / "bad.mp4").write_bytes(b"garbage" * 99)
    found = doctor(clips / "bad.mp4", clips / "missing.mp4", clips / "a.mp4")
    assert found.exit_code == 1
    assert lines_of(found)[:3] == [
        f"{clips}/bad.mp4: cannot be decoded: Invalid data found when processing input",
        f"{clips}/missing.mp4: cannot be decoded: No such file or directory",
        f"{clips}/a.mp4: as is",
    ]


def test_an_argument_that_names_no_video_is_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w"):
        pass
    for name in (tmp_path, f"{tmp_path}/train.tar::other.mp4"):
        found = doctor(name)
        assert found.exit_code == 1
        assert found.stderr.startswith(f"error: {name} names no video")


def test_a_copy_that_fails_leaves_the_file_to_pyav(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(content: bytes, path: str, **_: object) -> bytes:
        raise VideoDecodeError(path, 0, "its parameter sets change in packet 1")

    monkeypatch.setattr(nvdec, "remux_whole", fail)
    sizes = "its coded size 96x64 differs from its displayed size 96x60"
    words = f"{sizes}, and it cannot be copied: its parameter sets change in packet 1"
    assert lines_of(doctor(clips / "b.mp4"))[0] == f"{clips}/b.mp4: PyAV: {words}"


def test_the_limits_of_a_gpu_are_applied(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    route = pytest.importorskip("mgdali.loading.route")
    torch = pytest.importorskip("torch")
    table = {"h264": driver.DecoderCaps("h264", "4:2:0", 8, 7, 48, 64, 80, 4096, 65536)}
    monkeypatch.setattr(route, "gpu_route", lambda: route.Route(torch.device("cuda", 0), table))
    assert lines_of(doctor(clips / "a.mp4")) == [
        f"{clips}/a.mp4: PyAV: NVDEC of this GPU does not decode h264 of 96x64 pixels",
        "The limits are those of cuda:0",
    ]


def test_json_has_one_object_per_file(clips: Path) -> None:
    found = doctor("--json", clips / "a.mp4", clips / "missing.mp4")
    assert found.exit_code == 1
    report = json.loads(found.stdout)
    assert report["decoder"].startswith("The limits of the GPU's decoder are unknown")
    assert report["files"] == [
        {"path": f"{clips}/a.mp4", "way": "as is", "reason": ""},
        {"path": f"{clips}/missing.mp4", "way": None, "reason": "No such file or directory"},
    ]
