"""Facts about the machine and its software, stored with a benchmark's results so that results can be compared."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import os
import platform
from pathlib import Path
from typing import Any

import mgdali
from mgdali.gpu import driver

__all__ = ["available_memory", "facts"]

_MEMORY = Path("/proc/meminfo")
_CONTROL_GROUP = Path("/sys/fs/cgroup")


def facts() -> dict[str, Any]:
    """Return the date, the machine and the versions, ready for JSON. Values that are missing are None."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cpu_cores": _cores(),
        "python": platform.python_version(),
        "mgdali": mgdali.__version__,
        **{name: _version(name) for name in ("numpy", "torch", "cupy")},
        **_gpu_facts(),
    }


def available_memory() -> int | None:
    """Return the memory that new processes can use without swapping, in bytes; None if it is not known.

    It is what Linux reports, or less if the control group (version 2) of a container has a limit.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = _MEMORY.read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):
        limit, used = ((_CONTROL_GROUP / name).read_text() for name in ("memory.max", "memory.current"))
        # Without a limit, the first is "max", which is not a number.
        found.append(max(0, int(limit) - int(used)))
    return min(found, default=None)


def _gpu_facts() -> dict[str, Any]:
    """Return facts about CUDA's first device, which CuPy and torch use by default."""
    found: dict[str, Any] = dict.fromkeys(
        ("gpu", "gpu_memory_bytes", "compute_capability", "driver", "driver_cuda", "cuda_runtime")
    )
    try:
        first = driver.find_gpus()[0]
    except (driver.GPUError, IndexError):
        return found
    found["gpu"] = first.name
    found["gpu_memory_bytes"] = first.memory_bytes
    found["compute_capability"] = ".".join(map(str, first.compute_capability))
    found["driver_cuda"] = ".".join(map(str, driver.cuda_version()))
    found["cuda_runtime"] = _cuda_runtime()
    # Containers may lack NVML, which returns the driver's version.
    with contextlib.suppress(driver.GPUError):
        found["driver"] = driver.driver_version()
    return found


def _cuda_runtime() -> str | None:
    """Return the version of the CUDA runtime that CuPy uses; None if CuPy does not work."""
    try:
        version = int(importlib.import_module("cupy").cuda.runtime.runtimeGetVersion())
    except Exception:  # A broken CuPy must not end a benchmark that does not need it
        return None
    return f"{version // 1000}.{version % 1000 // 10}"


def _version(module: str) -> str | None:
    """Return the module's own version, because a folder on PYTHONPATH may lack the package's metadata."""
    try:
        return str(importlib.import_module(module).__version__)
    except Exception:  # Importing a half installed package may raise any error
        return None


def _cpu() -> str | None:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None


def _cores() -> int | None:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
