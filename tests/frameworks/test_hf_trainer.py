"""The plain loader in the Trainer of Hugging Face: the example's subclass, and a model that records its batches."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.framework_loading import VIDEOS, read_results, run_ranks, seen, seen_in_epochs, training_loader

transformers: Any = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.slow
EPOCHS, STEPS = 2, 5
EXAMPLES = Path(__file__).parents[2] / "examples"
KEYS = ("pixel_values", "labels")


class Recorder(torch.nn.Module):
    """A linear model that records the batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, VIDEOS)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)
        self.trained: list[Any] = []
        self.evaluated: list[Any] = []

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        (self.trained if self.training else self.evaluated).append(seen(pixel_values, labels))
        logits = self.linear(pixel_values.mean((1, 2, 3, 4))[:, None])
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    @property
    def weights(self) -> list[float]:
        return [float(weight) for weight in self.linear.weight.detach().flatten()]


def train(videos: Path | str, out: Path, resume: Path | None = None, **arguments: Any) -> tuple[Recorder, Any]:
    """Train for two epochs of five batches. Return the model and the state of the trainer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        example: Any = importlib.import_module("hf_trainer")
    defaults = {
        "save_strategy": "steps",
        "save_steps": 1,
        "ignore_data_skip": True,
        "num_train_epochs": EPOCHS,
        "eval_strategy": "epoch",
    }
    quiet = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "per_device_train_batch_size": 2}
    model = Recorder()
    with (
        training_loader(videos, batch_keys=KEYS) as train_loader,
        training_loader(videos, batch_keys=KEYS, shuffle=False, training=False) as eval_loader,
    ):
        trainer = example.VideoTrainer(
            model=model,
            args=transformers.TrainingArguments(str(out), **{**defaults, **quiet, **arguments}),
            train_loader=train_loader,
            eval_loader=eval_loader,
        )
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return model, trainer.state


def test_every_checkpoint_resumes_with_the_remaining_batches_and_equal_weights(videos: Path, tmp_path: Path) -> None:
    whole, _ = train(videos, tmp_path)
    assert whole.trained == seen_in_epochs(videos, range(EPOCHS))
    assert whole.evaluated == EPOCHS * seen_in_epochs(videos, range(1), shuffle=False, training=False)
    for done in range(1, EPOCHS * STEPS + 1):
        resumed, state = train(videos, tmp_path / "again", tmp_path / f"checkpoint-{done}", save_strategy="no")
        assert resumed.trained == whole.trained[done:], done
        assert resumed.weights == whole.weights, done
        assert state.global_step == EPOCHS * STEPS


def test_trainers_own_restoring_of_callbacks_does_not_disturb(videos: Path, tmp_path: Path) -> None:
    whole, _ = train(videos, tmp_path, save_steps=7)
    resumed, _ = train(videos, tmp_path, tmp_path / "checkpoint-7", restore_callback_states_from_checkpoint=True)
    assert resumed.trained == whole.trained[7:]


def test_checkpoints_of_whole_epochs_resume_exactly_with_any_number_of_accumulated_batches(
    videos: Path, tmp_path: Path
) -> None:
    accumulating: dict[str, Any] = {"gradient_accumulation_steps": 2, "save_strategy": "epoch"}
    whole, whole_state = train(videos, tmp_path, **accumulating)
    assert whole.trained == seen_in_epochs(videos, range(EPOCHS))
    for epoch in range(1, EPOCHS + 1):
        checkpoint = tmp_path / f"checkpoint-{3 * epoch}"
        resumed, state = train(videos, tmp_path / "again", checkpoint, **accumulating)
        assert resumed.trained == whole.trained[STEPS * epoch :]
        assert resumed.weights == whole.weights
        assert state.global_step == whole_state.global_step == EPOCHS * 3


SCRIPT = """
    import sys
    from pathlib import Path
    from tests.frameworks.test_hf_trainer import train
    from tests.support.framework_loading import write_result

    model, state = train(sys.argv[1], Path("run"))
    write_result(0 if state.is_world_process_zero else 1, [model.trained, model.evaluated, model.weights])
"""


def test_two_processes_share_the_videos(videos: Path, tmp_path: Path) -> None:
    result = run_ranks(tmp_path, SCRIPT, str(videos), ranks=2)
    assert result.returncode == 0, result.stderr
    results = read_results(tmp_path, 2)
    for rank, (trained, evaluated, weights) in enumerate(results):
        share = {"rank": rank, "world_size": 2}
        assert trained == seen_in_epochs(videos, range(2), **share)
        assert weights == results[0][2], "gradients are averaged"
        assert evaluated == 2 * seen_in_epochs(videos, range(1), shuffle=False, training=False, **share)
