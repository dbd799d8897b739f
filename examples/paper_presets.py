"""The settings with which ``reproduce_table2.py`` trains. ``train_tsm.py`` has the same values as defaults.

"The paper" is MGSampler (Zhi et al., ICCV 2021). Its text is not part of this project, and these settings come from the
project's description of the paper's experiments:

- TSM on a ResNet-50 with ImageNet weights, 8 frames (the paper also has 16).
- SGD, 64 clips per step, a learning rate of 0.01, a tenth of it after 20 and after 40 of 50 epochs.
- Weight decay 5e-4, dropout 0.5.
- mu = 0.5 at both levels of motion. Table 2 has the rows segment, image level and feature level.

The description does not contain the following, so check them against the paper before you compare accuracies:

- whether Diving48 has other settings than Something-Something V2: here they are equal;
- the version of Diving48's labels: here version 2, in which wrong labels were corrected;
- momentum (here 0.9), the largest norm of the gradient (here 20) and flips (here with probability 0.5 for Diving48;
  never for Something-Something, whose classes name sides);
- the views in testing: here one clip per video, frames in the middle of their parts, shorter side 256, centre crop of
  224; and the epoch that is tested: here the last one;
- how many runs an accuracy is the mean of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

__all__ = ["PRESETS", "ROWS", "Preset", "Row"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of the runs on one data set. All fields except ``dataset`` are options of ``train_tsm.py``, too.

    Attributes:
        dataset: Data set, by its name in ``train_tsm.py --dataset``.
        flip_prob: Probability that a training clip is mirrored, in [0, 1].

    Raises:
        ValueError: If a setting is out of range.
    """

    dataset: str
    flip_prob: float
    model: str = "tsm"
    backbone: str = "resnet50"
    num_frames: int = 8
    crop_size: int = 224
    mu: float = 0.5
    batch_size: int = 64
    epochs: int = 50
    optimizer: str = "sgd"
    lr: float = 0.01
    lr_steps: tuple[int, ...] = (20, 40)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    clip_gradient: float = 20.0

    def __post_init__(self) -> None:
        if not 0 <= self.flip_prob <= 1:
            raise ValueError(f"flip_prob must be within [0, 1], got {self.flip_prob!r}")
        for name in ("num_frames", "crop_size", "batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)!r}")

    def arguments(self) -> Iterator[str]:
        """Yield the settings as arguments of ``train_tsm.py``."""
        for name, value in asdict(self).items():
            yield f"--{name.replace('_', '-')}"
            yield ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Row:
    """A row of Table 2.

    Attributes:
        title: Text of the row.
        name: Name of the row in file names.
        arguments: Arguments of ``train_tsm.py`` in which the rows differ.
    """

    title: str
    name: str
    arguments: tuple[str, ...]


PRESETS = {
    "something-something-v2": Preset(dataset="something-something-v2", flip_prob=0.0),
    "diving48": Preset(dataset="diving48", flip_prob=0.5),
}

ROWS = (
    Row("segment", "segment", ("--sampler", "segment")),
    Row("motion-guided, image level", "image", ("--sampler", "motion-guided", "--motion", "image")),
    Row("motion-guided, feature level", "feature", ("--sampler", "motion-guided", "--motion", "feature")),
)
