"""This project's loader: without an index, with one, from a packed data set, with other samplers, and on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from mgdali import MGDaliIterator, MotionGuided, Segment, VideoDataset
from mgdali.bench.peers.packs import places_in_pack
from mgdali.bench.peers.task import Batch, Task
from mgdali.samplers import Sampler


def image_level(task: Task) -> Sampler:
    """Return the sampler of the task."""
    return MotionGuided(num_frames=task.num_frames, mu=task.mu)


def feature_level(task: Task) -> Sampler:
    """Return the sampler of the task with motion at the feature level."""
    return MotionGuided(num_frames=task.num_frames, mu=task.mu, motion="feature")


def segments(task: Task) -> Sampler:
    """Return segment sampling, which measures no motion."""
    return Segment(num_frames=task.num_frames)


class OurLoader:
    """``MGDaliIterator`` over all videos in order, without random choices.

    Args:
        task: The task.
        paths: Paths of the videos.
        device: Argument of ``MGDaliIterator``.
        indexed: Whether to use the index of the task. It is an error if a video is not in the index.
        packed: Whether to load the packed data set of the task, which has its own index, with the repetitions of
            ``paths``.
        sampler: Function that returns the sampler.
    """

    def __init__(
        self,
        task: Task,
        paths: Sequence[str],
        *,
        device: str = "cpu",
        indexed: bool = False,
        packed: bool = False,
        sampler: Callable[[Task], Sampler] = image_level,
    ) -> None:
        self._loader = MGDaliIterator(
            _packed_videos(task, paths) if packed else VideoDataset(paths, [0] * len(paths)),
            sampler=sampler(task),
            batch_size=task.batch_size,
            num_workers=task.workers,
            crop_size=task.crop_size,
            resize=task.resize,
            device=device,
            on_error=task.on_error,
            index=task.index if indexed else None,
            return_meta=True,
        )
        self._known = indexed or packed

    def epoch(self) -> Iterator[Batch]:
        """All videos once, in order."""
        for clips, _, meta in self._loader:
            yield Batch(len(clips), clips, meta["frames"])
        if self._known and self._loader.unindexed:
            raise RuntimeError(f"the index was not used for {next(iter(self._loader.unindexed))}")

    def close(self) -> None:
        """End the workers."""
        self._loader.close()


def _packed_videos(task: Task, paths: Sequence[str]) -> VideoDataset:
    assert task.pack is not None
    places = places_in_pack(paths) if task.pack_places is None else task.pack_places
    return VideoDataset.from_pack(task.pack).subset(places)


without_index = OurLoader
with_index = partial(OurLoader, indexed=True)
packed = partial(OurLoader, packed=True)
feature = partial(OurLoader, sampler=feature_level)
segment = partial(OurLoader, sampler=segments)
on_cuda = partial(OurLoader, device="cuda")
