"""Graphs that take turns: order, number of parts, memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from nvidia.dali import fn, pipeline_def

from mgdali.loading.batch import Arrays, Part
from mgdali.loading.graphs import Graph, Graphs


def numbers_graph(source: Callable[[], Arrays], depth: int) -> Any:
    """Return a pipeline with four outputs: its input, and three sums of it and a number."""

    @pipeline_def(batch_size=2, num_threads=1, device_id=None, prefetch_queue_depth=depth, exec_dynamic=True)
    def build() -> Any:
        (given,) = fn.external_source(source=source, num_outputs=1, batch=True, no_copy=True, ndim=[0])
        return given, given + 1, given + 2, given + 3

    return build()


def make(count: int, depth: int) -> Graphs:
    return Graphs(lambda: Graph(partial(numbers_graph, depth=depth), bounded=True), count, depth)


def part(number: int, **more: Any) -> Part:
    array: NDArray[np.int64] = np.full(2, number, np.int64)
    return Part((array,), [f"{number}.mp4"], True, **more)


@pytest.mark.parametrize(("count", "depth"), [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2)])
def test_outputs_come_in_the_order_of_the_parts_whatever_the_number_of_graphs(count: int, depth: int) -> None:
    graphs = make(count, depth)
    given, taken = 0, []
    # Two rounds: a set of graphs without parts can be given parts again.
    for end in (11, 18):
        while given < end or graphs:
            while given < end and not graphs.full:
                graphs.give(part(given))
                given += 1
            assert len(graphs) <= count * depth
            own, outputs = graphs.take(60)
            assert own.paths == [f"{len(taken)}.mp4"]
            taken.append(outputs)
    assert [outputs["clips"].tolist() for outputs in taken] == [[number] * 2 for number in range(18)]
    assert [outputs["num_frames"].tolist() for outputs in taken] == [[number + 3] * 2 for number in range(18)]
    graphs.close()


def test_graphs_take_turns() -> None:
    graphs = make(2, 2)
    for number in range(4):
        graphs.give(part(number))
    assert graphs.full
    assert graphs.paths == ["0.mp4", "2.mp4", "1.mp4", "3.mp4"]
    graphs.take(60)
    graphs.give(part(4))
    assert graphs.paths == ["2.mp4", "4.mp4", "1.mp4", "3.mp4"]
    graphs.close()


def test_a_part_has_room_if_the_limit_holds_for_all_parts_in_the_graphs() -> None:
    graphs = make(2, 2)
    # A part that is alone always has room: otherwise its batch would never come.
    assert graphs.has_room(part(0, gpu_bytes=500, gpu_limit=100))
    graphs.give(part(0, gpu_bytes=40, gpu_limit=100))
    graphs.give(part(1, gpu_bytes=30, gpu_limit=100))
    assert graphs.has_room(part(2, gpu_bytes=30, gpu_limit=100))
    assert not graphs.has_room(part(2, gpu_bytes=31, gpu_limit=100))
    graphs.take(60)
    assert graphs.has_room(part(2, gpu_bytes=70, gpu_limit=100))
    graphs.close()


def test_outputs_stay_valid_when_later_parts_are_computed_and_the_graph_is_closed() -> None:
    graphs = make(1, 2)
    kept = []
    for number in range(5):
        graphs.give(part(number))
        kept.append(graphs.take(60)[1])
    graphs.close()
    assert [outputs["frames"].tolist() for outputs in kept] == [[number + 2] * 2 for number in range(5)]


def test_a_graph_that_is_replaced_gives_its_parts_to_the_new_one() -> None:
    graphs = make(2, 2)
    for number in range(4):
        graphs.give(part(number))
    new, parts = graphs.replace_oldest()
    assert [own.paths for own in parts] == [["0.mp4"], ["2.mp4"]]
    for own in parts:
        new.give(own)
    assert [graphs.take(60)[1]["clips"].tolist() for _ in range(4)] == [[number] * 2 for number in range(4)]
    graphs.close()
