"""The page with odd and broken files of other projects, as a user clicks through them."""

from __future__ import annotations

import contextlib
import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mgdali.explore.collection import open_collection
from mgdali.explore.server import running
from mgdali.explore.table import Query
from mgdali.video.media import VIDEO_EXTENSIONS

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

_MOST_FILES = 60

# What the page shows of the video with a name: null while it is not complete.
_SHOWN = """(name) => {
    const panel = document.querySelector("article");
    if (panel?.querySelector("h2").title !== name) return null;
    const message = panel.querySelector(".message");
    if (message.dataset.kind === "error" && !message.hidden) return { error: message.innerText };
    const cells = [...panel.querySelectorAll(".cell")];
    const signs = [...panel.querySelectorAll(".sign")];
    const loaded = (cell) => cell.classList.contains("failed") || cell.querySelector("img").naturalWidth > 0;
    if (!message.hidden || cells.length === 0) return null;
    if (!cells.every(loaded) || !signs.every((sign) => sign.dataset.kind)) return null;
    return {
        error: null,
        total: panel.querySelector(".facts").innerText.split(" frame")[0].replace(/\\D/g, ""),
        curve: [...panel.querySelectorAll(".curves path")].some((path) => path.getAttribute("d")),
        signs: signs.map((sign) => sign.dataset.kind),
        frames: cells.map((cell) => Number(cell.dataset.frame)),
        failures: cells.filter((cell) => cell.classList.contains("failed")).map((cell) => cell.title),
    };
}"""


@dataclass(frozen=True)
class OddFile:
    """A file, and what PyAV makes of it according to ``peers.tsv``."""

    path: Path
    frames: int
    outcome: str
    error: str


@pytest.fixture
def odd_files(shared: Path) -> list[OddFile]:
    """Some files of each kind: of each outcome, error, container and codec. The test is skipped without them."""
    table = shared / "peers.tsv"
    if not table.is_file():
        pytest.skip(f"{table} is missing: it describes the files in the folder peers beside it")
    kinds = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            found = OddFile(shared / "peers" / row["file"], int(row["frames"]), row["outcome"], row["error"])
            kinds[row["outcome"], row["error"], row["container"], row["codec"]].append(found)
    # The first file of each kind, then the second of each, and so on.
    ranked = sorted((place, *kind, file.path) for kind, files in kinds.items() for place, file in enumerate(files))
    chosen = {path for *_, path in ranked[:_MOST_FILES]}
    return [file for files in kinds.values() for file in files if file.path in chosen]


# Sixty files take 20 s on two processors. The limit is for slower machines.
@pytest.mark.timeout(900)
def test_each_odd_file_shows_its_curve_and_picked_frames_or_its_error_in_place(
    page: Page, expected_errors: list[str], odd_files: list[OddFile], tmp_path: Path
) -> None:
    # The browser itself reports the status of a video that cannot be decoded.
    expected_errors.append("status of 422")
    by_name = {}
    for odd in odd_files:
        # A folder lists files with the endings of videos; the others are named one by one.
        listed = odd.path.suffix.lower() in VIDEO_EXTENSIONS
        path = tmp_path / odd.path.name if listed else odd.path
        if listed:
            path.symlink_to(odd.path.resolve())
        by_name[str(path)] = odd
    others = [name for name in by_name if not name.startswith(str(tmp_path))]
    with contextlib.closing(open_collection([str(tmp_path), *others])) as collection, running(collection) as url:
        names = [row.name for row in collection.query(Query(count=500)).rows]
        assert set(names) == set(by_name)
        page.goto(url)
        for place, name in enumerate(names):
            if place > 0:
                page.keyboard.press("j")
            _check(page.wait_for_function(_SHOWN, arg=name).json_value(), by_name[name])


def _check(shown: dict[str, Any], odd: OddFile) -> None:
    if shown["error"] is not None:
        assert odd.outcome != "decodes", shown["error"]
        how_far = r"\((before its first frame|after \d+ frames)\)"
        pattern = rf"cannot decode .*{re.escape(odd.path.name)}: .+ {how_far}\. (Check that|Encode it again).*\."
        assert re.fullmatch(pattern, shown["error"]), shown["error"]
        return
    # Python's text encoding failed on the metadata of a few files when the table was made.
    assert odd.outcome == "decodes" or odd.error == "UnicodeDecodeError"
    if odd.outcome == "decodes":
        assert int(shown["total"]) == odd.frames
    assert shown["curve"]
    assert shown["failures"] == []
    assert shown["signs"] == ["equal", "equal"]
    assert len(shown["frames"]) == 16
    assert all(0 <= frame < int(shown["total"]) for frame in shown["frames"])
