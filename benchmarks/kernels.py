"""Time of each CUDA kernel relative to its lower bound: ``python benchmarks/kernels.py --out FILE.json``.

A lower bound ("floor") is the smallest number of bytes a kernel must move, or of operations it must do, divided by the
rate of this GPU, which is measured first. Times are measured on the GPU with CUDA events around many launches. The
videos are random, and several batches are used in turn, which together are many times larger than the L2 cache.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import write_report
from kernel_floors import (
    PADDED_TAPS,
    Case,
    Ceilings,
    Work,
    assessed,
    feature_work,
    floors_ms,
    gather_work,
    image_work,
    pick_work,
    sets_needed,
    shared_memory_ms,
    summary,
    targets,
    visible_image_work,
)
from kernel_launches import NUM_PICKS, Batch, check
from kernel_timing import Device, Launch, measure_ceilings

from mgdali.bench import machine
from mgdali.gpu.cuda_kernels import Kernels


def cases(quick: bool) -> list[Case]:
    """Return the batches to measure."""
    chosen = [
        Case("340x256, 64 frames", 16, 64, 256, 340),
        Case("340x256, 300 frames", 16, 300, 256, 340),
        Case("224x224, 64 frames", 16, 64, 224, 224),
        # Some frames of this size do not begin at a multiple of 16 bytes.
        Case("350x262, 64 frames", 16, 64, 262, 350),
        Case("1920x1080, 32 frames", 4, 32, 1080, 1920),
    ]
    return [case for case in chosen if not quick or case.frames < 300]


def measure_case(device: Device, kernels: Kernels, case: Case, ceilings: Ceilings) -> list[dict[str, Any]]:
    """Return a row for each kernel."""
    least = min(case.batch_bytes, gather_work(case, NUM_PICKS).bytes)
    batches = [Batch(device, kernels, case) for _ in range(sets_needed(least, device.attribute("L2CacheSize")))]
    plans: list[tuple[str, Work, Callable[[Batch], Launch]]] = [
        ("image luma", image_work(case), lambda batch: batch.image("luma")),
        ("image rgb", image_work(case), lambda batch: batch.image("rgb")),
        ("image luma, visible", visible_image_work(case), lambda batch: batch.image("luma", partly_visible=True)),
        ("image planes", image_work(case), lambda batch: batch.image_of_planes()),
        ("feature separable", feature_work(case, "separable"), lambda batch: batch.feature("separable")),
        ("feature float32", feature_work(case, "float32"), lambda batch: batch.feature("float32")),
        ("pick", pick_work(case), lambda batch: batch.pick(0.5)),
        ("pick, mu 0.3", pick_work(case), lambda batch: batch.pick(0.3)),
        ("pick, even 0.5", pick_work(case, even=0.5), lambda batch: batch.pick(0.5, even=0.5)),
        ("top motion", Work(), lambda batch: batch.top_motion()),
        ("gather", gather_work(case, NUM_PICKS), lambda batch: batch.gather()),
        ("gather, corrected", gather_work(case, NUM_PICKS), lambda batch: batch.gather(corrected=True)),
    ]
    if kernels.tensor_cores:
        work = feature_work(case, "tensor cores")
        plans.insert(6, ("feature tensor cores", work, lambda batch: batch.feature("tensor cores")))
    rows = []
    for name, work, launch in plans:
        times = summary(device.times_ms([launch(batch) for batch in batches]))
        row: dict[str, Any] = {"kernel": name, "case": case.name, "batches_in_turn": len(batches), **_sizes(case)}
        row |= times | assessed(work, ceilings, times["median_ms"])
        if name == "feature tensor cores":
            padded = feature_work(case, "tensor cores", taps=PADDED_TAPS)
            row["padded_operations_ms"] = floors_ms(padded, ceilings)["operations"]
            row["shared_memory_ms"] = shared_memory_ms(case, ceilings)
        rows.append(row)
    return rows


def _sizes(case: Case) -> dict[str, int]:
    return {name: value for name, value in asdict(case).items() if name != "name"}


# --- The command ------------------------------------------------------------------------------------------------------


def find_gpu() -> Any:
    """Return CuPy; end the command with one line if CuPy or a GPU is missing."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise SystemExit(f"kernels.py: CuPy is missing: {error}") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise SystemExit(f"kernels.py: no GPU: {error}") from None
    if not count:
        raise SystemExit("kernels.py: no GPU: CUDA finds none")
    return cupy


def measure(cupy: Any, *, quick: bool) -> dict[str, Any]:
    """Check and time all kernels, and return the content of the JSON file."""
    device, kernels = Device(cupy, quick=quick), Kernels()
    if wrong := check(device, kernels):
        raise SystemExit(
            f"kernels.py: nothing was timed, because results differ from the reference: {', '.join(wrong)}"
        )
    ceilings, how = measure_ceilings(device)
    rows = []
    for case in cases(quick):
        # Free the memory of the previous size.
        cupy.get_default_memory_pool().free_all_blocks()
        rows += measure_case(device, kernels, case, ceilings)
    return {
        "benchmark": "kernels",
        "quick": quick,
        "repetitions": device.repetitions,
        "machine": machine.facts(),
        "ceilings": {"a_second": asdict(ceilings), "measured": how},
        "kernels": rows,
        "targets": targets(rows),
    }


def rendered(report: dict[str, Any]) -> str:
    """Return the report as text."""
    facts, rates = report["machine"], report["ceilings"]["a_second"]
    empty = report["ceilings"]["measured"]["empty_launch"]["median_ms"]
    return "\n".join(
        [
            f"{facts['gpu']}, driver {facts['driver']}, CUDA {facts['cuda_runtime']}, CuPy {facts['cupy']}",
            f"copy {rates['copied_bytes'] / 1e12:.2f} TB/s, half precision {rates['half_operations'] / 1e12:.0f} and "
            f"float32 {rates['float_operations'] / 1e12:.1f} TFLOP/s, one thread {rates['additions'] / 1e6:.0f} "
            f"million float64 additions/s, empty launch {1e3 * empty:.1f} us",
            f"{'case':<21} {'kernel':<21} {'median ms':>9} {'p10 to p90':>17} {'/ floor':>8} {'share':>6}  bound by",
            *map(_rendered_row, report["kernels"]),
            "The floor of pick is one addition per frame in one thread, or two if even > 0. "
            "Compare top motion with the empty launch.",
            *map(_rendered_target, report["targets"]),
        ]
    )


def _rendered_row(row: dict[str, Any]) -> str:
    spread = f"{row['p10_ms']:.4f}-{row['p90_ms']:.4f}"
    line = f"{row['case']:<21} {row['kernel']:<21} {row['median_ms']:>9.4f} {spread:>17}"
    if row["bound_by"] is None:
        return f"{line} {'-':>8} {'-':>6}  launch"
    line += f" {row['over_floor']:>8.2f} {row['share_of_ceiling']:>6.3f}  {row['bound_by']}"
    if "padded_operations_ms" in row:
        line += f" (with padding {row['padded_operations_ms']:.4f} ms"
        shared = row["shared_memory_ms"]
        line += ")" if shared is None else f", shared memory {shared:.4f} ms)"
    return line


def _rendered_target(target: dict[str, Any]) -> str:
    outcome = "met" if target["met"] else "missed"
    return f"{target['case']:<21} {target['figure']}: {target['value']:.3f}, target {target['target']}: {outcome}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the time of each CUDA kernel relative to its lower bound.")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="File to write the results to.")
    parser.add_argument("--quick", action="store_true", help="Use fewer repetitions and no videos of 300 frames.")
    arguments = parser.parse_args()
    cupy = find_gpu()
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report = measure(cupy, quick=arguments.quick)
    write_report(report, arguments.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
