"""Lightning with MGDali: ``python examples/lightning_module.py videos/`` (videos/{train,val}/<class>/<file>).

With a checkpoint of Lightning's as a second argument the run goes on from there. The loader knows ranks itself:
Lightning puts samplers only into torch's ``DataLoader``.
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

__all__ = ["ActionModule", "Loader", "VideoDataModule"]


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


class Loader(MGDaliIterator):
    """A loader whose state in Lightning's checkpoints resumes with the batches of an unbroken run.

    Validation can do with an :class:`~mgdali.MGDaliIterator` as it is.
    """

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch when its first batch is asked for: Lightning calls ``iter`` more than once an epoch."""
        yield from super().__iter__()

    def state_dict(self) -> dict[str, int | bool]:
        """Where the loader stands: for Lightning an epoch is over with its last batch, and resumes with the next."""
        state = super().state_dict()
        if state["batch"] == len(self):
            state.update(epoch=state["epoch"] + 1, batch=0)
        return state


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

    def train_dataloader(self) -> MGDaliIterator:
        """Random picks, crops and flips, in a new order each epoch."""
        loader = Loader(self.train_videos, shuffle=True, drop_last=True, training=True, **self.loading)
        # From a checkpoint taken between epochs Lightning loads no loader's state, but it knows how many are over.
        loader.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)
        return loader

    def val_dataloader(self) -> MGDaliIterator:
        """The middle of each part, and the centre crop."""
        return MGDaliIterator(self.val_videos, **self.loading)


def main(folder: Path, checkpoint: str | None = None) -> None:
    """Train for two epochs, of which a checkpoint may hold the beginning."""
    data = VideoDataModule(folder, batch_size=8, crop_size=56, resize=64)
    trainer = lightning.Trainer(max_epochs=2, gradient_clip_val=20.0)
    trainer.fit(ActionModule(len(data.train_videos.classes)), data, ckpt_path=checkpoint)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
