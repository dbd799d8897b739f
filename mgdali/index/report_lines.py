"""Reports of work on many videos as few lines: numbers, and the first of the videos that could not be decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

__all__ = ["first_lines", "one_line", "short_repr"]

_SHOWN = 3


def one_line(reason: str) -> str:
    """Return the reason of a failure as one line; of several lines, such as a traceback, the first and the last."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return "".join(lines) if len(lines) < 2 else f"{lines[0]} … {lines[-1]}"


def first_lines(videos: Mapping[str, str] | Iterable[str], shown: int, everything: str) -> Iterator[str]:
    """Yield one line for each of the first videos, sorted by name, and a line with the number of the others.

    Args:
        videos: Names of videos, or reasons by the names.
        shown: Largest number of videos that get a line.
        everything: How to see all of them, for the line about the others.
    """
    names = sorted(videos)
    for name in names[:shown]:
        reason = f": {one_line(videos[name])}" if isinstance(videos, Mapping) else ""
        yield f"  {one_line(name)}{reason}"
    if len(names) > shown:
        yield f"  and {len(names) - shown} more: {everything}"


def short_repr(report: Any) -> str:
    """Return the ``repr`` of a report, a dataclass: one line with its numbers, and further lines for its videos.

    A dict or tuple of videos is shown as their number. The first three of them follow below.
    """
    numbers, lines = [], []
    for field in fields(report):
        value = getattr(report, field.name)
        if isinstance(value, (dict, tuple)):
            numbers.append(f"{field.name}={len(value)}")
            if value:
                lines += [f"{field.name}:", *first_lines(value, _SHOWN, f"see all in the attribute `{field.name}`")]
        else:
            numbers.append(f"{field.name}={value!r}")
    return "\n".join([f"{type(report).__name__}({', '.join(numbers)})", *lines])
