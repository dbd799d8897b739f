"""DALI graphs that take turns, and what happens to a graph that has failed."""

from __future__ import annotations

import ctypes
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack

from mgdali.gpu.picking import FrameFunctions
from mgdali.loading.batch import Arrays, Part
from mgdali.loading.graph import OUTPUTS, Pipeline
from mgdali.loading.waiting import Waiter

__all__ = ["Graph", "Graphs"]

Outputs = dict[str, torch.Tensor]


class Graph:
    """A DALI graph that is given parts and returns their outputs, in the same order.

    Args:
        build: Returns the pipeline, from the function that returns its inputs or raises StopIteration.
        functions: What the pipeline calls with decoded videos; None if it decodes none.
        bounded: Whether to wait for outputs in a separate thread, so that the wait can end before they come. Otherwise
            :meth:`take` waits without a limit.
    """

    def __init__(
        self,
        build: Callable[[Callable[[], Arrays]], Pipeline],
        *,
        functions: FrameFunctions | None = None,
        bounded: bool = False,
    ) -> None:
        self.parts: deque[Part] = deque()
        self._inputs: deque[Arrays] = deque()
        self._pipeline: Pipeline | None = build(_taking(self._inputs))
        self._functions = functions
        self._waiter = Waiter() if bounded else None
        self._failed = False

    @property
    def error(self) -> BaseException | None:
        """The first exception that the graph's functions have caught, or None."""
        return None if self._functions is None else self._functions.error

    def give(self, part: Part) -> None:
        """Start the computation of a part. Its memory must stay valid until its outputs were returned."""
        assert self._pipeline is not None
        self.parts.append(part)
        self._inputs.append(part.arrays)
        # For the pipeline each part is an epoch, or the end of one: it asks for as many parts as its queue is deep, and
        # notes the end of its epoch when it gets fewer. So the caller alone decides how many parts it has.
        self._pipeline.reset()
        self._pipeline.schedule_run()

    def take(self, seconds: float) -> tuple[Part, Outputs]:
        """Wait for the oldest part; return the part and its outputs by name.

        Args:
            seconds: Time to wait, in seconds; without an effect if the graph is not bounded.

        Raises:
            RuntimeError: If DALI failed on the part. Only :meth:`abandon` and :meth:`close` may be called afterwards.
            TimeoutError: If the outputs did not come in time; as above.
        """
        assert self._pipeline is not None
        try:
            # The thread only waits. What depends on CUDA's current stream is done in the caller's thread.
            outputs = self._share() if self._waiter is None else self._waiter.call(self._share, seconds)
        except (RuntimeError, TimeoutError):
            self._failed = True
            raise
        tensors = {name: from_dlpack(each.as_tensor()) for name, each in zip(OUTPUTS, outputs, strict=True)}
        self._pipeline.release_outputs()
        return self.parts.popleft(), tensors

    def abandon(self) -> list[Part]:
        """Leave a failed graph alone, and return the parts that it had, oldest first.

        The graph is never destroyed, and nothing waits for it: a decoder that is stuck would make DALI's destructor,
        and thereby the end of the program, wait forever. The parts in it stay referenced, because threads of the graph
        may still read their memory. A thread fetches the outputs of the other parts, so that these free the memory of
        the GPU.
        """
        parts = list(self.parts)
        # This reference is never released, not even when the interpreter ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        # DALI would shut the pipeline down at exit.
        Pipeline._pipes.discard(weakref.ref(self._pipeline))
        if self._waiter is not None:
            for _ in parts[1:]:
                self._waiter.begin(self._share)
        return parts

    def close(self) -> None:
        """Destroy the graph, after it has finished its parts; if it has failed, abandon it.

        If a call still waits for DALI, as after Ctrl-C, the graph is destroyed when that call ends.
        """
        if self._failed:
            self.abandon()
            return
        if self._waiter is not None:
            self._waiter.close()
            if self._waiter.busy:
                # The thread has a reference to this object, and thereby to the memory that DALI reads.
                Pipeline._pipes.discard(weakref.ref(self._pipeline))
                return
        self._pipeline = None
        self.parts.clear()

    def _share(self) -> list[Any]:
        assert self._pipeline is not None
        outputs: list[Any] = self._pipeline.share_outputs()
        return outputs


class Graphs:
    """Graphs that take turns. Outputs come in the order in which the parts were given.

    Args:
        make_graph: Creates a graph.
        count: Number of graphs, >= 1.
        depth: Number of parts that each graph may have at a time, >= 1.
    """

    def __init__(self, make_graph: Callable[[], Graph], count: int, depth: int) -> None:
        self._make_graph = make_graph
        self._graphs = [make_graph() for _ in range(count)]
        self._depth = depth
        # The graph of each part that was given and not returned, in the order of the parts.
        self._turns: deque[Graph] = deque()

    def __len__(self) -> int:
        """Return the number of parts that were given and not returned."""
        return len(self._turns)

    @property
    def paths(self) -> list[str]:
        """Paths of the videos in the graphs."""
        return [path for graph in self._graphs for part in graph.parts for path in part.paths]

    def has_room(self, part: Part) -> bool:
        """Return whether the GPU's memory suffices for another part beside those in the graphs."""
        needed = sum(each.gpu_bytes for graph in self._graphs for each in graph.parts)
        return not self._turns or needed + part.gpu_bytes <= part.gpu_limit

    @property
    def error(self) -> BaseException | None:
        """The first exception that the functions of a graph have caught, or None."""
        return next((graph.error for graph in self._graphs if graph.error is not None), None)

    @property
    def full(self) -> bool:
        """Whether each graph has as many parts as it may have."""
        return len(self._turns) == len(self._graphs) * self._depth

    def give(self, part: Part) -> None:
        """Give a part to the graph that has the fewest."""
        graph = min(self._graphs, key=lambda graph: len(graph.parts))
        graph.give(part)
        self._turns.append(graph)

    def take(self, seconds: float) -> tuple[Part, Outputs]:
        """Wait for the oldest part; return the part and its outputs by name.

        Args:
            seconds: Time to wait, in seconds.

        Raises:
            RuntimeError: If DALI failed on the part.
            TimeoutError: If the outputs did not come in time.
        """
        graph = self._turns[0]
        taken = graph.take(seconds)
        self._turns.popleft()
        return taken

    def replace_oldest(self) -> tuple[Graph, list[Part]]:
        """Abandon the graph of the oldest part, and put a new one in its place.

        Returns:
            The new graph, and the parts that the old one had, oldest first. They have to be given to the new graph in
            this order.
        """
        old = self._turns[0]
        new = self._make_graph()
        self._graphs = [new if graph is old else graph for graph in self._graphs]
        self._turns = deque(new if graph is old else graph for graph in self._turns)
        return new, old.abandon()

    def close(self) -> None:
        """Destroy the graphs, after they have finished their parts."""
        for graph in self._graphs:
            graph.close()
        self._turns.clear()


def _taking(inputs: deque[Arrays]) -> Callable[[], Arrays]:
    """Return the function from which a pipeline takes its inputs.

    It is not a method, so that the pipeline does not keep its graph alive.
    """

    def take() -> Arrays:
        if not inputs:
            raise StopIteration
        return inputs.popleft()

    return take
