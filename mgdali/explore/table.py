"""A table of videos that is searched, sorted and read page by page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mgdali.errors import check_integer

__all__ = ["Page", "Query", "Row", "Sort", "VideoTable"]

Sort: TypeAlias = Literal["name", "frames", "motion", "still", "class"]
"""What the table is sorted by."""

_MOST_ROWS = 500
_LONGEST_SEARCH = 500
# An order of a million rows takes 8 MB.
_ORDERS_KEPT = 6


@dataclass(frozen=True)
class Query:
    """A question for some rows of the table.

    Args:
        search: Text that the name or the class must contain, in upper or lower case, at most 500 characters; empty for
            all videos.
        class_name: The class of the videos; None for all classes.
        sort: What to sort by. Videos with equal values are sorted by name. Unknown values come last.
        descending: Whether the largest values come first.
        first: Number of rows to skip, >= 0.
        count: Largest number of rows to return, in [1, 500].

    Raises:
        ValueError: If an argument is out of range.
    """

    search: str = ""
    class_name: str | None = None
    sort: Sort = "name"
    descending: bool = False
    first: int = 0
    count: int = 100

    def __post_init__(self) -> None:
        if not isinstance(self.search, str) or len(self.search) > _LONGEST_SEARCH:
            raise ValueError(f"search must be text of at most {_LONGEST_SEARCH} characters, got {self.search!r:.100}")
        if self.class_name is not None and not isinstance(self.class_name, str):
            raise ValueError(f"class_name must be text or None, got {self.class_name!r}")
        if self.sort not in get_args(Sort):
            raise ValueError(f"sort must be one of {get_args(Sort)}, got {self.sort!r}")
        if not isinstance(self.descending, bool):
            raise ValueError(f"descending must be True or False, got {self.descending!r}")
        check_integer("first", self.first, least=0)
        check_integer("count", self.count, least=1)
        if self.count > _MOST_ROWS:
            raise ValueError(f"count must be at most {_MOST_ROWS}, got {self.count}")


@dataclass(frozen=True)
class Row:
    """One video in a list.

    Attributes:
        id: Position of the video in the collection.
        name: Its name for the user.
        class_name: Name of its class; None if unknown.
        frames: Number of frames; None if unknown.
        motion: Mean of S at the image level per frame and pixel (:class:`mgdali.index.still.StillVideo`); None if
            unknown.
        still: Share of frames with S = 0, in [0, 1]; None if unknown.
        error: Reason the video could not be decoded; None if it could, or if nobody has tried.
    """

    id: int
    name: str
    class_name: str | None
    frames: int | None
    motion: float | None
    still: float | None
    error: str | None


@dataclass(frozen=True)
class Page:
    """Some rows of the table.

    Attributes:
        total: Number of videos that the query finds.
        first: Position of the first row among them.
        rows: The rows.
        complete: Whether all motion that an index contains has been computed.
    """

    total: int
    first: int
    rows: list[Row]
    complete: bool


class VideoTable:
    """Names, classes and motion of all videos, as columns. Several threads may use it.

    Args:
        names: Names for the user, ``[N]`` strings.
        classes: Names of the classes, ``[N]`` strings, null where unknown.

    Attributes:
        classes: Names of all classes, sorted.
        complete: Whether all motion that an index contains has been computed.
    """

    def __init__(self, names: pa.ChunkedArray, classes: pa.ChunkedArray) -> None:
        self._names = names
        encoded = pc.dictionary_encode(classes.combine_chunks())
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        found = encoded.dictionary.to_pylist()
        self.classes: list[str] = sorted(found)
        # Codes are positions in the sorted list, -1 for a video without a class.
        places = {name: place for place, name in enumerate(self.classes)}
        codes = np.array([*(places[name] for name in found), -1], np.int32)
        self._codes = codes[encoded.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)]
        self._numbers = {key: np.full(len(names), np.nan) for key in ("frames", "motion", "still")}
        self._errors: dict[int, str] = {}
        self._version = 0
        self._by_name: NDArray[np.int32] | None = None
        self._orders: OrderedDict[tuple[object, ...], NDArray[np.int32]] = OrderedDict()
        self._data, self._ordering = Lock(), Lock()
        self.complete = True

    def __len__(self) -> int:
        return len(self._names)

    def name(self, row: int) -> str:
        """Return the name of a video."""
        return str(self._names[row].as_py())

    def class_name(self, row: int) -> str | None:
        """Return the class of a video; None if unknown."""
        code = self._codes[row]
        return None if code < 0 else self.classes[code]

    def update(
        self, rows: NDArray[np.int64], values: Mapping[str, NDArray[np.float64]], errors: Mapping[int, str]
    ) -> None:
        """Set what is known about some videos.

        Args:
            rows: The videos, ``[M]``.
            values: Their ``"frames"``, ``"motion"`` and ``"still"``, or some of these, float64 ``[M]``; NaN if unknown.
            errors: Reasons of videos that could not be decoded, by row.
        """
        with self._data:
            for key, column in values.items():
                self._numbers[key][rows] = column
            self._errors.update(errors)
            self._version += 1

    def query(self, query: Query) -> Page:
        """Return the rows that a query asks for."""
        complete = self.complete
        first = self._first_by_name(query)
        if first is not None:
            return Page(len(self), query.first, self._rows(first), complete)
        order = self._order(query)
        chosen = order[query.first : query.first + query.count].tolist()
        return Page(len(order), query.first, self._rows(chosen), complete)

    def place(self, row: int, query: Query) -> int | None:
        """Return the position of a row among all that a query finds; None if it is not one of them.

        ``first`` and ``count`` of the query have no influence.
        """
        places = np.flatnonzero(self._order(query) == row)
        return int(places[0]) if len(places) else None

    def sort_names(self) -> None:
        """Sort all names, so that a later query does not have to."""
        with self._ordering:
            self._sorted_names()

    def _rows(self, chosen: Sequence[int]) -> list[Row]:
        names = [self.name(row) for row in chosen]
        with self._data:
            columns = [self._numbers[key][chosen].tolist() for key in ("frames", "motion", "still")]
            errors = [self._errors.get(row) for row in chosen]
        return [
            Row(
                row,
                name,
                self.class_name(row),
                None if frames != frames else int(frames),
                _known(motion),
                _known(still),
                error,
            )
            for row, name, frames, motion, still, error in zip(chosen, names, *columns, errors, strict=True)
        ]

    def _first_by_name(self, query: Query) -> list[int] | None:
        """Return the rows of a page near the beginning of the whole list by name; None if all names must be sorted.

        This is the first page that a user sees. Finding it takes a small part of the time of sorting a million names.
        """
        end = query.first + query.count
        whole = not query.search and query.class_name is None and query.sort == "name" and not query.descending
        if self._by_name is not None or not whole or end > _MOST_ROWS or end >= len(self):
            return None
        rows = pc.select_k_unstable(self._names, end + 1, [("name", "ascending")]).to_pylist()
        named = [(self.name(row), row) for row in rows]
        if named[-2][0] == named[-1][0]:
            # Of equal names, the selection takes any.
            return None
        return [row for _, row in sorted(named)[query.first : end]]

    def _sorted_names(self) -> NDArray[np.int32]:
        if self._by_name is None:
            self._by_name = pc.sort_indices(self._names).to_numpy().astype(np.int32)
        return self._by_name

    def _order(self, query: Query) -> NDArray[np.int32]:
        """Return all rows that a query finds, in its order."""
        with self._ordering:
            version = self._version if query.sort in self._numbers else 0
            found = (query.search.lower(), query.class_name)
            key = (*found, query.sort, query.descending, version)
            if key not in self._orders:
                if (rows := self._kept((*found, "rows"))) is None:
                    rows = self._keep((*found, "rows"), self._found(*found))
                # Orders of earlier versions are not needed again.
                outdated = [each for each in self._orders if len(each) == len(key) and each[:4] == key[:4]]
                for each in outdated:
                    del self._orders[each]
                self._keep(key, self._sorted(rows, query.sort, query.descending))
            order = self._kept(key)
            assert order is not None
            return order

    def _kept(self, key: tuple[object, ...]) -> NDArray[np.int32] | None:
        if key in self._orders:
            self._orders.move_to_end(key)
        return self._orders.get(key)

    def _keep(self, key: tuple[object, ...], order: NDArray[np.int32]) -> NDArray[np.int32]:
        self._orders[key] = order
        while len(self._orders) > _ORDERS_KEPT:
            self._orders.popitem(last=False)
        return order

    def _found(self, search: str, class_name: str | None) -> NDArray[np.int32]:
        """Return the rows with a text and a class, sorted by name."""
        by_name = self._sorted_names()
        if not search and class_name is None:
            return by_name
        keep = np.ones(len(self), np.bool_)
        if class_name is not None:
            keep = self._codes == (self.classes.index(class_name) if class_name in self.classes else len(self.classes))
        if search:
            # Code -1, a video without a class, is the last entry.
            of_class = np.array([*(search in name.lower() for name in self.classes), False])
            named = pc.match_substring(self._names, search, ignore_case=True).to_numpy()
            keep &= named | of_class[self._codes]
        return by_name[keep[by_name]]

    def _sorted(self, rows: NDArray[np.int32], sort: Sort, descending: bool) -> NDArray[np.int32]:
        """Return rows, which are sorted by name, in another order."""
        if sort == "name":
            return rows[::-1] if descending else rows
        if sort == "class":
            values = np.where(self._codes < 0, np.nan, self._codes)[rows]
        else:
            with self._data:
                values = self._numbers[sort][rows]
        # NaN, which stands for unknown values, is sorted to the end in both directions.
        return rows[np.argsort(-values if descending else values, kind="stable")]


def _known(value: float) -> float | None:
    return None if value != value else value
