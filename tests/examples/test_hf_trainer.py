"""The example of Hugging Face's Trainer, tested if it is installed: it trains, and resumes from its checkpoints."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.torch_threads import one_torch_thread
from tests.support.videos import moving_square, write_video

transformers: Any = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.slow


@pytest.fixture
def example() -> Iterator[Any]:
    with one_torch_thread():
        yield importlib.import_module("hf_trainer")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos to train on and two to test on, in two classes."""
    root = tmp_path_factory.mktemp("videos")
    for split, count in (("train", 6), ("val", 2)):
        for i in range(count):
            path = root / split / ("one", "two")[i % 2] / f"{i}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, moving_square(5 + 3 * i, 36, 48, seed=i))
    return root


def train(example: Any, folder: Path, out: Path, resume: str | None = None) -> tuple[list[float], int]:
    """Train for two epochs of three steps. Return the loss of each step, and how often the accuracy was measured."""
    torch.manual_seed(0)
    training = transformers.TrainingArguments(
        str(out), num_train_epochs=2, per_device_train_batch_size=2, eval_strategy="epoch", logging_steps=1,
        save_strategy="steps", save_steps=1, ignore_data_skip=True, report_to="none", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    loading = {"batch_size": 2, "crop_size": 32, "resize": 32, "device": "cpu", "num_workers": 0}
    trainer = example.make_trainer(folder, training, num_frames=4, **loading)
    trainer.train(resume_from_checkpoint=resume)
    log = trainer.state.log_history
    return [entry["loss"] for entry in log if "loss" in entry], sum("eval_accuracy" in entry for entry in log)


def test_every_checkpoint_resumes_with_the_losses_of_an_uninterrupted_run(
    example: Any, folder: Path, tmp_path: Path
) -> None:
    losses, tested = train(example, folder, tmp_path)
    assert (len(losses), tested) == (6, 2)
    for done in range(1, 7):
        resumed, _ = train(example, folder, tmp_path / "again", str(tmp_path / f"checkpoint-{done}"))
        assert resumed == losses, done
