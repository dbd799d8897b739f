"""The page of ``mgdali explore`` in a real browser: pictures and lines of Python that are saved."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.support.explore_page import open_page, picks_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_the_picture_is_saved_as_svg_with_its_images(page: Page, link: str, tmp_path: Path) -> None:
    open_page(page, link)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the picture as SVG").click()
    download.value.save_as(tmp_path / "picture.svg")
    assert download.value.suggested_filename == "a.mp4-picks.svg"
    content = (tmp_path / "picture.svg").read_text()
    root = ElementTree.fromstring(content)
    images = root.findall(".//{http://www.w3.org/2000/svg}image")
    assert len(images) == 16
    assert all((image.get("href") or "").startswith("data:image/jpeg;base64,") for image in images)
    # Colours of the page's style sheet would be missing in the file.
    assert "var(" not in content


def test_the_picture_is_saved_as_png_in_light_colours(page: Page, link: str, tmp_path: Path) -> None:
    from PIL import Image

    page.emulate_media(color_scheme="dark")
    open_page(page, link)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the picture as PNG").click()
    download.value.save_as(tmp_path / "picture.png")
    with Image.open(io.BytesIO((tmp_path / "picture.png").read_bytes())) as image:
        assert image.width == 2400
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
        assert len(np.unique(np.asarray(image.convert("RGB"))[::8, ::8].reshape(-1, 3), axis=0)) > 100


def test_the_lines_of_python_give_the_same_picks(page: Page, link: str) -> None:
    open_page(page, link, view="A=strategy:motion,num_frames:6,mu:1,seed:2&B=strategy:stride,num_frames:5,stride:3")
    page.get_by_role("button", name="Show the lines of Python that give these picks").click()
    lines = page.locator("#python-lines").inner_text()
    run = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.split("\n")[:2] == [str(picks_of(page, "A")), str(picks_of(page, "B"))]
    page.get_by_role("button", name="Copy").click()
    page.wait_for_function("() => document.getElementById('copy-status').textContent !== ''")
