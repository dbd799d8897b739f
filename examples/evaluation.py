"""Accuracy on videos that were not trained on: of one view a video, or of the mean of several clips and crops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import ranks
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mgdali import MGDaliIterator
from mgdali.samplers import Representation, Sampler
from mgdali.transforms import CropPosition

__all__ = ["Accuracy", "ShiftedOffsets", "evaluate", "loaders_of_views"]


@dataclass(frozen=True)
class Accuracy:
    """Parts of the videos whose class is the likeliest, or among the five likeliest."""

    top1: float
    top5: float
    videos: int


@dataclass(frozen=True)
class ShiftedOffsets:
    """A sampler that picks at ``offset`` in each part, in [0, 1), where testing has the middle.

    So N clips of a video are N loaders with the offsets (k + 0.5) / N.
    """

    sampler: Sampler
    offset: float

    @property
    def num_frames(self) -> int:
        return self.sampler.num_frames

    @property
    def representation(self) -> Representation | None:
        return self.sampler.representation

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        return self.sampler.pick(motion, total, np.full_like(offsets, self.offset))


def loaders_of_views(
    make_loader: Callable[[Sampler, CropPosition], MGDaliIterator], sampler: Sampler, num_clips: int, num_crops: int
) -> Iterator[MGDaliIterator]:
    """A loader a clip and crop, one after another, so that only one has workers at a time.

    Args:
        make_loader: makes one that picks with the sampler and crops at the position it is given.
        sampler: how frames are picked; each clip has its own offsets.
        num_clips: clips a video, >= 1.
        num_crops: 1, the centre, or 3 along the frame's longer side.

    Raises:
        ValueError: ``num_crops`` is neither.
    """
    if num_crops not in (1, 3):
        raise ValueError(f"num_crops must be 1 or 3, got {num_crops!r}")
    positions: tuple[CropPosition, ...] = get_args(CropPosition) if num_crops == 3 else ("center",)
    for k in range(num_clips):
        for position in positions:
            with make_loader(ShiftedOffsets(sampler, (k + 0.5) / num_clips), position) as loader:
                yield loader


@torch.no_grad()
def evaluate(model: nn.Module, loaders: Iterable[MGDaliIterator], *, device: torch.device) -> Accuracy:
    """Accuracy of probabilities averaged over all loaders, over all ranks.

    Args:
        model: takes clips ``[N, T, 3, H, W]`` to logits ``[N, C]``.
        loaders: of the same videos in the same order, one a view.
        device: the model's.
    """
    model.eval()
    scores: Tensor | None = None
    labels = torch.empty(0, dtype=torch.long)
    videos = 0
    for loader in loaders:
        more, labels = _scores(model, loader, device)
        scores = more if scores is None else scores + more
        # Ranks repeat the first videos where they don't come out even: those are at the end, and count once.
        videos = len(range(ranks.rank(), len(loader.dataset), ranks.world_size()))
    assert scores is not None, "no loader was given"
    likeliest = scores[:videos].topk(min(5, scores.shape[1]), dim=1).indices
    right = likeliest == labels[:videos, None]
    found = [float(right[:, 0].sum()), float(right.sum()), float(videos)]
    top1, top5, count = ranks.total_over_ranks(found, device)
    return Accuracy(top1 / count, top5 / count, int(count))


def _scores(model: nn.Module, loader: MGDaliIterator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Probabilities ``[videos, C]`` and labels ``[videos]``, of this rank, on the CPU."""
    scores, labels = [], []
    for clips, truth in loader:
        scores.append(model(clips.to(device)).float().softmax(1).cpu())
        labels.append(truth.cpu())
    return torch.cat(scores), torch.cat(labels)
