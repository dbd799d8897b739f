"""The summary of ``route.py``'s lines: medians, ratios within rounds, targets, and tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from figures import heading, ratios, spread, table, target, with_spread
from lines import Line

__all__ = ["rendered", "summarized", "targets"]

Row = dict[str, Any]


def summarized(lines: Iterable[Line]) -> list[Row]:
    """Return a row for each workload, group and variant that was timed.

    The ratios compare the clips per second of a variant with those of its group's first variant, within each round in
    which both were timed.
    """
    known = list(lines)
    clips = {line["workload"]: line["videos"] for line in known if line["kind"] == "workload"}
    epochs: dict[tuple[str, str, str], dict[int, Line]] = {}
    for line in known:
        if line["kind"] == "epoch":
            epochs.setdefault((line["workload"], line["group"], line["variant"]), {})[line["round"]] = line
    references = {
        (line["workload"], line["group"]): line["variant"]
        for line in reversed(known)
        if line["kind"] == "variant" and line["number"] == 0
    }
    return [
        _row(key, own, clips[key[0]], references.get(key[:2]), epochs.get((*key[:2], references.get(key[:2], "")), {}))
        for key, own in epochs.items()
    ]


def _row(
    key: tuple[str, str, str], own: dict[int, Line], clips: int, reference: str | None, others: dict[int, Line]
) -> Row:
    workload, group, variant = key
    seconds = [own[number]["seconds"] for number in sorted(own)]
    both = sorted(set(own) & set(others))
    decoded = own[min(own)]["frames_decoded"]
    shares = [line["decoder_percent"] for line in own.values() if line["decoder_percent"] is not None]
    return {
        "workload": workload,
        "group": group,
        "variant": variant,
        "rounds": len(own),
        "seconds": seconds,
        "clips_per_s": spread([clips / each for each in seconds]),
        "frames_decoded": decoded,
        "frames_per_s": None if decoded is None else decoded / statistics.median(seconds),
        "decoder_percent": statistics.fmean(shares) if shares else None,
        "over": reference,
        "ratio": ratios([others[n]["seconds"] for n in both], [own[n]["seconds"] for n in both]) if both else None,
    }


def targets(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the figures with a target: the loader compared with segment sampling and with decoding alone."""
    found = []
    for workload in dict.fromkeys(row["workload"] for row in rows):
        loader = {row["variant"]: row for row in rows if (row["workload"], row["group"]) == (workload, "loader")}
        alone = [row for name, row in loader.items() if name.startswith("decode only")]
        for name in ("motion-guided image", "motion-guided feature"):
            if name not in loader:
                continue
            if "segment" in loader:
                value = _share(loader["segment"], loader[name])
                found.append(target(f"{workload}: {name}, time over segment's", value, "<=", 1.03))
            if alone:
                best = max(alone, key=lambda row: float(row["clips_per_s"]["median"]))
                value = _share(loader[name], best)
                found.append(target(f"{workload}: {name}, clips/s over {best['variant']}'s", value, ">=", 0.95))
    return found


def _share(above: Row, below: Row) -> float:
    """Return the median over rounds of ``above``'s clips per second divided by ``below``'s."""
    count = min(above["rounds"], below["rounds"])
    return float(ratios(below["seconds"][:count], above["seconds"][:count])["median"])


# --- Text ------------------------------------------------------------------------------------------------------------

_HEADS = ("", "clips/s", "ratio", "frames/s", "frames decoded", "NVDEC %", "rounds")


def rendered(lines: Sequence[Line]) -> str:
    """Return the lines of a run as Markdown: a table per workload and group, what is missing, and the targets."""
    rows = summarized(lines)
    parts = [heading(line) for line in lines if line["kind"] == "machine"]
    for workload, group in dict.fromkeys((row["workload"], row["group"]) for row in rows):
        own = [row for row in rows if (row["workload"], row["group"]) == (workload, group)]
        parts.append(f"**{workload} videos, {group}**; ratios of clips/s over {own[0]['over']}")
        parts.append(table(_HEADS, [_cells(row) for row in own]))
    parts += _missing(lines)
    parts += [
        f"{own['figure']}: {own['value']:.3f}, target {own['target']}: {'met' if own['met'] else 'missed'}"
        for own in targets(rows)
    ]
    return "\n\n".join(parts)


def _missing(lines: Iterable[Line]) -> Iterable[str]:
    """Yield a sentence for what is missing, for unexpected numbers of frames, and for files that PyAV decoded."""
    for line in lines:
        where = f"{line.get('workload')} videos, {line.get('group')}"
        if line["kind"] == "skipped":
            yield f"{where}: {line['variant']} was left out: {line['reason']}"
        elif line["kind"] == "stopped":
            yield f"{line['why']}; left out: {', '.join(line['left'])}"
        elif line["kind"] == "variant":
            decoded, expected = line["frames_decoded"], line["frames_expected"]
            if _unexpected(decoded, expected):
                yield f"{where}: {line['variant']} decoded {decoded} frames, not {expected}"
            if by_pyav := line["facts"].get("by_pyav"):
                first, reason = next(iter(by_pyav.items()))
                yield f"{where}, {line['variant']}: PyAV decoded {len(by_pyav)} files, such as {first}: {reason}"


def _unexpected(decoded: int | None, expected: int | None) -> bool:
    """Return whether both numbers are known and differ."""
    return decoded is not None and expected is not None and decoded != expected


def _cells(row: Row) -> list[str]:
    decoded, rate, share = row["frames_decoded"], row["frames_per_s"], row["decoder_percent"]
    return [
        row["variant"],
        with_spread(row["clips_per_s"]),
        "-" if row["ratio"] is None else f"{row['ratio']['median']:.2f}",
        "-" if rate is None else f"{rate:.0f}",
        "-" if decoded is None else str(decoded),
        "-" if share is None else f"{share:.0f}",
        str(row["rounds"]),
    ]
