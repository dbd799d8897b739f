"""The parts of the benchmarks that need no GPU: arithmetic, machine facts, the message without a GPU, and, at a tiny
scale, the benchmark of the index and the cost of sampling."""

from __future__ import annotations

import datetime
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgdali import MotionGuided, VideoDataset
from mgdali.bench import machine
from mgdali.index.schema import SCHEMA, from_batch
from tests.support.benchmark_modules import BENCHMARKS, script
from tests.support.videos import moving_square, write_video

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def floors() -> Any:
    return script("kernel_floors")


@pytest.fixture(scope="module")
def kernels() -> Any:
    return script("kernels")


@pytest.fixture(scope="module")
def index() -> Any:
    return script("index")


# --- The machine -----------------------------------------------------------------------------------------------------


def test_facts_of_the_machine_can_be_written_as_json() -> None:
    facts = json.loads(json.dumps(machine.facts()))
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(facts["date"])
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["numpy"] == importlib.import_module("numpy").__version__
    assert facts["cpu_cores"] >= 1
    assert {"cpu", "torch", "cupy", "gpu", "driver", "cuda_runtime"} <= set(facts)


def test_without_a_driver_the_facts_of_the_gpu_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise machine.driver.GPUError("no driver")

    monkeypatch.setattr(machine.driver, "find_gpus", missing)
    facts = machine.facts()
    absent = ("gpu", "gpu_memory_bytes", "compute_capability", "driver", "driver_cuda", "cuda_runtime")
    assert [facts[name] for name in absent] == [None] * len(absent)


def test_a_gpus_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = machine.driver
    monkeypatch.setattr(driver, "find_gpus", lambda: [driver.GPU(0, "NVIDIA H100", (9, 0), 80)])
    monkeypatch.setattr(driver, "cuda_version", lambda: (13, 0))
    monkeypatch.setattr(driver, "driver_version", lambda: "580.1")
    facts = machine.facts()
    assert (facts["gpu"], facts["compute_capability"], facts["gpu_memory_bytes"]) == ("NVIDIA H100", "9.0", 80)
    assert (facts["driver"], facts["driver_cuda"]) == ("580.1", "13.0")


def test_a_package_that_cannot_be_imported_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert machine.facts()["cupy"] is None


# --- Floors and shares -----------------------------------------------------------------------------------------------

# Two videos of three frames of 10 by 20 pixels: 600 bytes per frame.
SIZES = {"videos": 2, "frames": 3, "height": 10, "width": 20}


@pytest.fixture
def case(floors: Any) -> Any:
    return floors.Case("340x256, small", **SIZES)


def test_image_motion_reads_each_frame_once(floors: Any, case: Any) -> None:
    work = floors.image_work(case)
    assert (work.bytes, work.operations, work.additions) == (3600, 0, 0)


def test_gathering_reads_and_writes_each_picked_frame(floors: Any, case: Any) -> None:
    assert floors.gather_work(case, 5).bytes == 2 * 2 * 5 * 600


def test_feature_motion_takes_2352_operations_per_pixel_and_difference(floors: Any, case: Any) -> None:
    work = floors.feature_work(case, "tensor cores")
    # 2 videos, 2 differences, 200 pixels; 8 filters of 147 taps, a multiplication and an addition each.
    assert work.operations == 2 * 2 * 200 * 2352 == 1_881_600
    assert work.bytes == 3600
    padded = floors.feature_work(case, "tensor cores", taps=floors.PADDED_TAPS)
    assert padded.operations == 2 * 2 * 200 * 2816


def test_the_separable_bank_takes_132_operations_per_pixel_and_difference(floors: Any, case: Any) -> None:
    # A plane of 7 operations, 56 taps, mixing and norm of 13.
    work = floors.feature_work(case, "separable")
    assert (work.operations, work.operations_are) == (2 * 2 * 200 * (7 + 112 + 13), "float_operations")


def test_picks_wait_for_one_addition_per_frame_and_two_with_an_even_share(floors: Any, case: Any) -> None:
    assert floors.pick_work(case).additions == 3
    assert floors.pick_work(case, even=0.5).additions == 6


def test_a_floor_is_the_work_divided_by_the_limiting_rate(floors: Any, case: Any) -> None:
    rates = floors.Ceilings(copied_bytes=3.6e6, half_operations=1.8816e9, float_operations=1.8816e8, additions=3000)
    assert floors.floors_ms(floors.image_work(case), rates) == pytest.approx({"bytes": 1.0})
    half = floors.floors_ms(floors.feature_work(case, "tensor cores"), rates)
    assert half == pytest.approx({"bytes": 1.0, "operations": 1.0})
    single = floors.floors_ms(floors.feature_work(case, "float32"), rates)
    assert single == pytest.approx({"bytes": 1.0, "operations": 10.0})
    assert floors.floors_ms(floors.pick_work(case), rates) == pytest.approx({"additions": 1.0})
    assert floors.floors_ms(floors.Work(), rates) == {}


def test_shared_memory_is_read_84_bytes_per_pixel(floors: Any, case: Any) -> None:
    # 2 videos, 2 differences, 200 pixels: 67,200 bytes.
    assert floors.shared_memory_ms(case, floors.Ceilings(shared_bytes=67.2e6)) == pytest.approx(1.0)
    assert floors.shared_memory_ms(case, floors.Ceilings()) is None


def test_a_time_is_compared_with_the_longest_floor(floors: Any, case: Any) -> None:
    rates = floors.Ceilings(copied_bytes=3.6e6, float_operations=1.8816e8)
    image = floors.assessed(floors.image_work(case), rates, 1.25)
    assert image["bound_by"] == "bytes"
    assert image["bytes"] == 3600
    assert image["share_of_ceiling"] == pytest.approx(0.8)
    assert image["over_floor"] == pytest.approx(1.25)
    feature = floors.assessed(floors.feature_work(case, "float32"), rates, 40.0)
    assert feature["bound_by"] == "operations"
    assert feature["share_of_ceiling"] == pytest.approx(0.25)
    assert feature["over_floor"] == pytest.approx(4.0)
    unbound = floors.assessed(floors.Work(), rates, 1.0)
    assert (unbound["bound_by"], unbound["share_of_ceiling"], unbound["over_floor"]) == (None, None, None)


def test_the_spread_is_the_tenth_to_the_ninetieth_percentile(floors: Any) -> None:
    found = floors.summary(float(value) for value in (*range(100, -1, -1),))
    assert found == pytest.approx({"median_ms": 50.0, "p10_ms": 10.0, "p90_ms": 90.0})


@pytest.mark.parametrize(("batch_bytes", "expected"), [(10**9, 2), (10**8, 2), (99 * 10**6, 3), (10**7, 20)])
def test_batches_in_turn_are_four_times_the_cache(floors: Any, batch_bytes: int, expected: int) -> None:
    assert floors.sets_needed(batch_bytes, 50 * 10**6) == expected


# --- Targets and the table -------------------------------------------------------------------------------------------


def row(floors: Any, kernel: str, work: Any, median_ms: float, case: str) -> dict[str, Any]:
    rates = floors.Ceilings(copied_bytes=3.6e6, half_operations=9.408e8, float_operations=1.8816e8, additions=3000)
    times = {"median_ms": median_ms, "p10_ms": median_ms, "p90_ms": median_ms}
    return {"kernel": kernel, "case": case, **times, **floors.assessed(work, rates, median_ms)}


def test_targets_are_those_of_the_issue(floors: Any, case: Any) -> None:
    image, feature = floors.image_work(case), floors.feature_work(case, "tensor cores")
    rows = [
        row(floors, "image luma", image, 1.1, case.name),
        row(floors, "image rgb", image, 1.25, case.name),
        row(floors, "feature float32", feature, 99.0, case.name),
        row(floors, "feature tensor cores", feature, 99.0, case.name),
        row(floors, "feature separable", feature, 22.0, case.name),
        row(floors, "image luma", image, 50.0, "224x224"),
    ]
    found = {target["figure"]: (target["value"], target["target"], target["met"]) for target in floors.targets(rows)}
    assert found == {
        "feature separable / image luma": (pytest.approx(20.0), "<= 15", False),
        "image luma, share of the copy bandwidth": (pytest.approx(1 / 1.1), ">= 0.85", True),
        "image rgb, share of the copy bandwidth": (pytest.approx(0.8), ">= 0.85", False),
    }


def test_the_table_has_a_line_per_kernel_and_target(floors: Any, kernels: Any, case: Any) -> None:
    rows = [
        row(floors, "image luma", floors.image_work(case), 1.25, case.name),
        row(floors, "top motion", floors.Work(), 0.5, case.name),
        row(floors, "feature tensor cores", floors.feature_work(case, "tensor cores"), 9.0, case.name)
        | {"padded_operations_ms": 8.0, "shared_memory_ms": 8.5},
        row(floors, "feature separable", floors.feature_work(case, "separable"), 9.0, case.name),
    ]
    report = {
        "machine": machine.facts(),
        "ceilings": {
            "a_second": {"copied_bytes": 3e12, "half_operations": 7e14, "float_operations": 5e13, "additions": 2e8},
            "measured": {"empty_launch": {"median_ms": 0.002}},
        },
        "kernels": rows,
        "targets": floors.targets(rows),
    }
    lines = kernels.rendered(report).splitlines()
    assert "copy 3.00 TB/s, half precision 700 and float32 50.0 TFLOP/s" in lines[1]
    assert " ".join(lines[3].split()) == "340x256, small image luma 1.2500 1.2500-1.2500 1.25 0.800 bytes"
    assert " ".join(lines[4].split()) == "340x256, small top motion 0.5000 0.5000-0.5000 - - launch"
    assert lines[5].endswith("operations (with padding 8.0000 ms, shared memory 8.5000 ms)")
    assert lines[-2].endswith("feature separable / image luma: 7.200, target <= 15: met")
    assert lines[-1].endswith("image luma, share of the copy bandwidth: 0.800, target >= 0.85: missed")


# --- The command -----------------------------------------------------------------------------------------------------


def test_every_case_fills_more_than_the_cache(kernels: Any) -> None:
    names = [case.name for case in kernels.cases(quick=False)]
    assert len(names) == len(set(names))
    assert all(case.batch_bytes > 10**8 for case in kernels.cases(quick=False))
    assert {case.name for case in kernels.cases(quick=True)} < set(names)


@pytest.mark.parametrize("arguments", [[], ["--quick", "--out", "figures.json"]], ids=["plain", "with a file"])
def test_without_a_gpu_the_command_prints_one_line(tmp_path: Path, arguments: list[str]) -> None:
    # If the machine has a GPU, it is hidden.
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "kernels.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(("kernels.py: no GPU", "kernels.py: CuPy is missing"))
    assert not (tmp_path / "figures.json").exists()


# --- The index -------------------------------------------------------------------------------------------------------


def run_index(index: Any, out: Path, *arguments: object) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        # Its workers import it from this folder, as when it runs as a script.
        patch.syspath_prepend(str(BENCHMARKS))
        index.main([*map(str, arguments), "--rounds", "1", "--out", str(out)])
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def built(index: Any, dataset: VideoDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that ``build`` wrote."""
    out = tmp_path_factory.mktemp("built") / "build.json"
    run_index(index, out, "build", Path(dataset.paths[0]).parent, "--copies", 2, "--motion", "both")
    return out


@pytest.fixture(scope="module")
def scaled(index: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that ``scale`` wrote."""
    out = tmp_path_factory.mktemp("scaled") / "scale.json"
    run_index(index, out, "scale", "--videos", 5000, "--mean-frames", 20, "--finds", 50)
    return out


@pytest.mark.slow
def test_loading_is_compared_with_an_index_and_without(
    index: Any,
    dataset: VideoDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loading = script("index_loading")
    monkeypatch.setattr(loading, "LEAST_CLIPS", 4)
    monkeypatch.setattr(loading, "SAMPLERS", {"motion-guided": MotionGuided(num_frames=2)})
    (tmp_path / "long").mkdir()
    for num_frames in (99, 100):
        write_video(tmp_path / "long" / f"{num_frames}.mp4", moving_square(num_frames, 48, 64))
    folder = Path(dataset.paths[0]).parent
    report = run_index(index, tmp_path / "out.json", "loading", folder, "--long", tmp_path / "long")
    own, long, both = report["compared"]
    assert (own["distinct_videos"], long["distinct_videos"], both["distinct_videos"]) == (11, 1, 12)
    assert (long["data"], long["clips"], long["frames"]) == ("long from 100 frames on", 4, 400)
    assert long["without"]["frames_decoded"]["median"] == 400 > long["with"]["frames_decoded"]["median"]
    assert {"median", "least", "most", "values"} == set(own["with"]["clips_per_s"]) == set(own["ratio"])
    assert {"machine", "rounds", "batch_size", "picks", "targets"} <= set(report)
    assert "| long from 100 frames on, motion-guided | 4 of 1 videos |" in capsys.readouterr().out


@pytest.mark.slow
def test_building_is_compared_with_decoding_alone(built: Path, dataset: VideoDataset) -> None:
    report = json.loads(built.read_text())
    assert report["videos"] == 2 * len(dataset)
    assert report["frames"] == 2 * sum(3 + 4 * i % 29 for i in range(11))
    assert set(report["rows"]) == {"build", "decode alone"}
    rates = {"seconds", "frames_per_s", "frames_per_s_with_start", "last_share"}
    assert set(report["rows"]["build"]) == set(report["rows"]["decode alone"]) == rates
    assert {"machine", "workers", "share", "share_with_start", "bytes_a_frame"} <= set(report)
    assert (report["motion"], report["targets"][0]["target"]) == ("both", ">= 0.5")


def test_a_run_is_timed_from_its_first_video() -> None:
    run = script("index_build").Run(begin=10.0, done=[12.0, 13.0, 15.0], frames=[50, 30, 10], end=16.0)
    expected = {"seconds": 6.0, "frames_per_s": 10.0, "frames_per_s_with_start": 15.0, "last_share": 0.25}
    assert run.figures() == pytest.approx(expected)


def test_synthetic_videos_are_rows_of_an_index() -> None:
    rows = script("index_rows")
    batch = rows.make_up(np.random.default_rng(0), 7, 20, 30)
    batch.validate(full=True)
    assert (batch.schema, batch.num_rows) == (SCHEMA, 20)
    for row in range(20):
        record = from_batch(batch, row)
        assert record.path == rows.path_of(7 + row)
        assert 15 <= record.num_frames <= 45
        assert sorted(record.packets) == list(range(record.num_frames))
        assert record.motion["image"][0] == 0
        assert len(record.times) == len(record.referenced) == len(record.motion["image"]) == record.num_frames
        assert record.key_frames[0] == 0
        assert record.referenced[record.key_frames].all()


@pytest.mark.slow
def test_a_large_index_is_opened_in_separate_processes(scaled: Path) -> None:
    report = json.loads(scaled.read_text())
    assert (report["videos"], report["merge"]["rows"], report["known"]["rows"]) == (5000, 5000, 5000)
    assert report["frames"] == pytest.approx(5000 * 20, rel=0.05)
    assert set(report["sizes"]) == {"parts_bytes", "parquet_bytes", "copy_bytes"}
    assert set(report["opening"]) == {"cold", "warm"}
    found = {"median_us", "p99_us", "mean_us", "most_us", "bytes_read"}
    assert set(report["opening"]["cold"]["first"]) == set(report["opening"]["warm"]["again"]) == found
    memory = {"resident", "proportional", "private", "shared", "anonymous", "peak"}
    assert [set(own) for own in report["together"]] == [memory] * 4
    assert {"machine", "rounds", "finds", "written", "copy", "targets"} <= set(report)


@pytest.mark.slow
def test_larger_data_sets_are_extrapolated_from_both_files(
    index: Any, built: Path, scaled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.main(["project", str(built), str(scaled)])
    table = capsys.readouterr().out
    assert "| frames, billions | 100,000,000 videos x 300 | 30 |" in table
    assert "| core hours to measure | 30 billion / " in table


# --- Sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_cost_of_sampling_is_measured_for_each_strategy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        write_video(tmp_path / f"{i}.mp4", moving_square(8, 48, 64, seed=i))
    out = tmp_path / "cost.json"
    script("sampling_cost").main([str(tmp_path), "--rounds", "2", "--levels", "image level", "--out", str(out)])
    report = json.loads(out.read_text())
    ways = ["segment", "segment with an index", "image level", "image level with an index"]
    assert list(report["milliseconds_a_video"]) == ways
    assert all(len(times) == 2 and min(times) > 0 for times in report["milliseconds_a_video"].values())
    assert report["summary"]["segment"]["over_segment"] == 1
    assert (report["videos"], report["frames"]) == (3, 24)
    table = capsys.readouterr().out
    assert all(f"| {way} |" in table for way in ways)
