"""CPU time and memory of a process and its descendants, from Linux's ``/proc``."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
# Positions in /proc/<pid>/stat after the command's name: the parent; user and system time of the process itself and of
# its ended children.
_PARENT, _TIMES = 1, slice(11, 15)


def tree(root: int) -> list[int]:
    """Return the process and its living descendants."""
    children = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children[int(stat[_PARENT])].append(int(entry.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """Return the user and system time of the tree so far, including ended processes whose parent waited for them."""
    stats = (_stat(pid) for pid in tree(root))
    return sum(sum(map(int, stat[_TIMES])) for stat in stats if stat) / _TICKS


def worker_cpu_seconds(root: int) -> float:
    """Return the user and system time of the living descendants so far, without the process itself."""
    stats = (_stat(pid) for pid in tree(root)[1:])
    return sum(sum(map(int, stat[_TIMES])) for stat in stats if stat) / _TICKS


def memory_bytes(root: int) -> int:
    """Return the memory of the tree: the sum of proportional set sizes, which counts shared memory once."""
    return sum(map(_proportional, tree(root)))


def _stat(pid: int) -> list[str] | None:
    """Return the fields after the command's name; None if the process has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The command's name may contain any character, including parentheses.
    return text.rpartition(")")[2].split()


def _proportional(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
