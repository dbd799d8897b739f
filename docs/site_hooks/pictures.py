"""Pictures that depend on light and dark: as GitHub reads them, for Material for MkDocs."""

from __future__ import annotations

import re

__all__ = ["with_pictures_of_the_theme"]

_PICTURE = re.compile(
    r"^<picture>\s*"
    r'<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img alt="(?P<text>[^"]*)" src="(?P<light>[^"]+)">\s*'
    r"</picture>$",
    re.MULTILINE,
)


def with_pictures_of_the_theme(markdown: str) -> str:
    """Return Markdown with two pictures in place of each ``<picture>`` of a light and a dark file.

    Material shows the one that fits its colours, which the reader can change. In the first form, the colours of the
    browser decide. mkdocs then also checks that both files exist.
    """
    return _PICTURE.sub(r"![\g<text>](\g<light>#only-light)\n![\g<text>](\g<dark>#only-dark)", markdown)
