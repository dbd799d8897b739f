"""The form of the batches that a loader yields: tuples or dicts, with or without metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from mgdali.loading.columns import BatchColumns

__all__ = ["Batch", "BatchFormat"]

Batch: TypeAlias = Any
"""A tuple of clips, labels and, if requested, a dict of metadata; or a dict of all of them. A union would not let type
checkers accept ``clips, labels = batch``."""

_META_KEYS = ("path", "frames", "num_frames")


@dataclass(frozen=True, kw_only=True)
class BatchFormat:
    """The form of the batches.

    Args:
        return_meta: Whether to yield metadata: ``path`` (list of str, ``[N]``), ``frames`` (the picks, int64
            ``[N, T]``), ``num_frames`` (of each video, int64 ``[N]``), and the columns.
        keys: Names of clips and labels, for dicts; None for tuples.
        paths: Paths of all videos of the data set.
        columns: Further values of all videos, by name of the column.
        views: Number of views per video, V, which is a separate dimension; None for no such dimension.
        repeats: Number of times that each video is repeated, R.

    Raises:
        ValueError: If ``keys`` are not two different names, other than those of the metadata, or a column that is
            yielded has the name of other metadata or a key.
    """

    return_meta: bool = False
    keys: tuple[str, str] | None = None
    paths: Sequence[str] = field(default=(), repr=False)
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict, repr=False)
    views: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "_columns", BatchColumns(self.columns if self.return_meta else {}))
        taken = {*_META_KEYS, *(self.keys or ())} & set(self.columns)
        if self.return_meta and taken:
            raise ValueError(
                f"the data set's column {min(taken)!r} has the name of another value of each batch: give the column "
                "another name, or remove it from dataset.columns"
            )
        if self.keys is None:
            return
        keys = tuple(self.keys)
        names = all(isinstance(key, str) for key in keys)
        if len(keys) != 2 or not names or len({*keys, *_META_KEYS}) < 2 + len(_META_KEYS):
            raise ValueError(
                f"batch_keys must be two different names, for clips and labels, other than {', '.join(_META_KEYS)}; "
                f"got {self.keys!r}"
            )

    def __call__(self, outputs: dict[str, torch.Tensor], indices: Sequence[int]) -> Batch:
        """Return a batch in this form.

        Args:
            outputs: The graph's outputs by name, with R times V clips per video.
            indices: Indices of the clips' videos in the data set.
        """
        if self.views is not None:
            outputs = {name: _by_video(name, values, self.views) for name, values in outputs.items()}
        if self.repeats > 1:
            indices = [index for index in indices for _ in range(self.repeats)]
        clips, labels = outputs["clips"], outputs["labels"]
        meta = self._meta(outputs, indices) if self.return_meta else {}
        if self.keys is not None:
            return {self.keys[0]: clips, self.keys[1]: labels, **meta}
        return (clips, labels, meta) if self.return_meta else (clips, labels)

    def _meta(self, outputs: dict[str, torch.Tensor], indices: Sequence[int]) -> dict[str, Any]:
        values = ([self.paths[index] for index in indices], outputs["frames"], outputs["num_frames"])
        columns: BatchColumns = self.__dict__["_columns"]
        return {**dict(zip(_META_KEYS, values, strict=True)), **columns(indices)}


def _by_video(name: str, values: torch.Tensor, views: int) -> torch.Tensor:
    """Return an output of the graph by video: clips and picks ``[N, V, …]``, others ``[N, …]``."""
    rows = values.reshape(-1, views, *values.shape[1:])
    return rows if name in ("clips", "frames") else rows[:, 0]
