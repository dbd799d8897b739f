"""What ``docs/transforms.md`` promises."""

from __future__ import annotations

from typing import Any

import torch

from mgdali import VideoDataset
from tests.support.documented_case import Case, promise
from tests.support.loading import load

PAGE = "transforms.md"
NUM_VIDEOS = 4


def run(case: Case) -> dict[str, Any]:
    """Run a block with the names that the page takes for granted."""
    dataset = VideoDataset.from_folder(case.folder / "videos")
    loader = load(dataset, batch_size=NUM_VIDEOS, training=True)
    return case.run(dataset=dataset, loader=loader, model=model)


def model(clips: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    assert clips.ndim == 5
    assert all(other.ndim == 5 and len(other) == len(clips) for other in others)
    return torch.stack([clips.mean((1, 2, 3, 4)), -clips.mean((1, 2, 3, 4))], 1)


@promise(PAGE, "A plain function")
def plain_function(case: Case) -> None:
    names = run(case)
    assert names["clips"].shape == (NUM_VIDEOS, 8, 3, 224, 224)
    clip = torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    results = [
        names["grey_or_noise"](clip.clone(), torch.Generator().manual_seed(seed)) for seed in (0, 0, *range(1, 8))
    ]
    assert torch.equal(results[0], results[1])
    grey = [bool((result == result[:, :1]).all()) for result in results]
    assert set(grey) == {True, False}, "some are grey and some are noisy"
    assert all(result.shape == clip.shape and result.dtype == torch.uint8 for result in results)


@promise(PAGE, "MixUp and CutMix")
def mixed_labels(case: Case) -> None:
    names = run(case)
    assert names["targets"].shape == (NUM_VIDEOS, names["dataset"].num_classes)
    assert torch.allclose(names["targets"].sum(1), torch.ones(NUM_VIDEOS))
    assert names["clips"].ndim == 5


@promise(PAGE, "Views")
def views(case: Case) -> None:
    names = run(case)
    assert names["clips"].shape == (NUM_VIDEOS, 6, 8, 3, 224, 224)
    assert names["logits"].shape == (NUM_VIDEOS, 2)
    assert torch.allclose(names["logits"].sum(1), torch.ones(NUM_VIDEOS))


@promise(PAGE, "Two streams")
def two_streams(case: Case) -> None:
    names = run(case)
    clips, difference = names["clips"], names["difference"]
    assert difference.shape == (NUM_VIDEOS, clips.shape[1] - 1, *clips.shape[2:])
    assert torch.equal(difference[:, 0], clips[:, 1] - clips[:, 0])
    assert names["logits"].shape == (NUM_VIDEOS, 2)
