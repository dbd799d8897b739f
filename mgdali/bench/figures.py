"""Figures of measurements in rounds: turns, medians and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, TypeVar

__all__ = ["heading", "in_turn", "ratios", "spread"]

T = TypeVar("T")


def in_turn(things: Sequence[T], number: int) -> list[T]:
    """Return ``things`` rotated by the round's number, so that each round starts with another one."""
    start = number % max(1, len(things))
    return [*things[start:], *things[:start]]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median, the smallest and the largest value, and all values."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "values": list(values)}


def ratios(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """Return the spread of the ratios ``above / below``, each computed within one round."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def heading(report: dict[str, Any]) -> str:
    """Return one line with the date, the machine and the versions of a report."""
    facts = report["machine"]
    on = facts["cpu"] if facts["gpu"] is None else f"{facts['cpu']}, {facts['gpu']}"
    return f"{facts['date'][:10]}, {on}, {facts['cpu_cores']} cores, Python {facts['python']}, mgdali {facts['mgdali']}"
