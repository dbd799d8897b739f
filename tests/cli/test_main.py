"""The command line: help, usage, errors and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mgdali
from mgdali.demo.synthetic import write_action_videos
from mgdali.interrupts import ctrl_c_held
from tests.support import official_sets
from tests.support.commands import ENVIRONMENT, MGDALI, run, run_here


def children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def alive(process: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"{mgdali.__version__}\n")


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ((), ["demo", "doctor", "pick", "data", "index", "pack", "--version"]),
        (("pick",), ["VIDEO", "--num-frames", "--out", "--size"]),
        (("demo",), ["VIDEOS", "--num-frames"]),
        (("doctor",), ["--json"]),
        (("data",), ["check"]),
        (("data", "check"), ["NAME", "ROOT", "--split", "--json"]),
    ],
)
def test_help(command: tuple[str, ...], names: list[str]) -> None:
    done = run_here(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in names)


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; from mgdali.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: print(*{'torch', 'nvidia.dali', 'numpy', 'av', 'matplotlib'} & sys.modules.keys())"
    )
    for argument in ("--help", "--version"):
        command = [sys.executable, "-c", code, argument]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == ""


@pytest.mark.slow
def test_the_doctor_reports_as_text_and_as_json() -> None:
    text = run_here("doctor")
    assert text.returncode == 0
    assert "MGDaliIterator" in text.stdout
    report = run("doctor", "--json")
    assert report.returncode == 0
    assert json.loads(report.stdout)["machine"]["mgdali"] == mgdali.__version__


def test_a_data_set_that_is_all_there_ends_with_0(tmp_path: Path) -> None:
    done = run_here("data", "check", "ucf101", official_sets.ucf101(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Complete.\n")


def test_a_data_set_with_something_missing_ends_with_1_and_names_it(tmp_path: Path) -> None:
    root = official_sets.jester(tmp_path)
    shutil.rmtree(root / "20bn-jester-v1" / "100")
    done = run_here("data", "check", "jester", root, "--split", "val", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    (part,) = json.loads(done.stdout)["parts"]
    assert (part["split"], part["missing"]) == ("validation", {"count": 1, "first": ["100"]})


def test_a_data_sets_folder_that_is_not_there_is_one_line_on_stderr(tmp_path: Path) -> None:
    done = run("data", "check", "kinetics", tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path / 'nowhere'} is not a folder")
    assert done.stderr.count("\n") == 1


def test_an_unknown_data_set_is_wrong_usage() -> None:
    done = run("data", "check", "imagenet", ".")
    assert done.returncode == 2
    assert "Usage: mgdali data check" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("--epochs", "0"), ("--motion", "colour"), (".", "--data", "x"), ("--nonsense",)]
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run_here("demo", *arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: mgdali demo" in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing",), "error: missing does not exist"),
        (("--picture", "a.jpg"), "error: picture must be"),
        pytest.param(
            ("bad", "--on-error", "raise"),
            "error: cannot decode bad/broken.mp4: Invalid data found",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_error_is_one_line_on_stderr_and_ends_with_1(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "broken.mp4").write_bytes(b"not a video")
    # With a video, the line must be the only one even if FFmpeg and the workers write to stderr.
    done = (run if "bad" in arguments else run_here)("demo", *arguments, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["bad"]


def test_without_matplotlib_the_extra_is_named_before_anything_is_done(tmp_path: Path) -> None:
    # None in sys.modules is Python's own way to say that a module cannot be imported.
    code = "import sys; sys.modules['matplotlib'] = None; from mgdali.cli.main import main; main()"
    command = [sys.executable, "-c", code, "demo"]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'mgdali[plot]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


def press_ctrl_c(done: list[str]) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    done.append("went on")


def test_ctrl_c_waits_for_the_end_of_a_block_that_holds_it() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), ctrl_c_held():
        press_ctrl_c(done)
    assert done == ["went on"]
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c(done)
    assert done == ["went on"]


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_leaves_no_worker(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_action_videos(tmp_path / "videos", videos_per_class=1)
    command = [*MGDALI, "demo", str(tmp_path / "videos"), "--epochs", "100000", "--num-workers", "2"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while len(workers := children(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        # Into the epochs: once both workers decode.
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert len(workers) == 2
    assert not any(map(alive, workers))
    assert os.listdir(tmp_path) == ["videos"]
