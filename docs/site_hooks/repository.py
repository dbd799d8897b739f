"""Files of the repository outside ``docs/`` as parts of the site, and links to them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

__all__ = ["Repository"]

_CODE = re.compile(r"^( *)(```+)[^\n]*\n.*?^\1\2 *$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\]|!\[[^\]]*\]\([^)]*\))*\]\()([^)\s]+)(\))", re.DOTALL)
_LANGUAGES = {".py": "python", ".toml": "toml", ".txt": "text", ".sh": "bash", ".cu": "cuda", ".cuh": "cuda"}
_LANGUAGES_OF_NAMES = {"run": "bash", "Makefile": "make", "LICENSE": "text", "CITATION.cff": "yaml"}
_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files in the root that are pages of the site, and their pages."""


class Repository:
    """The files outside ``docs/`` that pages link to.

    A Markdown file becomes a page. So does a text file, whose page shows it as code, and a folder, whose page lists its
    files, with links if the site contains them. Other files, such as pictures and measurements as JSON, are copied.

    Args:
        root: Folder of the checkout.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._docs = root / "docs"
        self._uris: dict[Path, str] = {}

    def collect(self, pages: Mapping[str, Path]) -> dict[str, Path]:
        """Return the files that pages link to, directly or through other files, by their paths in the site.

        Args:
            pages: Source files of the pages in ``docs/``, by their paths in the site.
        """
        self._uris = {self._root / name: uri for name, uri in _PAGES.items()}
        waiting = [*pages.values(), *self._uris]
        while waiting:
            source = waiting.pop()
            for target in self._targets(source):
                if target in self._uris or target.is_relative_to(self._docs) or target == self._root / "README.md":
                    continue
                self._uris[target] = self._uri(target)
                waiting.append(target)
        return {uri: source for source, uri in self._uris.items()}

    def page_of(self, source: Path) -> str | None:
        """Return the text of the page that shows a file or a folder; None if the file is to be copied."""
        name = source.relative_to(self._root).as_posix()
        if source.is_dir():
            rows = [self._row(path) for path in sorted(source.iterdir()) if not path.name.startswith((".", "__"))]
            return _unlisted(f"# `{name}`\n\nFiles of this folder of the repository:\n\n" + "\n".join(rows) + "\n")
        if source.suffix == ".md":
            return source.read_text() if source.parent == self._root else _unlisted(source.read_text())
        language = _language(source)
        if language is None:
            return None
        return _unlisted(f"# `{name}`\n\n`````{language}\n{source.read_text().rstrip()}\n`````\n")

    def with_links_of_the_site(self, text: str, uri: PurePosixPath) -> str:
        """Return a page's Markdown, in which relative links name files of the repository, with links for the site.

        Args:
            text: The Markdown.
            uri: Path of the page in the site.
        """
        sources = {uri: source for source, uri in self._uris.items()}
        source = sources.get(str(uri), self._docs / uri)

        def changed(link: str) -> str:
            path, _, anchor = link.partition("#")
            target = _target(source, link)
            if target is None:
                return link
            if target == self._root / "README.md":
                to = "README.md"
            elif target.is_relative_to(self._docs):
                to = target.relative_to(self._docs).as_posix()
            else:
                to = self._uris[target]
            relative = os.path.relpath(to, uri.parent)
            return f"{relative}#{anchor}" if anchor else relative

        return _map_links(text, changed)

    def _row(self, path: Path) -> str:
        """Return the entry of a file in the page of its folder: a link if the site contains the file."""
        # Links of a folder's page are relative to the folder that contains it, as those of a file's page are.
        link = f"{path.parent.name}/{path.name}"
        return f"- [`{path.name}`]({link})" if path in self._uris else f"- `{path.name}`"

    def _targets(self, source: Path) -> Iterator[Path]:
        if source.suffix != ".md":
            return
        found: list[str] = []

        def note(link: str) -> str:
            found.append(link)
            return link

        _map_links(source.read_text(), note)
        for link in found:
            target = _target(source, link)
            if target is not None and target.exists():
                yield target

    def _uri(self, target: Path) -> str:
        # mkdocs leaves out names that begin with a dot.
        name = target.relative_to(self._root).as_posix().lstrip(".")
        if target.suffix == ".md":
            return f"repository/{name}"
        if target.is_dir() or _language(target) is not None:
            return f"repository/{name}.md"
        return f"repository/{name}"


def _language(path: Path) -> str | None:
    return _LANGUAGES.get(path.suffix) or _LANGUAGES_OF_NAMES.get(path.name)


def _unlisted(text: str) -> str:
    """Return a page that is not found by the search, with a title in the tab."""
    return f"---\nsearch:\n  exclude: true\n---\n\n{text}"


def _target(source: Path, link: str) -> Path | None:
    """Return the file that a link in the Markdown file ``source`` names; None for links to elsewhere and anchors."""
    path = link.partition("#")[0]
    if not path or re.match(r"[a-z]+:", link) or path.startswith("/"):
        return None
    return Path(os.path.normpath(source.parent / path))


def _map_links(text: str, change: Callable[[str], str]) -> str:
    """Return Markdown with changed targets of links and pictures. Code stays as it is."""

    def in_prose(part: str) -> str:
        def link(match: re.Match[str]) -> str:
            return _LINK.sub(link, match[1]) + change(match[2]) + match[3]

        return _LINK.sub(link, part)

    # Code within the text of a link must not split the link: put marks in place of code, and code back afterwards.
    code: list[str] = []

    def hide(match: re.Match[str]) -> str:
        code.append(match[0])
        return f"\x00{len(code) - 1}\x00"

    hidden = _CODE.sub(hide, text)
    return re.sub("\x00(\\d+)\x00", lambda match: code[int(match[1])], in_prose(hidden))
