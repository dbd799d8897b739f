"""The first part of ``make gpu-check``: what the machine has. ``python benchmarks/gpu_doctor.py --lines FILE``.

The lines come in the order of their cost: NVDEC's library, which only the dynamic loader is asked for; the facts of the
machine, for which torch and CuPy are imported; the report of ``mgdali doctor``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

# Examine the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lines import Lines

from mgdali.gpu import driver


def nvdec_library() -> dict[str, Any]:
    """Return the path of NVDEC's library, or the reason that it cannot be loaded."""
    try:
        return {"path": driver.library_path(driver.NVDEC), "error": None}
    except driver.LibraryError as error:
        return {"path": None, "error": str(error)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write what this machine has as JSON lines.")
    parser.add_argument("--lines", type=Path, metavar="FILE", help="File to append the lines to.")
    arguments = parser.parse_args()
    lines = Lines(arguments.lines)
    library = nvdec_library()
    lines.write("nvdec", **library)
    from mgdali.bench import machine

    lines.write("machine", machine=machine.facts())
    from mgdali.cli import machine_report

    report = json.loads(machine_report.to_json(machine_report.examine()))
    lines.write("doctor", doctor=report)
    print(json.dumps(report, indent=1))
    if library["error"] is not None:
        raise SystemExit(f"gpu_doctor.py: NVDEC's library is missing: {library['error']}")


if __name__ == "__main__":
    main()
