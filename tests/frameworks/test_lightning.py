"""The plain loader in Lightning: the batches of ``fit``, checkpoints, several processes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.framework_loading import VIDEOS, read_results, run_ranks, seen, seen_in_epochs, training_loader

lightning: Any = pytest.importorskip("lightning")
pytestmark = pytest.mark.slow
EPOCHS, STEPS = 3, 5
# Lightning warns about workers, samplers, and loaders that cannot resume.
COMPLAINT = r"(?i).*(dataloader|sampler|resum)"
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


class Recorder(lightning.LightningModule):  # type: ignore[misc]
    """A model with one parameter that records the batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.trained: list[Any] = []
        self.validated: list[Any] = []

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        self.trained.append([self.current_epoch, *seen(*batch)])
        loss: torch.Tensor = self.weight * batch[0].mean()
        return loss

    def validation_step(self, batch: Any, batch_index: int) -> None:
        if not self.trainer.sanity_checking:
            self.validated.append(seen(*batch))

    test_step = validation_step

    def predict_step(self, batch: Any, batch_index: int) -> Any:
        return seen(*batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture(autouse=True)
def no_complaints_about_the_loader() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=COMPLAINT)
        yield


def fit(videos: Path, out: Path | None = None, resume: Path | None = None, **arguments: Any) -> Recorder:
    """Train for three epochs of five steps. With ``out``, save checkpoints as ``arguments["saving"]`` says."""
    saving = arguments.pop("saving", {})
    module = Recorder()
    callbacks = []
    if out is not None:
        callbacks = [lightning.pytorch.callbacks.ModelCheckpoint(out, filename="{step}", save_top_k=-1, **saving)]
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, callbacks=callbacks, enable_checkpointing=out is not None, **QUIET, **arguments
    )
    with training_loader(videos) as train, training_loader(videos, shuffle=False, training=False) as val:
        trainer.fit(module, train, val, ckpt_path=resume)
    return module


@pytest.fixture(scope="module")
def expected(videos: Path) -> list[Any]:
    """The batches of a plain loop, with their epochs."""
    return [[epoch, *batch] for epoch in range(EPOCHS) for batch in seen_in_epochs(videos, range(epoch, epoch + 1))]


def test_fit_yields_the_batches_of_a_plain_loop(videos: Path, expected: list[Any]) -> None:
    module = fit(videos)
    assert module.trained == expected
    assert len({content for _, _, content in module.trained}) == EPOCHS * STEPS, "epochs differ"
    validation = seen_in_epochs(videos, range(1), shuffle=False, training=False)
    assert module.validated == EPOCHS * validation


def test_validation_in_mid_epoch_does_not_disturb_training(videos: Path, expected: list[Any]) -> None:
    module = fit(videos, val_check_interval=2, accumulate_grad_batches=2)
    assert module.trained == expected
    assert len(module.validated) == EPOCHS * 2 * STEPS


def test_test_and_predict_yield_every_video_in_order(videos: Path) -> None:
    trainer = lightning.Trainer(**QUIET, enable_checkpointing=False)
    module = Recorder()
    with training_loader(videos, shuffle=False, training=False) as loader:
        trainer.test(module, loader, verbose=False)
        predicted = trainer.predict(module, loader)
    assert module.validated == predicted == seen_in_epochs(videos, range(1), shuffle=False, training=False)


@pytest.mark.parametrize(
    "saving",
    [
        {"every_n_train_steps": 1},
        {"every_n_epochs": 1, "save_on_train_epoch_end": False},
        {"every_n_epochs": 1, "save_on_train_epoch_end": True},
    ],
    ids=["after every step", "after every validation", "between epochs"],
)
def test_every_checkpoint_resumes_with_the_remaining_batches(
    videos: Path, expected: list[Any], tmp_path: Path, saving: dict[str, Any]
) -> None:
    assert fit(videos, tmp_path, saving=saving).trained == expected
    checkpoints = sorted(tmp_path.glob("step=*.ckpt"))
    assert len(checkpoints) == (EPOCHS * STEPS if "every_n_train_steps" in saving else EPOCHS)
    for checkpoint in checkpoints:
        done = int(checkpoint.stem.removeprefix("step="))
        assert fit(videos, resume=checkpoint).trained == expected[done:], checkpoint.name


def test_limited_epochs_resume_too(videos: Path, expected: list[Any], tmp_path: Path) -> None:
    limit = 3
    whole = fit(videos, tmp_path, saving={"every_n_train_steps": 1}, limit_train_batches=limit).trained
    assert whole == [batch for start in range(0, EPOCHS * STEPS, STEPS) for batch in expected[start : start + limit]]
    for done in range(1, EPOCHS * limit + 1):
        rest = fit(videos, resume=tmp_path / f"step={done}.ckpt", limit_train_batches=limit).trained
        assert rest == whole[done:], done


DDP = """
    import sys
    import warnings
    import lightning
    from tests.frameworks.test_lightning import QUIET, Recorder
    from tests.support.framework_loading import training_loader, write_result

    module = Recorder()
    train, val = training_loader(sys.argv[1]), training_loader(sys.argv[1], shuffle=False, training=False)
    save = lightning.pytorch.callbacks.ModelCheckpoint("saved", filename="{step}", save_top_k=-1, every_n_train_steps=1)
    trainer = lightning.Trainer(max_epochs=2, strategy="ddp", devices=2, callbacks=[save], **QUIET)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, train, val)
    messages = [str(warning.message) for warning in caught]
    write_result(trainer.global_rank, [module.trained, module.validated, messages])
"""


def test_ddp_shares_a_loader_that_was_made_before_fit_and_one_process_resumes(videos: Path, tmp_path: Path) -> None:
    result = run_ranks(tmp_path, DDP, str(videos))
    assert result.returncode == 0, result.stderr
    results = read_results(tmp_path, 2)
    for rank, (trained, validated, messages) in enumerate(results):
        share = {"rank": rank, "world_size": 2}
        assert [batch for _, *batch in trained] == seen_in_epochs(videos, range(2), **share)
        assert validated == 2 * seen_in_epochs(videos, range(1), shuffle=False, training=False, **share)
        assert [text for text in messages if re.match(COMPLAINT, text)] == []

    resumed = fit(videos, resume=tmp_path / "saved" / "step=4.ckpt").trained
    loaded = [label for trained, _, _ in results for label in trained[3][1]]
    rest = [label for epoch, labels, _ in resumed if epoch == 1 for label in labels]
    assert sorted(loaded + rest) == list(range(VIDEOS)), "each remaining video is loaded once"
    assert [batch for epoch, *batch in resumed if epoch == 2] == seen_in_epochs(videos, range(2, 3))


def test_ddp_spawn_says_why_a_loader_cannot_be_sent_to_another_process(videos: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot be pickled.*strategy='ddp'"):
        fit(videos, strategy="ddp_spawn", devices=2)
