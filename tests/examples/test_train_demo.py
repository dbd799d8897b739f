"""The small training without a GPU: its optimizers and seeds, and how it continues."""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.loading import SCRIPT_ENVIRONMENT

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of training videos per epoch, and eight test videos."""
    folder = tmp_path_factory.mktemp("bursts") / "videos"
    importlib.import_module("bursts").write_burst_videos(folder, train_per_class=4, val_per_class=1)
    return folder


def demo(folder: Path, videos: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    if not (folder / "videos").exists():
        (folder / "videos").symlink_to(videos)
    command = [sys.executable, str(EXAMPLES / "train_demo.py"), "--folder", str(folder), *arguments]
    environment = {**SCRIPT_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=900)


def metrics(run: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def test_each_seed_is_trained_stopped_and_resumed_with_the_optimizers_learning_rates(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    optimizer, seeds, rates = "sgd", (0, 3), [0.01] * 4 + [0.001] * 4 + [0.0001] * 2
    given = ("--optimizer", optimizer, "--seeds", ",".join(map(str, seeds)), "--epochs", "5")
    result = demo(tmp_path, videos, *given)
    found = json.loads((tmp_path / f"{optimizer}.json").read_text())
    # Five epochs on 32 videos need not learn anything. The exit status says whether they did.
    accuracies = [found["top1"][str(seed)] for seed in seeds]
    assert result.returncode == (sum(accuracies) / len(seeds) <= 1 / 8), result.stderr
    assert result.stdout.count("stopped after step 5") == result.stdout.count("resuming after step 5") == len(seeds)
    runs = [tmp_path / f"run-{optimizer}-5-epochs-seed-{seed}" for seed in seeds]
    for run, accuracy in zip(runs, accuracies, strict=True):
        assert metrics(run, "train/lr") == pytest.approx(rates)
        assert metrics(run, "test/top1")[-1] == accuracy
        assert len(metrics(run, "test/top1")) == 5
    assert len({tuple(metrics(run, "train/loss")) for run in runs}) == len(seeds), "seeds differ"

    written = (runs[0] / "metrics.jsonl").stat().st_mtime_ns
    capsys.readouterr()
    with contextlib.suppress(SystemExit):
        importlib.import_module("train_demo").main(["--folder", str(tmp_path), *given])
    printed = capsys.readouterr().out
    assert (runs[0] / "metrics.jsonl").stat().st_mtime_ns == written
    assert printed.count("is complete, so it is not trained again") == len(seeds)
    assert printed.splitlines()[-1] == result.stdout.splitlines()[-1]


def test_the_sgd_of_the_demo_is_the_papers() -> None:
    options = importlib.import_module("train_arguments")
    demo = importlib.import_module("train_demo")
    common = ["--data", "x", "--out", "y"]
    paper = options.parse_arguments(common)
    found = options.parse_arguments([*common, *demo.OPTIMIZERS["sgd"].split()])
    for name in ("optimizer", "lr", "momentum", "weight_decay"):
        assert getattr(found, name) == getattr(paper, name)
    assert [share * paper.epochs for share in demo.LR_STEPS["sgd"]] == list(paper.lr_steps)


def test_adamw_has_its_own_learning_rate_which_falls_once() -> None:
    options, demo = importlib.import_module("train_arguments"), importlib.import_module("train_demo")
    found = options.parse_arguments(["--data", "x", "--out", "y", *demo.recipe("adamw", 24)])
    assert (found.optimizer, found.lr, found.weight_decay) == ("adamw", 0.002, 0.05)
    assert (found.epochs, tuple(found.lr_steps)) == (24, (18,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--seeds", "1,1"], "must be different integers of at least 0, got 1,1"),
        (["--epochs", "0"], "must be at least 1, got 0"),
        (["--optimizer", "adam"], "invalid choice: 'adam'"),
    ],
)
def test_a_bad_option_is_refused(given: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module("train_demo").main(given)
    assert message in capsys.readouterr().err
