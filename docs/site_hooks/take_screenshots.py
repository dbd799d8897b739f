"""Take the pictures of the page of ``mgdali explore`` for the documents, with the videos of ``mgdali demo``.

    .venv/bin/python docs/site_hooks/take_screenshots.py

It needs the extras plot, explore and browser-tests, and the Chromium that the browser tests use (``MGDALI_CHROMIUM``
names another).
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from mgdali import build_index
from mgdali.demo.synthetic import plan_action_videos, write_action_videos
from mgdali.explore.collection import open_collection
from mgdali.explore.server import running

_IMAGES = Path(__file__).resolve().parents[1] / "images"
_SIZE = ViewportSize(width=1200, height=1160)
_FOLDER, _INDEX = "mgdali-demo/videos", "index.parquet"
# Of this video, docs/images/picks.png also shows the picks.
_VIDEO = "move_down/00.mp4"
_ALL_CONFIRMED = """() => {
    const signs = [...document.querySelectorAll(".sign")];
    const pictures = [...document.querySelectorAll(".strip img")];
    return signs.length > 0 && signs.every((sign) => sign.dataset.kind === "equal")
        && pictures.every((picture) => picture.complete);
}"""


def main() -> None:
    """Take one picture with light colours, and one with dark ones."""
    program = os.environ.get("MGDALI_CHROMIUM") or shutil.which("chromium")
    # Chromium's sandbox does not work for the user root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        # The page shows the path as it is named.
        os.chdir(folder)
        write_action_videos(_FOLDER)
        build_index(_FOLDER, _INDEX)
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        with contextlib.closing(open_collection([_FOLDER], index=_INDEX)) as collection, running(collection) as link:
            for colours in ("light", "dark"):
                _take(browser, link, colours)
        browser.close()


def _take(browser: Browser, link: str, colours: Literal["light", "dark"]) -> None:
    page = browser.new_page(viewport=_SIZE, color_scheme=colours)
    number = [video.name for video in plan_action_videos()].index(_VIDEO)
    page.goto(f"{link}#video={number}")
    page.wait_for_function(_ALL_CONFIRMED)
    page.wait_for_timeout(500)
    path = _IMAGES / f"explore-{colours}.png"
    # 256 colours: half of the bytes, and no difference that can be seen.
    Image.open(io.BytesIO(page.screenshot())).quantize(256).save(path, optimize=True)
    page.close()
    print(f"written: {path}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
