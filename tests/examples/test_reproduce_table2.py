"""Table 2 on real data: the whole command on miniature copies of the data sets, in their official layouts."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mgdali import Representation, VideoDataset, build_index
from tests.support.loading import SCRIPT_ENVIRONMENT
from tests.support.official_sets import put
from tests.support.torch_threads import one_torch_thread
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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Train in this process with one thread, as in other processes."""
    with one_torch_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


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


def main(given: list[str]) -> None:
    """Call the command here. Its runs are calls, too, because each process needs seconds to import torch."""
    command = importlib.import_module("reproduce_table2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "_train", lambda _, words: importlib.import_module("train_tsm").main(words))
        command.main(given)


def interrupt(given: list[str], metrics: Path, lines: int, sent: signal.Signals, *, only_command: bool = False) -> str:
    """Start the command as a process, and send it a signal when it has written a number of steps to a run's metrics.

    Returns:
        What the command wrote to stderr.
    """
    before = metrics.stat().st_mtime_ns if metrics.exists() else 0
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "reproduce_table2.py"), *given],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A session of its own, so that a signal reaches the command and its runs, as Ctrl-C in a terminal does.
        start_new_session=True,
        # A shell that starts the tests in the background makes all their processes ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 200
        while not (
            metrics.exists() and metrics.stat().st_mtime_ns != before and len(metrics.read_text().splitlines()) >= lines
        ):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        (os.kill if only_command else os.killpg)(process.pid, sent)
        # It ends when the last process that has the pipes has ended.
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
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
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        command = importlib.import_module("reproduce_table2")
        patch.setattr(command, "print", lambda *text, **_: printed.extend(map(str, text)), raising=False)
        main(arguments("something-something-v2", something, out, "--weights", str(weights)))
    return out, "\n".join(printed)


@pytest.fixture(scope="module")
def diving_index(diving: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of Diving48 that another command built."""
    path = tmp_path_factory.mktemp("index") / "diving48.parquet"
    both = (Representation(motion="image"), Representation(motion="feature"))
    build_index(
        [*VideoDataset.diving48(diving, "train"), *VideoDataset.diving48(diving, "test")],
        path,
        representations=both,
        num_workers=0,
    )
    return path


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
    assert "Changed setting: epochs is 1 instead of 50." in table
    assert "Changed setting: device" not in table
    assert f"Other weights: {weights.name} is not torchvision's resnet50-0676ba61.pth" in table
    assert "from scratch" not in table
    assert not (out / "trial").exists()


def test_a_killed_command_continues_with_the_same_losses_and_repeats_nothing(
    whole: tuple[Path, str], something: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table2"
    shutil.copytree(whole[0], out)
    for row in ("image", "feature"):
        shutil.rmtree(out / f"{row}-seed-0")
    first = {"segment-seed-0": results(out)["runs"]["segment-seed-0"]}
    (out / "table2.json").write_text(json.dumps({**results(out), "runs": first}))
    given = arguments("something-something-v2", something, out, "--weights", str(weights))
    # From the second step on, there is a checkpoint of the first.
    interrupt(given, out / "image-seed-0" / "metrics.jsonl", 2, signal.SIGKILL)
    assert results(out)["runs"] == first
    segment = (out / "segment-seed-0" / "metrics.jsonl").stat().st_mtime_ns
    main(given)
    printed = capsys.readouterr().out
    assert f"measured 0 videos, kept {TRAIN + TEST}" in printed
    assert "run 1 of 2: motion-guided, image level, seed 0" in printed
    assert "trying one training step" not in printed
    assert "resuming after step" in printed
    assert (out / "segment-seed-0" / "metrics.jsonl").stat().st_mtime_ns == segment
    for row in ROWS:
        assert losses(out, row) == losses(whole[0], row)
        for name in ("top1", "top5"):
            assert results(out)["runs"][f"{row}-seed-0"][name] == results(whole[0])["runs"][f"{row}-seed-0"][name]


def test_diving48_from_scratch_with_an_index_continues_after_sigterm_and_ctrl_c(
    diving: Path, diving_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table2"
    # Enough steps, so that a run on an idle machine has not ended when the second signal arrives.
    epochs = 6
    given = arguments("diving48", diving, out, "--from-scratch", "--index", str(diving_index))
    given += ["--epochs", str(epochs)]
    metrics = out / "segment-seed-0" / "metrics.jsonl"
    for sent, lines, only in ((signal.SIGTERM, 2, True), (signal.SIGINT, 2, False)):
        message = interrupt(given, metrics, lines, sent, only_command=only)
        assert "interrupted; the same command continues" in message
        assert "Traceback" not in message
        assert results(out)["runs"] == {}
    # A run that goes on although its command has ended would hold the lock.
    with (out / "segment-seed-0" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    main(given)
    printed = capsys.readouterr().out
    assert f"measured 0 videos, kept {TRAIN + TEST}" in printed
    assert "resuming after step" in printed
    assert list(results(out)["runs"]) == [f"{row}-seed-0" for row in ROWS]
    assert [len(losses(out, row)) for row in ROWS] == [epochs * TRAIN / 2] * 3
    assert "Trained from scratch, without ImageNet weights: not comparable with the paper." in printed
    assert results(out)["weights"] is None
    assert not (out / "motion.parquet").exists()


def test_a_finished_command_prints_its_table_again_without_training(
    whole: tuple[Path, str], something: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, printed = whole
    main(arguments("something-something-v2", something, out, "--weights", str(weights)))
    assert capsys.readouterr().out.strip() == printed[printed.index("Table 2 on") :].strip()


def test_several_gpus_train_through_torchrun(
    diving: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = importlib.import_module("reproduce_table2")
    monkeypatch.setattr(sys, "executable", "echo")
    given = command._read_arguments(arguments("diving48", diving, tmp_path / "out", "--from-scratch", "--gpus", "2"))
    command._train(given, ["--seed", "3"])
    started = f"-m torch.distributed.run --standalone --nproc-per-node 2 {EXAMPLES / 'train_tsm.py'} --seed 3"
    assert capfd.readouterr().out.strip() == started


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["something-something-v2", "diving48"])
def test_the_runs_have_the_papers_settings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    command = importlib.import_module("reproduce_table2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    given = command._read_arguments([name, "--root", "x", "--out", "y", "--weights", str(weights)])
    runs = [importlib.import_module("table2_rows").Run(row, 0) for row in command.ROWS]
    assert command._check(given, runs)[1] == {}
    for run in runs:
        found = importlib.import_module("train_arguments").parse_arguments(command._arguments(given, run))
        assert (found.model, found.backbone, found.num_frames, found.mu) == ("tsm", "resnet50", 8, 0.5)
        assert (found.optimizer, found.lr, found.lr_steps, found.epochs) == ("sgd", 0.01, (20, 40), 50)
        assert (found.batch_size, found.weight_decay, found.dropout) == (64, 5e-4, 0.5)
        assert found.flips == (0 if name == "something-something-v2" else 0.5)
        assert found.test_views.count == 1
    samplers = [
        importlib.import_module("train_arguments").parse_arguments(command._arguments(given, run)).frame_sampler
        for run in runs
    ]
    assert [getattr(sampler, "motion", None) for sampler in samplers] == [None, "image", "feature"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--from-scratch"], "weights .* -> None.*: give the former ones, or pass another --out"),
        (["--weights", "W", "--", *SMALL, "--resize", "40"], r"settings\.resize None -> 40\)"),
        (["--weights", "W", "--", *SMALL, "--epochs", "2"], r"settings\.epochs 1 -> 2\)"),
        (["--weights", "W", "--", *SMALL, "--test-clips", "2"], r"settings\.test_clips 1 -> 2\)"),
    ],
)
def test_a_folder_of_other_settings_is_not_continued(
    whole: tuple[Path, str], something: Path, weights: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    """Settings are found in the file also before the first result, as after a run that was killed."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "table2.json").write_text(json.dumps({**results(whole[0]), "runs": {}}))
    words = [str(weights) if word == "W" else word for word in more]
    if "--" not in words:
        words += ["--", *SMALL]
    with pytest.raises(SystemExit, match=message):
        main(["something-something-v2", "--root", str(something), "--out", str(out), *words])
    assert not (out / "motion.parquet").exists()


def test_a_table_with_several_clips_has_their_accuracy(
    whole: tuple[Path, str], something: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = ["--index", str(whole[0] / "motion.parquet")]
    out = tmp_path / "table2"
    given = arguments("something-something-v2", something, out, "--weights", str(weights), *index)
    main([*given, "--test-clips", "2", "--test-crops", "3"])
    printed = capsys.readouterr().out
    assert "2 clips x 3 crops of each" in printed
    for row in ROWS:
        last = json.loads((out / f"{row}-seed-0" / "metrics.jsonl").read_text().splitlines()[-1])
        assert results(out)["runs"][f"{row}-seed-0"]["top1"] == last["views/top1"]
        assert losses(out, row) == losses(whole[0], row)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "exactly one of --weights and --from-scratch: the paper starts from ImageNet weights"),
        (["--weights", "no.pth"], "no.pth does not exist: .*resnet50-0676ba61.pth"),
        (["--from-scratch", "--weights", "no.pth"], "exactly one of --weights and --from-scratch"),
        (["--from-scratch", "--", "--seed", "3"], "seed cannot be set after --"),
        (["--from-scratch", "--", "--tensorboard", "x"], "tensorboard cannot be set after --"),
        (["--from-scratch", "--", "--epochs", "0"], "epochs must be >= 1, got 0"),
        # The first row does not use mu.
        (["--from-scratch", "--", "--mu", "-1"], "mu must be .*-1"),
        (["--from-scratch", "--", "--lr", "nan"], "lr must be > 0, got nan"),
        (["--from-scratch", "--", "--resize", "100"], "resize must be at least crop_size, 224, got 100"),
        (["--from-scratch", "--gpus", "3"], "a step has 64 clips, which cannot be shared equally by --gpus 3"),
        (["--from-scratch"], "torch finds no GPU .*-- --device cpu"),
        (["--from-scratch", "--videos", "none", "--", "--device", "cpu"], "the folder of videos was not found: .*none"),
    ],
)
def test_wrong_options_are_reported_before_any_video_is_measured(
    diving: Path, tmp_path: Path, more: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=message):
        main(["diving48", "--root", str(diving), "--out", str(tmp_path / "out"), *more])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--weights", "W"], "page.pth does not contain the weights of small"),
        (["--from-scratch", "--", "--batch-size", str(TRAIN + 1)], f"batch_size {TRAIN + 1} is larger"),
        (["--from-scratch", "--", "--backbone", "resnet50"], "needs torchvision, which cannot be imported"),
    ],
)
def test_a_mistake_that_only_a_step_shows_is_found_before_any_video_is_measured(
    diving: Path, tmp_path: Path, more: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    page = tmp_path / "page.pth"
    page.write_text("<html>Not found</html>")
    words, options = (more[: more.index("--")], more[more.index("--") + 1 :]) if "--" in more else (more, [])
    words = [str(page) if word == "W" else word for word in words]
    with pytest.raises(SystemExit, match=message):
        main([*arguments("diving48", diving, tmp_path / "out", *words), *options])
    assert not any((tmp_path / "out").iterdir())


@pytest.fixture
def damaged(diving: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of Diving48, and one of its videos, which cannot be decoded."""
    root = tmp_path / "diving48"
    shutil.copytree(diving, root)
    bad = root / "rgb" / "_8Vy3dlHg2w_00003.mp4"
    bad.write_bytes(b"garbage" * 99)
    return root, bad


def test_a_video_that_cannot_be_decoded_is_named_before_the_first_run_or_replaced(
    damaged: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, bad = damaged
    given = arguments("diving48", root, tmp_path / "out", "--from-scratch")
    with pytest.raises(SystemExit, match=f"1 of {TRAIN + TEST} videos cannot be decoded: .*--on-error replace"):
        main(given)
    assert str(bad) in capsys.readouterr().out
    assert not (tmp_path / "out" / "segment-seed-0").exists()
    main([*given, "--on-error", "replace"])
    assert "Replaced videos: 1 cannot be decoded." in capsys.readouterr().out
    assert results(tmp_path / "out")["replaced_videos"] == 1


def test_missing_videos_are_named_before_any_video_is_measured(damaged: tuple[Path, Path], tmp_path: Path) -> None:
    root, bad = damaged
    bad.unlink()
    (root / "rgb" / "_8Vy3dlHg2w_00014.mp4").write_bytes(b"")
    given = arguments("diving48", root, tmp_path / "out", "--from-scratch")
    message = f"2 of {TRAIN + TEST} videos are missing or empty, such as {bad}, .*00014.mp4.*mgdali data check diving48"
    with pytest.raises(SystemExit, match=message):
        main(given)
    for path in (root / "rgb").iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match=f"{TRAIN + TEST} of {TRAIN + TEST} videos are missing or empty"):
        main([*given, "--on-error", "replace"])
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_is_reported_with_its_command(
    diving: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = importlib.import_module("reproduce_table2")
    given = command._read_arguments(arguments("diving48", diving, tmp_path / "out", "--from-scratch"))
    for script, reason in (("exit 3", "exit status 3"), ("kill -9 $$", "SIGKILL")):
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        with pytest.raises(ValueError, match=f"train_tsm.py ended with {reason} .*/train_tsm.py --seed 3"):
            command._train(given, ["--seed", "3"])
