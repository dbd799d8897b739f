"""What of the benchmarks needs no GPU: their arithmetic, the machine's facts, and how they end without one."""

from __future__ import annotations

import datetime
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def machine() -> Any:
    return _script("machine")


@pytest.fixture(scope="module")
def kernels() -> Any:
    return _script("kernels")


def _script(name: str) -> Any:
    """As a script beside it imports it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module(name)


# --- The machine -----------------------------------------------------------------------------------------------------


def test_the_machines_facts_are_ready_for_json(machine: Any) -> None:
    facts = json.loads(json.dumps(machine.facts()))
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(facts["date"])
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["numpy"] == importlib.import_module("numpy").__version__
    assert facts["cpu_cores"] >= 1
    assert {"cpu", "torch", "cupy", "gpu", "driver", "cuda_runtime"} <= set(facts)


def test_without_a_driver_the_gpus_facts_are_none(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise machine.gpu.GPUError("no driver")

    monkeypatch.setattr(machine.gpu, "find_gpus", missing)
    facts = machine.facts()
    absent = ("gpu", "gpu_memory_bytes", "compute_capability", "driver", "driver_cuda", "cuda_runtime")
    assert [facts[name] for name in absent] == [None] * len(absent)


def test_a_gpus_facts(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = machine.gpu
    monkeypatch.setattr(gpu, "find_gpus", lambda: [gpu.GPU(0, "NVIDIA H100", (9, 0), 80)])
    monkeypatch.setattr(gpu, "cuda_version", lambda: (13, 0))
    monkeypatch.setattr(gpu, "driver_version", lambda: "580.1")
    facts = machine.facts()
    assert (facts["gpu"], facts["compute_capability"], facts["gpu_memory_bytes"]) == ("NVIDIA H100", "9.0", 80)
    assert (facts["driver"], facts["driver_cuda"]) == ("580.1", "13.0")


def test_what_cannot_be_imported_has_no_version(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert machine.facts()["cupy"] is None


# --- Floors and shares -----------------------------------------------------------------------------------------------

# Two videos of three frames of 10 by 20 pixels: 600 bytes a frame.
SIZES = {"videos": 2, "frames": 3, "height": 10, "width": 20}


@pytest.fixture
def case(kernels: Any) -> Any:
    return kernels.Case("340x256, small", **SIZES)


def test_image_motion_reads_each_frame_once(kernels: Any, case: Any) -> None:
    work = kernels.image_work(case)
    assert (work.bytes, work.operations, work.additions) == (3600, 0, 0)


def test_gathering_reads_and_writes_each_picked_frame(kernels: Any, case: Any) -> None:
    assert kernels.gather_work(case, 5).bytes == 2 * 2 * 5 * 600


def test_feature_motion_takes_2352_operations_a_pixel_of_each_difference(kernels: Any, case: Any) -> None:
    work = kernels.feature_work(case, tensor_cores=True)
    # 2 videos, 2 differences, 200 pixels; 8 filters of 147 taps, a multiplication and an addition each.
    assert work.operations == 2 * 2 * 200 * 2352 == 1_881_600
    assert work.bytes == 3600
    padded = kernels.feature_work(case, tensor_cores=True, taps=kernels.PADDED_TAPS)
    assert padded.operations == 2 * 2 * 200 * 2560


def test_picks_wait_for_one_addition_a_frame(kernels: Any, case: Any) -> None:
    assert kernels.pick_work(case).additions == 3


def test_floors_are_work_over_the_rate_that_bounds_it(kernels: Any, case: Any) -> None:
    rates = kernels.Ceilings(copied_bytes=3.6e6, half_operations=1.8816e9, float_operations=1.8816e8, additions=3000)
    assert kernels.floors_ms(kernels.image_work(case), rates) == pytest.approx({"bytes": 1.0})
    half = kernels.floors_ms(kernels.feature_work(case, tensor_cores=True), rates)
    assert half == pytest.approx({"bytes": 1.0, "operations": 1.0})
    single = kernels.floors_ms(kernels.feature_work(case, tensor_cores=False), rates)
    assert single == pytest.approx({"bytes": 1.0, "operations": 10.0})
    assert kernels.floors_ms(kernels.pick_work(case), rates) == pytest.approx({"additions": 1.0})
    assert kernels.floors_ms(kernels.Work(), rates) == {}


def test_shared_memory_is_read_320_bytes_a_pixel(kernels: Any, case: Any) -> None:
    # 2 videos, 2 differences, 200 pixels: 256,000 bytes.
    assert kernels.shared_memory_ms(case, kernels.Ceilings(shared_bytes=256e6)) == pytest.approx(1.0)
    assert kernels.shared_memory_ms(case, kernels.Ceilings()) is None


def test_a_time_is_held_to_the_longest_floor(kernels: Any, case: Any) -> None:
    rates = kernels.Ceilings(copied_bytes=3.6e6, float_operations=1.8816e8)
    image = kernels.assessed(kernels.image_work(case), rates, 1.25)
    assert image["bound_by"] == "bytes"
    assert image["bytes"] == 3600
    assert image["share_of_ceiling"] == pytest.approx(0.8)
    assert image["over_floor"] == pytest.approx(1.25)
    feature = kernels.assessed(kernels.feature_work(case, tensor_cores=False), rates, 40.0)
    assert feature["bound_by"] == "operations"
    assert feature["share_of_ceiling"] == pytest.approx(0.25)
    assert feature["over_floor"] == pytest.approx(4.0)
    unbound = kernels.assessed(kernels.Work(), rates, 1.0)
    assert (unbound["bound_by"], unbound["share_of_ceiling"], unbound["over_floor"]) == (None, None, None)


def test_the_spread_is_the_tenth_to_the_ninetieth_percentile(kernels: Any) -> None:
    found = kernels.summary(float(value) for value in (*range(100, -1, -1),))
    assert found == pytest.approx({"median_ms": 50.0, "p10_ms": 10.0, "p90_ms": 90.0})


@pytest.mark.parametrize(("batch_bytes", "expected"), [(10**9, 2), (10**8, 2), (99 * 10**6, 3), (10**7, 20)])
def test_batches_in_turn_are_four_times_the_cache(kernels: Any, batch_bytes: int, expected: int) -> None:
    assert kernels.sets_needed(batch_bytes, 50 * 10**6) == expected


# --- Targets and the table -------------------------------------------------------------------------------------------


def row(kernels: Any, kernel: str, work: Any, median_ms: float, case: str) -> dict[str, Any]:
    rates = kernels.Ceilings(copied_bytes=3.6e6, half_operations=9.408e8, float_operations=1.8816e8, additions=3000)
    times = {"median_ms": median_ms, "p10_ms": median_ms, "p90_ms": median_ms}
    return {"kernel": kernel, "case": case, **times, **kernels.assessed(work, rates, median_ms)}


def test_targets_are_those_of_the_issue(kernels: Any, case: Any) -> None:
    image, feature = kernels.image_work(case), kernels.feature_work(case, tensor_cores=True)
    rows = [
        row(kernels, "image luma", image, 1.1, case.name),
        row(kernels, "image rgb", image, 1.25, case.name),
        row(kernels, "feature float32", feature, 99.0, case.name),
        row(kernels, "feature tensor cores", feature, 22.0, case.name),
        row(kernels, "image luma", image, 50.0, "224x224"),
    ]
    found = {target["figure"]: (target["value"], target["target"], target["met"]) for target in kernels.targets(rows)}
    assert found == {
        "feature tensor cores / image luma": (pytest.approx(20.0), "<= 15", False),
        "image luma, share of the copy bandwidth": (pytest.approx(1 / 1.1), ">= 0.85", True),
        "image rgb, share of the copy bandwidth": (pytest.approx(0.8), ">= 0.85", False),
    }


def test_without_tensor_cores_float32_is_held_to_the_target(kernels: Any, case: Any) -> None:
    rows = [
        row(kernels, "image luma", kernels.image_work(case), 1.0, case.name),
        row(kernels, "feature float32", kernels.feature_work(case, tensor_cores=False), 14.0, case.name),
    ]
    ratio = kernels.targets(rows)[0]
    assert (ratio["figure"], ratio["met"]) == ("feature float32 / image luma", True)


def test_the_table_has_a_line_a_kernel_and_a_target(kernels: Any, machine: Any, case: Any) -> None:
    rows = [
        row(kernels, "image luma", kernels.image_work(case), 1.25, case.name),
        row(kernels, "top motion", kernels.Work(), 0.5, case.name),
        row(kernels, "feature tensor cores", kernels.feature_work(case, tensor_cores=True), 9.0, case.name)
        | {"padded_operations_ms": 8.0, "shared_memory_ms": 8.5},
    ]
    report = {
        "machine": machine.facts(),
        "ceilings": {
            "a_second": {"copied_bytes": 3e12, "half_operations": 7e14, "float_operations": 5e13, "additions": 2e8},
            "measured": {"empty_launch": {"median_ms": 0.002}},
        },
        "kernels": rows,
        "targets": kernels.targets(rows),
    }
    lines = kernels.rendered(report).splitlines()
    assert "copy 3.00 TB/s, half precision 700 and float32 50.0 TFLOP/s" in lines[1]
    assert " ".join(lines[3].split()) == "340x256, small image luma 1.2500 1.2500-1.2500 1.25 0.800 bytes"
    assert " ".join(lines[4].split()) == "340x256, small top motion 0.5000 0.5000-0.5000 - - launch"
    assert lines[5].endswith("operations (with padding 8.0000 ms, shared memory 8.5000 ms)")
    assert lines[-2].endswith("feature tensor cores / image luma: 7.200, target <= 15: met")
    assert lines[-1].endswith("image luma, share of the copy bandwidth: 0.800, target >= 0.85: missed")


# --- The command -----------------------------------------------------------------------------------------------------


def test_every_case_fills_more_than_the_cache(kernels: Any) -> None:
    names = [case.name for case in kernels.cases(quick=False)]
    assert len(names) == len(set(names))
    assert all(case.batch_bytes > 10**8 for case in kernels.cases(quick=False))
    assert {case.name for case in kernels.cases(quick=True)} < set(names)


@pytest.mark.parametrize("arguments", [[], ["--quick", "--out", "figures.json"]], ids=["plain", "with a file"])
def test_without_a_gpu_the_command_says_so_in_one_line(tmp_path: Path, arguments: list[str]) -> None:
    # Where there is a GPU, it is hidden.
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
