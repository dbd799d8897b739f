"""The errors that tell of bad input: each names the file or argument, what was wrong and what to do."""

from __future__ import annotations

import operator


class DatasetError(ValueError):
    """A data set's folder, list or labels cannot be used as they are."""


class VideoDecodeError(RuntimeError):
    """A video that cannot be decoded.

    Attributes:
        path: the file.
        frame: frames decoded before it failed; 0 where it could not even be opened.
        reason: the decoder's own words.
        advice: what can be done about it.
    """

    def __init__(
        self,
        path: str,
        frame: int,
        reason: str,
        advice: str = 'Take the file out of the data set or encode it again; with on_error="replace" the loader goes '
        "on with another video in its place.",
    ) -> None:
        super().__init__(path, frame, reason, advice)
        self.path = path
        self.frame = frame
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        where = f"after {self.frame} frames" if self.frame else "before its first frame"
        return f"cannot decode {self.path}: {self.reason} ({where}). {self.advice}"


class WorkerError(RuntimeError):
    """A decoding worker ended, or failed for a reason that is not the video's.

    Attributes:
        path: the video it had at that time; None where it had none.
    """

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


def check_integer(name: str, value: int, *, least: int) -> None:
    """Raise ValueError, with the argument's name and value, unless ``value`` is an integer >= ``least``."""
    try:
        fine = operator.index(value) >= least
    except TypeError:
        fine = False
    if not fine:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
