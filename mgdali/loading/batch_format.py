"""The form of the batches that a loader yields: tuples or dicts, with or without metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

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
            ``[N, T]``) and ``num_frames`` (of each video, int64 ``[N]``).
        keys: Names of clips and labels, for dicts; None for tuples.

    Raises:
        ValueError: If ``keys`` are not two different names, other than those of the metadata.
    """

    return_meta: bool = False
    keys: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.keys is None:
            return
        keys = tuple(self.keys)
        names = all(isinstance(key, str) for key in keys)
        if len(keys) != 2 or not names or len({*keys, *_META_KEYS}) < 2 + len(_META_KEYS):
            raise ValueError(
                f"batch_keys must be two different names, for clips and labels, other than {', '.join(_META_KEYS)}; "
                f"got {self.keys!r}"
            )

    def __call__(self, outputs: dict[str, torch.Tensor], paths: list[str]) -> Batch:
        """Return a batch in this form.

        Args:
            outputs: The graph's outputs by name.
            paths: Paths of the clips' videos.
        """
        clips, labels = outputs["clips"], outputs["labels"]
        values = (paths, outputs["frames"], outputs["num_frames"])
        meta = dict(zip(_META_KEYS, values, strict=True)) if self.return_meta else {}
        if self.keys is not None:
            return {self.keys[0]: clips, self.keys[1]: labels, **meta}
        return (clips, labels, meta) if self.return_meta else (clips, labels)
