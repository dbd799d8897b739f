from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mgdali import VideoDataset
from mgdali.index import video_progress
from mgdali.index.build import build_index
from mgdali.index.video_progress import VideoCounts, VideoProgress, in_notebook


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_screen(text: str) -> list[str]:
    """Return the lines that a cell shows: after a carriage return, text replaces the beginning of the line."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_the_speed_is_counted_from_the_start() -> None:
    now = [5.0]
    counts = VideoCounts(lambda: now[0])
    now[0] = 10.0
    counts.start(4)
    assert counts.rate == ""
    counts.count(failed=False, num_frames=100)
    counts.count(failed=True)
    now[0] = 14.0
    assert (counts.rate, counts.done, counts.failed) == ("0.5 videos/s, 25 frames/s", 2, 1)


@pytest.mark.parametrize("file", [Terminal(), io.StringIO()])
def test_text_ends_as_one_line_at_100_percent(file: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_progress, "_SECONDS_BETWEEN", 0)
    with VideoProgress("Measuring", "Measured", file=file) as bar:
        bar.start(3, kept=2)
        for number in range(3):
            bar.count_video(failed=number == 1, num_frames=1000 >> 4 * number)
    text = file.getvalue()
    assert text.count("\r") == (4 if file.isatty() else 0)
    assert all(character.isprintable() or character in "\r\n" for character in text)
    line, end = on_screen(text)
    assert line.startswith(f"Measured {'█' * 20} 100 %, 3/3 videos in ")
    assert line.endswith("2 unchanged, 1 failed")
    assert end == ""


def test_work_that_stops_does_not_end_at_100_percent() -> None:
    file = Terminal()
    bar = VideoProgress("Packing", "Packed", file=file)
    bar.start(3)
    bar.count_video(failed=False)
    bar.__exit__(KeyboardInterrupt)
    line = on_screen(file.getvalue())[0]
    assert line.startswith("Packing ██████░░░░░░░░░░░░░░ 33 %, 1/3 videos in ")
    assert line.endswith("stopped")


def test_a_cell_has_one_output_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[dict[str, Any]] = []

    def display(content: dict[str, str], *, raw: bool, display_id: bool) -> SimpleNamespace:
        assert raw
        assert display_id
        outputs.append(content)
        return SimpleNamespace(update=lambda content, raw: outputs.__setitem__(-1, content))

    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    assert in_notebook()
    with VideoProgress("Measuring", "Measured") as bar:
        bar.start(2)
        bar.count_video(failed=False)
        bar.count_video(failed=False)
    assert len(outputs) == 1
    assert outputs[0]["text/plain"].startswith(f"Measured {'█' * 20} 100 %, 2/2 videos in ")
    assert '<progress max="1" value="1.000"' in outputs[0]["text/html"]
    with VideoProgress("Measuring", "Measured", shown=False) as bar:
        bar.start(2)
    assert len(outputs) == 1


def test_a_command_that_a_notebook_starts_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert not in_notebook()
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert in_notebook()


def test_a_build_shows_progress_only_on_request(
    dataset: VideoDataset, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    build_index(dataset.subset([0, 1]), tmp_path / "a.parquet", num_workers=0)
    assert capsys.readouterr() == ("", "")
    build_index(dataset.subset([0, 1, 2]), tmp_path / "a.parquet", num_workers=0, progress=True)
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"Measured {'█' * 20} 100 %, 1/1 videos in ")
    assert error.endswith("2 unchanged\n")
    build_index(dataset.subset([0, 1, 2]), tmp_path / "a.parquet", num_workers=0, progress=True)
    assert capsys.readouterr().err == f"Measured {'█' * 20} 100 %, no new videos, 3 unchanged\n"
