"""Lightning with MGDali: ``python examples/lightning_module.py videos/`` (videos/{train,val}/<class>/<file>).

The loader knows ranks and epochs itself, so Lightning must not put a sampler of its own in
(``use_distributed_sampler=False``). Its state goes into Lightning's checkpoints.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from action_models import make_model
from torch import Tensor
from torch.nn import functional as F

from mgdali import MGDaliIterator, MotionGuided, VideoDataset

try:
    # As Any, so that types are checked the same with and without it.
    lightning: Any = importlib.import_module("lightning")
except ImportError as error:
    raise ImportError(f"this example needs Lightning ({error}): pip install lightning") from error

__all__ = ["ActionModule", "Batches", "VideoDataModule"]


class ActionModule(lightning.LightningModule):  # type: ignore[misc]
    """TSM with the paper's optimizer.

    Args:
        num_classes: C.
        num_frames: T.
        backbone: as in :func:`action_models.make_model`.
    """

    def __init__(self, num_classes: int, num_frames: int = 8, backbone: str = "small") -> None:
        super().__init__()
        self.model = make_model("tsm", num_classes=num_classes, num_frames=num_frames, backbone=backbone)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """The loss of clips float32 ``[N, T, 3, H, W]`` with labels int64 ``[N]``."""
        clips, labels = batch
        loss = F.cross_entropy(self.model(clips), labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Count the clips whose class is the likeliest."""
        clips, labels = batch
        right = (self.model(clips).argmax(1) == labels).float().mean()
        self.log("val/accuracy", right, prog_bar=True, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """SGD, a tenth from epochs 20 and 40 on."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [20, 40])]


class Batches:
    """A loader as Lightning takes it: it holds whatever has a ``sampler`` for a torch DataLoader with torch's samplers.

    Lightning asks for its state when it writes a checkpoint, and gives it back when it resumes.
    """

    def __init__(self, loader: MGDaliIterator) -> None:
        self._loader = loader
        self.state_dict = loader.state_dict
        self.load_state_dict = loader.load_state_dict

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._loader)


class VideoDataModule(lightning.LightningDataModule):  # type: ignore[misc]
    """Loaders of a folder's ``train`` and ``val``, made when Lightning asks, after it has started the ranks.

    Args:
        folder: holds ``{train,val}/<class>/<file>``.
        num_frames: T.
        loading: further arguments of both loaders.
    """

    def __init__(self, folder: Path, num_frames: int = 8, **loading: Any) -> None:
        super().__init__()
        self.train_videos = VideoDataset.from_folder(folder / "train")
        self.val_videos = VideoDataset.from_folder(folder / "val")
        self.loading = {"sampler": MotionGuided(num_frames=num_frames), **loading}

    def train_dataloader(self) -> Batches:
        """Random picks, crops and flips, in a new order each epoch."""
        return Batches(MGDaliIterator(self.train_videos, shuffle=True, drop_last=True, training=True, **self.loading))

    def val_dataloader(self) -> Batches:
        """The middle of each part, and the centre crop."""
        return Batches(MGDaliIterator(self.val_videos, **self.loading))


def main(folder: Path) -> None:
    """Train for two epochs."""
    data = VideoDataModule(folder, batch_size=8, crop_size=56, resize=64)
    trainer = lightning.Trainer(max_epochs=2, use_distributed_sampler=False, gradient_clip_val=20.0)
    trainer.fit(ActionModule(len(data.train_videos.classes)), data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
