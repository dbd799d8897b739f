"""The settings of a loader: their ranges, and the numbers that follow from them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mgdali import Segment
from mgdali.gpu.driver import DecoderCaps
from mgdali.loading.order import EpochOrder
from mgdali.loading.route import Route
from mgdali.loading.settings import LoaderSettings

SEVEN_ENGINES = Route(torch.device("cpu"), {"h264": DecoderCaps("h264", "4:2:0", 8, 7, 48, 16, 4096, 4096, 65536)})


def settings(**arguments: Any) -> LoaderSettings:
    return LoaderSettings(sampler=Segment(), order=EpochOrder(num_videos=9, batch_size=4), **arguments)


@pytest.mark.parametrize("name", ["decoder_threads", "num_graphs"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_threads_and_graphs_are_positive_integers(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer >= 1"):
        settings(**{name: value})


def test_a_graph_that_decodes_has_three_threads_per_engine_whatever_the_number_of_workers() -> None:
    assert settings(route=SEVEN_ENGINES, num_workers=40).num_threads == 21
    assert settings(route=SEVEN_ENGINES, num_workers=1).num_threads == 21
    assert settings(route=SEVEN_ENGINES, decoder_threads=5).num_threads == 5
    assert settings(route=SEVEN_ENGINES, decoder_threads=5, num_graphs=3).decoders_at_once == 15


def test_a_graph_of_finished_clips_has_a_thread_per_worker_and_no_decoders() -> None:
    given = settings(num_workers=6, decoder_threads=5, num_graphs=3)
    assert (given.num_threads, given.graphs, given.queue_depth, given.decoders_at_once) == (6, 1, 1, 0)


@pytest.mark.parametrize(("num_graphs", "batches"), [(1, 4), (2, 6), (3, 8)])
def test_slots_suffice_for_the_batches_in_the_graphs(num_graphs: int, batches: int) -> None:
    # Two in each graph, the one that was returned last, and the next one.
    given = settings(route=SEVEN_ENGINES, num_graphs=num_graphs, prefetch_factor=3)
    assert given.held_batches == batches
    assert given.slots == 4 * (batches + 3)


def test_the_graph_of_finished_clips_holds_one_batch() -> None:
    assert settings().held_batches == 3
