"""The Accelerate example, tested if Accelerate is installed: it trains, and resumes from its checkpoints."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.torch_threads import one_torch_thread
from tests.support.videos import moving_square, write_video

pytest.importorskip("accelerate")
pytestmark = pytest.mark.slow
ARGUMENTS: dict[str, Any] = {
    "num_frames": 4, "batch_size": 2, "crop_size": 32, "resize": 32, "device": "cpu", "num_workers": 0
}  # fmt: skip


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with one_torch_thread():
        yield importlib.import_module("accelerate_loop")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos to train on and three to test on, in two classes."""
    root = tmp_path_factory.mktemp("videos")
    for split, count in (("train", 8), ("val", 3)):
        for i in range(count):
            path = root / split / ("one", "two")[i % 2] / f"{i}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, moving_square(5 + 3 * i, 36, 48, seed=i))
    return root


def test_every_checkpoint_resumes_with_the_losses_of_an_uninterrupted_run(
    example: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    whole = example.train(folder, tmp_path, save_every=1, **ARGUMENTS)
    assert len(whole) == 8
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 1", "epoch 2"]
    checkpoints = sorted(path.name for path in tmp_path.iterdir())
    assert checkpoints == [f"epoch{epoch}-videos{videos}" for epoch in (0, 1) for videos in (4, 8)]
    for number, name in enumerate(checkpoints, start=1):
        rest = example.train(folder, tmp_path / "again", str(tmp_path / name), **ARGUMENTS)
        assert rest == whole[2 * number :], name
