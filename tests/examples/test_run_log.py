"""The log of a training run: TensorBoard events where they are wanted, and the loader's speed."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mgdali import VideoDataset
from tests.support.loading import load

run_log = importlib.import_module("run_log")


class Writer:
    """A stand-in for TensorBoard's writer, whose package need not be installed."""

    folders: list[str] = []

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folders.append(folder)
        self.values: list[tuple[str, float, int]] = []

    def add_scalar(self, *value: Any) -> None:
        self.values.append(value)

    def close(self) -> None:
        pass


def test_events_that_were_asked_for_need_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = run_log.RunLog(tmp_path, 0)
    assert log.notice.endswith("pip install tensorboard")
    log.close()
    with pytest.raises(ImportError, match=r"to .*events, because tensorboard is missing: pip install tensorboard"):
        run_log.RunLog(tmp_path, 0, tmp_path / "events")


def test_entries_of_later_steps_are_removed_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    run_log.RunLog(tmp_path, 2).close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    path.write_text("\0\0\n")
    with pytest.raises(ValueError, match=f"{path} is damaged: remove the folder {tmp_path} to start this run again"):
        run_log.RunLog(tmp_path, 2)
    assert path.read_text() == "\0\0\n"


def test_the_speed_of_the_loader_is_logged(
    dataset: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("torch.utils.tensorboard")
    monkeypatch.setattr(module, "SummaryWriter", Writer, raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    log = run_log.RunLog(tmp_path, 0, tmp_path / "events")
    with load(dataset.subset([0, 4])) as loader:
        assert run_log.loader_values(loader) == {}
        assert len(list(loader)) == 2
        log.add(2, run_log.loader_values(loader))
        stats = loader.stats()
    log.close()
    expected = {
        "loader/clips_per_second": stats.clips_per_second,
        "loader/waiting": stats.waiting,
        "loader/workers_busy": stats.workers_busy,
    }
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 2, **expected}
    assert log._board.values == [(name, value, 2) for name, value in expected.items()]
    assert Writer.folders == [str(tmp_path / "events")]
    assert stats.clips_per_second > 0


def test_real_events_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    log = run_log.RunLog(tmp_path, 0, tmp_path / "events")
    log.add(1, {"loader/waiting": 0.5})
    log.close()
    assert b"loader/waiting" in next((tmp_path / "events").glob("events*")).read_bytes()
