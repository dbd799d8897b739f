"""What a process and all that it started use: CPU seconds and memory, as Linux counts them."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
# Places in /proc/<pid>/stat after the command's name: parent, and user and system time of itself and reaped children.
_PARENT, _TIMES = 1, slice(11, 15)


def tree(root: int) -> list[int]:
    """The process and its living descendants."""
    children = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children[int(stat[_PARENT])].append(int(entry.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """User and system time so far of the tree and of those in it that have ended and were waited for."""
    stats = (_stat(pid) for pid in tree(root))
    return sum(sum(map(int, stat[_TIMES])) for stat in stats if stat) / _TICKS


def memory_bytes(root: int) -> int:
    """Memory of the tree, what processes share counted once: the sum of their proportional set sizes."""
    return sum(map(_proportional, tree(root)))


def _stat(pid: int) -> list[str] | None:
    """None where the process has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # A command's name may hold anything.
    return text.rpartition(")")[2].split()


def _proportional(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
