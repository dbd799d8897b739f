"""Use MGDali with Lightning: a ``LightningModule`` and a ``LightningDataModule``.

Run ``python examples/lightning_module.py videos/``, with the videos in ``videos/{train,val}/<class>/<file>``. It trains
a small TSM for two epochs and shows Lightning's progress bar with the validation accuracy. To resume a run, give the
path of a Lightning checkpoint as a second argument.

The loader splits the videos among the ranks itself. Lightning saves its position in every checkpoint and restores it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from action_models import make_model
from torch import Tensor
from torch.nn import functional as F

from mgdali import MGDaliIterator, MotionGuided, VideoDataset

try:
    # Typed as Any, so that type checks give the same result with and without Lightning.
    lightning: Any = importlib.import_module("lightning")
except ImportError as error:
    raise ImportError(f"this example needs Lightning ({error}): pip install lightning") from error

__all__ = ["ActionModule", "VideoDataModule"]


class ActionModule(lightning.LightningModule):  # type: ignore[misc]
    """TSM with the paper's optimizer.

    Args:
        num_classes: Number of classes C.
        num_frames: Number of frames T per clip.
        backbone: Backbone of :func:`action_models.make_model`.
    """

    def __init__(self, num_classes: int, num_frames: int = 8, backbone: str = "small") -> None:
        super().__init__()
        self.model = make_model("tsm", num_classes=num_classes, num_frames=num_frames, backbone=backbone)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of a batch: clips float32 ``[N, T, 3, H, W]`` and labels int64 ``[N]``."""
        clips, labels = batch
        loss = F.cross_entropy(self.model(clips), labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Log the share of clips whose class has the highest score."""
        clips, labels = batch
        right = (self.model(clips).argmax(1) == labels).float().mean()
        self.log("val/accuracy", right, prog_bar=True, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return SGD whose learning rate is divided by ten after epochs 20 and 40."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [20, 40])]


class VideoDataModule(lightning.LightningDataModule):  # type: ignore[misc]
    """The loaders of a folder's ``train`` and ``val``.

    Args:
        folder: Folder that contains ``{train,val}/<class>/<file>``.
        num_frames: Number of frames T to pick per video.
        loading: Further arguments of both loaders.
    """

    def __init__(self, folder: Path, num_frames: int = 8, **loading: Any) -> None:
        super().__init__()
        self.train_videos = VideoDataset.from_folder(folder / "train")
        self.val_videos = VideoDataset.from_folder(folder / "val", classes=self.train_videos)
        self.loading = {"sampler": MotionGuided(num_frames=num_frames), **loading}

    def train_dataloader(self) -> MGDaliIterator:
        """Return the training loader: random picks, crops and flips, and a new order in each epoch."""
        return MGDaliIterator(self.train_videos, shuffle=True, drop_last=True, training=True, **self.loading)

    def val_dataloader(self) -> MGDaliIterator:
        """Return the validation loader: picks at the middle of each part, and the centre crop."""
        return MGDaliIterator(self.val_videos, **self.loading)


def main(folder: Path, checkpoint: str | None = None) -> None:
    """Train for two epochs, from the start or from a checkpoint."""
    data = VideoDataModule(folder, batch_size=8, crop_size=56, resize=64)
    trainer = lightning.Trainer(max_epochs=2, gradient_clip_val=20.0)
    trainer.fit(ActionModule(len(data.train_videos.classes)), data, ckpt_path=checkpoint)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
