"""Runs a source's batches through its graph, one epoch after another, and cleans up after what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mgdali.errors import VideoDecodeError, WorkerError
from mgdali.pipeline import OUTPUTS, DALIGenericIterator, LastBatchPolicy, Pipeline
from mgdali.source import ClipSource
from mgdali.workers import Pool

__all__ = ["Batch", "Feed"]

Batch = tuple[dict[str, torch.Tensor], list[str]]
"""The graph's outputs by name, and the paths of the clips' videos."""


class Feed:
    """Pool, source and graph of a loader: made when first needed, and anew after they were left half done.

    Args:
        make_pool: starts the workers.
        make_source: makes the source of a pool.
        make_pipeline: makes the graph of a source.
    """

    def __init__(
        self,
        make_pool: Callable[[], Pool],
        make_source: Callable[[Pool], ClipSource],
        make_pipeline: Callable[[ClipSource], Pipeline],
    ) -> None:
        self._make_pool = make_pool
        self._make_source = make_source
        self._make_pipeline = make_pipeline
        self._pool: Pool | None = None
        self._source: ClipSource | None = None
        self._dali: DALIGenericIterator | None = None
        self._drained = True

    def start(self, epoch: int, first_batch: int) -> None:
        """Begin at a batch of an epoch."""
        if not self._drained:
            self._drain()
        if self._source is None:
            self._pool = self._make_pool()
            self._source = self._make_source(self._pool)
        self._source.start(epoch, first_batch)
        self._drained = False
        if self._dali is None:
            self._dali = DALIGenericIterator(
                self._make_pipeline(self._source),
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
                raise _named(error, [path for given, _ in source.parts for path in given]) from error
            parts.append(outputs)
            part_paths, complete = source.parts.popleft()
            paths += part_paths
        return _joined(parts), paths

    def close(self) -> None:
        """End the workers and free the graph."""
        pool, self._pool, self._source, self._dali = self._pool, None, None, None
        self._drained = True
        if pool is not None:
            pool.close()

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Take a step of the graph; after Ctrl-C or a dead worker in its midst, nothing half done is kept."""
        try:
            return step()
        except StopIteration:
            raise
        except BaseException:
            self.close()
            raise

    def _drain(self) -> None:
        """Let the graph finish the batches it was given: it reads them from the source's memory."""
        assert self._dali is not None
        assert self._source is not None
        self._source.stop()
        while self.next() is not None:
            pass


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
