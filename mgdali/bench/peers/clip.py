"""From frames to a clip on the CPU, for peers that only decode. Each step uses the fastest known function.

Luma is OpenCV's integer conversion, and its difference is OpenCV's L1 norm: they take a tenth of NumPy's time. Resizing
is torch's antialiased bilinear kernel on bytes, which torchvision's ``v2.Resize`` also runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mgdali.bench.peers.task import Task
from mgdali.sampling import sample_motion_guided
from mgdali.transforms import IMAGENET_MEAN, IMAGENET_STD

MEAN = 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
STD = 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1)


def motion_of(planes: Iterable[NDArray[Any]]) -> list[float]:
    """Return S of consecutive luma planes, one value per frame."""
    motion: list[float] = []
    previous = None
    for plane in planes:
        motion.append(0.0 if previous is None else float(cv2.norm(plane, previous, cv2.NORM_L1)))
        previous = plane
    return motion


def grey(frames: Iterable[NDArray[Any]], code: int = cv2.COLOR_RGB2GRAY) -> Iterable[NDArray[Any]]:
    """Yield the luma of colour frames. ``code`` is OpenCV's conversion code, which names the order of the channels."""
    return (cv2.cvtColor(frame, code) for frame in frames)


def pick(motion: list[float], task: Task) -> NDArray[np.int64]:
    """Return the picks, int64 ``[T]``, of a video with the given S."""
    # The loader rounds S to float32 as well.
    return sample_motion_guided(np.array(motion, np.float32).astype(np.float64), task.num_frames, mu=task.mu)


def finish(frames: NDArray[np.uint8], task: Task) -> torch.Tensor:
    """Convert RGB frames uint8 ``[T, H, W, 3]`` to a clip float32 ``[T, 3, crop_size, crop_size]``."""
    return normalized(cut(torch.from_numpy(frames).permute(0, 3, 1, 2), task), MEAN, STD)


def cut(frames: torch.Tensor, task: Task) -> torch.Tensor:
    """Resize frames ``[T, 3, H, W]`` and crop their centre, on any device."""
    height, width = frames.shape[-2:]
    short = min(height, width)
    size = [task.resize * height // short, task.resize * width // short]
    if size != [height, width]:
        frames = torch.nn.functional.interpolate(frames, size, mode="bilinear", antialias=True)
    top, left = ((side - task.crop_size) // 2 for side in size)
    return frames[..., top : top + task.crop_size, left : left + task.crop_size]


def normalized(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Normalize pixels of 0 to 255 to float32. Mean and std are in the same range."""
    # Decoders store channels last. Copying to channels first here is faster than normalizing the decoder's layout.
    return pixels.to(torch.float32, memory_format=torch.contiguous_format, copy=True).sub_(mean).div_(std)
