"""The settings of a loader, checked once and shared by its pool, its source and its graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mgdali.errors import check_integer, check_timeout
from mgdali.loading.batch import LABEL, GraphInput
from mgdali.loading.order import EpochOrder
from mgdali.loading.route import CPU_ROUTE, Route
from mgdali.samplers import Sampler, check_sampler
from mgdali.transforms import OutputFormat, SpatialTransform
from mgdali.video.decoder import MEMORY_BUDGET
from mgdali.views import Views, check_views
from mgdali.workers.clip_function import ClipFunction
from mgdali.workers.clip_job import ClipConfig
from mgdali.workers.encoded_job import EncodedConfig

__all__ = ["LoaderSettings", "OnError"]

OnError = Literal["raise", "replace", "keep"]

# Batches in a graph: with two, NVDEC decodes one while the kernels work on the other. The graph of finished clips has
# nothing to decode, and each batch in it takes memory.
_DECODING_DEPTH, _CLIPS_DEPTH = 2, 1
# Decoder threads per NVDEC engine. A thread waits for each of its frames, so an engine needs several to be busy.
_THREADS_PER_ENGINE = 3


@dataclass(frozen=True, kw_only=True)
class LoaderSettings:
    """Settings of a loader.

    Attributes:
        sampler: Sampling strategy.
        order: Order of the videos, which also has the batch size and the seed.
        transform: Crop window, clip size and flip; it also specifies whether the loader is for training.
        function: The user's function, which changes each clip; None for no function.
        output: Data type, layout and normalization of the clips.
        route: Device of the clips, and what NVDEC decodes.
        num_workers: Number of decoding processes; 0 decodes in this process.
        prefetch_factor: Number of batches that are prepared ahead, >= 1.
        timeout: Longest time that a worker may take for a video, in seconds; 0 for no limit.
        on_error: ``"raise"``, ``"replace"`` or ``"keep"``: what to do with a video that cannot be decoded.
        memory_budget: Number of bytes of decoded frames that a worker may hold for one video, >= 0.
        gpu_memory_budget: Number of bytes of decoded frames that the GPU may hold at a time.
        make_records: Whether workers make records for an index that is built while training.
        decoder_threads: Number of threads of each graph in which NVDEC's sessions are driven, >= 1; None for three per
            NVDEC engine. Used only if the graph decodes.
        num_graphs: Number of graphs that take turns, >= 1. Used only if the graph decodes.
        views: The views of each video; None for one clip.
        repeats: Number of times that each video is repeated in a batch, from one decoding, >= 1.
        label: The graph's input of the labels, which have the type of the data set's.

    Raises:
        ValueError: If a setting is out of range.
    """

    sampler: Sampler
    order: EpochOrder
    transform: SpatialTransform = field(default_factory=SpatialTransform)
    function: ClipFunction | None = None
    output: OutputFormat = field(default_factory=OutputFormat)
    route: Route = CPU_ROUTE
    num_workers: int = 0
    prefetch_factor: int = 2
    timeout: float = 0.0
    on_error: OnError = "raise"
    memory_budget: int = MEMORY_BUDGET
    gpu_memory_budget: float = math.inf
    make_records: bool = False
    decoder_threads: int | None = None
    num_graphs: int = 3
    label: GraphInput = LABEL
    views: Views | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        check_sampler(self.sampler)
        check_views(self.views, self.repeats, self.transform)
        if self.on_error not in get_args(OnError):
            raise ValueError(f"on_error must be one of {get_args(OnError)}, got {self.on_error!r}")
        check_integer("num_workers", self.num_workers, least=0)
        check_integer("prefetch_factor", self.prefetch_factor, least=1)
        check_timeout(self.timeout, self.num_workers)
        check_integer("memory_budget", self.memory_budget, least=0)
        check_integer("num_graphs", self.num_graphs, least=1)
        if self.decoder_threads is not None:
            check_integer("decoder_threads", self.decoder_threads, least=1)
        if self.gpu_memory_budget < 1:
            raise ValueError(f"gpu_memory_budget must be >= 1 byte, got {self.gpu_memory_budget!r}")

    @property
    def slots(self) -> int:
        """Number of slots of the pool: one for each clip that is being made, is finished, or may still be read."""
        return self.order.batch_size * (self.held_batches + self.prefetch_factor)

    @property
    def clips_per_video(self) -> int:
        """Number of clips that are made of each video: repetitions times views."""
        return self.repeats * (1 if self.views is None else self.views.count)

    @property
    def held_batches(self) -> int:
        """Number of batches that occupy slots in addition to those that workers prepare.

        These are the batches in the graphs, the one that was returned last, and the next one, which is requested ahead
        of time.
        """
        return self.graphs * self.queue_depth + 2

    @property
    def graphs(self) -> int:
        """Number of DALI graphs."""
        return self.num_graphs if self.decodes_in_graph else 1

    @property
    def queue_depth(self) -> int:
        """Number of batches that each graph has at a time."""
        return _DECODING_DEPTH if self.decodes_in_graph else _CLIPS_DEPTH

    @property
    def num_threads(self) -> int:
        """Number of threads of a DALI graph."""
        if not self.decodes_in_graph:
            return max(self.num_workers, 1)
        return self.decoder_threads or _THREADS_PER_ENGINE * self.route.engines

    @property
    def decoders_at_once(self) -> int:
        """Largest number of videos that all graphs decode at the same time."""
        return self.num_threads * self.graphs if self.decodes_in_graph else 0

    @property
    def decodes_in_graph(self) -> bool:
        """Whether the graph gets encoded files and decodes them."""
        return self.route.nvdec is not None

    @property
    def clip_config(self) -> ClipConfig:
        """The part of the settings that workers need."""
        shared: dict[str, Any] = {
            "sampler": self.sampler,
            "transform": self.transform,
            "memory_budget": self.memory_budget,
            "make_records": self.make_records,
            "keep_damaged": self.on_error == "keep",
        }
        if self.route.nvdec is None:
            return ClipConfig(function=self.function, **shared)
        # The graph that decodes also calls the function, for all clips.
        return EncodedConfig(nvdec=self.route.nvdec, gpu_memory_budget=self.gpu_memory_budget, **shared)
