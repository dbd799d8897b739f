"""The comparison with other loaders: peers do the same work, missing peers are reported, and the figures are right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mgdali import VideoDataset
from mgdali.bench.peers import cuda_clip, dataloader, process, registry, task, usage
from mgdali.motion import image_difference, luma_from_rgb
from mgdali.sampling import sample_motion_guided
from tests.support.benchmark_modules import BENCHMARKS, script
from tests.support.videos import moving_square, write_video

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

reference = script("peers.reference")
workloads, encoding = script("peers.workloads"), script("peers.encoding")
throughput, scaling, stages = script("throughput"), script("scaling"), script("stages")

TASK = task.Task(num_frames=4, resize=40, crop_size=32, batch_size=4, workers=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of samples for the workloads, with one video from which a long one is made."""
    folder = tmp_path_factory.mktemp("clips")
    for i in range(5):
        (folder / "labelled" / str(i)).mkdir(parents=True)
        write_video(folder / "labelled" / str(i) / "video.mp4", moving_square(6 + 5 * i, 48, 64, seed=i))
    (folder / "formats").mkdir()
    write_video(folder / "formats" / "long.mp4", moving_square(120, 40, 40))
    write_video(folder / "formats" / "old.avi", moving_square(9, 48, 64), codec="mpeg4")
    encoding.jpeg_frames(str(folder / "labelled" / "0" / "video.mp4"), folder / "frames")
    return folder


@pytest.fixture(scope="module")
def report(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a run in which decord cannot be imported."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "decord.py").write_text("raise ImportError('there is no decord')\n")
    names = ["mgdali", "dataloader-opencv", "dataloader-decord", "dataloader-pyav-luma", "decode-only"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        arguments = ["--clips", clips, "--cache", folder, "--rounds", 2, "--workers", 1, "--out", folder / "out.json"]
        arguments += ["--least-seconds", 0]
        throughput.main([*map(str, arguments), "--workload", "short", "--peers", *names])
    return dict(json.loads((folder / "out.json").read_text()))


# --- The same job ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dataloader-pyav", "dataloader-pyav-luma", "dataloader-opencv"])
def test_a_peer_picks_what_the_reference_picks(name: str, dataset: VideoDataset) -> None:
    peer = registry.PEERS[name]
    read = {"pyav": dataloader.read_pyav, "pyav_luma": dataloader.read_pyav_luma, "opencv": dataloader.read_opencv}
    read_one = read[peer.maker.partition(":")[2]]
    clips, picks = zip(*(read_one(path, TASK) for path in dataset.paths), strict=True)
    assert {clip.shape for clip in clips} == {(4, 3, 32, 32)}
    means = [clip.mean((0, 2, 3)).tolist() for clip in clips]
    expected = [reference.expect(path, TASK) for path in dataset.paths]
    agreement = reference.compare(peer, expected, np.stack(picks).tolist(), means)
    assert agreement.clips == len(dataset)
    assert agreement.equal >= len(dataset) - (2 if peer.tolerance else 0)
    assert agreement.most_off <= peer.tolerance


def test_the_reference_equals_the_packages_loader(tmp_path: Path) -> None:
    # Without loss, so that the frames are known.
    frames = moving_square(14, 48, 64)
    path = write_video(tmp_path / "video.mkv", frames, codec="ffv1", pixel_format="bgr0")
    expected = reference.expect(str(path), TASK)
    picks = sample_motion_guided(image_difference(frames), 4)
    assert (expected.frames, expected.rgb) == (14, picks.tolist())
    assert expected.plane == expected.rgb


@pytest.mark.parametrize(
    ("picks", "means", "reason"),
    [
        ([[0, 1, 2, 9]], [[0.0, 0.0, 0.0]], "picks differ by up to 6 frames in 1 of 1 videos"),
        ([[0, 1, 2, 4]], [[0.0, 0.0, 0.9]], "mean .* 0.90"),
        ([[0, 1, 2, 4]], [[0.0, 0.0, float("nan")]], "clips look different"),
    ],
    ids=["picks", "channels", "not a number"],
)
def test_a_peer_with_other_results_is_reported(picks: Any, means: Any, reason: str) -> None:
    expected = [reference.Expected(12, [0, 1, 2, 3], [0, 1, 2, 3], [0.0, 0.0, 0.0])]
    with pytest.raises(ValueError, match=reason):
        reference.compare(registry.PEERS["dataloader-opencv"], expected, picks, means)


def test_a_folder_of_jpeg_files_is_read_by_every_loader_that_supports_it(clips: Path) -> None:
    (folder,) = workloads.find_media(clips / "frames")
    expected = reference.expect(folder, TASK)
    assert expected.frames == 6
    for read in (dataloader.read_pyav, dataloader.read_pyav_luma, dataloader.read_opencv):
        _, picks = read(folder, TASK)
        assert np.abs(picks - expected.plane).max() <= 1


def test_the_torch_code_for_gpus_equals_the_reference_on_the_cpu() -> None:
    frames = moving_square(19, 48, 64)
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2)
    assert np.array_equal(cuda_clip.luma(tensor).numpy(), luma_from_rgb(frames))
    clip, picks = cuda_clip.clip_of(tensor, TASK)
    assert picks.tolist() == sample_motion_guided(image_difference(frames), 4).tolist()
    assert torch.allclose(clip, dataloader.finish(frames[picks], TASK), atol=0.02)


# --- Messages ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_missing_peer_is_reported(report: dict[str, Any]) -> None:
    (load,) = report["workloads"]
    reason = "is missing: there is no decord; pip install 'mgdali[bench]'"
    assert load["refused"] == {"dataloader-decord": reason}
    assert f"dataloader-decord {reason}" in throughput.rendered(report)


@pytest.mark.slow
def test_a_peer_that_cannot_read_a_workload_reports_the_file_and_the_reason(tmp_path: Path, clips: Path) -> None:
    (tmp_path / "words.mp4").write_text("no video")
    paths = [*workloads.short(clips, tmp_path), str(tmp_path / "words.mp4")]
    child = process.PeerProcess(registry.PEERS["dataloader-opencv"], TASK, paths)
    try:
        child.prepare()
        with pytest.raises(process.Refusal, match=r"^words.mp4: cv2.VideoCapture"):
            child.check()
    finally:
        child.close()


def test_without_a_gpu_one_line_names_the_loaders_that_need_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise throughput.driver.GPUError("no driver")

    monkeypatch.setattr(throughput.driver, "find_gpus", missing)
    peers, line = throughput.choose(["mgdali", "mgdali-cuda", "torchcodec-cuda"])
    assert [peer.name for peer in peers] == ["mgdali"]
    assert line == "No GPU (no driver): not measured: mgdali-cuda, torchcodec-cuda."
    with pytest.raises(SystemExit, match="No GPU"):
        throughput.main(["--peers", "dali-readers-video"])


def test_without_clips_the_command_reports_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--clips"):
        throughput.main(["--peers", "decode-only", "--clips", str(tmp_path / "none")])


# --- Figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_json_contains_the_values_of_the_table(report: dict[str, Any]) -> None:
    assert {"machine", "libavcodec", "task", "rounds", "no_gpu", "workloads"} <= set(report)
    (load,) = report["workloads"]
    assert (load["workload"], load["videos"], load["frames"], load["longest"]) == ("short", 5, 80, 26)
    assert load["fastest_peer"] == "dataloader-opencv"
    assert load["packs"] == {}
    # None of the ratios with targets can be made of these loaders.
    assert load["compared"] == []
    kinds = {own["name"]: own["kind"] for own in load["rows"]}
    assert kinds == {
        "mgdali": "ours",
        "dataloader-opencv": "documented",
        "dataloader-pyav-luma": "by hand",
        "decode-only": "floor",
    }
    for own in load["rows"]:
        assert len(own["clips_per_s"]["values"]) == 2
        assert 0 < own["clips_per_s"]["least"] <= own["clips_per_s"]["median"] <= own["clips_per_s"]["most"]
        assert own["over_fastest_peer"]["median"] > 0
        assert own["over_decoding_alone"]["median"] > 0
        assert own["cpu_seconds_a_clip"]["median"] >= 0
        assert own["peak_memory_bytes"] > 10 << 20
    picks = {own["name"]: own["picks"] for own in load["rows"]}
    assert picks["decode-only"] is None
    assert picks["mgdali"] == {"held_to": "plane", "equal": 5, "of": 5, "most_off": 0}


@pytest.mark.slow
def test_the_table_has_a_row_per_loader_and_names_the_compared_loader(report: dict[str, Any]) -> None:
    lines = throughput.rendered(report).splitlines()
    heads = next(line for line in lines if line.startswith("| loader |"))
    for head in (
        "clips/s",
        "least",
        "most",
        "over the fastest peer",
        "over decoding alone",
        "CPU s per clip",
        "peak MiB",
    ):
        assert f"| {head} |" in heads
    names = [line.split(" | ")[0] for line in lines if line.startswith("| ")][1:]
    assert names == [
        "| ---",
        "| mgdali",
        "| dataloader-opencv (the fastest peer)",
        "| dataloader-pyav-luma (by hand)",
        "| decode-only",
    ]
    assert all(line.count("|") == heads.count("|") for line in lines if line.startswith("|"))


def test_ratios_are_of_the_same_round() -> None:
    figures, epoch = script("peers.report"), process.Epoch
    made = figures.row(
        registry.PEERS["mgdali"],
        10,
        [epoch(1.0, 0.5), epoch(4.0, 0.7)],
        fastest_peer=[epoch(2.0, 1.0), epoch(8.0, 1.0)],
        floor=[epoch(0.5, 1.0), epoch(2.0, 1.0)],
        peak_memory=1,
        agreement=None,
    )
    assert made["over_fastest_peer"]["values"] == [2.0, 2.0]
    assert made["over_decoding_alone"]["values"] == [0.5, 0.5]
    assert made["clips_per_s"]["values"] == [10.0, 2.5]
    assert made["cpu_seconds_a_clip"]["median"] == pytest.approx(0.06)


@pytest.mark.slow
def test_the_figures_are_drawn(report: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    throughput.plot(report, tmp_path / "plot.png")
    assert cv2.imread(str(tmp_path / "plot.png")) is not None


@pytest.mark.slow
def test_scaling_times_first_batches_and_looks_at_memory_after_epochs(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    arguments = ["--clips", clips, "--cache", tmp_path, "--workers", 1, "--rounds", 1, "--epochs", 3, "--out", out]
    parts = ["--parts", "entries", "memory", "--entries", "3", "12", "--peers", "decode-only"]
    scaling.main([*map(str, arguments), *parts])
    found = json.loads(out.read_text())["parts"]
    assert set(found["entries"]["decode-only"]) == {"3", "12"}
    assert found["entries"]["decode-only"]["12"]["seconds"]["median"] > 0
    memory = found["memory"]["decode-only"]["memory_bytes"]
    assert len(memory) == 3
    assert found["memory"]["decode-only"]["growth_bytes"] == memory[2] - memory[1]
    table = capsys.readouterr().out
    assert "| to the first batch, entries | 3 | 12 |" in table
    assert "| MiB after an epoch | first | half-way | last | most | last over half-way |" in table


# --- What a process uses ---------------------------------------------------------------------------------------------

_BUSY = "import time\nheld = bytearray(64 << 20)\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\n"
_STARTS = "import subprocess, sys\nother = subprocess.Popen([sys.executable, '-c', sys.argv[1]])\n"


@pytest.mark.slow
def test_the_time_of_a_clip_is_reported_by_stage(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker imports it by name. In a script, it would be pickled by value.
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    arguments = ["--workload", "short", "--clips", clips, "--cache", tmp_path, "--out", tmp_path / "out.json"]
    stages.main([*map(str, arguments), "--rounds", "3", "--epochs", "2", "--workers", "1"])
    measured = json.loads((tmp_path / "out.json").read_text())["milliseconds_a_clip"]["short"]
    worker, main = measured["worker"], measured["main"]
    assert len(worker) == 6
    assert all(value > 0 for value in worker.values())
    assert len(main) == 2
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| worker: ") for line in lines) == 6
    assert sum(line.startswith("| main: ") for line in lines) == 2


@pytest.mark.parametrize("alive", [True, False], ids=["alive", "ended"])
def test_cpu_time_and_memory_of_a_child_process_count(alive: bool) -> None:
    # Both processes wait for a line from here; a child that ends is waited for.
    child = _BUSY + ("input()\n" if alive else "")
    parent = _STARTS + ("" if alive else "other.wait()\nprint('ended', flush=True)\n") + "input()\n"
    with subprocess.Popen(
        [sys.executable, "-c", parent, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "done\n"
        assert alive or started.stdout.readline() == "ended\n"
        assert len(usage.tree(started.pid)) == (2 if alive else 1)
        assert 0.4 < usage.cpu_seconds(started.pid) < 5
        assert (usage.memory_bytes(started.pid) > 64 << 20) == alive


def test_a_process_that_has_ended_uses_nothing() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert (usage.cpu_seconds(done.pid), usage.memory_bytes(done.pid)) == (0, 0)


# --- Workloads -------------------------------------------------------------------------------------------------------


def frames_of(paths: Sequence[str]) -> list[int]:
    return sorted(reference.expect(path, TASK).frames for path in paths)


def test_workloads_are_made_from_the_samples(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "LONG_FRAMES", 300)
    made = {name: make(clips, tmp_path) for name, make in workloads.WORKLOADS.items()}
    own = [6, 11, 16, 21, 26]
    assert frames_of(made["short"]) == frames_of(made["vp9"]) == own
    assert frames_of(made["frames"]) == [6, *own]
    assert frames_of(made["mixed"]) == sorted([*own, 9, 120])
    assert frames_of(made["long-tail"]) == [*own, 360]
    assert frames_of(made["formats"]) == [9, 120]
    assert not any(path.endswith(".avi") for path in made["mixed"])
    assert all(Path(path).suffix == ".webm" for path in made["vp9"])


def test_a_workload_is_made_only_once(clips: Path, tmp_path: Path) -> None:
    first = workloads.vp9(clips, tmp_path)
    times = [Path(path).stat().st_mtime_ns for path in first]
    assert workloads.vp9(clips, tmp_path) == first
    assert [Path(path).stat().st_mtime_ns for path in first] == times


def test_the_frames_of_a_long_video_fit_into_memory(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workloads, "LONG_BYTES", 250 * 3 * 40 * 40)
    assert frames_of(workloads.long_tail(clips, tmp_path))[-1] == 240
