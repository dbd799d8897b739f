"""One position in a batch: the video that fills it, its random choices, its job and its result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mgdali.choices import Draw
from mgdali.datasets.video_dataset import Video
from mgdali.loading.batch import Part
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.stats import ClipWork, route_name
from mgdali.video.record import VideoRecord
from mgdali.views import View, views_of
from mgdali.workers.clip_job import ClipJob, ClipResult
from mgdali.workers.encoded_job import EncodedResult, Result

__all__ = ["Held", "Sample", "draw_choices"]


class Sample:
    """One position in a batch: its slot, the video that fills it, and the result for that video.

    Args:
        slot: Number of the slot.
        others: Indices of videos that may replace the video, in order.
        occurrence: How often its video has occurred before in the epoch: each occurrence has its own random choices.
    """

    def __init__(self, slot: int, others: Iterator[int], occurrence: int) -> None:
        self.slot = slot
        self.others = others
        self.occurrence = occurrence
        self.index: int
        self.video: Video
        self.record: VideoRecord | None
        # The part of the video as indices of frames, if the record tells it.
        self.part: tuple[int, int] | None = None
        # Set by draw_choices().
        self.choices: Draw
        self.seed = 0
        self.views: tuple[View, ...] | None = None
        self.result: Result | None = None
        self.error: Exception | None = None
        self.abandoned = False
        # Whether the graph may decode it.
        self.on_gpu = True
        # The file that its job measures for the index, while other samples wait for the record.
        self.measures: str | None = None
        # Whether its video replaces another one.
        self.replaced = False

    @property
    def done(self) -> bool:
        """Whether it has a result or an error."""
        return self.result is not None or self.error is not None

    def job(self, *, on_gpu: bool) -> ClipJob:
        """Return the job of its video.

        Args:
            on_gpu: Whether the GPU may decode it.
        """
        video = self.video
        others = (video.time_range, self.part, self.seed, self.views)
        return ClipJob(video.media, self.choices, self.record, on_gpu, *others)

    def work(self, *, packed: bool) -> ClipWork:
        """Return how its clip was made, from its result.

        Args:
            packed: Whether the data set is a pack.
        """
        result = self.result
        assert result is not None
        if isinstance(result, ClipResult):
            known = self.record is not None and (self.video.time_range is None or self.part is not None)
            indexed, not_on_gpu = known and result.unindexed is None, result.not_on_gpu
        else:
            indexed, not_on_gpu = result.picks is not None, None
        return ClipWork(
            path=self.video.path,
            route=route_name(on_gpu=isinstance(result, EncodedResult), indexed=indexed, packed=packed),
            not_on_gpu=not_on_gpu,
            frames=result.frames_decoded,
            seconds=result.wall_seconds,
            replaced=self.replaced,
        )


@dataclass
class Held:
    """A part that a graph may still read: its samples with their slots, and its arrays, which must stay alive."""

    samples: list[Sample]
    part: Part


def draw_choices(sample: Sample, settings: LoaderSettings, epoch: int) -> None:
    """Draw the random choices of a sample, and of the views of its video if there are several.

    Args:
        sample: The sample, with its video.
        settings: Settings of the loader.
        epoch: The epoch.
    """
    drawn = views_of(
        settings.views,
        settings.repeats,
        settings.transform,
        settings.sampler.num_frames,
        seed=settings.order.seed,
        epoch=epoch,
        index=sample.index,
        occurrence=sample.occurrence,
        with_function=settings.function is not None,
    )
    sample.choices, sample.seed = drawn[0].choices, drawn[0].seed
    sample.views = None if settings.views is None and settings.repeats == 1 else drawn
