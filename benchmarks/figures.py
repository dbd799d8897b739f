"""Figures of the benchmarks: medians and ratios over rounds, targets, and Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mgdali.bench.figures import heading, in_turn, ratios, spread

__all__ = ["heading", "in_turn", "ratios", "spread", "table", "target", "target_rows", "with_spread"]


def target(figure: str, value: float, relation: str, bound: float) -> dict[str, Any]:
    """Return a figure with its target, ready for JSON.

    Args:
        figure: Name of the figure.
        value: Measured value.
        relation: ``"<="`` or ``">="``.
        bound: Value that the figure must not exceed (``"<="``) or must reach (``">="``).
    """
    met = value <= bound if relation == "<=" else value >= bound
    return {"figure": figure, "value": value, "target": f"{relation} {bound:g}", "met": met}


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table. All columns except the first are aligned to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_spread(values: dict[str, Any], form: str = ".1f") -> str:
    """Format the result of :func:`spread` as ``median (least to most)``."""
    return f"{values['median']:{form}} ({values['least']:{form}} to {values['most']:{form}})"


def target_rows(report: dict[str, Any]) -> str:
    """Return a Markdown table of a report's targets."""
    rows = [
        [own["figure"], f"{own['value']:.2f}", own["target"], "met" if own["met"] else "missed"]
        for own in report["targets"]
    ]
    return table(["figure", "value", "target", ""], rows)
