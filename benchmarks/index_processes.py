"""Processes that each do one piece of work with a large index and report its time and their memory.

Each piece of work runs in a new process, so that its peak memory does not contain that of another. ``index_scale.py``
starts the processes with :func:`ask`. They import neither torch nor the loader.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

# The processes measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from index_rows import make_up, path_of

from mgdali import MotionIndex
from mgdali.index.known import read_known
from mgdali.index.schema import from_batch
from mgdali.index.writer import IndexWriter

__all__ = ["ask", "look_up", "merge_parts", "read_all_rows", "write_rows"]

# Each work function returns its figures and an object. The process keeps the object until its memory is measured.


def write_rows(index: str, rows: int, mean_frames: int) -> tuple[dict[str, Any], object]:
    """Time the writing of records, which one process does in a build."""
    batch = make_up(np.random.default_rng(2), 0, rows, mean_frames)
    records = [from_batch(batch, row) for row in range(rows)]
    writer = IndexWriter(f"{index}.rows")
    start = time.perf_counter()
    for record in records:
        writer.add(record)
    seconds = time.perf_counter() - start
    writer.close()
    shutil.rmtree(f"{index}.rows.parts")
    return {"rows_per_s": rows / seconds, "rows": rows}, None


def merge_parts(index: str) -> tuple[dict[str, Any], object]:
    """Time the merge of all parts, the last step of a build."""
    start = time.perf_counter()
    rows = IndexWriter(index).commit()
    return {"seconds": time.perf_counter() - start, "rows": rows}, None


def read_all_rows(index: str) -> tuple[dict[str, Any], object]:
    """Time the first step of a build, which reads the existing rows."""
    start = time.perf_counter()
    writer = IndexWriter(index)
    known = read_known(writer)
    writer.close()
    return {"seconds": time.perf_counter() - start, "rows": len(known)}, known


def look_up(index: str, videos: int, finds: int, cold: bool) -> tuple[dict[str, Any], object]:
    """Time the opening of an index and the look-up of random videos, twice the same ones.

    Args:
        index: Path of the index.
        videos: Number of videos in the index.
        finds: Number of videos to look up.
        cold: Whether to drop the files from the page cache before each of the two steps.
    """
    if cold:
        forget(index)
    before, read_before = memory(), _bytes_read()
    start = time.perf_counter()
    opened = MotionIndex(index)
    seconds = time.perf_counter() - start
    found = {"seconds": seconds, "before": before, "opened": memory(), "bytes_read": _bytes_read() - read_before}
    paths = [path_of(int(number)) for number in np.random.default_rng(1).integers(0, videos, finds)]
    if cold:
        forget(index)
    for name in ("first", "again"):
        read_before = _bytes_read()
        found[name] = find_all(opened, paths) | {"bytes_read": _bytes_read() - read_before}
    return found, opened


def find_all(index: MotionIndex, paths: list[str]) -> dict[str, float]:
    """Return statistics of the time to look up a video and to read its S, in microseconds."""
    took = []
    for path in paths:
        start = time.perf_counter_ns()
        record = index.find(path)
        if record is None or not record.motion["image"].any():
            raise SystemExit(f"index.py: {path} was not found")
        took.append((time.perf_counter_ns() - start) / 1e3)
    return {
        "median_us": statistics.median(took),
        "p99_us": float(np.percentile(took, 99)),
        "mean_us": float(np.mean(took)),
        "most_us": max(took),
    }


def memory() -> dict[str, int]:
    """Return the memory of this process in bytes.

    ``proportional`` divides shared pages by the number of processes that share them (PSS), ``anonymous`` excludes
    pages of files, and ``peak`` is the largest resident size so far.
    """
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    sizes = {words[0]: 1024 * int(words[1]) for words in lines}
    return {
        "resident": sizes["Rss:"],
        "proportional": sizes["Pss:"],
        "private": sizes["Private_Clean:"] + sizes["Private_Dirty:"],
        "shared": sizes["Shared_Clean:"] + sizes["Shared_Dirty:"],
        "anonymous": sizes["Anonymous:"],
        "peak": _status("VmHWM"),
    }


def _status(name: str) -> int:
    """Return a size from this process's status file, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _bytes_read() -> int:
    """Return the number of bytes that this process has read from disk."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"])


def forget(index: str) -> None:
    """Drop an index from the system's page cache, as after a restart of the machine."""
    for file in (index, f"{index}.map"):
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# --- Processes -------------------------------------------------------------------------------------------------------


def ask(work: Callable[..., object], *arguments: Any, processes: int = 1) -> list[dict[str, Any]]:
    """Run ``work`` in several new processes at once, and return the figures and memory of each.

    All processes stay alive until every one has measured its memory, since shared memory is divided among them.
    """
    command = [sys.executable, str(Path(__file__).resolve()), work.__name__, json.dumps(arguments)]
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            for _ in range(processes)
        ]
        if any(_read_line(process) != "done" for process in running):
            raise SystemExit(f"index.py: a process failed in {work.__name__}")
        for process in running:
            print(file=process.stdin)
        return [json.loads(_read_line(process)) for process in running]


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answer(name: str, arguments: list[Any]) -> None:
    """Run the work function ``name`` in this process, the other end of :func:`ask`.

    The process prints ``done``, waits for a line, prints its figures and its memory, and waits until its standard
    input is closed.
    """
    works = (write_rows, merge_parts, read_all_rows, look_up)
    found, kept = next(work for work in works if work.__name__ == name)(*arguments)
    print("done", flush=True)
    sys.stdin.readline()
    print(json.dumps(found | {"memory": memory()}), flush=True)
    sys.stdin.read()
    del kept


if __name__ == "__main__":
    answer(sys.argv[1], json.loads(sys.argv[2]))
