"""Every Python block of the page on transforms runs as it is written, and does what the page promises."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from mgdali import VideoDataset
from tests.support.documented_blocks import DOCS, Block, blocks_of, run_block
from tests.support.loading import load
from tests.support.videos import moving_square, write_video

BLOCKS = blocks_of(DOCS / "transforms.md")
NUM_VIDEOS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which blocks run, with videos/<class>/<video>."""
    root = tmp_path_factory.mktemp("transforms")
    for i, name in enumerate(("one", "two")):
        (root / "videos" / name).mkdir(parents=True)
        write_video(root / "videos" / name / "video.mp4", moving_square(10 + i, 48, 64, seed=i))
    return root


@pytest.fixture
def names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names that the page takes for granted."""
    # Starting workers takes longer than the blocks.
    monkeypatch.setattr("mgdali.iterator.default_workers", lambda: 0)
    dataset = VideoDataset.from_folder(folder / "videos")

    def model(clips: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        assert clips.ndim == 5
        assert all(other.ndim == 5 and len(other) == len(clips) for other in others)
        return torch.stack([clips.mean((1, 2, 3, 4)), -clips.mean((1, 2, 3, 4))], 1)

    return {"dataset": dataset, "loader": load(dataset, batch_size=4, training=True, device="cpu"), "model": model}


def check_function(names: dict[str, Any]) -> None:
    assert names["clips"].shape == (NUM_VIDEOS, 8, 3, 224, 224)
    clip = torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    results = [
        names["grey_or_noise"](clip.clone(), torch.Generator().manual_seed(seed)) for seed in (0, 0, *range(1, 8))
    ]
    assert torch.equal(results[0], results[1])
    grey = [bool((result == result[:, :1]).all()) for result in results]
    assert set(grey) == {True, False}, "some are grey and some are noisy"
    assert all(result.shape == clip.shape and result.dtype == torch.uint8 for result in results)


def check_torchvision(names: dict[str, Any]) -> None:
    clips, _ = next(names["loader"])
    assert clips.shape == (NUM_VIDEOS, 8, 3, 224, 224)


def check_mixed_labels(names: dict[str, Any]) -> None:
    assert names["targets"].shape == (NUM_VIDEOS, names["dataset"].num_classes)
    assert torch.allclose(names["targets"].sum(1), torch.ones(NUM_VIDEOS))
    assert names["clips"].ndim == 5


def check_views(names: dict[str, Any]) -> None:
    assert names["clips"].shape == (NUM_VIDEOS, 6, 8, 3, 224, 224)
    assert names["logits"].shape == (NUM_VIDEOS, 2)
    assert torch.allclose(names["logits"].sum(1), torch.ones(NUM_VIDEOS))


def check_two_streams(names: dict[str, Any]) -> None:
    clips, difference = names["clips"], names["difference"]
    assert difference.shape == (NUM_VIDEOS, clips.shape[1] - 1, *clips.shape[2:])
    assert torch.equal(difference[:, 0], clips[:, 1] - clips[:, 0])
    assert names["logits"].shape == (NUM_VIDEOS, 2)


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "A plain function": check_function,
    "torchvision": check_torchvision,
    "MixUp and CutMix": check_mixed_labels,
    "MixUp and CutMix (2)": check_mixed_labels,
    "Views": check_views,
    "Two streams": check_two_streams,
}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_each_block_runs_as_it_is_written(block: Block, folder: Path, names: dict[str, Any]) -> None:
    assert block.name in CHECKS, f"line {block.line} of {block.page}: write a check of this block in {__file__}"
    with names["loader"]:
        if "torchvision" in block.code and find_spec("torchvision") is None:
            compile(block.code, str(block.page), "exec")
            return
        run_block(block, folder, names)
        CHECKS[block.name](names)
        names["loader"].close()


def test_each_check_belongs_to_a_block() -> None:
    assert set(CHECKS) == {block.name for block in BLOCKS}
