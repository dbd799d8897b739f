"""Accuracy of a model on test videos, with one view per video or averaged over several clips and crops."""

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
    """Accuracy over a data set.

    Attributes:
        top1: Share of videos whose class has the highest score.
        top5: Share of videos whose class is among the five highest scores.
        videos: Number of videos.
    """

    top1: float
    top5: float
    videos: int


@dataclass(frozen=True)
class ShiftedOffsets:
    """A sampler that picks at the same offset within each part of the video.

    Without it, testing uses the middle, 0.5. N different clips of a video come from N loaders with the offsets
    (k + 0.5) / N.

    Attributes:
        sampler: Sampler that picks the frames.
        offset: Offset within each part, in [0, 1).
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
    """Yield a loader per clip and crop, one after another, so that only one has workers at a time.

    Args:
        make_loader: Function that makes a loader from a sampler and a crop position.
        sampler: Sampler that picks the frames. Each clip uses another offset.
        num_clips: Number of clips per video, >= 1.
        num_crops: Number of crops per clip: 1 for the centre, or 3 along the frame's longer side.

    Raises:
        ValueError: If ``num_crops`` is neither 1 nor 3.
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
    """Return the accuracy of the probabilities averaged over all loaders, over the videos of all ranks.

    Args:
        model: Model that maps clips ``[N, T, 3, H, W]`` to logits ``[N, C]``.
        loaders: One loader per view, with the same videos in the same order.
        device: Device of the model.
    """
    model.eval()
    scores: Tensor | None = None
    labels = torch.empty(0, dtype=torch.long)
    videos = 0
    for loader in loaders:
        more, labels = _scores(model, loader, device)
        scores = more if scores is None else scores + more
        # If the videos do not divide evenly among the ranks, the first ones are repeated at the end. They count once.
        videos = len(range(ranks.rank(), len(loader.dataset), ranks.world_size()))
    assert scores is not None, "loaders must contain at least one loader"
    likeliest = scores[:videos].topk(min(5, scores.shape[1]), dim=1).indices
    right = likeliest == labels[:videos, None]
    found = [float(right[:, 0].sum()), float(right.sum()), float(videos)]
    top1, top5, count = ranks.total_over_ranks(found, device)
    return Accuracy(top1 / count, top5 / count, int(count))


def _scores(model: nn.Module, loader: MGDaliIterator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the probabilities ``[videos, C]`` and the labels ``[videos]`` of this rank, on the CPU."""
    scores, labels = [], []
    for clips, truth in loader:
        scores.append(model(clips.to(device)).float().softmax(1).cpu())
        labels.append(truth.cpu())
    return torch.cat(scores), torch.cat(labels)
