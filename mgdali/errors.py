"""Errors about bad input. Each message names the file or argument, the problem and the remedy."""

from __future__ import annotations

import math
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


class VideoSizeError(VideoDecodeError):
    """A video whose frames are smaller than the clip that is taken from them without resizing."""

    @property
    def details(self) -> str:
        return self.reason


class VideoCrashError(VideoDecodeError):
    """A video whose decoding ended a worker process, or took longer than ``timeout``, in two tries.

    Either may be chance: the machine may have been out of memory, or its network slow. So a loader keeps the videos
    that it replaced for this reason in its state, and a resumed run replaces the same ones.
    """

    @property
    def details(self) -> str:
        return self.reason


class VideoTimeoutError(VideoCrashError):
    """A video that took longer than ``timeout`` in the second of two tries."""


class TransformError(RuntimeError):
    """An error in a function that was passed as ``transform=``, or a result that it must not return.

    Attributes:
        path: Path of the video.
        function: Name of the function.
        reason: What was wrong; for an exception, its traceback.
    """

    def __init__(self, path: str, function: str, reason: str) -> None:
        super().__init__(path, function, reason)
        self.path = path
        self.function = function
        self.reason = reason

    def __str__(self) -> str:
        return f"transform={self.function} on the clip of {self.path}: {self.reason}"


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


def check_timeout(timeout: float, num_workers: int | None) -> None:
    """Raise ValueError unless ``timeout`` is a number of seconds >= 0, and 0 if there are no workers to be killed.

    Args:
        timeout: The argument.
        num_workers: Number of worker processes; None if it is not known yet, but at least 1.
    """
    if not isinstance(timeout, int | float) or not 0 <= timeout < math.inf:
        raise ValueError(f"timeout must be a number of seconds >= 0, where 0 means no limit, got {timeout!r}")
    if timeout and num_workers == 0:
        raise ValueError(
            f"timeout={timeout!r} needs num_workers >= 1: this process cannot be interrupted while it decodes a video"
        )
