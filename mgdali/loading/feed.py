"""Runs a source's batches through its graph, one epoch after another, and cleans up after what goes wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from mgdali.errors import VideoDecodeError, WorkerError
from mgdali.loading.graph import OUTPUTS, DALIGenericIterator, LastBatchPolicy, Pipeline
from mgdali.loading.read_ahead import ReadAhead
from mgdali.loading.source import Arrays, ClipSource, Part
from mgdali.workers.pool import LocalPool
from mgdali.workers.protocols import Pool

__all__ = ["Batch", "Feed"]

Batch = tuple[dict[str, torch.Tensor], list[str]]
"""The graph's outputs by name, and the paths of the clips' videos."""


class Feed:
    """Pool, source and graph of a loader: made when first needed, and anew after they were left half done.

    The graph runs in the caller's thread, for the sake of CUDA's streams; a source with workers is asked ahead in a
    thread of its own (:class:`ReadAhead`), which is idle wherever the source is touched here.

    Args:
        make_pool: starts the workers.
        make_source: makes the source of a pool.
        make_pipeline: makes the graph of what it gets its inputs from.
    """

    def __init__(
        self,
        make_pool: Callable[[], Pool],
        make_source: Callable[[Pool], ClipSource],
        make_pipeline: Callable[[Callable[[], Arrays]], Pipeline],
    ) -> None:
        self._make_pool = make_pool
        self._make_source = make_source
        self._make_pipeline = make_pipeline
        self._pool: Pool | None = None
        self._source: ClipSource | None = None
        self._ahead: ReadAhead[Part] | None = None
        self._dali: DALIGenericIterator | None = None
        # Of what the graph was given and has not put out yet, the paths and whether it completes a batch.
        self._given: deque[tuple[list[str], bool]] = deque()
        self._drained = True

    def start(self, epoch: int, first_batch: int) -> None:
        """Begin at a batch of an epoch."""
        self.stop()
        if self._source is None:
            self._pool = self._make_pool()
            self._source = self._make_source(self._pool)
            # A pool without workers does its jobs when asked, in the thread that asks.
            self._ahead = None if isinstance(self._pool, LocalPool) else ReadAhead(self._source)
        self._guarded(partial(self._source.start, epoch, first_batch))
        self._given.clear()
        self._drained = False
        if self._dali is None:
            self._dali = DALIGenericIterator(
                self._make_pipeline(_giving(self._ahead or self._source, self._given)),
                OUTPUTS,
                size=-1,
                auto_reset=False,
                last_batch_policy=LastBatchPolicy.PARTIAL,
                prepare_first_batch=False,
            )
        else:
            self._guarded(self._dali.reset)

    def next(self) -> Batch | None:
        """The next batch, or None at the epoch's end.

        Raises:
            VideoDecodeError: the next batch has a video that cannot be decoded.
            WorkerError: a worker ended or failed.
            RuntimeError: the graph failed; the message names the videos that it had.
        """
        assert self._dali is not None
        assert self._source is not None
        source = self._source
        parts: list[dict[str, torch.Tensor]] = []
        paths: list[str] = []
        complete = False
        while not complete:
            try:
                (outputs,) = self._guarded(self._dali.__next__)
            except StopIteration:
                self._drained = True
                if source.error is not None:
                    raise source.error from None
                return None
            except (VideoDecodeError, WorkerError):
                raise
            except RuntimeError as error:
                raise _named(error, [path for given, _ in self._given for path in given]) from error
            parts.append(outputs)
            part_paths, complete = self._given.popleft()
            paths += part_paths
            # Not while the graph takes its inputs, which the thread would hold up. Without any, the epoch has ended.
            if self._ahead is not None and self._given:
                self._guarded(self._ahead.begin)
        return _joined(parts), paths

    def stop(self) -> None:
        """Break off the epoch under way, if there is one: until the next begins, nothing is done in the background."""
        if not self._drained:
            self._guarded(self._drain)

    def close(self) -> None:
        """End the workers and free the graph."""
        pool, ahead = self._pool, self._ahead
        self._pool, self._source, self._ahead, self._dali = None, None, None, None
        self._drained = True
        if pool is not None:
            # First, as the thread may be waiting for them.
            pool.kill()
            if ahead is not None:
                ahead.close()
            pool.close()

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Take a step; after Ctrl-C or a dead worker in its midst, nothing half done is kept."""
        try:
            return step()
        except StopIteration:
            raise
        except BaseException:
            self.close()
            raise

    def _drain(self) -> None:
        """Let the graph finish the batches it was given: it reads them from the source's memory."""
        assert self._source is not None
        error = None if self._ahead is None else self._ahead.rest()
        if error is not None and not isinstance(error, StopIteration):
            # Of a batch that nobody asks for any more. Pool and source are made anew after it, as after any other.
            self.close()
            return
        self._source.stop()
        while self.next() is not None:
            pass


def _giving(ask: Callable[[], Part], given: deque[tuple[list[str], bool]]) -> Callable[[], Arrays]:
    """What the graph gets its inputs from, which notes what was given. No method: the graph is not to hold its feed."""

    def give() -> Arrays:
        part = ask()
        given.append((part.paths, part.last))
        return part.arrays

    return give


def _joined(parts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch of the parts that were decoded one after another."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _named(error: RuntimeError, paths: list[str]) -> RuntimeError:
    """The graph's error with the videos that may be at fault: DALI fails on a batch and does not say on which video."""
    return RuntimeError(
        f'DALI failed on one of these videos: {", ".join(paths)}. decode="cpu" tells which, and why; make a new loader '
        f"without it. DALI's words: {error}"
    )
