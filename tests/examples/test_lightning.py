"""The Lightning example, tested if Lightning is installed: it trains, and resumes from any of its checkpoints."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mgdali import MGDaliIterator
from tests.support.torch_threads import one_torch_thread
from tests.support.videos import moving_square, write_video

lightning = pytest.importorskip("lightning")
pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS, EPOCHS = 3, 3


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    with one_torch_thread(), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.import_module("lightning_module")


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


def fit(
    example: Any, folder: Path, saving: dict[str, Any], out: Path, resume: Path | None = None
) -> list[tuple[int, float, float]]:
    """Train for three epochs of three steps. Return the epoch, a hash of the clips and the loss of each step."""
    steps: list[tuple[int, float, float]] = []

    class Recorded(example.ActionModule):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
            loss: torch.Tensor = super().training_step(batch, batch_index)
            steps.append((self.current_epoch, float(batch[0].double().abs().sum()), float(loss)))
            return loss

    torch.manual_seed(0)
    module = Recorded(2, num_frames=4)
    # Lightning's checkpoints do not contain the random state of dropout.
    module.model.dropout.p = 0.0
    save = lightning.pytorch.callbacks.ModelCheckpoint(out, filename="{step}", save_top_k=-1, **saving)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        callbacks=[save],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loading = {"batch_size": 2, "crop_size": 32, "resize": 32, "device": "cpu", "num_workers": 0}
    data = example.VideoDataModule(folder, num_frames=4, **loading)
    trainer.fit(module, data, ckpt_path=resume)
    assert trainer.global_step == EPOCHS * STEPS
    return steps


@pytest.mark.parametrize(
    "saving",
    [
        {"every_n_train_steps": 1},
        {"every_n_epochs": 1, "save_on_train_epoch_end": False},
        {"every_n_epochs": 1, "save_on_train_epoch_end": True},
    ],
    ids=["after every step", "after every validation", "between epochs"],
)
def test_every_checkpoint_resumes_with_the_batches_and_losses_of_an_uninterrupted_run(
    example: Any, folder: Path, tmp_path: Path, saving: dict[str, Any]
) -> None:
    whole = fit(example, folder, saving, tmp_path / "whole")
    assert [epoch for epoch, _, _ in whole] == [epoch for epoch in range(EPOCHS) for _ in range(STEPS)]
    assert len({clips for _, clips, _ in whole}) == len(whole), "epochs have picks and crops of their own"
    checkpoints = list((tmp_path / "whole").glob("step=*.ckpt"))
    assert len(checkpoints) == (EPOCHS * STEPS if "every_n_train_steps" in saving else EPOCHS)
    for checkpoint in checkpoints:
        done = int(checkpoint.stem.removeprefix("step="))
        assert fit(example, folder, saving, tmp_path / f"from {done}", checkpoint) == whole[done:], checkpoint.name


def test_a_loader_can_be_used_for_validation(example: Any, folder: Path) -> None:
    data = example.VideoDataModule(folder, num_frames=4, batch_size=2, crop_size=32, resize=32, num_workers=0)
    with MGDaliIterator(data.val_videos, device="cpu", **data.loading) as loader:
        trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
        (measured,) = trainer.validate(example.ActionModule(2, num_frames=4), loader)
    assert 0 <= measured["val/accuracy"] <= 1
