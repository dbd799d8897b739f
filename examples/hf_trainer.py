"""Use MGDali with the ``Trainer`` of Hugging Face Transformers.

Run ``python examples/hf_trainer.py videos/``, with the videos in ``videos/{train,val}/<class>/<file>``, or
``torchrun --nproc-per-node 2 examples/hf_trainer.py videos/`` for two processes. It trains a small TSM for two epochs,
prints the validation accuracy of each, and saves a checkpoint after each in ``trainer-checkpoints/``. To resume a run,
give the path of a checkpoint as a second argument.

The loader splits the videos among the processes itself. Its position is saved in the ``trainer_state.json`` of each
checkpoint.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from action_models import make_model
from torch import Tensor, nn
from torch.nn import functional as F

from mgdali import MGDaliIterator, MotionGuided, VideoDataset

try:
    # Typed as Any, so that type checks give the same result with and without Transformers.
    transformers: Any = importlib.import_module("transformers")
    importlib.import_module("accelerate")
except ImportError as error:
    raise ImportError(
        f"this example needs Transformers and Accelerate ({error}): pip install transformers accelerate"
    ) from error

__all__ = ["LoaderState", "VideoClassifier", "VideoTrainer", "make_trainer"]


class VideoClassifier(nn.Module):
    """TSM with the arguments and results that ``Trainer`` expects.

    Args:
        num_classes: Number of classes C.
        num_frames: Number of frames T per clip.
    """

    def __init__(self, num_classes: int, num_frames: int = 8) -> None:
        super().__init__()
        self.model = make_model("tsm", num_classes=num_classes, num_frames=num_frames, backbone="small")

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss and the logits ``[N, C]`` of clips ``[N, T, 3, H, W]`` and labels ``[N]``."""
        logits = self.model(pixel_values)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class LoaderState(transformers.TrainerCallback, transformers.trainer_callback.ExportableState):  # type: ignore[misc]
    """Save the position of the training loader in each checkpoint, and restore it."""

    loader: MGDaliIterator | None = None

    def state(self) -> dict[str, dict[str, Any]]:
        """Return what ``Trainer`` writes to ``trainer_state.json``."""
        position = None if self.loader is None else self.loader.state_dict()
        return {"args": {}, "attributes": {"position": position}}

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **more: Any) -> None:
        """Restore the position, if training resumes from a checkpoint."""
        self.loader = train_dataloader
        position = state.stateful_callbacks["LoaderState"]["attributes"]["position"]
        if position is not None:
            train_dataloader.load_state_dict(position)


class VideoTrainer(transformers.Trainer):  # type: ignore[misc]
    """A ``Trainer`` that uses the given loaders.

    Args:
        train_loader: Training loader, with ``batch_keys``.
        eval_loader: Validation loader, with ``batch_keys``.
        arguments: Arguments of ``Trainer``.
    """

    def __init__(self, *, train_loader: MGDaliIterator, eval_loader: MGDaliIterator, **arguments: Any) -> None:
        super().__init__(train_dataset=train_loader.dataset, eval_dataset=eval_loader.dataset, **arguments)
        self.train_loader, self.eval_loader = train_loader, eval_loader
        self.add_callback(LoaderState())

    def get_train_dataloader(self) -> MGDaliIterator:
        """Return the training loader."""
        return self.train_loader

    def get_eval_dataloader(self, eval_dataset: Any = None) -> MGDaliIterator:
        """Return the validation loader."""
        return self.eval_loader


def make_trainer(folder: Path, training: Any, num_frames: int = 8, **loading: Any) -> VideoTrainer:
    """Return a trainer of a small TSM.

    Args:
        folder: Folder that contains ``{train,val}/<class>/<file>``.
        training: ``TrainingArguments``, with ``ignore_data_skip=True``, because the loader finds its position itself.
        num_frames: Number of frames T to pick per video.
        loading: Further arguments of both loaders.
    """
    videos = VideoDataset.from_folder(folder / "train")
    loading = {"sampler": MotionGuided(num_frames=num_frames), "batch_keys": ("pixel_values", "labels"), **loading}
    return VideoTrainer(
        model=VideoClassifier(len(videos.classes), num_frames),
        args=training,
        train_loader=MGDaliIterator(videos, shuffle=True, drop_last=True, training=True, **loading),
        eval_loader=MGDaliIterator(VideoDataset.from_folder(folder / "val", classes=videos), **loading),
        compute_metrics=_accuracy,
    )


def _accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}


def main(folder: Path, checkpoint: str | None = None) -> None:
    """Train for two epochs, from the start or from a checkpoint."""
    training = transformers.TrainingArguments(
        "trainer-checkpoints",
        num_train_epochs=2,
        per_device_train_batch_size=8,  # The loader's batch size, for Trainer's reports.
        learning_rate=1e-3,
        eval_strategy="epoch",
        save_strategy="epoch",
        ignore_data_skip=True,  # The loader finds its position itself.
        use_cpu=not torch.cuda.is_available(),  # Otherwise processes on a CPU would each train alone.
        report_to="none",
    )
    trainer = make_trainer(folder, training, batch_size=8, crop_size=56, resize=64)
    trainer.train(resume_from_checkpoint=checkpoint)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
