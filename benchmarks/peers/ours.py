"""This project's loader: without an index, with one, and on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from mgdali import MGDaliIterator, MotionGuided, VideoDataset
from peers.task import Batch, Task


class OurLoader:
    """``MGDaliIterator`` over all videos in order, without random choices."""

    def __init__(self, task: Task, paths: Sequence[str], *, device: str = "cpu", indexed: bool = False) -> None:
        self._loader = MGDaliIterator(
            VideoDataset(paths, [0] * len(paths)),
            sampler=MotionGuided(num_frames=task.num_frames, mu=task.mu),
            batch_size=task.batch_size,
            num_workers=task.workers,
            crop_size=task.crop_size,
            resize=task.resize,
            device=device,
            index=task.index if indexed else None,
            return_meta=True,
        )
        self._indexed = indexed

    def epoch(self) -> Iterator[Batch]:
        """All videos once, in order."""
        for clips, _, meta in self._loader:
            yield Batch(len(clips), clips, meta["frames"])
        if self._indexed and self._loader.unindexed:
            raise RuntimeError(f"the index was not used for {next(iter(self._loader.unindexed))}")

    def close(self) -> None:
        """End the workers."""
        self._loader.close()


without_index = OurLoader
with_index = partial(OurLoader, indexed=True)
on_cuda = partial(OurLoader, device="cuda")
