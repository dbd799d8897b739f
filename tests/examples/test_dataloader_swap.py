"""A training loop with a torch DataLoader and with MGDali in its place."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mgdali import VideoDataset
from tests.support.loading import SCRIPT_ENVIRONMENT
from tests.support.videos import moving_square, write_video

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten videos in three classes."""
    root = tmp_path_factory.mktemp("videos")
    for i in range(10):
        path = root / ("one", "two", "three")[i % 3] / f"{i}.mp4"
        path.parent.mkdir(exist_ok=True)
        write_video(path, moving_square(3 + 3 * i % 17, 36, 48, seed=i))
    return root


@pytest.mark.parametrize("drop_last", [False, True])
def test_both_loaders_yield_data_of_the_same_form(folder: Path, drop_last: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        swap: Any = importlib.import_module("dataloader_swap")
    videos = VideoDataset.from_folder(folder)
    both = {}
    for kind in ("torch", "mgdali"):
        loader = swap.make_loader(
            kind, videos, num_frames=4, crop_size=32, batch_size=4, shuffle=True, drop_last=drop_last, num_workers=0
        )
        both[kind] = swap.train(loader, len(videos.classes), 4, epochs=1)
        assert len(loader) == len(both[kind])
    for kind, batches in both.items():
        sizes = [4, 4] if drop_last else [4, 4, 2]
        assert [tuple(clips.shape) for clips, _ in batches] == [(size, 4, 3, 32, 32) for size in sizes], kind
        assert {clips.dtype for clips, _ in batches} == {torch.float32}
        assert {labels.dtype for _, labels in batches} == {torch.int64}
        assert all(clips.abs().max() < 3 for clips, _ in batches), "normalized by the same mean and deviation"
    if not drop_last:
        seen = [sorted(torch.cat([labels for _, labels in batches]).tolist()) for batches in both.values()]
        assert seen[0] == seen[1] == sorted(video.label for video in videos)


@pytest.mark.slow
def test_the_script_runs_with_workers(folder: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "dataloader_swap.py"), str(folder), "--loader", "mgdali", "--epochs", "1"]
    result = subprocess.run(command, env=SCRIPT_ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("epoch 1: 2 of 2 batches, last loss ")
