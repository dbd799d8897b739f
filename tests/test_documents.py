"""Documents: links and paths resolve, and statements about the code match the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import mgdali

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "benchmarks", "kernels", "examples", "tests", ".github")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
FOR_USERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]

_CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_BACKTICKED = re.compile(r"`([^`\n]+)`")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    return _CODE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(path))]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_resolves(document: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        # Anchors of the API reference are created from the docstrings; tests/test_site.py checks them.
        generated = anchor.startswith("mgdali.") and target.parent.name == "reference"
        if not target.exists() or (anchor and not generated and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("document", FOR_USERS, ids=name_of)
def test_documents_name_no_path_outside_the_checkout(document: Path) -> None:
    text = document.read_text()
    assert "../shared" not in text
    for link in _LINK.findall(text):
        assert not link.startswith("/")


def test_the_readme_fits_120_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_path_in_the_recipes_exists() -> None:
    quoted = _BACKTICKED.findall(prose(ROOT / "CONTRIBUTING.md"))
    parts = [part.partition("::")[0] for text in quoted for part in text.split()]
    paths = [part for part in parts if re.match(r"(?:mgdali|tests|docs|kernels|benchmarks|\.ci)/", part)]
    assert len(paths) > 30
    assert [path for path in paths if "<" not in path and not (ROOT / path).exists()] == []


def test_the_design_names_every_module() -> None:
    table = (ROOT / "docs" / "design.md").read_text().partition("## Folders and modules")[2].partition("\n## ")[0]
    named = set(_BACKTICKED.findall(table))
    modules = {path.stem for path in (ROOT / "mgdali").rglob("*.py")} - {"__init__", "__main__"}
    page = (ROOT / "mgdali" / "explore" / "page").iterdir()
    modules |= {path.stem if path.suffix == ".js" else path.name for path in page}
    assert modules - named == set()
    for row in re.findall(r"^\|(?:[^|]*)\|([^|]*)\|", table, re.MULTILINE):
        assert set(_BACKTICKED.findall(row)) <= modules


def test_every_argument_of_the_loader_is_in_the_table() -> None:
    text = (ROOT / "docs" / "arguments.md").read_text()
    # The first table; later sections have others.
    first = re.findall(r"^\| (`[^|]*) \|", text.partition("\n## ")[0], re.MULTILINE)
    arguments = [name for cell in first for name in _BACKTICKED.findall(cell)]
    parameters = inspect.signature(mgdali.MGDaliIterator).parameters
    assert sorted(arguments) == sorted(parameters)


def test_the_version_is_the_same_everywhere() -> None:
    assert f"version: {mgdali.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{mgdali.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
