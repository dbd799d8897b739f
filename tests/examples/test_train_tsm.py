"""The training script: it trains, stops and resumes with the same losses, with one rank and with two."""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import Segment, VideoDataset, Views
from tests.support.framework_loading import run_ranks
from tests.support.loading import SCRIPT_ENVIRONMENT, load
from tests.support.torch_threads import one_torch_thread
from tests.support.videos import moving_square, write_video

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
# One thread: a loss depends on the order of additions.
ENVIRONMENT = {**SCRIPT_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
STEPS = 12


@pytest.fixture(scope="module", autouse=True)
def examples() -> Iterator[None]:
    """Make the examples' modules importable, here and in decoding workers."""
    with one_torch_thread(), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven videos to train on and five to test on, in three classes."""
    root = tmp_path_factory.mktemp("videos")
    for split, count in (("train", 11), ("val", 5)):
        for i in range(count):
            path = root / split / ("one", "two", "three")[i % 3] / f"{i:02}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, moving_square(5 + 3 * i % 11, 36, 48, seed=i))
    return root


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    """Return the arguments of a small run with five steps per epoch."""
    small = "--backbone small --crop-size 32 --num-frames 4 --batch-size 2 --epochs 40 --device cpu --num-workers 0"
    return ["--data", str(folder), "--out", str(out), *small.split(), *more]


def train(folder: Path, out: Path, *more: str) -> None:
    importlib.import_module("train_tsm").main(arguments(folder, out, *more))


def metrics(out: Path, name: str) -> dict[int, float]:
    """Return the values of a scalar by step."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = [(line["step"], line[name]) for line in lines if name in line]
    assert len({step for step, _ in found}) == len(found), "a step was written down twice"
    return dict(found)


@pytest.fixture(scope="module")
def unbroken(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(folder, out, "--max-steps", str(STEPS))
    return out


# --- one rank --------------------------------------------------------------------------------------------------------


def test_each_step_and_each_epoch_is_logged(unbroken: Path) -> None:
    assert list(metrics(unbroken, "train/loss")) == list(range(1, STEPS + 1))
    assert len(set(metrics(unbroken, "train/loss").values())) == STEPS
    assert list(metrics(unbroken, "epoch/loss")) == list(metrics(unbroken, "test/top1")) == [5, 10]
    losses = metrics(unbroken, "train/loss")
    assert metrics(unbroken, "epoch/loss")[5] == pytest.approx(np.mean([losses[step] for step in range(1, 6)]))
    assert all(0 < share < 1 for share in metrics(unbroken, "train/waiting").values())
    assert all(part * 5 == pytest.approx(round(part * 5)) for part in metrics(unbroken, "test/top1").values())
    assert set(metrics(unbroken, "test/top5").values()) == {1.0}, "of three classes all are among the likeliest"


@pytest.mark.parametrize("stops", [(3, 7), (5,)], ids=["within epochs", "after an epoch's last batch"])
def test_a_resumed_run_has_the_losses_of_an_uninterrupted_run(
    folder: Path, unbroken: Path, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    for stop in (*stops, STEPS):
        train(folder, tmp_path / "run", "--max-steps", str(stop), "--resume")
        assert max(metrics(tmp_path / "run", "train/loss")) == stop
    for name in ("train/loss", "train/accuracy", "epoch/loss", "test/top1"):
        assert metrics(tmp_path / "run", name) == metrics(unbroken, name)


@pytest.mark.slow
def test_a_killed_run_resumes_from_its_checkpoint_with_the_same_losses(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, str(EXAMPLES / "train_tsm.py"), *arguments(folder, out, "--save-every", "3")]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (out / "metrics.jsonl").exists() or len((out / "metrics.jsonl").read_text().splitlines()) < 8:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    saved = importlib.import_module("checkpoints").load_checkpoint(out / "checkpoint.pt")["step"]
    assert saved >= 5
    end = str(saved + 6)
    train(folder, out, "--max-steps", end, "--save-every", "3", "--resume")
    train(folder, tmp_path / "whole", "--max-steps", end)
    assert metrics(out, "train/loss") == metrics(tmp_path / "whole", "train/loss")
    assert metrics(out, "epoch/loss") == metrics(tmp_path / "whole", "epoch/loss")


def test_another_seed_has_other_losses(folder: Path, unbroken: Path, tmp_path: Path) -> None:
    train(folder, tmp_path / "run", "--max-steps", "1", "--seed", "1")
    assert metrics(tmp_path / "run", "train/loss")[1] != metrics(unbroken, "train/loss")[1]


def test_the_learning_rate_drops_to_a_tenth_at_each_of_its_steps(folder: Path, tmp_path: Path) -> None:
    options = importlib.import_module("train_arguments").parse_arguments(["--data", "x", "--out", "y"])
    rates = [options.learning_rate(epoch) for epoch in (0, 19, 20, 39, 40, 49)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])
    train(folder, tmp_path / "run", "--max-steps", "6", "--lr-steps", "1")
    assert list(metrics(tmp_path / "run", "train/lr").values()) == pytest.approx([0.01] * 5 + [0.001])


def test_adamw_is_used_if_requested(folder: Path, tmp_path: Path) -> None:
    more = ("--optimizer", "adamw")
    train(folder, tmp_path / "whole", "--max-steps", "4", *more)
    state = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=False)["optimizer"]["state"]
    assert all("exp_avg_sq" in moments for moments in state.values())
    train(folder, tmp_path / "run", "--max-steps", "2", *more)
    train(folder, tmp_path / "run", "--max-steps", "4", "--resume", *more)
    assert metrics(tmp_path / "run", "train/loss") == metrics(tmp_path / "whole", "train/loss")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_mixed_precision_the_first_loss_is_nearly_the_same(
    folder: Path, unbroken: Path, tmp_path: Path, precision: str
) -> None:
    train(folder, tmp_path / "run", "--max-steps", "2", "--precision", precision)
    losses, whole = (metrics(run, "train/loss")[1] for run in (tmp_path / "run", unbroken))
    assert losses != whole
    assert losses == pytest.approx(whole, rel=0.05)


def test_gradients_are_clipped_to_the_requested_norm(folder: Path, tmp_path: Path) -> None:
    def norm_of_first_step(*more: str) -> float:
        run = tmp_path / str(len(more))
        train(folder, run, "--max-steps", "1", "--weight-decay", "0", *more)
        moments = torch.load(run / "checkpoint.pt", weights_only=False)["optimizer"]["state"].values()
        return float(torch.stack([state["momentum_buffer"].norm() for state in moments]).norm())

    assert norm_of_first_step() > 0.1
    assert norm_of_first_step("--clip-gradient", "0.01") == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("sampler", ["segment", "stride", "top-motion"])
def test_every_sampler_trains(folder: Path, tmp_path: Path, sampler: str) -> None:
    train(folder, tmp_path / "run", "--max-steps", "1", "--sampler", sampler, "--model", "none")
    assert len(metrics(tmp_path / "run", "train/loss")) == 1


def test_the_synthetic_set_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = importlib.import_module("train_options")
    monkeypatch.setattr(options, "SYNTHETIC_VIDEOS", {"train_per_class": 2, "val_per_class": 1})
    words = ["--synthetic", str(tmp_path / "set"), "--out", str(tmp_path / "run")]
    given = importlib.import_module("train_arguments").parse_arguments(words)
    train_videos, test_videos = options.open_datasets(given)
    assert (len(train_videos), len(test_videos)) == (16, 8)
    assert Path(train_videos[0].path).read_bytes() != Path(test_videos[0].path).read_bytes()
    written = Path(train_videos[0].path).stat().st_mtime_ns
    options.open_datasets(given)
    assert Path(train_videos[0].path).stat().st_mtime_ns == written


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch-size", "12"], "batch_size 12 is larger .* 11"),
        (["--batch-size", "0"], "batch_size must be >= 1, got 0"),
        (["--dataset", "jester"], "--data, --dataset"),
        (["--mu", "-1"], "mu must be .*-1"),
        (["--test-clips", "0"], "test_clips must be >= 1, got 0"),
        (["--dropout", "1"], "dropout must be less than 1, got 1.0"),
        (["--flip-prob", "2"], r"flip_prob must be within \[0, 1\], got 2.0"),
        (["--clip-gradient", "0"], "clip_gradient must be > 0, got 0.0"),
        (["--resize", "31"], "resize must be at least crop_size, 32, got 31"),
        (["--videos", "x"], "--annotations and --videos are for --dataset"),
        (["--device", "cuda"], "this rank needs GPU 0, but torch finds 0 GPUs .*--device cpu"),
        (["--lr", "1e30"], "the loss of step 2 is nan: start again with a smaller --lr"),
    ],
)
def test_a_bad_option_is_echoed(
    folder: Path, tmp_path: Path, more: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SystemExit, match=message):
        train(folder, tmp_path / "run", *more)


@pytest.mark.parametrize("given", ["0,a", "1,1", "-1", ","])
def test_bad_seeds_are_echoed(given: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"must be .*, got {given}"):
        importlib.import_module("train_arguments").read_seeds(given)


def test_too_little_gpu_memory_is_reported_with_remedies(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr(importlib.import_module("train_tsm").F, "cross_entropy", fail)
    with pytest.raises(SystemExit, match="too little memory for 2 clips per step. Train on more GPUs.*2 GiB"):
        train(folder, tmp_path / "run")


def test_a_folder_in_which_another_process_trains_is_not_touched(folder: Path, tmp_path: Path) -> None:
    train(folder, tmp_path, "--max-steps", "1")
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(SystemExit, match="another process is training in .*: wait for its end or stop it"):
            train(folder, tmp_path, "--max-steps", "2", "--resume")
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    train(folder, tmp_path, "--max-steps", "2", "--resume")


def test_a_damaged_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"garbage" * 99)
    with pytest.raises(SystemExit, match="checkpoint.pt is damaged and cannot be read: remove it"):
        train(folder, tmp_path, "--resume")


def test_a_run_is_neither_overwritten_nor_resumed_with_other_options(folder: Path, unbroken: Path) -> None:
    with pytest.raises(SystemExit, match="already contains a run: .*--resume"):
        train(folder, unbroken)
    with pytest.raises(SystemExit, match=r"other options: lr 0\.01 -> 0\.5, seed 0 -> 3"):
        train(folder, unbroken, "--resume", "--lr", "0.5", "--seed", "3")


def test_a_class_without_training_videos_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to(folder / "val")
    (tmp_path / "train").mkdir()
    for name in ("one", "two"):
        (tmp_path / "train" / name).symlink_to(folder / "train" / name)
    with pytest.raises(SystemExit, match="'three'"):
        train(tmp_path, tmp_path / "run")


# --- testing ---------------------------------------------------------------------------------------------------------


class Brightness(torch.nn.Module):
    """A model that separates dark clips (class 0) from bright ones (class 1) and records the shapes of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(clips.shape))
        mean = clips.mean(dim=(1, 2, 3, 4))
        return torch.stack([-mean, mean], dim=1)


def test_clips_and_crops_of_a_video_are_averaged_and_each_video_counts_once(tmp_path: Path) -> None:
    evaluation = importlib.import_module("evaluation")
    # The middle is bright and both ends are dark, so the centre crop alone would give the wrong class.
    paths = []
    for i in range(5):
        frames = np.full((9, 40, 120, 3), 220 if i % 2 else 30, np.uint8)
        frames[:, :, 40:80] = 30 if i % 2 else 220
        paths.append(write_video(tmp_path / f"{i}.mp4", frames))
    small: dict[str, Any] = {"sampler": Segment(3), "batch_size": 2, "crop_size": 40, "views": Views(clips=2, crops=3)}
    accuracies = []
    for labels, most in (([0, 1, 0, 1, 0], None), ([0, 1, 1, 1, 0], 5)):
        model = Brightness()
        with load(VideoDataset(paths, labels), **small) as loader:
            found = evaluation.evaluate(model, loader, device=torch.device("cpu"), clips_per_step=most)
        accuracies.append((found.top1, found.top5, found.videos))
        assert [shape[0] for shape in model.shapes] == ([12, 12, 6] if most is None else [5, 5, 2, 5, 5, 2, 5, 1])
        assert {shape[1:] for shape in model.shapes} == {(3, 3, 40, 40)}
    assert accuracies == [(1.0, 1.0, 5), (0.8, 1.0, 5)]


@dataclass(frozen=True)
class AtOffset:
    """Segments with one offset: a clip of a loader without views."""

    offset: float
    num_frames: int = 4
    representation: None = None

    def pick(self, motion: Any, total: int, offsets: Any) -> Any:
        return Segment(self.num_frames).pick(motion, total, np.full(self.num_frames, self.offset))


@pytest.mark.parametrize("crops", [1, 3])
def test_views_have_the_mean_scores_of_a_loader_per_clip_and_crop(folder: Path, crops: Any) -> None:
    evaluation = importlib.import_module("evaluation")
    videos = VideoDataset.from_folder(folder / "train")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4 * 3 * 32 * 32, 3))
    cpu = torch.device("cpu")

    each = []
    for offset in (0.25, 0.75):
        for position in ("start", "center", "end") if crops == 3 else ("center",):
            with load(videos, sampler=AtOffset(offset), crop_position=position) as loader, torch.no_grad():
                each.append(torch.cat([model(clips).softmax(1) for clips, _ in loader]))
    expected = torch.stack(each).mean(0)
    assert not torch.allclose(expected, each[0], atol=1e-2), "views differ"

    labels = torch.tensor(videos.labels)
    with load(videos, sampler=Segment(4), batch_size=3, views=Views(clips=2, crops=crops)) as loader:
        scores, truth = evaluation._scores(model, loader, cpu, 4)
        assert torch.allclose(scores, expected, atol=1e-5)
        assert torch.equal(truth, labels)
        found = evaluation.evaluate(model, loader, device=cpu)
    assert found.top1 == pytest.approx(float((expected.argmax(1) == labels).float().mean()))
    assert 0 < found.top1 < 1


@pytest.mark.parametrize(("crops", "side", "batch_size"), [(1, 28, 2), (3, 32, 1), (10, 28, 1)])
def test_the_final_test_has_the_requested_views_and_three_crops_reach_both_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crops: Any, side: int, batch_size: int
) -> None:
    options = importlib.import_module("train_options")
    seen: list[dict[str, Any]] = []

    class Recorded(options.MGDaliIterator):  # type: ignore[misc]
        def __init__(self, *given: Any, **loading: Any) -> None:
            super().__init__(*given, **loading)
            seen.append(loading)

    monkeypatch.setattr(options, "MGDaliIterator", Recorded)
    test = ["--crop-size", "28", "--batch-size", "4", "--epochs", "1", "--test-clips", "2", "--test-crops", str(crops)]
    train(folder, tmp_path / "run", *test)
    _, after_each_epoch, last = seen
    assert (after_each_epoch["views"], after_each_epoch["crop_size"], after_each_epoch["resize"]) == (None, 28, 32)
    assert (last["views"], last["crop_size"], last["resize"]) == (Views(clips=2, crops=crops), side, 32)
    assert last["batch_size"] == batch_size


@pytest.mark.parametrize(("crops", "batch_size", "prefetch_factor"), [(1, 6, 2), (3, 2, 4), (10, 1, 7)])
def test_with_views_a_batch_has_as_many_clips_and_each_worker_a_video(
    folder: Path, crops: Any, batch_size: int, prefetch_factor: int
) -> None:
    given = ["--data", str(folder), "--out", "unused", "--batch-size", "12", "--num-workers", "7"]
    options = importlib.import_module("train_arguments").parse_arguments(given)
    videos, views = VideoDataset.from_folder(folder / "val"), Views(clips=2, crops=crops)
    with options.testing_loader(videos, torch.device("cpu"), Segment(4), views=views) as loader:
        assert loader.batch_size == batch_size
        assert loader._settings.prefetch_factor == prefetch_factor


# --- two ranks -------------------------------------------------------------------------------------------------------

TWO_RANKS = """
    import json, sys
    sys.path.insert(0, {examples!r})
    import ranks, torch
    from rich.console import Console
    from train_arguments import parse_arguments
    from train_options import open_datasets
    from train_tsm import Trainer
    from mgdali import Segment, VideoDataset

    def run(*more):
        trainer = Trainer(parse_arguments({arguments!r} + list(more)), device, Console())
        trainer.run()
        trainer.close()
        return torch.cat([value.flatten() for value in trainer.network.parameters()]).sum().item()

    device = ranks.join_ranks("cpu")
    options = parse_arguments({arguments!r} + ["--out", "none"])
    paths = open_datasets(options)[0].paths
    seen = []
    for count in (11, 10):
        # Labels that tell which video it is.
        loader = options.testing_loader(VideoDataset(paths[:count], range(count)), device, Segment(num_frames=1))
        seen.append(ranks.from_every_rank([labels.tolist() for _, labels in loader]))
    sums = [run("--out", "unbroken", "--max-steps", "5")]
    for stop in ("2", "5"):
        sums.append(run("--out", "resumed", "--resume", "--max-steps", stop))
    everyones = ranks.from_every_rank(sums)
    if ranks.rank() == 0:
        print(json.dumps({{"seen": seen, "sums": everyones}}))
    ranks.leave_ranks()
"""


@pytest.mark.slow
def test_two_ranks_share_every_epoch_and_resume_together(folder: Path, tmp_path: Path) -> None:
    own = arguments(folder, Path("unused"), "--batch-size", "4")
    result = run_ranks(tmp_path, TWO_RANKS.format(examples=str(EXAMPLES), arguments=own), ranks=2)
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout.splitlines()[-1])
    for count, batches in zip((11, 10), printed["seen"], strict=True):
        assert [list(map(len, own)) for own in batches] == [[2, 2, 2] if count == 11 else [2, 2, 1]] * 2
        videos = sorted(label for own in batches for batch in own for label in batch)
        assert videos == (list(range(10)) if count == 10 else sorted([*range(11), 0]))
    unbroken, resumed = tmp_path / "unbroken", tmp_path / "resumed"
    # Eleven videos are six per rank: three steps of two videos per rank. Each of the five test videos counts once.
    assert list(metrics(unbroken, "epoch/loss")) == [3]
    assert metrics(unbroken, "test/top1")[3] * 5 == pytest.approx(round(metrics(unbroken, "test/top1")[3] * 5))
    assert metrics(resumed, "train/loss") == metrics(unbroken, "train/loss")
    (whole, stopped, went_on), second = printed["sums"]
    assert second == [whole, stopped, went_on], "ranks have the same weights"
    assert whole == went_on != stopped


def processes_that_name(path: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(process.name)] * (os.fsencode(path) in (process / "cmdline").read_bytes())
        except OSError:
            # The process has ended in the meantime.
            continue
    return found


@pytest.mark.slow
def test_a_rank_that_fails_ends_the_other_with_a_message(folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*.mp4"):
        copy = tmp_path / "videos" / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(path)
    bad = tmp_path / "videos" / "train" / "one" / "00.mp4"
    bad.unlink()
    bad.write_bytes(b"garbage" * 99)
    command = [*TORCHRUN, str(EXAMPLES / "train_tsm.py"), *arguments(tmp_path / "videos", tmp_path / "run")]
    started = time.monotonic()
    result = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert time.monotonic() - started < 60
    assert result.returncode != 0
    assert f"cannot decode {bad}" in result.stderr
    assert "error on rank" in result.stderr
    assert processes_that_name(tmp_path) == []
