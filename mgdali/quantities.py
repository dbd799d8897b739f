"""Numbers of things as text."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, noun: str = "video", plural: str | None = None, *, separator: str = "") -> str:
    """Return a number of things as text, such as ``"1 video"`` or ``"2 videos"``.

    Args:
        count: The number.
        noun: What is counted, in the singular.
        plural: Its plural; None appends an "s".
        separator: Text between groups of three digits: ``""``, ``","`` or ``"_"``.
    """
    return f"{count:{separator}} {noun if count == 1 else plural or noun + 's'}"
