"""The graphs as they are defined for a GPU. Their results are compared in test_decoding_graph.py and on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from mgdali import MotionGuided
from mgdali.gpu.nvdec import ANY_GPU
from mgdali.gpu.picking import FrameFunctions
from mgdali.loading.graph import Pipeline, clips_pipeline, decoding_pipeline
from mgdali.loading.graph_transform import GraphTransform
from mgdali.loading.order import EpochOrder
from mgdali.loading.route import Route
from mgdali.loading.settings import LoaderSettings
from mgdali.transforms import OutputFormat
from mgdali.workers.clip_function import ClipFunction

SAMPLER = MotionGuided()
DECODING = partial(decoding_pipeline, functions=FrameFunctions(SAMPLER))
FUNCTION = GraphTransform(ClipFunction(lambda clip, generator: clip), str)


def no_batch() -> Any:
    raise StopIteration


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW", "NTHWC"])
@pytest.mark.parametrize(
    "make",
    [clips_pipeline, DECODING, partial(DECODING, transform=FUNCTION)],
    ids=["clips", "decoding", "decoding, with a function"],
)
def test_graphs_for_a_gpu_are_complete_up_to_the_cuda_driver(
    make: Callable[..., Pipeline], layout: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        # DALI's torch operator creates one when the graph is defined.
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    settings = LoaderSettings(
        sampler=SAMPLER,
        order=EpochOrder(num_videos=4, batch_size=2),
        output=OutputFormat(dtype=dtype, layout=layout),
        route=Route(torch.device("cuda", 0), ANY_GPU),
    )
    pipeline = make(no_batch, settings)
    # DALI checks each operator's arguments here.
    pipeline._build_graph()
    assert [node.device for node in pipeline._graph_outputs] == ["gpu"] * 4
    if torch.cuda.is_available():
        pipeline.build()
    else:
        with pytest.raises(RuntimeError, match="CUDA is not available"):
            pipeline.build()
