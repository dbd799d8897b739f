"""The demo: on its own videos, on a folder of the user's, on folders that are not as they should be."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mgdali import DatasetError, MotionGuided, VideoDataset, VideoDecodeError
from mgdali.demo.synthetic import plan_action_videos, write_action_videos
from mgdali.sampling import sample_segment
from mgdali.video.meters import measure_motion

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from mgdali.demo.run import DemoOptions, run_demo

SCRIPT = """
from rich.console import Console
from mgdali.demo.run import DemoOptions, run_demo

for epochs in (2, 1):
    run_demo(DemoOptions(epochs=epochs, num_workers=2), Console())
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "videos"
    write_action_videos(folder, videos_per_class=1)
    return folder


@pytest.fixture
def flat(videos: Path, tmp_path: Path) -> Path:
    """A folder with four videos in it and no folders; its name is no markup."""
    folder = tmp_path / "my [red]videos"
    folder.mkdir()
    for path in sorted(videos.rglob("*.mp4"))[:4]:
        (folder / f"{path.parent.name}.mp4").write_bytes(path.read_bytes())
    return folder


def run(options: DemoOptions) -> str:
    """What the demo prints."""
    output = io.StringIO()
    run_demo(options, Console(file=output, width=100))
    return output.getvalue()


def printed_picks(output: str) -> dict[str, tuple[list[int], list[int]]]:
    """Motion-guided and even picks that the demo printed, by path."""
    found = re.findall(
        r"^(.*) \(class .*, (\d+) frames\)\n  motion-guided ([\d ]+)\n  evenly spread ([\d ]+)$", output, re.M
    )
    return {path: ([*map(int, guided.split())], [*map(int, even.split())]) for path, _, guided, even in found}


def table_rows(output: str) -> list[list[str]]:
    """The table's rows: epoch, clips, seconds, clips/s, frames decoded, frames/s, first batch, "s"."""
    return [line.split() for line in output.splitlines() if re.fullmatch(r"(\s+[\d.]+){7} s\s*", line)]


@pytest.mark.slow
def test_a_plain_script_runs_it_on_its_own_videos_and_again_without_writing_them(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.split("Picture: mgdali-demo/picks.png\n")[:2]
    planned = {f"mgdali-demo/videos/{video.name}": video for video in plan_action_videos()}
    assert first.startswith(f"Wrote {len(planned)} videos")
    assert second.startswith(f"Using the {len(planned)} videos")
    total = sum(video.num_frames for video in planned.values())
    for output, epochs in ((first, 2), (second, 1)):
        rows = table_rows(output)
        assert [row[:2] for row in rows] == [[str(number + 1), str(len(planned))] for number in range(epochs)]
        for _, clips, seconds, speed, frames, frame_speed, first_batch, _ in rows:
            assert int(frames) == total
            assert 0 < float(first_batch) <= float(seconds)
            assert float(speed) == pytest.approx(int(clips) / float(seconds), rel=0.1)
            assert float(frame_speed) == pytest.approx(int(frames) / float(seconds), rel=0.1)
    picks = printed_picks(first)
    assert len({planned[path].action for path in picks}) == 3
    for path, (guided, even) in picks.items():
        burst = planned[path].burst
        assert sum(t in burst for t in guided) >= 7 > sum(t in burst for t in even)
    assert imread(tmp_path / "mgdali-demo" / "picks.png").shape[1] == 1440
    assert sorted(os.listdir(tmp_path / "mgdali-demo")) == ["picks.png", "videos"]


def test_a_folder_of_classes_gets_what_the_library_picks(videos: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a" / "b.png"
    options = DemoOptions(videos=videos, picture=picture, num_frames=5, mu=0.8, epochs=1, show=6, num_workers=1, seed=4)
    picks = printed_picks(run(options))
    assert list(picks) == [video.path for video in VideoDataset.from_folder(videos)]
    sampler = MotionGuided(num_frames=5, mu=0.8)
    for path, (guided, even) in picks.items():
        motion = measure_motion(path, sampler.representation)
        assert guided == sampler.pick(motion, len(motion), np.full(5, 0.5)).tolist()
        assert even == sample_segment(len(motion), 5).tolist()
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_flat_folder_is_one_class_and_a_bad_file_in_it_is_listed_at_the_end(flat: Path, tmp_path: Path) -> None:
    (flat / "broken.mp4").write_bytes(b"not a video" * 500)
    (flat / "notes.txt").write_text("no video at all")
    output = run(DemoOptions(videos=flat, picture=tmp_path / "p.png", motion="feature", num_workers=0, show=9))
    assert "5 videos, 1 class; 8 frames per clip by feature-level motion" in output
    assert [row[:2] for row in table_rows(output)] == [["1", "5"], ["2", "5"]]
    assert sorted(printed_picks(output)) == sorted(str(path) for path in flat.glob("[!b]*.mp4"))
    assert f"(class {flat.name}, " in output
    *_, title, bad, empty, last = output.splitlines()
    assert title == "1 video could not be decoded; other videos were used instead:"
    assert bad.startswith(f"  {flat / 'broken.mp4'}: ")
    assert (empty, last) == ("", f"Picture: {tmp_path / 'p.png'}")


def test_a_bad_file_is_an_error_where_that_is_asked_for(flat: Path, tmp_path: Path) -> None:
    (flat / "broken.mp4").write_bytes(b"not a video" * 500)
    with pytest.raises(VideoDecodeError, match=r"broken\.mp4"):
        run(DemoOptions(videos=flat, picture=tmp_path / "p.png", on_error="raise", num_workers=1))
    assert not (tmp_path / "p.png").exists()


def test_folders_without_videos_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match=f"{empty} has no videos"):
        run(DemoOptions(videos=empty))
    with pytest.raises(DatasetError, match=f"{tmp_path / 'missing'} does not exist"):
        run(DemoOptions(videos=tmp_path / "missing"))
    with pytest.raises(DatasetError, match=f"{tmp_path} already exists"):
        run(DemoOptions(data=tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("show", 0), ("num_frames", 0), ("mu", -1), ("motion", "x"), ("picture", "a.jpg")],
)
def test_options_out_of_range_are_named_before_anything_is_written(tmp_path: Path, name: str, value: object) -> None:
    given = {"data": tmp_path / "videos", name: Path(str(value)) if name == "picture" else value}
    with pytest.raises(ValueError, match=name):
        run(DemoOptions(**given))  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())
