"""All checks that need a GPU, in less than eight minutes: ``python benchmarks/gpu_check.py --out DIR``.

The parts run one after another, the most valuable first, each in a separate process with a time limit. Each part writes
``DIR/<part>.json`` while it runs, and ``DIR/summary.json`` is always complete, so an interrupted check loses nothing. A
part that fails does not stop the next one. A second call with the same folder runs only the parts without a result.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from gpu_parts import ALL_TESTS, DONE, PARTS, Part, run_part
from lines import replace_json

HERE = Path(__file__).resolve().parent
ALL_SECONDS = 478.0
"""Time limit of all parts of a call together, in seconds."""
ALLOWED_SKIP = "NVDEC's library"
"""Text of the only accepted reason for skipping a GPU test."""

Result = dict[str, Any]


def missing_gpu() -> str | None:
    """Return the reason that no GPU can be used; None if there is one."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return str(error)
    if code := cuda.cuInit(0):
        return f"CUDA's driver refuses with error {code}"
    count = ctypes.c_int()
    if code := cuda.cuDeviceGetCount(ctypes.byref(count)):
        return f"CUDA's driver refuses with error {code}"
    return None if count.value else "CUDA finds none"


def default_folder() -> Path:
    """Return the folder of the results: ``$OUT`` if it is set, else one per day."""
    if given := os.environ.get("OUT"):
        return Path(given)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return HERE / "results" / f"gpu-{today.isoformat()}"


# --- Running the parts -----------------------------------------------------------------------------------------------


def check(parts: Sequence[Part], folder: Path, *, again: bool = False, seconds: float = ALL_SECONDS) -> Result:
    """Run the parts that have no result yet, and return the summary.

    Args:
        parts: The parts, in order.
        folder: Folder of the results.
        again: Whether parts that have a result run again.
        seconds: Time limit of all parts together, in seconds.

    Raises:
        KeyboardInterrupt: If the user interrupts the check. All results so far are in the folder then.
    """
    start = time.monotonic()
    for part in parts:
        found = read_result(part, folder)
        if found is not None and found["state"] in DONE and not again:
            print(f"{part.name}: has a result ({found['state']}), is skipped; --again runs it again", flush=True)
            continue
        left = seconds - (time.monotonic() - start)
        if left < min(part.seconds, 10.0):
            print(f"{part.name}: no time is left; a second call runs it", flush=True)
            continue
        print(f"{part.name}: {part.what} ...", flush=True)
        try:
            run_part(part, folder, min(part.seconds, left), allowed_skip=ALLOWED_SKIP)
        finally:
            report = summarized(folder)
            replace_json(folder / "summary.json", report)
        print(rendered_part(part.name, report["parts"][part.name]), flush=True)
    return summarized(folder)


def read_result(part: Part, folder: Path) -> Result | None:
    """Return the result of a part; None if it has none."""
    found: Result | None = _read(part.file(folder))
    return found


def _read(path: Path) -> Any:
    """Return the content of a JSON file; None if it is missing or contains something else."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def summarized(folder: Path) -> Result:
    """Return the summary of the results in a folder."""
    results: dict[str, Result] = {}
    for path in sorted(folder.glob("*.json")):
        found = _read(path)
        if isinstance(found, dict) and "part" in found:
            results[found["part"]] = found
    kept = ("state", "error", "date", "seconds", "limit", "counts")
    order = [part.name for part in (*PARTS, ALL_TESTS)]
    names = sorted(results, key=lambda name: order.index(name) if name in order else len(order))
    return {
        "check": "gpu",
        "machine": _machine(results),
        "passed": all(result["state"] == "passed" for result in results.values()),
        "without_result": [part.name for part in PARTS if part.name not in results],
        "parts": {name: {key: results[name][key] for key in kept} | _figures(results[name]) for name in names},
    }


def _machine(results: dict[str, Result]) -> Result:
    """Return the facts of the machine from the first part that reports them."""
    found = [line["machine"] for result in results.values() for line in result["lines"] if line["kind"] == "machine"]
    return found[0] if found else {}


def _figures(result: Result) -> Result:
    """Return the figures with targets that a part reports."""
    targets = [target for line in result["lines"] if line["kind"] == "targets" for target in line["targets"]]
    return {"targets": targets} if targets else {}


def rendered(report: Result) -> str:
    """Return the summary as a short table."""
    facts = report["machine"]
    lines = [f"{facts.get('gpu')}, driver {facts.get('driver')}, CUDA {facts.get('cuda_runtime')}"]
    lines += [rendered_part(name, own) for name, own in report["parts"].items()]
    if report["without_result"]:
        lines.append(f"without a result: {', '.join(report['without_result'])}")
    return "\n".join(lines)


def rendered_part(name: str, own: Result) -> str:
    """Return the line of a part."""
    told = [own["error"] or "", ", ".join(f"{count} {outcome}" for outcome, count in own["counts"].items())]
    if targets := own.get("targets"):
        told.append(f"{sum(target['met'] for target in targets)} of {len(targets)} targets met")
    return f"{name:<13} {own['state']:<12} {own['seconds']:>6.1f} s  {'; '.join(filter(None, told))}".rstrip()


# --- The command -----------------------------------------------------------------------------------------------------


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(given: Sequence[str] | None = None) -> None:
    names = [part.name for part in (*PARTS, ALL_TESTS)]
    parser = argparse.ArgumentParser(description="Run all checks that need a GPU, in less than eight minutes.")
    parser.add_argument(
        "--out",
        type=Path,
        default=default_folder(),
        metavar="DIR",
        help="Folder of the results (default: %(default)s).",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        metavar="PART",
        help=f"Run only these parts: {', '.join(names)}. The last one runs only if it is named.",
    )
    parser.add_argument("--again", action="store_true", help="Also run parts that have a result in the folder.")
    arguments = parser.parse_args(given)
    if (why := missing_gpu()) is not None:
        raise SystemExit(f"gpu_check.py: no GPU: {why}")
    # Commands inherit an ignored SIGINT, as a job in the background has it, but not a handler.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    chosen = [part for part in (*PARTS, ALL_TESTS) if part.name in (arguments.only or names[:-1])]
    try:
        report = check(chosen, arguments.out, again=arguments.again)
    except KeyboardInterrupt:
        raise SystemExit(f"gpu_check.py: interrupted; the results so far are in {arguments.out}") from None
    print(rendered(report))
    raise SystemExit(0 if all(report["parts"][part.name]["state"] == "passed" for part in chosen) else 1)


if __name__ == "__main__":
    main()
