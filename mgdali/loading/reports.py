"""What a loader reports about itself: settings, text, speed, and the videos that were not loaded as planned."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch

from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import VideoDecodeError
from mgdali.loading.description import describe_loader
from mgdali.loading.order import Share
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.stats import EpochMeter, LoaderStats
from mgdali.loading.tally import Tally

__all__ = ["LoaderReports"]


class LoaderReports:
    """The part of a loader that reports what it does and has done. It changes nothing."""

    dataset: VideoDataset
    _settings: LoaderSettings
    _find_share: Callable[[], Share]
    _index: object
    _tally: Tally
    _meter: EpochMeter
    _finalizer: weakref.finalize[Any, Any]

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """Device of the clips."""
        return self._settings.route.device

    @property
    def num_workers(self) -> int:
        """Number of decoding processes; 0 means that this process decodes."""
        return self._settings.num_workers

    @property
    def batch_size(self) -> int:
        """Number of videos per batch."""
        return self._settings.order.batch_size

    @property
    def bad_videos(self) -> dict[str, VideoDecodeError]:
        """Videos that were replaced so far because they could not be decoded, or used up to a damage: path to error."""
        return dict(self._tally.bad_videos)

    @property
    def unindexed(self) -> dict[str, str]:
        """Videos without a valid record in the index so far: path to reason. Empty with ``index="auto"``."""
        return dict(self._tally.unindexed)

    @property
    def decoded_by_pyav(self) -> dict[str, str]:
        """Videos that PyAV decoded so far although this loader's GPU decodes others: path to reason."""
        return dict(self._tally.by_pyav)

    @property
    def frames_decoded(self) -> int:
        """Number of frames that decoders returned so far, including those of clips that are prepared ahead."""
        return self._tally.frames_decoded

    def stats(self) -> LoaderStats:
        """Return clips per second, shares of time and other numbers of the running epoch.

        If no epoch is running, they are those of the last one, also if it was left early. The end of an epoch logs
        them in one line, at level INFO of the logger ``mgdali``.
        """
        return self._meter.stats()

    def __repr__(self) -> str:
        # Debuggers show a loader whose constructor has failed, too. A user-defined sampler may have any error.
        try:
            text = describe_loader(
                self._settings, self.dataset, batches=len(self), share=self._find_share(), index=self._index
            )
            return text if self._finalizer.alive else f"{text[:-1]}, closed)"
        except Exception as error:
            return f"<{type(self).__name__} that cannot be described: {type(error).__name__}>"
