"""Errors about bad input. Each message names the file or argument, the problem and the remedy."""

from __future__ import annotations

import operator


class DatasetError(ValueError):
    """An error in a data set's folder, list or labels, or in an index file."""


class VideoDecodeError(RuntimeError):
    """A video that cannot be decoded.

    Attributes:
        path: Path of the file.
        frame: Number of frames decoded before the failure; 0 if the file could not be opened.
        reason: Message of the decoder.
        advice: Suggested remedy.
    """

    def __init__(
        self,
        path: str,
        frame: int,
        reason: str,
        advice: str = 'Remove the file from the data set or encode it again; with on_error="replace" the loader uses '
        "another video instead.",
    ) -> None:
        super().__init__(path, frame, reason, advice)
        self.path = path
        self.frame = frame
        self.reason = reason
        self.advice = advice

    @property
    def details(self) -> str:
        """The reason, and how far decoding got."""
        where = f"after {self.frame} frames" if self.frame else "before its first frame"
        return f"{self.reason} ({where})"

    def __str__(self) -> str:
        return f"cannot decode {self.path}: {self.details}. {self.advice}"


class VideoCrashError(VideoDecodeError):
    """A video whose decoding ended a worker process, or took longer than ``timeout``, in two tries.

    Either may be chance: the machine may have been out of memory, or its network slow. So a loader keeps the videos
    that it replaced for this reason in its state, and a resumed run replaces the same ones.
    """

    @property
    def details(self) -> str:
        return self.reason


class WorkerError(RuntimeError):
    """A decoding worker ended, or failed for a reason other than the video.

    Attributes:
        path: Path of the video that the worker was decoding; None if it was idle.
    """

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


def check_integer(name: str, value: int, *, least: int) -> None:
    """Raise ValueError, with the argument's name and value, unless ``value`` is an integer >= ``least``."""
    try:
        valid = operator.index(value) >= least
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
