"""Counters of a loader."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mgdali.errors import VideoCrashError, VideoDecodeError

__all__ = ["NOT_INDEXED", "Tally"]

# Number of frames that may be decoded for a part of a video beside its own, before a warning: about a minute.
_LONG_WAY = 1800

NOT_INDEXED = "is not in the index"
"""Reason for a video without a row."""

_IF_MOVED = (
    "If the videos were moved or renamed, open the index with MotionIndex(path, root=…) or moved=(old, new), or run "
    "`mgdali index build` again"
)

_RESUMED = " (before this run was resumed)"


@dataclass
class Tally:
    """Counters of a loader, over all of its epochs.

    Attributes:
        bad_videos: Videos that were replaced because they could not be decoded, or were used up to their damage: path
            to error.
        crashed: Videos that were replaced because their worker died or took too long, which may be chance: index to
            error. They are replaced from then on, also in a resumed run.
        unindexed: Videos without a valid record in the index: path to reason.
        by_pyav: Videos that PyAV decoded although the loader's graph decodes: path to reason.
        failed_on_gpu: Videos on which the graph failed, or other videos of such a batch: index to reason. PyAV decodes
            them from then on, also in a resumed run.
        graph_failures: Number of times that a graph failed.
        frames_decoded: Number of frames that decoders returned.
        job_seconds: Time that workers, or this process without workers, have spent on videos, in seconds.
        long_way_noted: Whether there was a warning about many frames that were decoded for a short part of a video.
    """

    bad_videos: dict[str, VideoDecodeError] = field(default_factory=dict)
    crashed: dict[int, VideoCrashError] = field(default_factory=dict)
    unindexed: dict[str, str] = field(default_factory=dict)
    by_pyav: dict[str, str] = field(default_factory=dict)
    failed_on_gpu: dict[int, str] = field(default_factory=dict)
    graph_failures: int = 0
    frames_decoded: int = 0
    job_seconds: float = 0.0
    long_way_noted: bool = False

    def note_replaced(self, index: int, error: VideoDecodeError) -> None:
        """Record a video that is replaced, and warn when it is replaced for the first time."""
        if isinstance(error, VideoCrashError):
            self.crashed.setdefault(index, error)
        self._note_bad(error, f"{error.path} is replaced by another video: {error.reason}")

    def note_damaged(self, error: VideoDecodeError) -> None:
        """Record a damaged video that is used up to its damage, and warn about it once."""
        self._note_bad(error, f"{error.path} is used up to its damage, {error.frame} frames: {error.reason}")

    def note_unindexed(self, path: str, reason: str) -> None:
        """Record a video without a valid record in the index, and warn about the first one."""
        if path in self.unindexed:
            return
        self.unindexed[path] = reason
        if len(self.unindexed) == 1:
            advice = f". {_IF_MOVED}" if reason == NOT_INDEXED else ""
            message = f"{path} {reason}: measuring it while loading; further such videos are not reported{advice}"
            warnings.warn(message, RuntimeWarning, stacklevel=3)

    def note_long_way(self, path: str, num_frames: int, frames_decoded: int) -> None:
        """Warn about the first part of a video for which many other frames had to be decoded.

        Args:
            path: Path of the video.
            num_frames: Number of frames in the part.
            frames_decoded: Number of frames that were decoded for it.
        """
        if self.long_way_noted or frames_decoded < num_frames + _LONG_WAY:
            return
        self.long_way_noted = True
        message = (
            f"{frames_decoded} frames of {path} were decoded for a part of {num_frames} frames, because without an "
            "index each part is decoded from the beginning of its file: build one with `mgdali index build` and pass "
            "index=; further such parts are not reported"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)

    def note_graph_failure(self, paths: Sequence[str], reason: str) -> None:
        """Count a failure of a graph and warn about it.

        Args:
            paths: Paths of the videos that the graph decoded at that time; it failed on one of them.
            reason: The graph's error.
        """
        self.graph_failures += 1
        message = (
            f"the GPU's decoder failed on one of these videos, and PyAV decodes them instead: {', '.join(paths)}. "
            f"The error: {reason}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=10)

    def failures(self) -> list[list[int | str]]:
        """Return the videos in :attr:`failed_on_gpu` for a state: index and reason of each."""
        return [[index, reason] for index, reason in sorted(self.failed_on_gpu.items())]

    def restore_failures(self, failures: Iterable[tuple[int, str]]) -> None:
        """Take over the videos of a state, so that PyAV decodes them. ``failures`` is from :meth:`failures`."""
        self.failed_on_gpu = dict(failures)

    def crashes(self) -> list[list[int | str]]:
        """Return the videos in :attr:`crashed` for a state: index and reason of each."""
        return [[index, error.reason] for index, error in sorted(self.crashed.items())]

    def restore_crashes(self, crashes: Iterable[tuple[int, str]], paths: Sequence[str]) -> None:
        """Take over the videos of a state, so that they are replaced without another try.

        Args:
            crashes: Index and reason of each, from :meth:`crashes`.
            paths: Paths of the data set's videos.
        """
        self.crashed = {
            index: VideoCrashError(paths[index], 0, f"{reason.removesuffix(_RESUMED)}{_RESUMED}")
            for index, reason in crashes
        }

    def _note_bad(self, error: VideoDecodeError, message: str) -> None:
        if error.path not in self.bad_videos:
            self.bad_videos[error.path] = error
            warnings.warn(message, RuntimeWarning, stacklevel=4)
