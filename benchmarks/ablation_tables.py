"""Rows of the small versions of the paper's tables, and the training runs that they need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mgdali import MotionGuided, Segment, Stride, TopMotion
from mgdali.samplers import Sampler

__all__ = ["NUM_FRAMES", "SAMPLERS", "TABLES", "Length", "Row", "Run", "Table", "plan"]

NUM_FRAMES = 8
_MUS = (0.1, 0.3, 0.5, 0.8, 1.0, 2.0)
SAMPLERS: dict[str, Sampler] = {
    # mu=0 is not run: motion-guided sampling then picks exactly the frames of segment sampling.
    "segment": Segment(num_frames=NUM_FRAMES),
    "stride": Stride(num_frames=NUM_FRAMES),
    "top": TopMotion(num_frames=NUM_FRAMES),
    **{f"image {mu:g}": MotionGuided(num_frames=NUM_FRAMES, mu=mu) for mu in _MUS},
    "feature 0.5": MotionGuided(num_frames=NUM_FRAMES, motion="feature"),
}
"""The compared strategies. Stride and mu are the package's defaults if a table does not vary them."""

Length = Literal["fixed", "until flat"]
"""How long a run trains: a fixed number of epochs, or until the loss no longer falls."""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        model: Name of the model, as in ``examples/action_models.py``.
        sampler: One of :data:`SAMPLERS`.
        length: How long its runs train.
    """

    model: str
    sampler: str
    length: Length = "fixed"


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        title: Title of the table.
        rows: The rows by name.
    """

    title: str
    rows: dict[str, Row]


@dataclass(frozen=True)
class Run(Row):
    """One training run of a row; ``seed`` is the seed of the videos, the weights, the order and the offsets."""

    seed: int = 0


TABLES = {
    1: Table("Smoothing: mu", {"0": Row("tsm", "segment"), **{f"{mu:g}": Row("tsm", f"image {mu:g}") for mu in _MUS}}),
    2: Table(
        "Motion representation",
        {
            "none (segment)": Row("tsm", "segment"),
            "image level": Row("tsm", "image 0.5"),
            "feature level": Row("tsm", "feature 0.5"),
        },
    ),
    3: Table(
        "Sampling strategy",
        {
            "segment": Row("tsm", "segment"),
            "fixed stride": Row("tsm", "stride"),
            "top motion": Row("tsm", "top"),
            "motion-guided": Row("tsm", "image 0.5"),
        },
    ),
    # Models learn at different speeds, so a fixed number of epochs would favour one of them.
    4: Table(
        "Models",
        {
            f"{model.upper()}, {name}": Row(model, sampler, "until flat")
            for model in ("tsm", "tea", "gsm")
            for name, sampler in (("segment", "segment"), ("motion-guided", "image 0.5"))
        },
    ),
}


def plan(tables: Iterable[int], seeds: int) -> list[Run]:
    """Return the runs that the tables need, each once, in the order of the tables and of the seeds within a table."""
    wanted = [
        Run(row.model, row.sampler, row.length, seed)
        for table in tables
        for seed in range(seeds)
        for row in TABLES[table].rows.values()
    ]
    return list(dict.fromkeys(wanted))
