"""A column of a data set as an Arrow array, which takes a fraction of the memory of a list of Python objects."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["TableColumn"]

_CHUNK = 8192
_SHOWN = 5


class TableColumn(Sequence[Any]):
    """The values of one column, as a sequence of Python values. It equals a list with the same values.

    Args:
        values: The values, ``[N]``; null for None.
    """

    def __init__(self, values: pa.Array) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return TableColumn(self._values.take(pa.array(range(*index.indices(len(self))), pa.int64())))
        return self._values[operator.index(index)].as_py()

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _CHUNK):
            yield from self._values.slice(start, _CHUNK).to_pylist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self._values.to_numpy(zero_copy_only=False), dtype)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TableColumn):
            return bool(self._values.equals(other._values)) or list(self) == list(other)
        return list(self) == other if isinstance(other, list) else NotImplemented

    def __repr__(self) -> str:
        first = ", ".join(repr(value) for value in self._values.slice(0, _SHOWN).to_pylist())
        return f"[{first}{', …' if len(self) > _SHOWN else ''}]"

    def tolist(self) -> list[Any]:
        """Return the values as a list."""
        return list(self)

    def take(self, rows: NDArray[np.int64]) -> TableColumn:
        """Return the values at some rows, in their order.

        Args:
            rows: Indices in ``[0, N)``, ``[M]``.
        """
        return TableColumn(self._values.take(pa.array(rows)))

    def extended(self, other: Sequence[Any] | None, length: int) -> Sequence[Any]:
        """Return this column followed by another one.

        Args:
            other: The other column; None for ``length`` missing values: NaN in a column of floats, otherwise None.
            length: Number of values that follow.

        Returns:
            A list if the values of the two columns have different types.
        """
        if other is None:
            kind = self._values.type
            # As in a column that was read: with None, it would not become a tensor in the batches.
            missing = pa.array([math.nan] * length, kind) if pa.types.is_floating(kind) else pa.nulls(length, kind)
            return TableColumn(pa.concat_arrays([self._values, missing]))
        if isinstance(other, TableColumn) and other._values.type == self._values.type:
            return TableColumn(pa.concat_arrays([self._values, other._values]))
        return [*self, *other]
