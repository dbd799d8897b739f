"""Ratios between rows of the comparison that have a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from figures import ratios, table, target, with_spread

from mgdali.bench.peers.process import Epoch

__all__ = ["COMPARISONS", "Comparison", "compared", "compared_table"]

FASTEST = "the fastest peer"
"""Stands for the fastest documented peer. It loads the originals."""


@dataclass(frozen=True)
class Comparison:
    """A ratio between two peers.

    Attributes:
        peer, base: Names of the peers; ``base`` may be :data:`FASTEST`.
        slowness: Whether the ratio is that of the times per clip; otherwise that of the clips per second.
        targets: Target of the ratio by workload: the least value, or with ``slowness`` the largest.
    """

    peer: str
    base: str
    slowness: bool = False
    targets: Mapping[str, float] = field(default_factory=dict)

    @property
    def relation(self) -> str:
        """How the ratio must relate to its target."""
        return "<=" if self.slowness else ">="

    def of(self, epochs: Mapping[str, Sequence[Epoch]]) -> list[dict[str, Any]]:
        """Return the spread of the ratio, each value within one round; an empty list if a peer is missing."""
        peer, base = epochs.get(self.peer), epochs.get(self.base)
        if peer is None or base is None:
            return []
        above, below = (peer, base) if self.slowness else (base, peer)
        return [ratios([epoch.seconds for epoch in above], [epoch.seconds for epoch in below])]


COMPARISONS = (
    Comparison("mgdali-packed", FASTEST, targets={"kinetics": 20, "mixed": 7, "short": 3}),
    Comparison("mgdali-packed-fast", FASTEST, targets={"kinetics": 30}),
    Comparison("mgdali-packed", "torchcodec-known-picks", targets={"kinetics": 3}),
    Comparison("mgdali-packed", "mgdali-index"),
    Comparison("mgdali-feature", "mgdali-segment", slowness=True, targets={"short": 1.5, "mixed": 2}),
)


def compared(workload: str, epochs: Mapping[str, Sequence[Epoch]], fastest_peer: str | None) -> list[dict[str, Any]]:
    """Return the ratios of a workload, ready for JSON, with their targets if they have one.

    Args:
        workload: Name of the workload.
        epochs: Timed epochs by peer.
        fastest_peer: Name of the fastest documented peer; None if none was measured.
    """
    known = dict(epochs)
    if fastest_peer is not None:
        known[FASTEST] = epochs[fastest_peer]
    found = []
    for each in COMPARISONS:
        what = "time per clip" if each.slowness else "clips/s"
        figure = f"{each.peer} over {each.base}, {what}"
        for ratio in each.of(known):
            entry: dict[str, Any] = {"figure": figure, "ratio": ratio, "target": None, "met": None}
            if workload in each.targets:
                entry |= target(figure, ratio["median"], each.relation, each.targets[workload])
            found.append(entry)
    return found


def compared_table(entries: Sequence[dict[str, Any]]) -> str:
    """Return the ratios as a Markdown table."""
    rows = [
        [
            own["figure"],
            with_spread(own["ratio"], ".2f"),
            own["target"] or "-",
            "-" if own["met"] is None else "met" if own["met"] else "missed",
        ]
        for own in entries
    ]
    return table(["ratio", "median (least to most)", "target", ""], rows)
