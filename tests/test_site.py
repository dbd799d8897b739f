"""The documentation site builds strictly, loads nothing from another host, has no broken link, and names everything."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

import mgdali
from mgdali import motion, sampling

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
_LOADS = {"script": "src", "img": "src", "link": "href", "source": "src", "video": "src", "iframe": "src"}


class Page(HTMLParser):
    """The links, anchors and loaded files of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.update(value for name, value in attrs if name in ("id", "name") and value)
        self.links.update(value for name, value in attrs if name in ("href", "src") and value)
        # rel=prev and the like load nothing.
        if tag in _LOADS and not (tag == "link" and values.get("rel") in ("prev", "next", "canonical")):
            self.loads.add(values.get(_LOADS[tag]) or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a network: a proxy that does not exist answers every request."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


@pytest.fixture
def diagrams(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the site that puts drawings in place of Mermaid diagrams."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "site_hooks")
    return importlib.import_module("diagrams")


def test_no_page_loads_anything_from_another_host(pages: dict[Path, Page], site: Path) -> None:
    assert [(path.name, url) for path, page in pages.items() for url in page.loads if "//" in url] == []
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", sheet.read_text()) == []


def test_every_link_within_the_site_resolves(pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # Its links are absolute, because it is shown for any address.
            continue
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                assert url.scheme in ("https", "data", "mailto", "http"), link
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            target = target / "index.html" if target.is_dir() else target
            # Pictures may have a fragment for the theme, such as #only-light.
            known = pages[target].anchors if target in pages else {"only-light", "only-dark"}
            # Lines of code have no anchors of their own unless they are numbered.
            if not target.is_file() or (url.fragment and unquote(url.fragment) not in known):
                broken.append((path.name, link))
    assert broken == []


def test_the_reference_contains_every_public_name(pages: dict[Path, Page], site: Path) -> None:
    anchors = set().union(*(page.anchors for path, page in pages.items() if path.is_relative_to(site / "reference")))
    public = {name: getattr(mgdali, name) for name in mgdali.__all__}
    modules = {name for name, value in public.items() if inspect.ismodule(value)}
    assert {f"mgdali.{name}" for name in set(public) - modules} - anchors == set()
    for module in (motion, sampling):
        functions = {f"{module.__name__}.{name}" for name in module.__all__ if callable(getattr(module, name))}
        assert (
            functions - {f"{module.__name__}.{name}" for name in ("Channels", "Inverse", "PastEnd")} - anchors == set()
        )


def test_no_page_shows_the_markup_of_docstrings(site: Path) -> None:
    for path in (site / "reference").glob("*.html"):
        assert not re.search(r":(?:class|func|meth|mod|data|attr):", path.read_text()), path


def test_every_command_has_its_help_text(site: Path) -> None:
    text = re.sub(r"<[^>]*>", "", (site / "reference" / "command-line.html").read_text())
    for command in ("demo", "pick", "index build", "index merge", "pack check", "data check"):
        assert f"Usage: mgdali {command}" in text


def test_every_diagram_is_shown_as_a_drawing(site: Path, diagrams: ModuleType) -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    expected = re.findall(r"^ *accTitle: (.*)$", text, re.MULTILINE)
    assert len(expected) == text.count("```mermaid")
    shown = (site / "design.html").read_text()
    assert re.findall(r"<svg [^>]*aria-roledescription[^>]*><title[^>]*>([^<]*)</title>", shown) == expected
    assert "accTitle" not in shown
    names = {diagram.name for diagram in diagrams.diagrams_of(text)}
    assert {path.stem for path in diagrams.DRAWINGS.iterdir()} == names


def test_drawings_have_only_the_colours_of_the_page(diagrams: ModuleType) -> None:
    for path in diagrams.DRAWINGS.iterdir():
        svg = path.read_text()
        colours = re.findall(r"(?:fill|stroke)(?:=\"|: )([^;\"]+)", svg)
        assert len(colours) > 5, path
        assert [colour for colour in colours if colour != "none" and not colour.startswith("var(--md-")] == [], path
        # A page's SVG must neither load nor run anything, and its rules must not apply to the rest of the page.
        assert not re.search(r"<(?:script|foreignObject|image|a)\b|@import|url\((?!#)", svg), path
        rules = re.search(r"<style>(.*?)</style>", svg)
        assert rules is not None
        assert all(rule.startswith(".flowchart ") for rule in re.findall(r"([^{}]+)\{", rules[1].replace("} ", "}"))), (
            path
        )


def test_a_drawing_must_belong_to_the_lines_of_its_page(tmp_path: Path, diagrams: ModuleType) -> None:
    source = "flowchart TB\n    accTitle: Two steps\n    a --> b\n"
    drawn = diagrams.Diagram(source)
    (tmp_path / "two-steps.svg").write_text(f'<svg data-source="{drawn.fingerprint}"/>\n')
    assert "<svg" in diagrams.with_drawings(f"```mermaid\n{source}```\n", tmp_path)
    with pytest.raises(ValueError, match=r"two-steps.svg was drawn from other lines .*: run .*draw_diagrams"):
        diagrams.with_drawings(f"```mermaid\n{source}    b --> c\n```\n", tmp_path)
    with pytest.raises(ValueError, match=r"three-steps.svg is missing: run .*draw_diagrams"):
        diagrams.with_drawings(f"```mermaid\n{source.replace('Two', 'Three')}```\n", tmp_path)
    with pytest.raises(ValueError, match="no line 'accTitle"):
        diagrams.with_drawings("```mermaid\nflowchart TB\n    a --> b\n```\n", tmp_path)


def test_the_page_of_a_folder_links_to_the_files_that_the_site_contains(site: Path) -> None:
    text = (site / "repository" / "benchmarks" / "results.html").read_text()
    assert re.search(r'<a href="results/([^"]*)"><code>\1</code></a>', text)


def test_a_picture_with_a_dark_form_follows_the_colours_of_the_site(site: Path) -> None:
    text = (site / "explore.html").read_text()
    assert re.findall(r'src="(images/explore-[^"]*)"', text) == [
        "images/explore-light.png#only-light",
        "images/explore-dark.png#only-dark",
    ]
    assert "<picture" not in text
