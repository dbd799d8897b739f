"""``mgdali evaluate`` on the command line, with small videos and a network without weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mgdali.quantities import counted
from tests.support.bursts import NETWORK, Bursts
from tests.support.commands import ENVIRONMENT, MGDALI, run_here

SMALL = ["--network", NETWORK, "--input-size", "16", "--folds", "3", "--seeds", "1", "--train-clips", "1"]


def test_help() -> None:
    done = run_here("evaluate", "--help")
    assert done.returncode == 0
    names = ["DATA", "--num-frames", "--motion", "--mu", "--even", "--stride", "--folds", "--fold-column", "--seeds"]
    names += ["--random-folds", "--network", "--index", "--cache", "--json", "--plot", "--num-workers", "--max-videos"]
    names += [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq"]
    assert all(name in done.stdout for name in names)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing"], 1, "error: missing does not exist: give a folder of videos"),
        (["missing", "--mu", "-1"], 1, "error: mu must be a finite number >= 0, got -1.0"),
        (["missing", "--folds", "1"], 2, "--folds"),
        (
            ["missing", "--network", "resnet"],
            1,
            "error: network 'resnet' must be 'efficientnet-lite0' or MODULE:FUNCTION",
        ),
        (["missing", "--plot", "evaluate.txt"], 1, "error: the plot evaluate.txt must end in "),
        (["missing", "--random-folds", "--fold-column", "x"], 1, "contradict each other: leave out one of them"),
    ],
)
def test_wrong_arguments_end_with_a_message(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the extra evaluate")
    if "--network" not in arguments:
        arguments = [*arguments, "--network", NETWORK]
    done = run_here("evaluate", *arguments, folder=tmp_path)
    assert done.returncode == code
    assert message in done.stderr


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    bursts: Bursts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("mgdali.evaluate.", "mgdali.cli.evaluate_report"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    done = run_here("evaluate", bursts.folder)
    assert done.returncode == 1
    assert "error: the evaluation needs scikit-learn: pip install 'mgdali[evaluate]'" in done.stderr


def test_the_table_the_json_and_the_plot_are_written(bursts: Bursts, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the extra evaluate")
    outputs: list[str | Path] = [
        "--json",
        tmp_path / "out" / "evaluate.json",
        "--plot",
        tmp_path / "out" / "evaluate.png",
    ]
    counts = ["--num-frames", "2", "--num-frames", "3"]
    cache: list[str | Path] = ["--cache", tmp_path / "cache", "--index", bursts.index, "--random-folds"]
    done = run_here("evaluate", bursts.folder, *SMALL, *counts, *cache, *outputs)
    assert done.returncode == 0
    assert done.stderr.startswith(
        "warning: with random folds, videos of the same person or scene are learned and tested"
    )
    found = json.loads((tmp_path / "out" / "evaluate.json").read_text())
    assert {"data", "folds", "rows", "conclusions", "seconds", "machine"} <= set(found)
    assert len(found["rows"]) == 5 * 2
    assert (found["data"]["videos"], found["num_frames"], found["folds"]["made_by"]) == (18, [2, 3], "random")
    assert "clip_" not in json.dumps(found)
    for text in ("segment", "motion-guided, feature, mu 0.5", "18 videos of 2 classes, 40 frames"):
        assert text in done.stdout
    assert all(f"- {line}" in done.stdout for line in found["conclusions"])
    assert (tmp_path / "out" / "evaluate.png").stat().st_size > 1000


@pytest.mark.slow
def test_after_ctrl_c_the_same_command_continues(bursts: Bursts, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the extra evaluate")
    (tmp_path / "slow_network.py").write_text(
        "import time\nfrom tests.support.bursts import TinyNetwork\n\n"
        "class Slow(TinyNetwork):\n    def forward(self, pixels):\n        time.sleep(0.05)\n"
        "        return super().forward(pixels)\n"
    )
    cache = tmp_path / "cache"
    options = ["--network", "slow_network:Slow", *SMALL[2:], "--num-frames", "2", "--num-workers", "1"]
    command = [*MGDALI, "evaluate", str(bursts.folder), *options, "--cache", str(cache), "--index", str(bursts.index)]
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not list(cache.rglob("*.npy")):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        message = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "interrupted: the same command continues with the remaining videos" in message
    kept = len(list(cache.rglob("*.npy")))
    assert 0 < kept < 18
    done = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"has described {counted(18 - kept)} now; features of {kept} are from the cache" in done.stdout
