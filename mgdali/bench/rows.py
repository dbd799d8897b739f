"""Rows of a comparison, ready for JSON: a peer's speed, alone and relative to others."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mgdali.bench.figures import ratios, spread
from mgdali.bench.peers.process import Epoch
from mgdali.bench.peers.registry import Kind, Peer

__all__ = ["fastest", "in_order", "row"]

_ORDER: list[Kind] = ["ours", "documented", "by hand", "floor"]


def fastest(epochs: Mapping[str, Sequence[Epoch]]) -> str | None:
    """Return the name with the largest median of clips per second; None if ``epochs`` is empty."""
    return max(epochs, key=lambda name: statistics.median(1 / epoch.seconds for epoch in epochs[name]), default=None)


def row(
    peer: Peer,
    clips: int,
    epochs: Sequence[Epoch],
    *,
    fastest_peer: Sequence[Epoch] | None,
    floor: Sequence[Epoch] | None,
) -> dict[str, Any]:
    """Return the speed of a peer.

    Args:
        peer: The peer.
        clips: Number of clips of an epoch.
        epochs: Its epochs, one per round.
        fastest_peer: Epochs of the fastest documented peer, in the same rounds; None if none was measured.
        floor: Epochs of decoding alone, in the same rounds; None if it was not measured.
    """
    return {
        "name": peer.name,
        "kind": peer.kind,
        "clips_per_s": spread([clips / epoch.seconds for epoch in epochs]),
        "over_fastest_peer": _over(fastest_peer, epochs),
        "over_decoding_alone": _over(floor, epochs),
        "cpu_seconds_a_clip": spread([epoch.cpu_seconds / clips for epoch in epochs]),
    }


def in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort rows by kind (ours, documented, by hand, floor), and within a kind by speed, the fastest first."""
    return sorted(rows, key=lambda own: (_ORDER.index(own["kind"]), -own["clips_per_s"]["median"]))


def _over(base: Sequence[Epoch] | None, own: Sequence[Epoch]) -> dict[str, Any] | None:
    """Return the spread of the speed relative to ``base``, each ratio within one round; None without a base."""
    if base is None:
        return None
    return ratios([epoch.seconds for epoch in base], [epoch.seconds for epoch in own])
