"""Replace a torch ``DataLoader`` with MGDali: only the line that makes the loader differs, the training loop does not.

Run it on a folder with the videos in ``videos/<class>/<file>``; it prints the last loss of each epoch:

    python examples/dataloader_swap.py videos/ --loader torch
    python examples/dataloader_swap.py videos/ --loader mgdali
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from action_models import make_model
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from mgdali import MGDaliIterator, MotionGuided, VideoDataset
from mgdali.transforms import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["SegmentClips", "main", "make_loader", "train"]


class SegmentClips(Dataset[tuple[torch.Tensor, int]]):
    """A map-style data set, as in many projects: it decodes a video and picks a random frame from each of N parts.

    Args:
        videos: Paths and labels.
        num_frames: Number of frames N to pick per video.
        crop_size: Side of the clips, in pixels.
    """

    def __init__(self, videos: VideoDataset, num_frames: int, crop_size: int) -> None:
        self.videos, self.num_frames, self.crop_size = videos, num_frames, crop_size

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a clip, float32 ``[N, 3, crop_size, crop_size]``, and its label."""
        video = self.videos[index]
        with av.open(video.path) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        parts = (np.arange(self.num_frames) + np.random.rand(self.num_frames)) / self.num_frames
        picked = np.stack([frames[t] for t in (parts * len(frames)).astype(int)])
        clip = torch.from_numpy(picked).permute(0, 3, 1, 2).float() / 255
        side = min(clip.shape[-2:])
        top, left = (clip.shape[-2] - side) // 2, (clip.shape[-1] - side) // 2
        square = clip[..., top : top + side, left : left + side]
        clip = F.interpolate(square, size=(self.crop_size, self.crop_size), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return (clip - mean) / std, video.label


def make_loader(kind: str, videos: VideoDataset, *, num_frames: int, crop_size: int, **arguments: Any) -> Any:
    """Return a loader of batches ``(clips, labels)``.

    Args:
        kind: ``"torch"`` or ``"mgdali"``.
        videos: Paths and labels.
        num_frames: Number of frames to pick per video.
        crop_size: Side of the clips, in pixels.
        arguments: Arguments that both loaders accept, such as ``batch_size`` and ``num_workers``.
    """
    if kind == "torch":
        return DataLoader(SegmentClips(videos, num_frames, crop_size), **arguments)
    return MGDaliIterator(
        videos, sampler=MotionGuided(num_frames=num_frames), crop_size=crop_size, training=True, **arguments
    )


def train(loader: Any, num_classes: int, num_frames: int, epochs: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Train a small TSM. The loop is the same for both loaders.

    Returns:
        The last epoch's batches: clips float32 ``[B, N, 3, H, W]`` and labels int64 ``[B]``.
    """
    model = make_model("tsm", num_classes=num_classes, num_frames=num_frames, backbone="small")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []
    for epoch in range(epochs):
        batches = []
        for clips, labels in loader:
            loss = F.cross_entropy(model(clips), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            batches.append((clips, labels))
        print(f"epoch {epoch + 1}: {len(batches)} of {len(loader)} batches, last loss {float(loss.detach()):.3f}")
    return batches


def main(arguments: Sequence[str] | None = None) -> None:
    """Train for a few epochs with the loader that is given on the command line."""
    parser = argparse.ArgumentParser(description="Run the same training loop with a torch DataLoader or with MGDali.")
    parser.add_argument("folder", type=Path, help="Folder of videos: <folder>/<class>/<file>.")
    parser.add_argument(
        "--loader", choices=("torch", "mgdali"), default="mgdali", help="Loader to use (default: %(default)s)."
    )
    parser.add_argument("--epochs", type=int, default=2, help="Number of epochs (default: %(default)s).")
    given = parser.parse_args(arguments)
    videos = VideoDataset.from_folder(given.folder)
    loader = make_loader(
        given.loader, videos, num_frames=8, crop_size=56, batch_size=8, shuffle=True, drop_last=False, num_workers=2
    )
    train(loader, len(videos.classes), 8, given.epochs)


if __name__ == "__main__":
    main()
