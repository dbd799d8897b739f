"""The loop that runs a source's batches through its graph, epoch after epoch, and cleans up after errors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from mgdali.errors import VideoDecodeError, WorkerError
from mgdali.gpu.picking import FramePicker
from mgdali.loading.batch import Arrays, Part
from mgdali.loading.graph import (
    OUTPUTS,
    DALIGenericIterator,
    LastBatchPolicy,
    Picker,
    Pipeline,
    clips_pipeline,
    decoding_pipeline,
)
from mgdali.loading.order import Share
from mgdali.loading.read_ahead import ReadAhead
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.source import ClipSource
from mgdali.workers.pool import LocalPool, WorkerPool
from mgdali.workers.protocols import Pool

__all__ = ["Batch", "Feed", "make_pool"]

Batch = tuple[dict[str, torch.Tensor], list[str]]
"""The graph's outputs by name, and the paths of the clips' videos."""


def make_pool(settings: LoaderSettings) -> Pool:
    """Start a loader's workers."""
    if settings.num_workers == 0:
        return LocalPool(settings.clip_config)
    return WorkerPool(settings.num_workers, settings.slots, settings.clip_config, timeout=settings.timeout)


class Feed:
    """The pool, the source and the graph of a loader.

    They are created when they are first needed, and again after an error that left them in an unknown state. The graph
    runs in the caller's thread, because CUDA streams belong to threads. A source with workers prepares its next batch
    in a separate thread (:class:`ReadAhead`); that thread is idle whenever a method of this class uses the source.

    Args:
        settings: Settings of the loader.
        make_source: Creates the source that uses a pool, with the settings.
        make_pool: Starts the workers.
        picker: Picks frames on the GPU; by default a new :class:`FramePicker`. Used only if the graph decodes.
    """

    def __init__(
        self,
        settings: LoaderSettings,
        make_source: Callable[[Pool, LoaderSettings], ClipSource],
        *,
        make_pool: Callable[[LoaderSettings], Pool] = make_pool,
        picker: Picker | None = None,
    ) -> None:
        self._settings = settings
        self._make_source = make_source
        self._make_pool = make_pool
        self._picker = picker
        self._pool: Pool | None = None
        self._source: ClipSource | None = None
        self._ahead: ReadAhead[Part] | None = None
        self._dali: DALIGenericIterator | None = None
        # One entry per part that the graph was given and has not returned yet: its paths, and whether it completes a
        # batch.
        self._given: deque[tuple[list[str], bool]] = deque()
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
        self.stop()
        if self._source is None:
            self._pool = self._make_pool(self._settings)
            self._source = self._make_source(self._pool, self._settings)
            # Without workers, a pool does its jobs in the thread that asks for the results.
            self._ahead = ReadAhead(self._source) if self._settings.num_workers else None
        self._guarded(partial(self._source.start, epoch, share, taken))
        self._given.clear()
        self._drained = False
        if self._dali is None:
            self._dali = DALIGenericIterator(
                self._make_pipeline(_noting(self._ahead or self._source, self._given)),
                OUTPUTS,
                size=-1,
                auto_reset=False,
                last_batch_policy=LastBatchPolicy.PARTIAL,
                prepare_first_batch=False,
            )
        else:
            self._guarded(self._dali.reset)

    def next(self) -> Batch | None:
        """Return the next batch, or None at the end of the epoch.

        Raises:
            VideoDecodeError: If the next batch contains a video that cannot be decoded.
            WorkerError: If a worker ended or failed.
            RuntimeError: If the graph failed; the message names the videos that it had.
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
                raise _with_paths(error, [path for given, _ in self._given for path in given]) from error
            parts.append(outputs)
            part_paths, complete = self._given.popleft()
            paths += part_paths
            # Started only now, because the thread would slow the graph down while it takes its inputs. If the graph
            # was given nothing, the epoch has ended.
            if self._ahead is not None and self._given:
                self._guarded(self._ahead.begin)
        return _joined(parts), paths

    def stop(self) -> None:
        """End the current epoch, if there is one. Nothing runs in the background until the next epoch begins."""
        if not self._drained:
            self._guarded(self._drain)

    def close(self) -> None:
        """End the workers and free the graph."""
        pool, ahead = self._pool, self._ahead
        self._pool, self._source, self._ahead, self._dali = None, None, None, None
        self._drained = True
        if pool is not None:
            # The workers end first, because the thread may be waiting for them.
            pool.kill()
            if ahead is not None:
                ahead.close()
            pool.close()

    def _make_pipeline(self, source: Callable[[], Arrays]) -> Pipeline:
        if not self._settings.decodes_in_graph:
            return clips_pipeline(source, self._settings)
        return decoding_pipeline(source, self._settings, self._picker or FramePicker(self._settings.sampler))

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Call ``step``. If it is interrupted by Ctrl-C or fails, close everything that may be in an unknown state."""
        try:
            return step()
        except StopIteration:
            raise
        except BaseException:
            self.close()
            raise

    def _drain(self) -> None:
        """Let the graph finish the batches that it was given, because it reads them from the source's memory."""
        assert self._source is not None
        error = None if self._ahead is None else self._ahead.rest()
        if error is not None and not isinstance(error, StopIteration):
            # The error belongs to a batch that nobody needs any more. As after any error, start again with a new pool.
            self.close()
            return
        self._source.stop()
        while self.next() is not None:
            pass


def _noting(ask: Callable[[], Part], given: deque[tuple[list[str], bool]]) -> Callable[[], Arrays]:
    """Return the function from which the graph gets its inputs; it notes in ``given`` what the graph was given.

    It is not a method, so that the graph does not keep its feed alive.
    """

    def give() -> Arrays:
        part = ask()
        given.append((part.paths, part.last))
        return part.arrays

    return give


def _joined(parts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the batch that was decoded in ``parts``."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _with_paths(error: RuntimeError, paths: list[str]) -> RuntimeError:
    """Return the graph's error with the paths of its videos: DALI does not report which video of a batch failed."""
    return RuntimeError(
        f'DALI failed on one of these videos: {", ".join(paths)}. Load them with decode="cpu" to see which and why, '
        f"then create a new loader without it. DALI's error: {error}"
    )
