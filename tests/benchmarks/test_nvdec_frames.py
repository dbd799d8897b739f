"""Comparison of the two routes' clips: frames that differ or are in the wrong place are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.benchmark_modules import script
from tests.support.videos import moving_square, write_video

nvdec_frames = script("nvdec_frames")
PICKS = [0, 3, 5, 9]


def clip(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (len(PICKS), 8, 8, 3), np.uint8)


def row(**changes: object) -> dict[str, object]:
    own = {"pixels": clip(), "picks": PICKS, "total": 10} | changes
    found = nvdec_frames.compared((own["pixels"], own["picks"], own["total"]), (clip(), PICKS, 10))
    return {"kind": "known picks", **found}


def test_equal_clips_are_not_wrong() -> None:
    found = row()
    assert (found["difference"], found["misplaced"], found["picks_apart"]) == (0.0, [], 0)
    assert not nvdec_frames.wrong(found)


def test_swapped_frames_are_named_and_wrong() -> None:
    found = row(pixels=clip()[[0, 2, 1, 3]])
    assert found["misplaced"] == [3, 5]
    assert nvdec_frames.wrong(found)


def test_frames_that_differ_much_are_wrong_and_little_are_not() -> None:
    near = np.clip(clip().astype(int) + 2, 0, 255).astype(np.uint8)
    assert not nvdec_frames.wrong(row(pixels=near))
    assert nvdec_frames.wrong(row(pixels=255 - clip()))


def test_another_number_of_frames_is_wrong() -> None:
    assert nvdec_frames.wrong(row(total=11))


def test_other_picks_are_wrong_only_if_they_were_known() -> None:
    found = row(picks=[0, 3, 6, 9])
    assert (found["picks_apart"], found["difference"]) == (1, None)
    assert nvdec_frames.wrong(found)
    assert not nvdec_frames.wrong(found | {"kind": "measured picks"})


def test_a_video_that_only_one_route_decodes_is_wrong() -> None:
    assert nvdec_frames.wrong({"error": ["broken", None]})
    assert not nvdec_frames.wrong({"error": ["broken", "broken"]})


@pytest.mark.slow
def test_clips_of_the_cpu_route_are_collected_by_path(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", moving_square(12, 64, 96))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"garbage" * 99)
    sampler, _ = nvdec_frames._SAMPLERS["measured picks"]
    found, report = nvdec_frames.clips([str(good), str(bad)], sampler, None, {"device": "cpu"})
    assert list(found) == [str(good)]
    pixels, picks, total = found[str(good)]
    assert (pixels.shape, len(picks), total) == ((8, 112, 112, 3), 8, 12)
    assert list(report["bad"]) == [str(bad)]
    assert "bad.mp4" in report["warnings"][0]


def test_without_a_gpu_the_commands_end_with_one_line(tmp_path: Path) -> None:
    folder = Path(nvdec_frames.__file__).parent
    command = [sys.executable, str(folder / "nvdec_frames.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={"CUDA_VISIBLE_DEVICES": ""})
    assert (done.returncode, done.stderr) == (1, "nvdec_frames.py: torch finds no GPU\n")
