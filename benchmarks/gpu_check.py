"""All checks that need a GPU, in one command of less than eight minutes: ``python benchmarks/gpu_check.py --out DIR``.

``mgdali doctor``, the GPU tests, and the benchmarks of the kernels and of the GPU route run one after another, each in
a separate process with a time limit. A part that fails is recorded, and the others still run. The results are written
to ``DIR/gpu-check.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SECONDS = {"doctor": 30, "tests": 200, "kernels": 120, "route": 120}
ALL_SECONDS = 465
"""Time limit of all parts together, in seconds."""
ALLOWED_SKIP = "NVDEC's library"
"""Text of the only accepted reason for skipping a GPU test."""

_DOCTOR = """
import json, sys
sys.path[:0] = sys.argv[2:]
result = {}
try:
    import machine
    result["machine"] = machine.facts()
    from mgdali.cli import doctor
    result["doctor"] = json.loads(doctor.to_json(doctor.examine()))
finally:
    open(sys.argv[1], "w").write(json.dumps(result))
"""

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


# --- Running a part --------------------------------------------------------------------------------------------------


def run(command: list[str], seconds: float) -> Result:
    """Run a command until it ends or reaches its time limit, and keep the end of its output."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(), stdout=printed, stderr=subprocess.STDOUT, start_new_session=True
        )
        error = None
        try:
            if code := process.wait(max(1.0, seconds)):
                error = f"exit status {code}"
        except subprocess.TimeoutExpired:
            error = f"not finished after {seconds:.0f} s"
        finally:
            # Also ends the command's worker processes, which are in its process group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        printed.seek(0)
        tail = printed.read()[-6000:]
    return {"passed": error is None, "error": error, "seconds": round(time.monotonic() - start, 1), "printed": tail}


def _environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _fail(result: Result, error: str) -> None:
    result["passed"] = False
    result["error"] = "; ".join(filter(None, [result["error"], error]))


def _with_report(result: Result, path: Path) -> Result:
    """Add the JSON file that a command wrote to its result."""
    try:
        result["report"] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        _fail(result, f"no report: {error}")
    return result


# --- The parts -------------------------------------------------------------------------------------------------------


def check_doctor(folder: Path, seconds: float) -> Result:
    out = folder / "doctor.json"
    return _with_report(run([sys.executable, "-c", _DOCTOR, str(out), str(ROOT), str(HERE)], seconds), out)


def check_tests(folder: Path, seconds: float) -> Result:
    """Run the GPU tests. Only pytest is required: the project's options that need plugins are left out."""
    out = folder / "tests.xml"
    files = sorted(map(str, (ROOT / "tests" / "gpu").glob("test_*.py")))
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rs", "-o", "addopts=", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("hypothesis") is None:
        command.append("--noconftest")
    result = run([*command, f"--junitxml={out}", *files], seconds)
    try:
        counts, failed, skipped = read_junit(out.read_text())
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        _fail(result, f"no report: {error}")
        return result
    result |= {"counts": counts, "failed": failed, "skipped": skipped}
    if unexpected := {reason for reason in skipped.values() if ALLOWED_SKIP not in reason}:
        _fail(result, f"skipped: {'; '.join(sorted(unexpected))}")
    return result


def read_junit(text: str) -> tuple[dict[str, int], list[str], dict[str, str]]:
    """Return the number of tests per outcome, the names of failed tests, and the reasons of skipped tests by name."""
    failed: list[str] = []
    skipped: dict[str, str] = {}
    cases = list(xml.etree.ElementTree.fromstring(text).iter("testcase"))
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif (mark := case.find("skipped")) is not None:
            skipped[name] = mark.get("message") or ""
    counts = {"tests": len(cases), "failed": len(failed), "skipped": len(skipped)}
    return {**counts, "passed": len(cases) - len(failed) - len(skipped)}, failed, skipped


def check_benchmark(name: str) -> Callable[[Path, float], Result]:
    """Return a check that runs a benchmark in its quick form, which keeps the time limit."""

    def check(folder: Path, seconds: float) -> Result:
        out = folder / f"{name}.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--quick", "--out", str(out)]
        return _with_report(run(command, seconds), out)

    return check


PARTS: dict[str, Callable[[Path, float], Result]] = {
    "doctor": check_doctor,
    "tests": check_tests,
    "kernels": check_benchmark("kernels"),
    "route": check_benchmark("route"),
}


# --- The command -----------------------------------------------------------------------------------------------------


def check(*, quick: bool) -> dict[str, Any]:
    """Run all parts, and return the content of the JSON file."""
    start = time.monotonic()
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            if quick and name in ("kernels", "route"):
                continue
            print(f"{name} ...", flush=True)
            seconds = min(SECONDS[name], ALL_SECONDS - (time.monotonic() - start))
            try:
                results[name] = part(Path(folder), seconds)
            except Exception as error:  # A failure of one part must not lose the results of the others
                words = f"{type(error).__name__}: {error}"
                results[name] = {"passed": False, "error": words, "seconds": None, "printed": ""}
    return {
        "check": "gpu",
        "date": date,
        "quick": quick,
        "passed": all(result["passed"] for result in results.values()),
        "seconds": round(time.monotonic() - start, 1),
        "machine": _machine(results),
        "parts": results,
    }


def _machine(results: dict[str, Result]) -> dict[str, Any]:
    """Return the GPU, the driver and the versions from the first part that reports them."""
    for result in results.values():
        if facts := result.get("report", {}).get("machine"):
            versions = result["report"].get("doctor", {}).get("packages", {})
            return {**facts, **{name: versions[name]["version"] for name in ("dali", "av") if name in versions}}
    return {}


def rendered(report: dict[str, Any]) -> str:
    """Return a short table. The last output of each failed part is printed above it."""
    facts = report["machine"]
    lines = [f"--- {name} ---\n{own['printed']}" for name, own in report["parts"].items() if not own["passed"]]
    lines.append(
        f"{facts.get('gpu')}, driver {facts.get('driver')}, CUDA {facts.get('cuda_runtime')}, {report['date']}"
    )
    lines += [_rendered_part(name, own) for name, own in report["parts"].items()]
    return "\n".join(lines)


def _rendered_part(name: str, own: Result) -> str:
    counts = own.get("counts", {})
    told = [own["error"] or "", ", ".join(f"{count} {outcome}" for outcome, count in counts.items())]
    found = own.get("report", {})
    targets = [*found.get("targets", []), *(t for load in found.get("workloads", []) for t in load["targets"])]
    if targets:
        told.append(f"{sum(target['met'] for target in targets)} of {len(targets)} targets met")
    outcome = "passed" if own["passed"] else "FAILED"
    return f"{name:<8} {outcome} {own['seconds'] or 0:>6.1f} s  {'; '.join(filter(None, told))}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run all checks that need a GPU, in less than eight minutes.")
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE / "results",
        metavar="DIR",
        help="Folder for gpu-check.json (default: %(default)s).",
    )
    parser.add_argument("--quick", action="store_true", help="Run only doctor and the tests, not the benchmarks.")
    arguments = parser.parse_args()
    if (why := missing_gpu()) is not None:
        raise SystemExit(f"gpu_check.py: no GPU: {why}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = check(quick=arguments.quick)
    (arguments.out / "gpu-check.json").write_text(json.dumps(report, indent=1) + "\n")
    print(rendered(report))
    raise SystemExit(0 if report["passed"] else 1)


if __name__ == "__main__":
    main()
