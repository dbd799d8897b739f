"""Accuracy of a model on test videos, with one view per video or averaged over several clips and crops."""

from __future__ import annotations

from dataclasses import dataclass

import ranks
import torch
from torch import Tensor, nn

from mgdali import MGDaliIterator

__all__ = ["Accuracy", "evaluate"]


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


@torch.no_grad()
def evaluate(
    model: nn.Module, loader: MGDaliIterator, *, device: torch.device, clips_per_step: int | None = None
) -> Accuracy:
    """Return the accuracy over the videos of all ranks. The probabilities of a video's views are averaged.

    Args:
        model: Model that maps clips ``[N, T, 3, H, W]`` to logits ``[N, C]``.
        loader: Test loader, with ``views=`` or without.
        device: Device of the model.
        clips_per_step: Largest number of clips that the model gets at a time, >= 1; by default all of a batch.
    """
    model.eval()
    scores, labels = _scores(model, loader, device, clips_per_step)
    # If the videos do not divide evenly among the ranks, the first ones are repeated at the end. They count once.
    videos = len(range(ranks.rank(), len(loader.dataset), ranks.world_size()))
    likeliest = scores[:videos].topk(min(5, scores.shape[1]), dim=1).indices
    right = likeliest == labels[:videos, None]
    found = [float(right[:, 0].sum()), float(right.sum()), float(videos)]
    top1, top5, count = ranks.total_over_ranks(found, device)
    return Accuracy(top1 / count, top5 / count, int(count))


def _scores(
    model: nn.Module, loader: MGDaliIterator, device: torch.device, clips_per_step: int | None
) -> tuple[Tensor, Tensor]:
    """Return the mean probabilities ``[videos, C]`` and the labels ``[videos]`` of this rank, on the CPU."""
    scores, labels = [], []
    for batch, truth in loader:
        # [N, V, T, 3, H, W] becomes [N * V, T, 3, H, W]. Without views there is no V.
        clips = batch.flatten(0, -5)
        parts = clips.split(clips_per_step or len(clips))
        each = torch.cat([model(part.to(device)).float().softmax(1).cpu() for part in parts])
        scores.append(each.view(len(truth), -1, each.shape[1]).mean(1))
        labels.append(truth.cpu())
    return torch.cat(scores), torch.cat(labels)
