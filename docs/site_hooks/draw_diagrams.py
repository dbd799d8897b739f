"""Draw the Mermaid diagrams of the pages as SVG files for the site.

    .venv/bin/python docs/site_hooks/draw_diagrams.py

It needs npm, which downloads Mermaid, and the Chromium that the browser tests use (``MGDALI_CHROMIUM`` names another).
Drawings of unchanged diagrams stay as they are, and files that belong to no diagram are deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from diagrams import DRAWINGS, Diagram, diagrams_of
from playwright.sync_api import sync_playwright

_MERMAID = "mermaid@11.17.2"
_SVG = "http://www.w3.org/2000/svg"
_SETTINGS = {
    "startOnLoad": False,
    "deterministicIds": True,
    # Text of SVG, which keeps its place at each size. Arial and its replacements have the same widths everywhere.
    "htmlLabels": False,
    "fontFamily": "Arial, Helvetica, 'Liberation Sans', sans-serif",
    "flowchart": {
        "htmlLabels": False,
        "nodeSpacing": 12,
        "rankSpacing": 36,
        "padding": 10,
        # Labels are broken only where their lines say so.
        "wrappingWidth": 600,
        "subGraphTitleMargin": {"top": 4, "bottom": 14},
    },
}
# The colours are those of the page, so that a drawing fits light and dark pages. Outside a page, the second ones apply.
_STYLE = """
{ font: 16px Arial, Helvetica, 'Liberation Sans', sans-serif; height: auto; }
text { fill: var(--md-default-fg-color, #222); }
:is(.node, .edgeLabel) text { text-anchor: middle; }
.node :is(rect, polygon, path) { fill: var(--md-code-bg-color, #f5f5f5); }
.node :is(rect, polygon, path) { stroke: var(--md-default-fg-color--light, #666); }
.cluster rect { fill: none; stroke: var(--md-default-fg-color--light, #666); stroke-dasharray: 2; }
.background { fill: none; stroke: none; }
.edgeLabel .background { fill: var(--md-default-bg-color, #fff); }
.flowchart-link { fill: none; stroke: var(--md-default-fg-color--light, #666); }
.edge-pattern-dotted { stroke-dasharray: 3; }
.arrowMarkerPath { fill: var(--md-default-fg-color--light, #666); stroke: none; }
"""


def main() -> None:
    """Draw what has changed."""
    pages = sorted(DRAWINGS.parents[1].glob("*.md"))
    diagrams = [diagram for page in pages for diagram in diagrams_of(page.read_text())]
    for path in DRAWINGS.glob("*.svg"):
        if path.stem not in {diagram.name for diagram in diagrams}:
            path.unlink()
    changed = [diagram for diagram in diagrams if not _is_drawn(diagram)]
    if changed:
        DRAWINGS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            for diagram, svg in _drawn(changed, _mermaid(Path(folder))):
                (DRAWINGS / f"{diagram.name}.svg").write_text(_tidy(svg, diagram) + "\n")
                print(f"drawn: {DRAWINGS / diagram.name}.svg")


def _is_drawn(diagram: Diagram) -> bool:
    with contextlib.suppress(ValueError):
        return bool(diagram.drawing())
    return False


def _mermaid(folder: Path) -> Path:
    """Download Mermaid to a folder, and return the path of its script."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", _MERMAID], cwd=folder, check=True, capture_output=True, text=True
    )
    script = "package/dist/mermaid.min.js"
    with tarfile.open(folder / packed.stdout.strip()) as archive:
        archive.extract(script, folder, filter="data")
    return folder / script


def _drawn(diagrams: list[Diagram], mermaid: Path) -> Iterator[tuple[Diagram, str]]:
    program = os.environ.get("MGDALI_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for the user root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page()
        page.add_script_tag(path=mermaid)
        page.evaluate("settings => mermaid.initialize(settings)", _SETTINGS)
        draw = "async ([name, source]) => (await mermaid.render(name, source)).svg"
        for diagram in diagrams:
            yield diagram, page.evaluate(draw, [diagram.name, diagram.source])
        browser.close()


def _tidy(svg: str, diagram: Diagram) -> str:
    """Return a drawing with the colours of the page, without what it does not need, in one line."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)
    used = set(re.findall(r"url\(#([^)]+)\)", svg))
    for parent in list(root.iter()):
        for child in list(parent):
            unused_arrow = child.tag == f"{{{_SVG}}}marker" and child.get("id") not in used
            if unused_arrow or child.tag == f"{{{_SVG}}}style":
                parent.remove(child)
        for name in list(parent.attrib):
            if name.startswith("data-") or (name == "style" and parent is not root):
                del parent.attrib[name]
    # The viewBox begins at 0 within a millionth.
    box = [f"{round(float(number), 1):g}" for number in root.attrib["viewBox"].split()]
    root.set("viewBox", " ".join(box))
    root.set("data-source", diagram.fingerprint)
    style = ElementTree.Element(f"{{{_SVG}}}style")
    # Rules of an SVG element within a page hold for the whole page.
    style.text = " ".join(f".flowchart {rule}" for rule in _STYLE.strip().splitlines())
    root.insert(1, style)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r"(\d+\.\d{2})\d+", r"\1", re.sub(r"\s*\n\s*", " ", text))


if __name__ == "__main__":
    main()
