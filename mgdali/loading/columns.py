"""Further values of the videos of a batch, such as ids and captions, from the columns of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

__all__ = ["BatchColumns"]


class BatchColumns:
    """Columns of a data set, from which the values of batches are taken.

    Args:
        columns: Values of all videos, ``[M]`` by name of the column.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = {name: _numbers(values) for name, values in columns.items()}

    def __call__(self, indices: Sequence[int]) -> dict[str, Any]:
        """Return the values of a batch by name of the column, in the batch's order.

        A column of integers, booleans or floats becomes a tensor ``[N]`` (int64, bool, float64), any other column a
        list ``[N]``. This depends on the whole column, so it is the same for all batches.

        Args:
            indices: Indices of the videos in the data set, ``[N]``.
        """
        return {
            name: torch.from_numpy(values[indices]) if isinstance(values, np.ndarray) else [values[i] for i in indices]
            for name, values in self._columns.items()
        }


def _numbers(values: Sequence[Any]) -> Sequence[Any] | np.ndarray[Any, Any]:
    """Return a column as an array if all its values are numbers of one kind."""
    kinds = {_kind(value) for value in values}
    if kinds in ({bool}, {int}, {float}, {int, float}):
        dtype = np.float64 if float in kinds else np.dtype(kinds.pop())
        return np.array(values, dtype)
    return values


def _kind(value: Any) -> type:
    if isinstance(value, bool | np.bool_):
        return bool
    if isinstance(value, Integral):
        return int if -(2**63) <= int(value) < 2**63 else object
    return float if isinstance(value, Real) else object
