"""Counters of a loader."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from mgdali.errors import VideoDecodeError

__all__ = ["Tally"]


@dataclass
class Tally:
    """Counters of a loader, over all of its epochs.

    Attributes:
        bad_videos: Videos that were replaced because they could not be decoded: path to error.
        unindexed: Videos without a valid record in the index: path to reason.
        frames_decoded: Number of frames that decoders returned.
    """

    bad_videos: dict[str, VideoDecodeError] = field(default_factory=dict)
    unindexed: dict[str, str] = field(default_factory=dict)
    frames_decoded: int = 0

    def note_bad(self, error: VideoDecodeError) -> None:
        """Record a video that is replaced, and warn when it is replaced for the first time."""
        if error.path not in self.bad_videos:
            self.bad_videos[error.path] = error
            warnings.warn(f"{error.path} is replaced by another video: {error.reason}", RuntimeWarning, stacklevel=3)

    def note_unindexed(self, path: str, reason: str) -> None:
        """Record a video without a valid record in the index, and warn about the first one."""
        if path in self.unindexed:
            return
        self.unindexed[path] = reason
        if len(self.unindexed) == 1:
            message = f"{path} {reason}: measuring it while loading; further such videos are not reported"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
