"""Searching, sorting and paging of the table."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from mgdali.explore.table import Query, Sort, VideoTable

NAMES = ["b/Run 2.mp4", "a/jump.mp4", "c.mp4", "a/run.mp4", "ä/Über.mp4"]
CLASSES = ["b", "a", None, "a", "Öl"]


def table() -> VideoTable:
    found = VideoTable(pa.chunked_array([NAMES]), pa.chunked_array([CLASSES]))
    motion, still = np.array([2.0, np.nan, 1.0, 2.0]), np.array([0.5, np.nan, 0.0, 0.25])
    found.update(
        np.arange(4), {"frames": np.array([9.0, np.nan, 5.0, 7.0]), "motion": motion, "still": still}, {1: "x"}
    )
    return found


def ids(found: VideoTable, **query: object) -> list[int]:
    return [row.id for row in found.query(Query(**query)).rows]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sort", "ascending", "descending"),
    [
        ("name", [1, 3, 0, 2, 4], [4, 2, 0, 3, 1]),
        ("frames", [2, 3, 0, 1, 4], [0, 3, 2, 1, 4]),
        # Rows 3 and 0 have the same motion and stay sorted by name.
        ("motion", [2, 3, 0, 1, 4], [3, 0, 2, 1, 4]),
        ("still", [2, 3, 0, 1, 4], [0, 3, 2, 1, 4]),
        ("class", [1, 3, 0, 4, 2], [4, 0, 1, 3, 2]),
    ],
)
def test_unknown_values_are_last_and_equal_ones_sorted_by_name(
    sort: Sort, ascending: list[int], descending: list[int]
) -> None:
    assert ids(table(), sort=sort) == ascending
    assert ids(table(), sort=sort, descending=True) == descending


def test_a_search_finds_text_of_names_and_classes_in_upper_and_lower_case() -> None:
    assert ids(table(), search="RUN") == [3, 0]
    assert ids(table(), search="über") == ids(table(), search="öL") == [4]
    assert ids(table(), search=".mp4", class_name="a") == [1, 3]
    # Characters of regular expressions are plain text.
    assert ids(table(), search=".*") == ids(table(), class_name="no such class") == []


@pytest.mark.parametrize("query", [{}, {"sort": "motion", "descending": True}, {"search": "run"}, {"class_name": "a"}])
def test_the_place_of_a_video_is_that_of_its_row_in_the_whole_list(query: dict[str, object]) -> None:
    listed = ids(table(), **query)
    for row in range(len(NAMES)):
        # "first" and "count" only choose the part of the list that is returned.
        place = table().place(row, Query(**query, first=3, count=1))  # type: ignore[arg-type]
        assert place == (listed.index(row) if row in listed else None)


def test_pages_together_contain_each_video_once() -> None:
    found = table()
    pages = [found.query(Query(sort="motion", first=first, count=2)) for first in (0, 2, 4, 6)]
    assert [len(page.rows) for page in pages] == [2, 2, 1, 0]
    assert sorted(row.id for page in pages for row in page.rows) == [0, 1, 2, 3, 4]
    assert {page.total for page in pages} == {5}


@pytest.mark.parametrize("different", [3000, 1000, 6])
def test_the_first_rows_by_name_are_the_same_before_and_after_all_names_are_sorted(different: int) -> None:
    # Names in several parts, as those of an index. Each occurs 3000 / different times.
    values = [f"é{row * 7919 % different:04}" for row in range(3000)]
    columns = pa.chunked_array([values[:1000], values[1000:]]), pa.chunked_array([[None] * 3000], pa.string())
    ordered = VideoTable(*columns)
    ordered.sort_names()
    for first, count in [(0, 100), (0, 1), (100, 7), (1, 499), (2, 500), (499, 1), (2990, 100)]:
        query = Query(first=first, count=count)
        page = VideoTable(*columns).query(query)
        assert page == ordered.query(query)
        assert [row.id for row in page.rows] == sorted(range(3000), key=lambda row: (values[row], row))[first:][:count]


def test_an_update_changes_the_order_and_the_rows() -> None:
    found = table()
    assert ids(found, sort="motion")[-1] == 4
    found.update(np.array([4]), {"motion": np.array([0.5])}, {})
    rows = found.query(Query(sort="motion")).rows
    assert (rows[0].id, rows[0].motion, rows[0].frames, rows[-1].error) == (4, 0.5, None, "x")


@pytest.mark.parametrize(
    "wrong",
    [{"count": 0}, {"count": 501}, {"first": -1}, {"sort": "size"}, {"search": "a" * 501}, {"descending": 1}],
)
def test_a_query_out_of_range_is_an_error(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Query(**wrong)  # type: ignore[arg-type]


def test_sixteen_threads_get_right_pages_while_values_change() -> None:
    count = 2000
    found = VideoTable(
        pa.chunked_array([[f"{row:05}" for row in range(count)]]), pa.chunked_array([[None] * count], pa.string())
    )

    def ask(number: int) -> bool:
        found.update(np.array([number]), {"motion": np.array([float(number)])}, {})
        page = found.query(Query(sort="motion", search=str(number % 3), count=500))
        known = [row.motion for row in page.rows if row.motion is not None]
        return len({row.id for row in page.rows}) == 500 and len(known) > 0 or number % 3 > 0

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(64)))
    rows = found.query(Query(sort="motion", count=64)).rows
    assert [row.motion for row in rows] == [float(number) for number in range(64)]


@pytest.mark.slow
def test_many_rows_are_found_and_sorted_in_little_time() -> None:
    count = 300_000
    names = pa.chunked_array([pa.array(f"{row * 7919 % count:06}.mp4" for row in range(count))])
    found = VideoTable(names, pa.chunked_array([pa.array((str(row % 400) for row in range(count)), pa.string())]))
    found.update(np.arange(count), {"motion": np.random.default_rng(0).random(count)}, {})
    queries = [Query(), Query(search="99"), Query(sort="motion", descending=True), Query(sort="class")]
    for query in queries:
        found.query(query)
    started = time.perf_counter()
    for query in queries * 10:
        assert found.query(query).total > 1000
    # The orders are kept, so that 40 pages take less time than sorting once.
    assert time.perf_counter() - started < 1
    assert [row.name for row in found.query(Query(first=count - 2, count=5)).rows] == ["299998.mp4", "299999.mp4"]
