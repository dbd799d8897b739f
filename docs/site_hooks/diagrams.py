"""Mermaid diagrams of pages as drawings: GitHub draws them itself, the site shows SVG files that are drawn beforehand.

The site would otherwise need 3.5 MB of JavaScript. ``draw_diagrams.py`` draws the files.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DRAWINGS", "Diagram", "diagrams_of", "with_drawings"]

DRAWINGS = Path(__file__).parents[1] / "images" / "diagrams"
_BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^ *accTitle: *(\S.*?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Diagram:
    """One Mermaid diagram of a page.

    Args:
        source: Its lines in Mermaid's language. A line ``accTitle: …`` gives the title, from which the name follows.

    Raises:
        ValueError: If the title is missing.
    """

    source: str

    def __post_init__(self) -> None:
        if _TITLE.search(self.source) is None:
            raise ValueError(
                f"a Mermaid diagram has no line 'accTitle: …'; add one after its first line:\n{self.source}"
            )

    @property
    def name(self) -> str:
        """The title in small letters and hyphens, such as ``data-flow``: the name of the drawing."""
        title = _TITLE.search(self.source)
        return re.sub(r"[^a-z0-9]+", "-", title[1].lower()).strip("-") if title else ""

    @property
    def fingerprint(self) -> str:
        """What the drawing contains to tell from which source it was drawn."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]

    def drawing(self, folder: Path = DRAWINGS) -> str:
        """Return the SVG element, in one line.

        Args:
            folder: Folder of the drawings.

        Raises:
            ValueError: If the file is missing, or was drawn from another source.
        """
        path = folder / f"{self.name}.svg"
        svg = path.read_text() if path.exists() else ""
        if f'data-source="{self.fingerprint}"' not in svg:
            state = "was drawn from other lines than the page has" if svg else "is missing"
            raise ValueError(f"{path} {state}: run .venv/bin/python docs/site_hooks/draw_diagrams.py")
        return svg.strip()


def diagrams_of(markdown: str) -> list[Diagram]:
    """Return the Mermaid diagrams of a page.

    Raises:
        ValueError: If a diagram has no title.
    """
    return [Diagram(match[1]) for match in _BLOCK.finditer(markdown)]


def with_drawings(markdown: str, folder: Path = DRAWINGS) -> str:
    """Return a page's Markdown with drawings in place of Mermaid diagrams.

    Args:
        markdown: The Markdown.
        folder: Folder of the drawings.

    Raises:
        ValueError: If a drawing is missing, or was drawn from another source.
    """
    return _BLOCK.sub(lambda match: f'<div class="diagram">{Diagram(match[1]).drawing(folder)}</div>', markdown)
