"""Accuracy on videos that were not trained on: of one clip a video, or of the mean of several clips and crops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import ranks
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mgdali import MGDaliIterator
from mgdali.samplers import Representation, Sampler

__all__ = ["Accuracy", "ShiftedOffsets", "evaluate", "loaders_of_clips", "three_crops"]


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


def loaders_of_clips(
    make_loader: Callable[[Sampler], MGDaliIterator], sampler: Sampler, num_clips: int
) -> Iterator[MGDaliIterator]:
    """A loader a clip, one after another, so that only one has workers at a time."""
    for k in range(num_clips):
        with make_loader(ShiftedOffsets(sampler, (k + 0.5) / num_clips)) as loader:
            yield loader


def three_crops(clips: Tensor, size: int) -> list[Tensor]:
    """Left, middle and right squares of clips ``[N, T, 3, S, S]``, each ``[N, T, 3, size, size]``.

    The loader hands out a video's centre square, so these lie closer together than crops of a wide frame would.
    """
    spare = clips.shape[-1] - size
    top = spare // 2
    return [clips[..., top : top + size, left : left + size] for left in (0, spare // 2, spare)]


@torch.no_grad()
def evaluate(
    model: nn.Module, loaders: Iterable[MGDaliIterator], *, device: torch.device, crop_size: int, crops: int = 1
) -> Accuracy:
    """Accuracy of probabilities averaged over all loaders and crops, over all ranks.

    Args:
        model: takes clips ``[N, T, 3, H, W]`` to logits ``[N, C]``.
        loaders: of the same videos in the same order, one a clip.
        device: the model's.
        crop_size: side of the crops, in pixels.
        crops: 1, or 3 of clips that are larger than ``crop_size``.
    """
    model.eval()
    scores: Tensor | None = None
    labels = torch.empty(0, dtype=torch.long)
    videos = 0
    for loader in loaders:
        more, labels = _scores(model, loader, device, crop_size, crops)
        scores = more if scores is None else scores + more
        # Ranks repeat the first videos where they don't come out even: those are at the end, and count once.
        videos = len(range(ranks.rank(), len(loader.dataset), ranks.world_size()))
    assert scores is not None, "no loader was given"
    likeliest = scores[:videos].topk(min(5, scores.shape[1]), dim=1).indices
    right = likeliest == labels[:videos, None]
    found = [float(right[:, 0].sum()), float(right.sum()), float(videos)]
    top1, top5, count = ranks.total_over_ranks(found, device)
    return Accuracy(top1 / count, top5 / count, int(count))


def _scores(
    model: nn.Module, loader: MGDaliIterator, device: torch.device, crop_size: int, crops: int
) -> tuple[Tensor, Tensor]:
    """Probabilities ``[videos, C]``, summed over crops, and labels ``[videos]``, of this rank, on the CPU."""
    scores, labels = [], []
    for clips, truth in loader:
        views = [clips] if crops == 1 else three_crops(clips, crop_size)
        sums = sum(model(view.to(device)).float().softmax(1) for view in views)
        assert isinstance(sums, Tensor)
        scores.append(sums.cpu())
        labels.append(truth.cpu())
    return torch.cat(scores), torch.cat(labels)
