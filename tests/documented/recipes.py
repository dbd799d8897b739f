"""What ``docs/recipes.md`` promises."""

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
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mgdali import PickedClip, pick_frames
from mgdali.bench.peers.ffmpeg import link_libraries
from tests.support.documented_blocks import DOCS, blocks_of
from tests.support.documented_case import Case, promise
from tests.support.videos import moving_square, write_video

PAGE = "recipes.md"
NUM_FRAMES, HEIGHT, WIDTH = 120, 48, 64
"""Those of video.mp4."""


@promise(PAGE, "One video")
def one_video(case: Case) -> None:
    clip = case.run()["clip"]
    assert_picks(clip)
    written = sorted(case.folder.glob("frame-*.jpg"))
    assert [int(file.name[6:12]) for file in written] == sorted(set(clip.indices.tolist()))
    for file in written:
        assert Image.open(file).size == (WIDTH, HEIGHT)
    assert Image.open(case.folder / "picks.png").width > 300


@promise(PAGE, "Thumbnails of a folder")
def thumbnails(case: Case) -> None:
    for name in ("one", "two"):
        shutil.copy(case.folder / "video.mp4", case.folder / "videos" / f"{name}.mp4")
    (case.folder / "videos" / "broken.mp4").write_bytes(b"not a video")
    case.run()
    strips = sorted((case.folder / "videos").glob("*.jpg"))
    assert [strip.name for strip in strips] == ["one.jpg", "two.jpg"], "broken.mp4 is reported and left out"
    assert re.fullmatch(r"cannot decode videos/broken\.mp4: .+\n", case.printed)
    for strip in strips:
        assert Image.open(strip).size == (4 * 160, 120)


@promise(PAGE, "Hugging Face Transformers: `load_video`")
def load_video(case: Case) -> None:
    write_exact_video(case)
    clip = pick_frames(case.folder / "video.mp4", 8)
    names = case.run()
    frames, metadata = names["frames"], names["metadata"]
    assert len(set(clip.indices.tolist())) == 8
    assert metadata.frames_indices.tolist() == clip.indices.tolist()
    assert metadata.timestamps == pytest.approx(clip.seconds.tolist())
    assert metadata.total_num_frames == NUM_FRAMES
    assert_similar(frames, clip.frames)


@promise(PAGE, "Qwen-VL: images and times")
def images_and_times(case: Case) -> None:
    names = case.run()
    (message,) = names["messages"]
    assert message["role"] == "user"
    assert [part["type"] for part in message["content"]] == [*["text", "image"] * 8, "text"]
    *parts, question = message["content"]
    times = [float(re.fullmatch(r"<(\d+\.\d) seconds>", part["text"])[1]) for part in parts[::2]]  # type: ignore[index]
    assert times == pytest.approx(names["clip"].seconds, abs=0.05)
    assert times == sorted(times)
    assert_images([part["image"] for part in parts[1::2]], names["clip"])
    assert question["text"].endswith("?")


@promise(PAGE, "Qwen-VL: a video entry")
def video_entry(case: Case) -> None:
    write_exact_video(case)
    names = case.run()
    (message,) = names["messages"]
    clip, (video, question) = names["clip"], message["content"]
    assert (message["role"], video["type"], question["type"]) == ("user", "video", "text")
    assert_images(video["video"], clip)
    assert video["sample_fps"] == pytest.approx(1 / np.diff(clip.seconds).mean())
    metadata = names["video_metadata"]
    assert metadata["total_num_frames"] == NUM_FRAMES
    assert np.array(metadata["frames_indices"]) / metadata["fps"] == pytest.approx(clip.seconds)
    write_video(case.folder / "video.mp4", moving_square(1, HEIGHT, WIDTH))
    assert 0 < case.run()["sample_fps"] < np.inf, "all picks are the only frame"


@promise(PAGE, "torchcodec")
def torchcodec(case: Case) -> None:
    """Check the block in a process that finds FFmpeg's libraries: PyAV's, or the system's if PyAV has none."""
    libraries = case.folder / "libraries"
    libraries.mkdir()
    link_libraries(libraries)
    environment = {
        **os.environ,
        "PYTHONPATH": str(DOCS.parent),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH")])),
    }
    line = "from tests.documented.recipes import check_torchcodec; check_torchcodec()"
    run = subprocess.run([sys.executable, "-c", line], cwd=case.folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def check_torchcodec() -> None:
    """Run the block about torchcodec in the working directory, and check it."""
    (block,) = [block for block in blocks_of(DOCS / PAGE) if block.name == "torchcodec"]
    names = Case(block, Path.cwd()).run()
    clip, batch = names["clip"], names["batch"]
    assert batch.data.shape == (8, 3, HEIGHT, WIDTH)
    assert_similar(batch.data.permute(0, 2, 3, 1).numpy(), clip.frames)
    assert (batch.pts_seconds - batch.pts_seconds[0]).numpy() == pytest.approx(clip.seconds - clip.seconds[0])


@promise(PAGE, "A web service")
def web_service(case: Case) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    assert len([line for line in case.block.code.splitlines() if line.strip()]) <= 20
    names = case.run()
    video = (case.folder / "video.mp4").read_bytes()
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


def write_exact_video(case: Case) -> None:
    """Write video.mp4 so that its average frame rate is exact: with the duration of the last frame."""
    write_video(case.folder / "video.mp4", moving_square(NUM_FRAMES, HEIGHT, WIDTH))


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
