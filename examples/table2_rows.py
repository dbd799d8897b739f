"""The runs of ``reproduce_table2.py``, and which of their settings the project knows from the paper.

"The paper" is MGSampler (Zhi et al., ICCV 2021). Its text is not part of this project. The settings come from the
project's description of the paper's experiments. They are the defaults of ``train_options.Options``, and
``train_tsm.py --help`` prints them. The description contains:

- model, backbone, ImageNet weights, and the number of frames: 8 by default. The paper also has 16;
- the optimizer, the clips per step (over all GPUs), the learning rate and its steps, and the number of epochs;
- weight decay, dropout, and a cross-entropy loss without label smoothing;
- mu at both levels of motion, and the rows of Table 2.

The description does not contain the following, so check them against the paper before you compare accuracies:

- whether Diving48 has other settings or weights than Something-Something V2: here they are equal;
- the version of Diving48's labels: here version 2, in which wrong labels were corrected;
- momentum and the largest norm of the gradient: here those of TSM's released code;
- what else TSM's released code does: there, the last layer learns five times as fast and biases are not decayed. Here,
  all parameters are treated alike;
- crops and flips in training: here the multi-scale crop of TSN, and flips only for Diving48, because classes of
  Something-Something name sides;
- the views in testing: here one clip per video, frames in the middle of their parts, shorter side 256, centre crop of
  224; and the epoch that is tested: here the last one;
- the number of GPUs: batch normalization uses the clips of one GPU;
- how many runs an accuracy is the mean of.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DATASETS", "ROWS", "Row", "Run"]

DATASETS = ("something-something-v2", "diving48")


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


@dataclass(frozen=True)
class Run:
    """One training run: a row of the table with a seed."""

    row: Row
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.row.name}-seed-{self.seed}"


ROWS = (
    Row("segment", "segment", ("--sampler", "segment")),
    Row("motion-guided, image level", "image", ("--sampler", "motion-guided", "--motion", "image")),
    Row("motion-guided, feature level", "feature", ("--sampler", "motion-guided", "--motion", "feature")),
)
