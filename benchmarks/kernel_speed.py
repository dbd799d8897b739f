"""The benchmark ``kernels.py`` in its quick form, with a line per kernel as it comes, and a time limit.

``python benchmarks/kernel_speed.py --lines FILE --seconds 60``. The kernels are compared with the reference first.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deadline import Deadline
from kernel_floors import targets
from kernel_launches import check
from kernel_timing import Device, measure_ceilings
from lines import Lines

from kernels import cases, find_gpu, measure_case
from mgdali.bench import machine
from mgdali.gpu.cuda_kernels import Kernels


def measure(cupy: Any, lines: Lines, deadline: Deadline) -> bool:
    """Measure the cases one after the other until the time limit; return whether all results were right."""
    device, kernels = Device(cupy, quick=True), Kernels()
    lines.write("machine", machine=machine.facts())
    if wrong := check(device, kernels):
        lines.write("wrong", kernels=wrong, why="results differ from the reference, so nothing was timed")
        return False
    ceilings, how = measure_ceilings(device)
    lines.write("ceilings", a_second=asdict(ceilings), measured=how, repetitions=device.repetitions)
    planned = cases(quick=True)
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(planned):
        if deadline.passed:
            left = [later.name for later in planned[number:]]
            lines.write("stopped", left=left, why="the time limit is reached")
            break
        # Free the memory of the previous size.
        cupy.get_default_memory_pool().free_all_blocks()
        for row in measure_case(device, kernels, case, ceilings):
            rows.append(row)
            lines.write("kernel", **row)
    lines.write("targets", targets=targets(rows))
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the time of each CUDA kernel, with a line per result.")
    parser.add_argument("--lines", type=Path, metavar="FILE", help="File to append the lines to.")
    parser.add_argument("--seconds", type=float, help="Time after which no further case begins (default: no limit).")
    arguments = parser.parse_args()
    deadline = Deadline.of_process(arguments.seconds)
    if not measure(find_gpu(), Lines(arguments.lines), deadline):
        raise SystemExit("kernel_speed.py: results differ from the reference")


if __name__ == "__main__":
    main()
