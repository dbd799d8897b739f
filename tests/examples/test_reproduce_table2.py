"""Table 2 on real data: the whole command on miniature copies of the data sets, in their official layouts."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.loading import SCRIPT_ENVIRONMENT
from tests.support.official_sets import put
from tests.support.videos import moving_square, write_video

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
# One thread: a loss depends on the order of additions.
ENVIRONMENT = {**SCRIPT_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
SMALL = (
    *("--backbone", "small", "--crop-size", "32", "--num-frames", "4", "--batch-size", "2", "--epochs", "1"),
    *("--device", "cpu", "--num-workers", "0", "--save-every", "1"),
)
TRAIN, TEST = 12, 4
ROWS = ("segment", "image", "feature")


@pytest.fixture(scope="module")
def something(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something-Something V2 as it is distributed: lists in ``labels/``, WebM files (VP9) named after their numbers."""
    root = tmp_path_factory.mktemp("sthv2")
    labels = {"Pushing something": "2", "Holding something": "0", "Turning something": "1"}
    numbers = [100 + 7 * i for i in range(TRAIN + TEST)]
    entries: list[dict[str, Any]] = []
    for i, number in enumerate(numbers):
        verb = list(labels)[i % 3].split()[0]
        texts = {"label": f"{verb.lower()} a cup", "template": f"{verb} [something]", "placeholders": ["a cup"]}
        entries.append({"id": str(number), **texts})
    lists: dict[str, str | bytes] = {
        "labels/labels.json": json.dumps(labels),
        "labels/train.json": json.dumps(entries[:TRAIN]),
        "labels/validation.json": json.dumps(entries[TRAIN:]),
        "labels/test.json": json.dumps([{"id": "1"}, {"id": "2"}]),
        "labels/test-answers.csv": "1;Holding something\n2;Turning something\n",
    }
    videos = put(root, lists) / "20bn-something-something-v2"
    videos.mkdir()
    for number in numbers:
        frames = moving_square(6 + number % 9, 48, 64, seed=number)
        # On busy cores, several threads of libvpx can wait for each other for minutes.
        options = {"threads": "1", "cpu-used": "8", "g": "12"}
        write_video(videos / f"{number}.webm", frames, codec="libvpx-vp9", options=options)
    return root


@pytest.fixture(scope="module")
def diving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Diving48 with the labels of version 2: lists beside the folder ``rgb/``, MP4 files."""
    root = tmp_path_factory.mktemp("diving48")
    vocabulary = [["Back", "15som", "05Twis", "FREE"], ["Forward", "35som", "NoTwis", "PIKE"]]
    entries = [
        {"vid_name": f"_8Vy3dlHg2w_{i:05}", "label": i % 2, "start_frame": 0, "end_frame": 9}
        for i in range(TRAIN + TEST)
    ]
    lists: dict[str, str | bytes] = {
        "Diving48_vocab.json": json.dumps(vocabulary),
        "Diving48_V2_train.json": json.dumps(entries[:TRAIN]),
        "Diving48_V2_test.json": json.dumps(entries[TRAIN:]),
    }
    (put(root, lists) / "rgb").mkdir()
    for i, entry in enumerate(entries):
        write_video(root / "rgb" / f"{entry['vid_name']}.mp4", moving_square(6 + i % 9, 48, 64, seed=i))
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with weights of the small backbone."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(importlib.import_module("action_models").SmallResNet().state_dict(), path)
    return path


def arguments(name: str, root: Path, out: Path, *more: str) -> list[str]:
    return [name, "--root", str(root), "--out", str(out), "--num-workers", "0", *more, "--", *SMALL]


def start(given: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, str(EXAMPLES / "reproduce_table2.py"), *given]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A session of its own, so that a signal reaches the command and its runs, as Ctrl-C in a terminal does.
        start_new_session=True,
        # A shell that starts the tests in the background makes all their processes ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def reproduce(given: list[str]) -> str:
    """Run the command to its end, and return what it prints."""
    with start(given) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def interrupt_second_run(given: list[str], out: Path, sent: signal.Signals) -> str:
    """Send a signal in the epoch of the second run, and return what the command writes to stderr."""
    metrics = out / "image-seed-0" / "metrics.jsonl"
    with start(given) as process:
        deadline = time.monotonic() + 200
        # From the third step on, there is a checkpoint of the first.
        while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 3):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        os.killpg(process.pid, sent)
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert list(results(out)["runs"]) == ["segment-seed-0"]
    return err


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "table2.json").read_text())
    return found


def losses(out: Path, row: str) -> dict[int, float]:
    """Return the loss of each step of a row's run."""
    lines = [json.loads(line) for line in (out / f"{row}-seed-0" / "metrics.jsonl").read_text().splitlines()]
    found = [(line["step"], line["train/loss"]) for line in lines if "train/loss" in line]
    assert len(dict(found)) == len(found), "a step was written down twice"
    return dict(found)


@pytest.fixture(scope="module")
def whole(something: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An uninterrupted command: its folder and what it printed."""
    out = tmp_path_factory.mktemp("whole") / "table2"
    return out, reproduce(arguments("something-something-v2", something, out, "--weights", str(weights)))


# --- the command -----------------------------------------------------------------------------------------------------


def test_one_command_trains_the_three_rows_and_prints_the_table(whole: tuple[Path, str], weights: Path) -> None:
    out, printed = whole
    found = results(out)
    assert list(found["runs"]) == [f"{row}-seed-0" for row in ROWS]
    assert found["videos"] == {"train": TRAIN, "test": TEST}
    assert found["weights"]["file"] == weights.name
    assert found["changed"]["epochs"] == ["50", "1"]
    for run in found["runs"].values():
        assert run["top1"] * TEST == pytest.approx(round(run["top1"] * TEST))
        assert run["steps"] == TRAIN / 2
    assert len({tuple(losses(out, row).values()) for row in ROWS}) == 3, "rows have other frames"
    assert f"measured {TRAIN + TEST} videos, kept 0" in printed
    table = printed[printed.index("Table 2 on something-something-v2: tsm on small, 4 frames") :]
    accuracies = [100 * run["top1"] for run in found["runs"].values()]
    for line, accuracy, title in zip(
        table.splitlines()[3:6],
        accuracies,
        ("segment", "motion-guided, image level", "motion-guided, feature level"),
        strict=True,
    ):
        assert line.startswith(title)
        assert line[30:].split()[0] == f"{accuracy:.1f}"
        if title != "segment":
            assert line[30:].split()[2] == f"{accuracy - accuracies[0]:+.1f}"
    assert "Not the paper's setting: epochs 1 instead of 50." in table
    assert "from scratch" not in table


def test_a_killed_command_continues_with_the_same_losses_and_repeats_nothing(
    whole: tuple[Path, str], something: Path, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "table2"
    given = arguments("something-something-v2", something, out, "--weights", str(weights))
    interrupt_second_run(given, out, signal.SIGKILL)
    segment = (out / "segment-seed-0" / "metrics.jsonl").stat().st_mtime_ns
    printed = reproduce(given)
    assert f"measured 0 videos, kept {TRAIN + TEST}" in printed
    assert "run 1 of 2: motion-guided, image level, seed 0" in printed
    assert "resuming after step" in printed
    assert (out / "segment-seed-0" / "metrics.jsonl").stat().st_mtime_ns == segment
    for row in ROWS:
        assert losses(out, row) == losses(whole[0], row)
        for name in ("top1", "top5"):
            assert results(out)["runs"][f"{row}-seed-0"][name] == results(whole[0])["runs"][f"{row}-seed-0"][name]


def test_diving48_from_scratch_continues_after_ctrl_c(diving: Path, tmp_path: Path) -> None:
    out = tmp_path / "table2"
    given = arguments("diving48", diving, out, "--from-scratch")
    message = interrupt_second_run(given, out, signal.SIGINT)
    assert "interrupted; the same command continues" in message
    assert "Traceback" not in message
    printed = reproduce(given)
    assert "resuming after step" in printed
    assert list(results(out)["runs"]) == [f"{row}-seed-0" for row in ROWS]
    assert [len(losses(out, row)) for row in ROWS] == [TRAIN / 2] * 3
    assert "Trained from scratch, without ImageNet weights: not comparable with the paper." in printed
    assert results(out)["weights"] is None


def test_a_finished_command_prints_its_table_again_without_training(
    whole: tuple[Path, str], something: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, printed = whole
    main = importlib.import_module("reproduce_table2").main
    main(arguments("something-something-v2", something, out, "--weights", str(weights)))
    assert capsys.readouterr().out.strip() == printed[printed.index("Table 2 on") :].strip()
    with pytest.raises(SystemExit, match="results of other settings .*weights .* -> None.*: pass another --out"):
        main(arguments("something-something-v2", something, out, "--from-scratch"))


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["something-something-v2", "diving48"])
def test_the_presets_are_the_recipe_of_the_training_script(name: str, tmp_path: Path) -> None:
    options = importlib.import_module("train_options")
    preset = importlib.import_module("paper_presets").PRESETS[name]
    bare = ["--dataset", name, "--root", "x", "--out", "y"]
    found = options.parse_arguments([*bare, *preset.arguments()])
    recipe = options.parse_arguments(bare)
    differing = {f.name for f in fields(found) if getattr(found, f.name) != getattr(recipe, f.name)}
    assert differing == {"flip_prob"}
    assert preset.flip_prob == (0 if name in options.SIDED else 0.5)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "exactly one of --weights and --from-scratch: the paper starts from ImageNet weights"),
        (["--weights", "no.pth"], "no.pth does not exist: .*resnet50-0676ba61.pth"),
        (["--from-scratch", "--weights", "no.pth"], "exactly one of --weights and --from-scratch"),
        (["--from-scratch", "--", "--seed", "3"], "seed cannot be set after --"),
        (["--from-scratch", "--", "--epochs", "0"], "epochs must be >= 1, got 0"),
    ],
)
def test_wrong_options_are_reported_before_any_video_is_measured(
    diving: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        importlib.import_module("reproduce_table2").main(
            ["diving48", "--root", str(diving), "--out", str(tmp_path / "out"), *more]
        )
    assert not (tmp_path / "out").exists()


def test_a_video_that_cannot_be_decoded_is_named_before_the_first_run(
    diving: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "diving48"
    (root / "rgb").mkdir(parents=True)
    for path in (*diving.glob("*.json"), *diving.glob("rgb/*.mp4")):
        (root / path.relative_to(diving)).symlink_to(path)
    bad = root / "rgb" / "_8Vy3dlHg2w_00003.mp4"
    bad.unlink()
    bad.write_bytes(b"garbage" * 99)
    with pytest.raises(SystemExit, match=f"1 of {TRAIN + TEST} videos cannot be decoded: .*--on-error replace"):
        importlib.import_module("reproduce_table2").main(
            arguments("diving48", root, tmp_path / "out", "--from-scratch")
        )
    assert str(bad) in capsys.readouterr().out
    assert not (tmp_path / "out" / "segment-seed-0").exists()
