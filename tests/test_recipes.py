"""The Python blocks of docs/recipes.md run as they are written, and do what the page promises.

A new block needs a check: a function with the mark ``@checks(page, heading)``, which gets the namespace after the block
and the folder that it ran in.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mgdali import PickedClip, pick_frames
from mgdali.bench.peers.ffmpeg import link_libraries
from tests.support.documented_blocks import DOCS, Block, blocks_of, run_block
from tests.support.videos import moving_square, write_video

NUM_FRAMES, HEIGHT, WIDTH = 36, 48, 64
RECIPES = DOCS / "recipes.md"

Check = Callable[[dict[str, Any], Path], None]


@dataclass(frozen=True)
class Recipe:
    """How a block is tested.

    Attributes:
        check: Called after the block with its namespace and its folder.
        needs: A module. The test is skipped if it is not installed.
        borrows_ffmpeg: Whether the module needs FFmpeg's libraries. The block then runs in a process that finds PyAV's.
    """

    check: Check
    needs: str | None
    borrows_ffmpeg: bool


CHECKS: dict[tuple[str, str], Recipe] = {}
SLOW = {"transformers", "torchcodec"}
"""Modules that take more than a second to import."""


def checks(page: str, name: str, needs: str | None = None, borrows_ffmpeg: bool = False) -> Callable[[Check], Check]:
    """Return a decorator that registers the check of a block."""

    def register(check: Check) -> Check:
        CHECKS[page, name] = Recipe(check, needs, borrows_ffmpeg)
        return check

    return register


@checks("recipes.md", "One video")
def check_one_video(names: dict[str, Any], folder: Path) -> None:
    clip = names["clip"]
    assert_picks(clip)
    written = sorted(folder.glob("frame-*.jpg"))
    assert [int(file.name[6:12]) for file in written] == sorted(set(clip.indices.tolist()))
    for file in written:
        assert Image.open(file).size == (WIDTH, HEIGHT)
    assert Image.open(folder / "picks.png").width > 300


@checks("recipes.md", "Thumbnails of a folder")
def check_thumbnails(names: dict[str, Any], folder: Path) -> None:
    strips = sorted((folder / "videos").glob("*.jpg"))
    assert [strip.name for strip in strips] == ["one.jpg", "two.jpg"], "broken.mp4 is reported and left out"
    for strip in strips:
        assert Image.open(strip).size == (4 * 160, 120)


@checks("recipes.md", "Hugging Face Transformers: `load_video`", needs="transformers")
def check_load_video(names: dict[str, Any], folder: Path) -> None:
    clip = pick_frames(folder / "video.mp4", 8)
    frames, metadata = names["frames"], names["metadata"]
    assert len(set(clip.indices.tolist())) == 8
    assert metadata.frames_indices.tolist() == clip.indices.tolist()
    assert metadata.timestamps == pytest.approx(clip.seconds.tolist())
    assert metadata.total_num_frames == NUM_FRAMES
    assert_similar(frames, clip.frames)


@checks("recipes.md", "Qwen-VL: images and times")
def check_images_and_times(names: dict[str, Any], folder: Path) -> None:
    (message,) = names["messages"]
    assert message["role"] == "user"
    assert [part["type"] for part in message["content"]] == [*["text", "image"] * 8, "text"]
    *parts, question = message["content"]
    times = [float(re.fullmatch(r"<(\d+\.\d) seconds>", part["text"])[1]) for part in parts[::2]]  # type: ignore[index]
    assert times == pytest.approx(names["clip"].seconds, abs=0.05)
    assert times == sorted(times)
    assert_images([part["image"] for part in parts[1::2]], names["clip"])
    assert question["text"].endswith("?")


@checks("recipes.md", "Qwen-VL: a video entry")
def check_video_entry(names: dict[str, Any], folder: Path) -> None:
    (message,) = names["messages"]
    clip, (video, question) = names["clip"], message["content"]
    assert (message["role"], video["type"], question["type"]) == ("user", "video", "text")
    assert_images(video["video"], clip)
    assert video["sample_fps"] == pytest.approx(1 / np.diff(clip.seconds).mean())
    metadata = names["video_metadata"]
    assert metadata["total_num_frames"] == NUM_FRAMES
    assert np.array(metadata["frames_indices"]) / metadata["fps"] == pytest.approx(clip.seconds)


@checks("recipes.md", "torchcodec", needs="torchcodec", borrows_ffmpeg=True)
def check_torchcodec(names: dict[str, Any], folder: Path) -> None:
    clip, batch = names["clip"], names["batch"]
    assert batch.data.shape == (8, 3, HEIGHT, WIDTH)
    assert_similar(batch.data.permute(0, 2, 3, 1).numpy(), clip.frames)
    assert (batch.pts_seconds - batch.pts_seconds[0]).numpy() == pytest.approx(clip.seconds - clip.seconds[0])


@checks("recipes.md", "A web service", needs="starlette")
def check_service(names: dict[str, Any], folder: Path) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    video = (folder / "video.mp4").read_bytes()
    clip = pick_frames(video, 8, size=360)
    names["pick_frames"] = outside_event_loops(names["pick_frames"])
    with testclient.TestClient(names["app"]) as client:
        answer = client.post("/pick", content=video)
        assert answer.status_code == 200
        assert answer.json()["indices"] == clip.indices.tolist()
        assert answer.json()["seconds"] == clip.seconds.tolist()
        frames = [Image.open(io.BytesIO(base64.b64decode(jpeg))) for jpeg in answer.json()["jpegs"]]
        assert_similar(np.stack([np.asarray(frame) for frame in frames]), clip.frames)

        answer = client.post("/pick", content=video[: len(video) // 2])
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("cannot decode <bytes>")

        names["LIMIT"] = len(video) - 1
        answer = client.post("/pick", content=video)
        assert (answer.status_code, answer.json()["error"]) == (413, f"the video has more than {len(video) - 1} bytes")
        assert client.get("/pick").status_code == 405


def outside_event_loops(function: Callable[..., PickedClip]) -> Callable[..., PickedClip]:
    """Return the function with an assertion that it is not called in a thread that runs an event loop."""

    def checked(*args: Any, **kwargs: Any) -> PickedClip:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return function(*args, **kwargs)
        raise AssertionError("a video is decoded in the thread of the event loop")

    return checked


def assert_picks(clip: PickedClip) -> None:
    assert clip.frames.shape == (8, HEIGHT, WIDTH, 3)
    assert all(before < after for before, after in pairwise(clip.seconds))


def assert_images(images: list[Image.Image], clip: PickedClip) -> None:
    """Check that images are those of a clip with eight frames."""
    assert_picks(clip)
    assert {(type(image), image.mode) for image in images} == {(Image.Image, "RGB")}
    assert np.array_equal(np.stack([np.asarray(image) for image in images]), clip.frames)


def assert_similar(frames: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    """Check that frames differ only as much as those of two decoders, and less than two frames of the video do."""
    assert (frames.shape, frames.dtype) == (expected.shape, np.uint8)
    assert np.abs(frames.astype(int) - expected).mean() < 2


def parameters() -> list[Any]:
    """Return each block, with the marks that its check asks for."""
    found = []
    for block in blocks_of(RECIPES):
        recipe = CHECKS.get((block.page.name, block.name))
        slow = recipe is not None and recipe.needs in SLOW
        found.append(pytest.param(block, id=str(block), marks=[pytest.mark.slow] if slow else []))
    return found


@pytest.fixture(scope="module")
def documented_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages promise: video.mp4, and videos/ with two videos and a broken one."""
    folder = tmp_path_factory.mktemp("documented")
    video = write_video(folder / "video.mp4", moving_square(NUM_FRAMES, HEIGHT, WIDTH))
    (folder / "videos").mkdir()
    for name in ("one", "two"):
        shutil.copy(video, folder / "videos" / f"{name}.mp4")
    (folder / "videos" / "broken.mp4").write_bytes(b"not a video")
    return folder


@pytest.mark.parametrize("block", parameters())
def test_each_block_runs_as_it_is_written(block: Block, documented_files: Path, tmp_path: Path) -> None:
    recipe = CHECKS.get((block.page.name, block.name))
    assert recipe is not None, f"line {block.line} of {block.page}: write a check of this block in {__file__}"
    if recipe.needs is not None and find_spec(recipe.needs) is None:
        pytest.skip(f"{recipe.needs} is not installed")
    shutil.copytree(documented_files, tmp_path, dirs_exist_ok=True)
    if recipe.borrows_ffmpeg:
        run_with_ffmpeg(block, tmp_path)
    else:
        recipe.check(run_block(block, tmp_path), tmp_path)


def run_with_ffmpeg(block: Block, folder: Path) -> None:
    """Run and check a block in a process that finds FFmpeg's libraries: PyAV's, or the system's if PyAV has none."""
    libraries = folder / "libraries"
    libraries.mkdir()
    link_libraries(libraries)
    environment = {
        **os.environ,
        "PYTHONPATH": str(DOCS.parent),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH")])),
    }
    line = f"from tests.test_recipes import run_and_check; run_and_check({block.page.name!r}, {block.name!r})"
    run = subprocess.run([sys.executable, "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def run_and_check(page: str, name: str) -> None:
    """Run and check one block in the current folder."""
    (block,) = [block for block in blocks_of(DOCS / page) if block.name == name]
    CHECKS[page, name].check(run_block(block, Path.cwd()), Path.cwd())


def test_each_check_belongs_to_a_block() -> None:
    blocks = [(RECIPES.name, block.name) for block in blocks_of(RECIPES)]
    assert set(CHECKS) - set(blocks) == set()
    assert len(set(blocks)) == len(blocks), "two blocks with equal headings"


def test_the_service_has_at_most_20_lines() -> None:
    (code,) = [block.code for block in blocks_of(RECIPES) if block.name == "A web service"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


def test_blocks_are_found_with_their_headings_and_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n## One\n\n```\n# no heading\n```\n\n```python\na = 1\n```\n\n- item:\n\n"
        "  ```python\n  b = a + 1\n  ```\n\n## Two\n\n```python\nraise ValueError\n```\n"
    )
    one, again, two = blocks_of(page)
    assert [(block.name, block.line) for block in (one, again, two)] == [("One", 10), ("One (2)", 16), ("Two", 22)]
    assert run_block(again, tmp_path, run_block(one, tmp_path))["b"] == 2
    with pytest.raises(ValueError, match=r"^$") as raised:
        run_block(two, tmp_path)
    assert (str(raised.traceback[-1].path), raised.traceback[-1].lineno) == (str(page), 21)
