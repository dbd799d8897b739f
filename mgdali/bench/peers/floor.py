"""Decoding alone, the lower bound of every loader's time: PyAV decodes every frame in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence

import av

from mgdali.bench.peers.task import Batch, Task
from mgdali.video.media import Media


class Decoding:
    """Processes that take paths from a queue, so that no process waits for another."""

    def __init__(self, task: Task, paths: Sequence[str]) -> None:
        self._paths = paths
        self._pool = multiprocessing.get_context("spawn").Pool(task.workers)

    def epoch(self) -> Iterator[Batch]:
        """Decode all videos once. The batches contain neither clips nor picks."""
        for frames in self._pool.imap_unordered(count_frames, self._paths, chunksize=1):
            assert frames > 0
            yield Batch(1, None, None)

    def close(self) -> None:
        """End the processes."""
        self._pool.terminate()
        self._pool.join()


def count_frames(path: str) -> int:
    """Decode a video and return its number of frames."""
    # A folder of JPEG files is read as one stream whose packets are the files.
    with av.open(Media(path).open(), "r", metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        return sum(1 for _ in container.decode(stream))


decode_only = Decoding
