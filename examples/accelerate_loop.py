"""Use MGDali with Hugging Face Accelerate: a training loop that saves checkpoints and resumes in mid-epoch.

Run ``python examples/accelerate_loop.py videos/``, with the videos in ``videos/{train,val}/<class>/<file>``, or
``torchrun --nproc-per-node 2 examples/accelerate_loop.py videos/`` for two processes. It trains a small TSM for two
epochs, prints the loss and the validation accuracy of each, and saves checkpoints in ``accelerate-checkpoints/``. To
resume a run, give the path of a checkpoint as a second argument.

The loader splits the videos among the processes itself: ``prepare`` returns it unchanged.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from action_models import make_model
from torch import nn
from torch.nn import functional as F

from mgdali import MGDaliIterator, MotionGuided, VideoDataset

try:
    # Typed as Any, so that type checks give the same result with and without Accelerate.
    accelerate: Any = importlib.import_module("accelerate")
except ImportError as error:
    raise ImportError(f"this example needs Accelerate ({error}): pip install accelerate") from error

__all__ = ["measure_accuracy", "train"]


def train(
    folder: Path,
    out: Path,
    checkpoint: str | None = None,
    *,
    epochs: int = 2,
    accumulated: int = 2,
    save_every: int = 50,
    num_frames: int = 8,
    **loading: Any,
) -> list[float]:
    """Train a small TSM.

    Args:
        folder: Folder that contains ``{train,val}/<class>/<file>``.
        out: Folder of the checkpoints.
        checkpoint: Checkpoint to resume from.
        epochs: Number of epochs.
        accumulated: Number of batches whose gradients are added up for an optimizer step.
        save_every: Number of optimizer steps between two checkpoints.
        num_frames: Number of frames T to pick per video.
        loading: Further arguments of both loaders.

    Returns:
        The loss of each batch of this process.
    """
    # Without a GPU, processes work together only with cpu=True.
    accelerator = accelerate.Accelerator(cpu=not torch.cuda.is_available(), gradient_accumulation_steps=accumulated)
    videos = VideoDataset.from_folder(folder / "train")
    loading = {"sampler": MotionGuided(num_frames=num_frames), **loading}
    loader = MGDaliIterator(videos, shuffle=True, drop_last=True, training=True, **loading)
    val_loader = MGDaliIterator(VideoDataset.from_folder(folder / "val", classes=videos), **loading)
    model = make_model("tsm", num_classes=len(videos.classes), num_frames=num_frames, backbone="small")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    accelerator.register_for_checkpointing(loader)
    if checkpoint is not None:
        accelerator.load_state(checkpoint)

    losses: list[float] = []
    steps = 0
    for epoch in range(loader.epoch, epochs):
        loader.set_epoch(epoch)
        model.train()
        for clips, labels in loader:
            # Accelerate moves the batches of torch's DataLoader only.
            clips, labels = clips.to(accelerator.device), labels.to(accelerator.device)
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(clips), labels)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
            # A checkpoint contains no gradients, so it is saved after an optimizer step.
            steps += accelerator.sync_gradients
            if accelerator.sync_gradients and steps % save_every == 0:
                accelerator.save_state(str(out / f"epoch{epoch}-videos{loader.state_dict()['videos']}"))
        accuracy = measure_accuracy(accelerator, model, val_loader)
        accelerator.print(f"epoch {epoch + 1}: last loss {losses[-1]:.3f}, validation accuracy {accuracy:.1%}")
    loader.close()
    val_loader.close()
    accelerator.end_training()
    return losses


@torch.no_grad()
def measure_accuracy(accelerator: Any, model: nn.Module, loader: MGDaliIterator) -> float:
    """Return the share of videos whose class has the highest score."""
    model.eval()
    right = torch.cat([model(clips.to(accelerator.device)).argmax(1).cpu() == labels.cpu() for clips, labels in loader])
    # If the videos do not divide evenly among the processes, the first ones are repeated at the end. They count once.
    own = len(range(accelerator.process_index, len(loader.dataset), accelerator.num_processes))
    found = torch.tensor(int(right[:own].sum()), device=accelerator.device)
    return int(accelerator.reduce(found)) / len(loader.dataset)


def main(folder: Path, checkpoint: str | None = None) -> None:
    """Train for two epochs, from the start or from a checkpoint."""
    train(folder, Path("accelerate-checkpoints"), checkpoint, batch_size=8, crop_size=56, resize=64)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
