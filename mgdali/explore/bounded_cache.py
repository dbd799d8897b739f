"""A cache whose values are bounded by their size in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Values by key, up to a number of bytes. The values that were not used for longest are dropped first.

    Any number of threads may use it. The newest value is kept even if it alone is larger than the limit, so that work
    whose result is large is not repeated endlessly.

    Args:
        limit: Largest sum of the sizes of all values, in bytes, >= 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Sum of the sizes of all values, in bytes."""
        return self._size

    def get(self, key: K) -> V | None:
        """Return the value of a key, which then counts as used; None if there is no value."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Store a value of ``size`` bytes in place of an earlier one of the key, and drop values beyond the limit."""
        with self._lock:
            self._drop(key)
            self._values[key] = value, size
            self._size += size
            while self._size > self._limit and len(self._values) > 1:
                self._drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        """Drop the value of a key, if there is one."""
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()
            self._size = 0

    def _drop(self, key: K) -> None:
        _, size = self._values.pop(key, (None, 0))
        self._size -= size
