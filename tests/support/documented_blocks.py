"""Code blocks of documents, which tests run as they are written."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

__all__ = [
    "DOCS",
    "LANGUAGES",
    "REASONS",
    "Block",
    "all_blocks_of",
    "all_pages",
    "blocks_of",
    "run_block",
    "working_directory",
]

DOCS = Path(__file__).parents[2] / "docs"
REASONS = ("needs a GPU", "needs a cluster", "needs credentials", "needs a package without a build here")
"""Reasons for which a block is compiled and not run: ``<!-- compiled only: needs a GPU -->`` before the block."""
LANGUAGES = ("python", "bash", "text", "json", "csv", "sql", "mermaid")

# Blocks in other languages are matched too: a comment in a shell block is not a heading.
_HEADING_OR_BLOCK = re.compile(
    r"^#+ +(?P<heading>[^\n]*)$"
    r"|(?:^ *<!-- compiled only: (?P<reason>[^\n]*) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block of a document.

    Attributes:
        page: The document.
        name: The heading above the block. Further blocks below the same heading have a number: ``"A heading (2)"``.
        line: Line in the document of the first line of code, counted from 1.
        code: The code.
        language: The language that the fence names; empty if it names none.
        reason: Reason that the block is only compiled, as the comment before it says; None if it is run.
        output: What a Python block prints, if the next block below the same heading is of the language ``text``.
    """

    page: Path
    name: str
    line: int
    code: str
    language: str = "python"
    reason: str | None = None
    output: str | None = None

    def __str__(self) -> str:
        language = "" if self.language == "python" else f" ({self.language})"
        return f"{self.page.name}: {self.name}{language}"


def all_pages() -> list[Path]:
    """Return README.md and the documents of ``docs/``, sorted by name."""
    return [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    """Return the Python blocks of a document, in its order."""
    return [block for block in all_blocks_of(page) if block.language == "python"]


def all_blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a document in all languages, in its order. Names count the blocks of each language."""
    text = page.read_text()
    blocks: list[Block] = []
    heading = page.name
    counts: Counter[str] = Counter()
    for match in _HEADING_OR_BLOCK.finditer(text):
        if match["code"] is None:
            heading, counts = match["heading"].strip(), Counter()
            continue
        language = match["language"]
        counts[language] += 1
        name = heading if counts[language] == 1 else f"{heading} ({counts[language]})"
        line = text.count("\n", 0, match.start("code")) + 1
        code = dedent(match["code"])
        if language == "text" and blocks and blocks[-1].language == "python" and counts["python"]:
            blocks[-1] = replace(blocks[-1], output=code)
        blocks.append(Block(page, name, line, code, language, match["reason"]))
    return blocks


def run_block(block: Block, folder: Path, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a block in this process as a script is run in ``folder``.

    Args:
        block: The block.
        folder: The working directory while it runs.
        names: The namespace to run it in, for example that of an earlier block that it continues. By default an empty
            one.

    Returns:
        The namespace afterwards. A traceback shows the lines of the document.
    """
    names = {} if names is None else names
    names.setdefault("__name__", "__main__")
    # Lines before the code make the numbers of its lines equal to those in the document.
    code = compile("\n" * (block.line - 1) + block.code, str(block.page), "exec")
    with working_directory(folder):
        exec(code, names)
    return names


@contextmanager
def working_directory(folder: Path) -> Iterator[None]:
    """Change the working directory of the process within the ``with`` block."""
    # contextlib.chdir needs Python 3.11.
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
