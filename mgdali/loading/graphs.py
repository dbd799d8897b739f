"""DALI graphs that take turns, and what happens to a graph that has failed."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from mgdali.gpu.picking import FrameFunctions
from mgdali.loading.batch import Arrays, Part
from mgdali.loading.graph import OUTPUTS, Pipeline, to_torch_tensor
from mgdali.loading.waiting import Waiter

__all__ = ["Graph", "Graphs"]

Outputs = dict[str, torch.Tensor]

CLOSE_SECONDS = 60.0
"""How long to wait for the end of graphs that are not needed any more, in seconds: then a decoder counts as stuck."""
LEFT_CLOSE_SECONDS = 2.0
"""The same if one of the graphs is left to its thread, after a failure or Ctrl-C: the others may be stuck as well."""


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
        # DALI checks at each call that the caller does not mix its interfaces, and defines a class for it each time.
        self._pipeline._check_api_type_scope = lambda interface: contextlib.nullcontext()
        self._functions = functions
        self._waiter = Waiter() if bounded else None
        self._failed = False
        self._patient = False

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
            RuntimeError: If DALI failed on the part. Afterwards only abandon or close the graph.
            TimeoutError: If the outputs did not come in time; as above.
        """
        assert self._pipeline is not None
        try:
            # The thread only waits. What depends on CUDA's current stream is done in the caller's thread.
            outputs = self._share() if self._waiter is None else self._waiter.call(self._share, seconds)
        except (RuntimeError, TimeoutError) as error:
            self._failed = True
            # Frames of the traceback refer to the pipeline, which must be destroyed in the waiter's thread.
            raise error.with_traceback(None) from None
        tensors = [to_torch_tensor(each.as_tensor()) for each in outputs]
        self._pipeline.release_outputs()
        return self.parts.popleft(), dict(zip(OUTPUTS, tensors, strict=True))

    def abandon(self) -> list[Part]:
        """Leave a failed graph to its thread, and return the parts that it had, oldest first.

        Nothing else waits for the graph: a decoder that is stuck would make DALI's destructor, and thereby the end of
        the program, wait forever. The thread waits for the outcome of each part and then destroys the graph, when no
        decoder can be running any more. If a decoder is stuck, this never happens, and the parts, whose memory it may
        read, are never freed.
        """
        parts = list(self.parts)
        self._leave_to_thread()
        return parts

    def begin_close(self) -> bool:
        """Begin to destroy the graph, after it has finished its parts. The thread of a bounded graph does it.

        Returns:
            Whether the end can be expected. After a failure, or a Ctrl-C during the wait, it may never come.
        """
        if self._waiter is None:
            self._destroy()
            return True
        self._patient = not (self._failed or self._waiter.busy or self._waiter.is_current)
        self._leave_to_thread()
        return self._patient

    def end_close(self, seconds: float) -> None:
        """Wait until the graph is destroyed, if it can be expected.

        Args:
            seconds: Time to wait, in seconds: then a decoder is stuck, and the graph is left to its thread.
        """
        if self._waiter is not None and self._patient:
            with contextlib.suppress(TimeoutError):
                self._waiter.wait(seconds)

    def _leave_to_thread(self) -> None:
        """Let the thread destroy the graph, when the outcome of each part has come."""
        assert self._waiter is not None
        # DALI would shut the pipeline down when the program ends.
        Pipeline._pipes.discard(weakref.ref(self._pipeline))
        # A failed graph's first outcome has come, or the thread waits for it already.
        for _ in range(len(self.parts) - (self._failed or self._waiter.busy)):
            self._waiter.begin(self._share)
        self._waiter.begin(self._destroy)
        self._waiter.close()

    def _destroy(self) -> None:
        # In this order, because the pipeline reads the memory of the parts until its end.
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
        """Destroy the graphs, after they have finished their parts.

        Wait at most :data:`CLOSE_SECONDS`, or :data:`LEFT_CLOSE_SECONDS` if one of them is left to its thread.
        """
        self._turns.clear()
        # All are begun before the first wait, which Ctrl-C may end.
        expected = [graph.begin_close() for graph in self._graphs]
        deadline = time.monotonic() + (CLOSE_SECONDS if all(expected) else min(CLOSE_SECONDS, LEFT_CLOSE_SECONDS))
        for graph in self._graphs:
            graph.end_close(deadline - time.monotonic())


def _taking(inputs: deque[Arrays]) -> Callable[[], Arrays]:
    """Return the function from which a pipeline takes its inputs.

    It is not a method, so that the pipeline does not keep its graph alive.
    """

    def take() -> Arrays:
        if not inputs:
            raise StopIteration
        return inputs.popleft()

    return take
