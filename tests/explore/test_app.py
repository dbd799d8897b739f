"""The addresses of the page's server, and what they answer."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette")

from hatchling.builders.wheel import WheelBuilder
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

import mgdali
from mgdali.choices import draw
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.explore.access import HEADERS, AllowedHosts
from mgdali.explore.answers import Answers
from mgdali.explore.app import PAGE, Workers, _unless_gone, explore_app
from mgdali.explore.collection import Collection, open_collection
from mgdali.explore.sources import ListedVideos
from mgdali.explore.video_data import VideoData, VideoMotion
from mgdali.one_video.explanation import explain
from mgdali.one_video.pick import pick_frames
from mgdali.samplers import MotionClip, MotionGuided, Sampler, Segment, Stride, TopMotion
from mgdali.video.time_range import TimeRange
from tests.support.videos import moving_square, write_video

SEGMENTS = [TimeRange(0.2, 0.8), TimeRange(7, 19, "frames"), TimeRange(9, None, "frames")]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for seed, name in enumerate(("jump/a.mp4", "run/b.mkv")):
        (folder / name).parent.mkdir()
        write_video(folder / name, moving_square(30, 48, 64, seed))
    (folder / "run" / "broken.mp4").write_bytes(b"not a video" * 500)
    return folder


class Site:
    """The application in this process, without a network."""

    def __init__(self, collection: Collection, page: Path = PAGE) -> None:
        self.collection, self.data, self.workers = collection, VideoData(), Workers()
        app = explore_app(
            Answers(collection, self.data), self.workers, "token", AllowedHosts("127.0.0.1", 8000), page=page
        )
        self.client = TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False)

    def get(self, path: str) -> Any:
        """Return a response, after the time of measuring."""
        for _ in range(100):
            response = self.client.get(f"/token/{path}")
            if response.status_code != 202:
                return response
            assert isinstance(response.json()["measuring"]["frames"], int)
            time.sleep(0.01)
        raise AssertionError(f"{path} is still being measured")

    def json(self, path: str) -> Any:
        response = self.get(path)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        return response.json()

    def error(self, path: str, status: int) -> str:
        response = self.get(path)
        assert response.status_code == status, response.text
        (message,) = response.json().values()
        assert list(response.json()) == ["error"]
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        return str(message)

    def id(self, name: str) -> int:
        (row,) = [row for row in self.json("api/videos")["rows"] if row["name"].endswith(name)]
        return int(row["id"])

    def close(self) -> None:
        self.workers.close()
        self.data.close()
        self.collection.close()


@pytest.fixture(scope="module")
def site(videos: Path) -> Iterator[Site]:
    made = Site(open_collection([str(videos)]))
    yield made
    made.close()


@pytest.fixture(scope="module")
def segments(videos: Path) -> Iterator[Site]:
    dataset = VideoDataset([videos / "jump" / "a.mp4"] * 3, None, time_ranges=SEGMENTS)
    made = Site(Collection("segments", [ListedVideos(dataset)]))
    yield made
    made.close()


def test_the_collection_is_described(site: Site, videos: Path) -> None:
    found = site.json("api/collection")
    assert (found["title"], found["count"], found["classes"]) == (str(videos), 3, ["jump", "run"])
    assert (found["version"], found["complete"]) == (mgdali.__version__, True)
    assert found["sorts"] == ["name", "frames", "motion", "still", "class"]


def test_the_list_is_searched_sorted_and_read_in_pages(site: Site) -> None:
    page = site.json("api/videos?count=2&first=1&sort=name&descending=1")
    assert (page["total"], page["first"], len(page["rows"])) == (3, 1, 2)
    assert set(page["rows"][0]) == {"id", "name", "class", "frames", "motion", "still", "error"}
    assert [row["name"].split("/")[-1] for row in page["rows"]] == ["b.mkv", "a.mp4"]
    assert [row["class"] for row in site.json("api/videos?class=jump")["rows"]] == ["jump"]
    assert site.json("api/videos?search=BROKEN&class=")["total"] == 1
    assert site.json("api/videos?class=none")["rows"] == []


def test_the_place_of_a_video_is_that_of_its_row_in_the_list(site: Site) -> None:
    for query in ("sort=name&descending=1", "search=b"):
        listed = [row["id"] for row in site.json(f"api/videos?{query}")["rows"]]
        for number in range(3):
            place = listed.index(number) if number in listed else None
            assert site.json(f"api/videos/{number}/place?{query}") == {"place": place}


def test_a_video_has_the_motion_and_times_of_pick_frames(site: Site, videos: Path) -> None:
    path = str(videos / "jump" / "a.mp4")
    for level in ("image", "feature"):
        found = site.json(f"api/videos/{site.id('a.mp4')}?level={level}")
        clip = pick_frames(path, sampler=TopMotion(30, motion=level))
        assert (found["path"], found["start"], found["end"], found["level"]) == (path, None, None, level)
        assert (found["total"], found["first_frame"], found["title_total"]) == (30, 0, "30 frames")
        assert (found["width"], found["height"], found["frame_rate"]) == (64, 48, 30)
        np.testing.assert_array_equal(found["motion"], clip.motion)
        np.testing.assert_array_equal(found["seconds"], clip.seconds)
    # The list knows what was measured.
    (row,) = site.json("api/videos?search=a.mp4")["rows"]
    assert row["frames"] == 30
    assert row["motion"] > 0


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(
    ("query", "sampler"),
    [
        ("strategy=motion&num_frames=5&mu=0.7&even=0.1", MotionGuided(5, mu=0.7, even=0.1)),
        ("strategy=motion&inverse=nearest&level=feature", MotionGuided(inverse="nearest", motion="feature")),
        ("strategy=top&num_frames=4", TopMotion(4)),
        ("strategy=segment&num_frames=6", Segment(6)),
        ("strategy=stride&stride=3&past_end=loop&num_frames=20", Stride(20, stride=3, past_end="loop")),
        ("strategy=run&num_frames=4&stride=2", MotionClip(4, stride=2)),
    ],
)
def test_the_explanation_has_the_picks_of_pick_frames(
    site: Site, videos: Path, query: str, sampler: Sampler, seed: int | None
) -> None:
    drawn = "" if seed is None else f"&seed={seed}"
    found = site.json(f"api/videos/{site.id('b.mkv')}/explanation?{query}{drawn}")
    clip = pick_frames(videos / "run" / "b.mkv", sampler=sampler, seed=seed)
    assert found["rows"][0]["frames"] == clip.indices.tolist()
    offsets = draw(seed or 0, 0, 0, sampler.num_frames, training=seed is not None).offsets
    total = len(clip.motion)
    expected = explain(
        sampler,
        clip.indices,
        motion=clip.motion,
        total=total,
        offsets=offsets,
        seconds=found["seconds"],
        title=found["title"],
    )
    assert found == expected.as_dict()
    assert found["title"].endswith(f"b.mkv: {sampler.num_frames} of {total} frames")


@pytest.mark.parametrize("number", range(len(SEGMENTS)))
def test_the_picks_of_a_segment_are_those_of_its_start_and_end_in_python(segments: Site, number: int) -> None:
    found = segments.json(f"api/videos/{number}")
    clip = pick_frames(found["path"], 4, start=found["start"], end=found["end"])
    assert (found["first_frame"], found["total"]) == (clip.first_frame, len(clip.motion))
    np.testing.assert_array_equal(found["motion"], clip.motion)
    explanation = segments.json(f"api/videos/{number}/explanation?num_frames=4")
    assert explanation["rows"][0]["frames"] == clip.indices.tolist()
    last = clip.first_frame + len(clip.motion) - 1
    assert found["title_total"] == f"{len(clip.motion)} frames ({clip.first_frame} to {last})"


def test_frames_are_jpeg_pictures_of_the_asked_height(site: Site, videos: Path) -> None:
    found = site.json(f"api/videos/{site.id('a.mp4')}/frames?at=29,0,11&height=24")["frames"]
    assert sorted(found) == ["0", "11", "29"]
    content = found["11"].removeprefix("data:image/jpeg;base64,")
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (24, 32, 3)


def test_offsets_are_those_of_a_training_draw(site: Site) -> None:
    found = site.json("api/offsets?num_frames=5&seed=7")["offsets"]
    assert found == draw(7, 0, 0, 5, training=True).offsets.tolist()


def test_a_broken_video_is_422_with_the_decoders_words_and_the_list_shows_them(site: Site) -> None:
    broken = site.id("broken.mp4")
    for path in (f"api/videos/{broken}", f"api/videos/{broken}/explanation", f"api/videos/{broken}/frames?at=0"):
        message = site.error(path, 422)
        assert message.startswith("cannot decode ")
        assert "broken.mp4: Invalid data found" in message
    (row,) = site.json("api/videos?search=broken")["rows"]
    assert "Invalid data found" in row["error"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("api/collection?x=1", "'x' is not a parameter"),
        ("api/videos?sort=size", "sort must be one of name, frames, motion, still, class, got 'size'"),
        ("api/videos?count=501", "501"),
        ("api/videos?first=-1", "'-1'"),
        ("api/videos?descending=yes", "descending must be one of 0, 1, got 'yes'"),
        ("api/videos?search=" + "x" * 1001, "search must have at most 1000 characters"),
        ("api/videos/0/place?sort=size", "sort must be one of name, frames, motion, still, class, got 'size'"),
        ("api/videos/0?level=x", "level must be one of image, feature, got 'x'"),
        ("api/videos/0/frames", "at must be 1 to 64 integers"),
        ("api/videos/0/frames?at=" + ",".join(["1"] * 65), "at must be 1 to 64 integers"),
        ("api/videos/0/frames?at=0&height=15", "height must be an integer from 16 to 720, got '15'"),
        ("api/videos/0/frames?at=99999", "99999"),
        ("api/offsets?num_frames=513&seed=1", "num_frames must be an integer from 1 to 512, got '513'"),
        ("api/videos/0/explanation?mu=-1", "mu must be a finite number >= 0, got '-1'"),
        ("api/videos/0/explanation?mu=1e9", "overflows float64"),
    ],
)
def test_bad_parameters_are_400_with_the_value_and_its_range(site: Site, path: str, words: str) -> None:
    assert words in site.error(path, 400)


@pytest.mark.parametrize("id", ["3", "9" * 18, "9" * 5000, "-1", "a", "1.0", "%D9%A3", "0%2F..%2F1", ".."])
def test_an_unknown_id_is_404(site: Site, id: str) -> None:
    for path in ("frames?at=0", "place"):
        message = site.error(f"api/videos/{id}/{path}", 404)
        assert "is unknown: ids are" in message or "nothing at this address" in message


@pytest.mark.parametrize(
    "path",
    ["..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "x.js", "", "../app.py", "a.js%00", "sub/b.js", "%2fetc%2fpasswd"],
)
def test_only_the_named_files_of_the_page_are_served(videos: Path, tmp_path: Path, path: str) -> None:
    for name in ("index.html", "a.js", "style.css", "notes.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.js").write_text("hidden")
    site = Site(open_collection([str(videos)]), tmp_path)
    try:
        types = {name: site.get(f"page/{name}").headers["content-type"] for name in ("a.js", "style.css", "index.html")}
        assert types == {
            "a.js": "text/javascript; charset=utf-8",
            "style.css": "text/css; charset=utf-8",
            "index.html": "text/html; charset=utf-8",
        }
        index = site.get("")
        assert (index.text, index.headers["cache-control"]) == ("index.html", "no-cache")
        assert site.get("page/notes.txt").status_code == 404
        assert site.get(f"page/{path}").status_code == 404
    finally:
        site.close()


def test_an_error_of_the_program_is_one_line_on_stderr_and_no_stack_trace_in_the_response(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret\nof two lines")

    monkeypatch.setattr(site.data, "motion", broken)
    assert "secret" not in site.error("api/videos/0", 500)
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert printed.startswith("error: /api/videos/0 failed: RuntimeError: secret of two lines (test_app.py:")
    assert "token" not in printed


def test_numbers_that_json_does_not_have_are_null(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    motion, seconds = np.array([0.0, np.inf, 1.0]), np.array([0.0, np.nan, 2.0])
    odd = VideoMotion(motion, seconds, 0, 0.0, 4, 4, 48)
    monkeypatch.setattr(site.data, "motion", lambda *_, **__: odd)
    text = site.get("api/videos/0?level=feature").text

    def no_constant(name: str) -> None:
        raise AssertionError(name)

    found = json.load(io.StringIO(text), parse_constant=no_constant)
    assert (found["motion"], found["seconds"]) == ([0, None, 1], [0, None, 2])


def test_the_answer_to_a_client_that_has_gone_is_not_computed() -> None:
    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    release, computed = threading.Event(), []
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(release.wait)
        job = pool.submit(lambda: computed.append(1) or Response())
        asyncio.run(_ended(Request({"type": "http"}, gone), job))
        assert job.cancelled()
    finally:
        release.set()
        pool.shutdown()
    assert not computed


async def _ended(request: Request, job: Any) -> None:
    await _unless_gone(request, job)


def test_a_wheel_contains_all_files_of_the_page() -> None:
    # What the build backend chooses for a wheel, without the time of building one.
    wheel = WheelBuilder(str(Path(mgdali.__file__).parents[1]))
    included = {file.distribution_path for file in wheel.recurse_included_files()}
    files = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()}
    assert {"index.html", "style.css", "main.js"} <= files
    assert {f"mgdali/explore/page/{name}" for name in files} <= included
