"""The plain loader in Hugging Face Accelerate: accumulated gradients, checkpoints, several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mgdali import MGDaliIterator
from tests.support.framework_loading import read_results, run_ranks, seen, seen_in_epochs, training_loader

accelerate: Any = pytest.importorskip("accelerate")
pytestmark = pytest.mark.slow
EPOCHS, STEPS = 2, 5


class Run:
    """A training of a model with one weight, whose gradients are added up over pairs of batches."""

    def __init__(self, loader: MGDaliIterator) -> None:
        self.accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = torch.nn.Linear(1, 1)
        torch.nn.init.ones_(model.weight)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(
            model, torch.optim.SGD(model.parameters(), 0.1), loader
        )
        assert self.loader is loader
        self.accelerator.register_for_checkpointing(loader)
        self.batches: list[Any] = []

    def train(self, out: Path | None = None) -> list[Any]:
        """Train to the end. Return the batches, and for each whether the weight changed."""
        for epoch in range(self.loader.epoch, EPOCHS):
            self.loader.set_epoch(epoch)
            for clips, labels in self.loader:
                before = self.weight
                with self.accelerator.accumulate(self.model):
                    self.accelerator.backward(self.model(clips.mean().view(1, 1)).square().sum())
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                assert self.accelerator.sync_gradients == (self.weight != before)
                self.batches.append([*seen(clips, labels), self.weight])
                if out is not None and self.accelerator.sync_gradients:
                    self.accelerator.save_state(str(out / f"{len(self.batches)}"))
        return self.batches

    @property
    def weight(self) -> float:
        return float(self.accelerator.unwrap_model(self.model).weight.detach())


def test_every_checkpoint_resumes_with_the_remaining_batches_and_equal_weights(videos: Path, tmp_path: Path) -> None:
    with training_loader(videos) as loader:
        torch.manual_seed(0)
        whole = Run(loader).train(tmp_path)
    assert [batch[:2] for batch in whole] == seen_in_epochs(videos, range(EPOCHS))
    saved = sorted(int(folder.name) for folder in tmp_path.iterdir())
    assert saved == [2, 4, 6, 8, 10], "pairs of batches continue from epoch to epoch"
    for done in saved:
        with training_loader(videos) as loader:
            run = Run(loader)
            run.accelerator.load_state(str(tmp_path / f"{done}"))
            assert run.train() == whole[done:], done


def test_skip_takes_the_place_of_skip_first_batches(videos: Path) -> None:
    with training_loader(videos) as loader:
        with pytest.raises(AttributeError, match="sampler"):
            accelerate.skip_first_batches(loader, 3)
        loader.set_epoch(1)
        loader.skip(3)
        rest = [seen(clips, labels) for clips, labels in loader]
    assert rest == seen_in_epochs(videos, range(1, 2))[3:]


SCRIPT = """
    import sys
    from tests.frameworks.test_accelerate import Run
    from tests.support.framework_loading import training_loader, write_result

    with training_loader(sys.argv[1]) as loader:
        run = Run(loader)
        batches = run.train()
    write_result(run.accelerator.process_index, batches)
    run.accelerator.end_training()
"""


def test_each_process_gets_its_share_of_a_loader_that_was_made_before_the_accelerator(
    videos: Path, tmp_path: Path
) -> None:
    result = run_ranks(tmp_path, SCRIPT, str(videos), ranks=2)
    assert result.returncode == 0, result.stderr
    results = read_results(tmp_path, 2)
    for rank, batches in enumerate(results):
        assert [batch[:2] for batch in batches] == seen_in_epochs(videos, range(EPOCHS), rank=rank, world_size=2)
    assert [batch[2] for batch in results[0]] == [batch[2] for batch in results[1]], "gradients are averaged"
