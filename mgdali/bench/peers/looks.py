"""A rough picture of frames, with which frames of copies are compared with those of the originals."""

from __future__ import annotations

import torch

GRID = 4
"""Number of rows and of columns of cells into which a frame is divided."""


def looks_of(clips: torch.Tensor) -> torch.Tensor:
    """Return the means of the cells of frames: float32 ``[..., T, 3, H, W]`` gives ``[..., T, GRID * GRID]``."""
    return torch.nn.functional.adaptive_avg_pool2d(clips.mean(-3), GRID).flatten(-2)
