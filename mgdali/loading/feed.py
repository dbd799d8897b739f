"""The loop that runs a source's batches through its graphs, epoch after epoch, and recovers from errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from mgdali.errors import VideoDecodeError, WorkerError
from mgdali.gpu.picking import FrameFunctions
from mgdali.loading.batch import Part
from mgdali.loading.graph import clips_pipeline, decoding_pipeline
from mgdali.loading.graph_transform import GraphTransform
from mgdali.loading.graphs import Graph, Graphs
from mgdali.loading.order import Share
from mgdali.loading.read_ahead import ReadAhead
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.source import ClipSource
from mgdali.loading.stats import ClipWork, EpochMeter
from mgdali.loading.tally import Tally
from mgdali.workers.pool import start_pool
from mgdali.workers.protocols import Pool

__all__ = ["Batch", "Feed", "make_pool"]

Batch = tuple[dict[str, torch.Tensor], list[int]]
"""The graph's outputs by name, and the indices of the clips' videos in the data set."""

WAIT_SECONDS = 60.0
"""How long to wait for a part in a graph that decodes, in seconds: afterwards its decoder counts as stuck."""

RECOVERY_SECONDS = 60.0
"""How long PyAV and a new graph may take for a part on which a graph has failed, in seconds."""


def make_pool(settings: LoaderSettings) -> Pool:
    """Start a loader's workers."""
    return start_pool(settings.clip_config, settings.num_workers, settings.slots, timeout=settings.timeout)


class Feed:
    """The pool, the source and the graphs of a loader.

    They are created when they are first needed, and again after an error that left them in an unknown state. The graphs
    are given their parts in the caller's thread, because CUDA streams belong to threads. A source with workers prepares
    its next part in a separate thread (:class:`ReadAhead`); that thread is idle whenever a method of this class uses
    the source.

    If a graph that decodes fails on a part, or does not return it within :data:`WAIT_SECONDS`, PyAV decodes that part
    again, and a new graph takes the place of the failed one. The batches stay the same and in order.

    Args:
        settings: Settings of the loader.
        make_source: Creates the source that uses a pool, with the settings.
        make_pool: Starts the workers.
        make_functions: Creates the functions of one graph that decodes; by default a :class:`FrameFunctions`.
        meter: Counts the batches of each epoch.
    """

    def __init__(
        self,
        settings: LoaderSettings,
        make_source: Callable[[Pool, LoaderSettings], ClipSource],
        *,
        make_pool: Callable[[LoaderSettings], Pool] = make_pool,
        make_functions: Callable[[], FrameFunctions] | None = None,
        meter: EpochMeter | None = None,
    ) -> None:
        self._settings = settings
        self._meter = meter or EpochMeter(Tally())
        self._make_source = make_source
        self._make_pool = make_pool
        self._make_functions = make_functions or partial(FrameFunctions, settings.sampler)
        self._pool: Pool | None = None
        self._source: ClipSource | None = None
        self._ahead: ReadAhead[Part] | None = None
        self._graphs: Graphs | None = None
        # The user's function, if graphs call it.
        self._transform: GraphTransform | None = None
        # The next part, if the GPU's memory does not suffice for it beside the parts in the graphs.
        self._pending: Part | None = None
        # Whether the source has returned all parts of the epoch.
        self._exhausted = False
        self._drained = True

    @property
    def started(self) -> bool:
        """Whether workers were started."""
        return self._pool is not None

    def use(self, settings: LoaderSettings) -> None:
        """Replace the settings. Workers must not have been started."""
        assert self._pool is None
        self._settings = settings

    def start(self, epoch: int, share: Share, taken: int = 0) -> None:
        """Begin an epoch, after the videos of it that all ranks together have loaded before."""
        self._meter.begin(epoch, share, self._settings.num_workers)
        self.stop()
        if self._source is None:
            self._pool = self._make_pool(self._settings)
            self._source = self._make_source(self._pool, self._settings)
            # Without workers, a pool does its jobs in the thread that asks for the results.
            self._ahead = ReadAhead(self._source) if self._settings.num_workers else None
        self._guarded(partial(self._source.start, epoch, share, taken))
        self._pending = None
        self._exhausted = False
        self._drained = False
        if self._graphs is None:
            settings = self._settings
            if settings.function is not None and settings.decodes_in_graph:
                self._transform = GraphTransform(settings.function, self._source.path)
            make_graphs = partial(Graphs, self._make_graph, settings.graphs, settings.queue_depth)
            self._graphs = self._guarded(make_graphs)

    def next(self) -> Batch | None:
        """Return the next batch, or None at the end of the epoch.

        Raises:
            VideoDecodeError: If the next batch contains a video that cannot be decoded.
            WorkerError: If a worker ended or failed.
            RuntimeError: If the graph failed for another reason than a video, or picking frames did, or a failed batch
                could not be decoded again in time. The message names the videos.
        """
        assert self._graphs is not None
        assert self._source is not None
        self._meter.request()
        parts: list[dict[str, torch.Tensor]] = []
        indices: list[int] = []
        work: list[ClipWork] = []
        complete = False
        while not complete:
            self._guarded(self._give)
            if not self._graphs:
                self._drained = True
                if self._source.error is not None:
                    raise self._source.error from None
                self._meter.end()
                return None
            part, outputs = self._guarded(self._take)
            parts.append(outputs)
            indices += part.indices
            work += part.work
            complete = part.last
            self._guarded(self._give)
            # Started only now, because the thread would slow the graph down while it takes its inputs.
            if self._ahead is not None and self._pending is None and not self._exhausted:
                self._guarded(self._ahead.begin)
        batch = _joined(parts), indices
        self._meter.count(work)
        return batch

    def stop(self) -> None:
        """End the current epoch, if there is one. Nothing runs in the background until the next epoch begins."""
        if not self._drained:
            self._guarded(self._drain)

    def close(self) -> None:
        """End the workers and free the graphs."""
        pool, ahead, graphs = self._pool, self._ahead, self._graphs
        self._pool, self._source, self._ahead, self._graphs = None, None, None, None
        self._pending = None
        self._drained = True
        if pool is not None:
            # The workers end first, because the thread may be waiting for them.
            pool.kill()
            if ahead is not None:
                ahead.close()
            if graphs is not None:
                graphs.close()
            pool.close()

    def _make_graph(self) -> Graph:
        settings = self._settings
        if not settings.decodes_in_graph:
            return Graph(partial(clips_pipeline, settings=settings))
        functions = self._make_functions()
        build = partial(decoding_pipeline, settings=settings, functions=functions, transform=self._transform)
        return Graph(build, functions=functions, bounded=True)

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Call ``step``. If it is interrupted by Ctrl-C or fails, close everything that may be in an unknown state."""
        try:
            return step()
        except BaseException:
            self.close()
            raise

    def _give(self) -> None:
        """Give the graphs as many parts as they may have."""
        assert self._graphs is not None
        assert self._source is not None
        while not self._exhausted and not self._graphs.full:
            if self._pending is None:
                try:
                    self._pending = (self._ahead or self._source)()
                except StopIteration:
                    self._exhausted = True
                    return
            if not self._graphs.has_room(self._pending):
                return
            self._graphs.give(self._pending)
            self._pending = None

    def _take(self) -> tuple[Part, dict[str, torch.Tensor]]:
        """Wait for the oldest part in the graphs, and return it with its outputs."""
        assert self._graphs is not None
        try:
            taken = self._graphs.take(WAIT_SECONDS)
        except (RuntimeError, TimeoutError) as error:
            if not self._settings.decodes_in_graph:
                names = ", ".join(self._graphs.paths)
                raise RuntimeError(f"DALI failed on the clips of {names}: {_reason(error)}") from error
            taken = self._recovered(error)
        if self._transform is not None and self._transform.error is not None:
            raise self._transform.error
        caught = self._graphs.error
        if isinstance(caught, KeyboardInterrupt):
            raise caught
        if caught is not None:
            names = ", ".join(taken[0].paths + self._graphs.paths)
            raise RuntimeError(f"picking frames failed on one of these videos: {names}") from caught
        return taken

    def _recovered(self, error: RuntimeError | TimeoutError) -> tuple[Part, dict[str, torch.Tensor]]:
        """Return the oldest part, on which a graph has failed, with its outputs from a new graph.

        DALI reports an error with the part on which it failed. But a decoder that is stuck keeps the graph from
        finishing earlier parts too, so the oldest part is tried once more alone. A part that is at fault is decoded by
        PyAV. The other parts of the failed graph are given to the new one as they are, when it has returned the first.

        Args:
            error: The graph's error.
        """
        assert self._graphs is not None
        graph, (part, *others) = self._graphs.replace_oldest()
        taken = None
        if isinstance(error, TimeoutError) and others:
            graph.give(part)
            try:
                taken = self._graphs.take(WAIT_SECONDS)
            except (RuntimeError, TimeoutError) as second:
                error = second
                graph, _ = self._graphs.replace_oldest()
        if taken is None:
            taken = self._decoded_by_pyav(graph, part, error)
        for other in others:
            graph.give(other)
        return taken

    def _decoded_by_pyav(self, graph: Graph, part: Part, error: Exception) -> tuple[Part, dict[str, torch.Tensor]]:
        """Let PyAV decode the oldest part, and return it with its outputs.

        Args:
            graph: The new graph, whose turn it is.
            part: The part on which the old one failed.
            error: The old graph's error.
        """
        assert self._graphs is not None
        assert self._source is not None
        deadline = time.monotonic() + RECOVERY_SECONDS
        names = ", ".join(part.paths)
        try:
            if self._ahead is not None:
                self._ahead.settle(deadline)
            graph.give(self._source.decode_again(part, _reason(error), deadline))
            return self._graphs.take(deadline - time.monotonic())
        except (VideoDecodeError, WorkerError):
            raise
        except TimeoutError as late:
            raise RuntimeError(
                f"the GPU's decoder failed on one of these videos, and decoding them by PyAV took longer than "
                f"{RECOVERY_SECONDS:g} seconds: {names}"
            ) from late
        except RuntimeError as second:
            # The part has only finished clips now: no video is the reason.
            message = f"DALI failed twice on these videos, the second time without decoding any: {names}"
            raise RuntimeError(message) from second

    def _drain(self) -> None:
        """Let the graphs finish the parts that they were given, because they read them from the source's memory."""
        assert self._source is not None
        assert self._graphs is not None
        error = None if self._ahead is None else self._ahead.rest()
        if error is not None and not isinstance(error, StopIteration):
            # The error belongs to a batch that nobody needs any more. As after any error, start again with a new pool.
            self.close()
            return
        self._source.stop()
        while self._graphs:
            try:
                self._graphs.take(WAIT_SECONDS)
            except (RuntimeError, TimeoutError):
                # As above: nobody needs the part on which the graph failed.
                self.close()
                return
        self._drained = True


def _reason(error: Exception) -> str:
    """Return the reason in a graph's error on one line, without the stack traces that DALI puts around it."""
    words = str(error).partition("encountered:")[2] or str(error)
    return " ".join(words.partition("C++ context:")[0].split())


def _joined(parts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the batch that was decoded in ``parts``."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
