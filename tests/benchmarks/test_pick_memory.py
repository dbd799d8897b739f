"""The benchmark of the memory of pick_frames, at a tiny scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.benchmark_modules import script

pytestmark = pytest.mark.slow


def test_memory_is_measured_in_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = script("pick_memory")
    monkeypatch.setattr(benchmark, "HEIGHT", 64)
    monkeypatch.setattr(benchmark, "WIDTH", 96)
    monkeypatch.setattr(benchmark, "CLIP_SECONDS", 1)
    out = tmp_path / "report.json"
    benchmark.main(["--minutes", "0.1", "--num-frames", "4", "--out", str(out)])
    own = json.loads(out.read_text())["levels"]["image"]
    # Six repetitions of a second.
    assert own["frames"] == 180
    assert len(own["indices"]) == 4
    assert own["returned_bytes"] == 4 * 64 * 96 * 3
    assert 0 < own["imported_bytes"] < own["peak_bytes"] < benchmark.LIMIT_MIB << 20
    assert not own["torch"]
    assert "| image | 180 |" in capsys.readouterr().out
