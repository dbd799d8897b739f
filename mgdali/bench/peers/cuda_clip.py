"""From frames to a clip on the GPU, with torch, for peers that only decode on the GPU."""

from __future__ import annotations

from functools import cache

import torch

from mgdali.bench.peers.clip import MEAN, STD, cut, normalized, pick
from mgdali.bench.peers.task import Task
from mgdali.motion import LUMA_WEIGHTS

_AT_ONCE = 16
"""Number of frames whose luma is computed at once. The weighted channels need four times the memory of the frames."""


@cache
def _constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the weights of luma, the mean and the std, which are kept on the device."""
    weights = torch.tensor(LUMA_WEIGHTS, dtype=torch.int32, device=device).view(3, 1, 1)
    return weights, MEAN.to(device), STD.to(device)


def luma(frames: torch.Tensor) -> torch.Tensor:
    """Return the luma of frames uint8 ``[T, 3, H, W]``, as int16 ``[T, H, W]``."""
    weights, _, _ = _constants(frames.device)
    parts = torch.split(frames, _AT_ONCE)
    return torch.cat([((part * weights).sum(1, dtype=torch.int32) >> 8).to(torch.int16) for part in parts])


def clip_of(frames: torch.Tensor, task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the clip of a whole video, uint8 ``[T, 3, H, W]``, on the same device, and its picks.

    The call waits until the motion is computed.
    """
    planes = luma(frames)
    steps = (planes[1:] - planes[:-1]).abs_().sum((1, 2), dtype=torch.int64)
    picks = torch.from_numpy(pick([0.0, *steps.tolist()], task))
    _, mean, std = _constants(frames.device)
    # Antialiased resizing on CUDA needs floats.
    window = cut(frames[picks.to(frames.device)].to(torch.float32), task)
    return normalized(window, mean, std), picks
