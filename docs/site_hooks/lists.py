"""Lists as GitHub reads them, for Python-Markdown."""

from __future__ import annotations

import re

__all__ = ["with_wide_list_indents"]

_FENCE = re.compile(r"^( *)```")
_NESTED = re.compile(r"^ {2,3}(?=(?:[-*]|\d+\.) )")


def with_wide_list_indents(markdown: str) -> str:
    """Return Markdown whose nested lists and code blocks in lists are indented by four spaces.

    GitHub accepts the width of the mark before an item, two or three spaces. Python-Markdown needs four.
    """
    lines = []
    fence: str | None = None
    for line in markdown.splitlines():
        start = _FENCE.match(line)
        if fence is None and start is None:
            lines.append(_NESTED.sub("    ", line))
            continue
        if fence is None and start is not None:
            fence = start[1]
            shift = 4 - len(fence) if 2 <= len(fence) <= 3 else 0
        elif start is not None and start[1] == fence and line.strip() == "```":
            fence = None
        lines.append(" " * shift + line if line else line)
    return "\n".join(lines) + "\n"
