"""A data set as text and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import islice
from typing import Any

import numpy as np

from mgdali.datasets.labels import shortened
from mgdali.datasets.rows import Rows
from mgdali.quantities import counted

__all__ = ["as_html", "as_text"]

_ROWS = 5
_COLUMNS = 8
_CHARACTERS = 60


def as_text(rows: Rows) -> str:
    """Return a data set in one line, such as ``VideoDataset(3 videos, 2 classes)``."""
    return f"VideoDataset({', '.join(_facts(rows))})"


def as_html(rows: Rows) -> str:
    """Return a data set as an HTML table of its first 5 videos, with its number of videos and its classes."""
    shown = list(islice(rows.dicts(), _ROWS))
    names = ["path", *(["time_range"] if rows.segments is not None else []), "label"]
    kept = [name for name in rows.columns if name not in {*names, "class"}]
    head = [*names, *kept[:_COLUMNS]]
    body = [[_cell(row, name, rows.classes) for name in head] for row in shown]
    facts = ", ".join(_facts(rows))
    notes = [f"Classes: {shortened(rows.classes)}"] if rows.classes else []
    if len(kept) > _COLUMNS:
        notes.append(f"More columns: {shortened(kept[_COLUMNS:])}")
    if len(rows.paths) > len(shown):
        notes.append(f"{len(shown)} of {len(rows.paths)} videos")
    return (
        f"<div><b>VideoDataset</b>: {escape(facts)}<table><thead>{_html_row(head, 'th')}</thead>"
        f"<tbody>{''.join(_html_row(cells, 'td') for cells in body)}</tbody></table>"
        f"<small>{escape('. '.join(notes))}</small></div>"
    )


def _facts(rows: Rows) -> list[str]:
    facts = [counted(len(rows.paths), "video" if rows.segments is None else "segment")]
    if rows.labels.ndim == 2 and not rows.classes:
        facts.append(f"vectors of {rows.labels.shape[1]} as labels")
    elif rows.labels.ndim == 1 and rows.labels.dtype != np.int64:
        facts.append("numbers as labels")
    else:
        facts.append(counted(len(rows.classes), "class", "classes"))
    missing = int(_missing(rows).sum())
    if missing:
        facts.append("no labels" if missing == len(rows.paths) else f"{missing} without a label")
    if rows.columns:
        facts.append(f"columns {shortened(list(rows.columns))}")
    return facts


def _missing(rows: Rows) -> Any:
    if rows.labels.dtype == np.int64:
        return rows.labels == -1
    return np.isnan(rows.labels) if rows.labels.ndim == 1 else np.isnan(rows.labels).all(axis=1)


def _cell(row: dict[str, Any], name: str, classes: Sequence[str]) -> str:
    value = _label(row, classes) if name == "label" else row[name]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS // 2 - 1]}…{text[-_CHARACTERS // 2 :]}"


def _label(row: dict[str, Any], classes: Sequence[str]) -> Any:
    """Return a label as a notebook shows it: the names of its classes, or numbers."""
    label = row["label"]
    if np.isnan(label).all() or (isinstance(label, int) and label == -1):
        return "no label"
    if row["class"] is not None or not classes or not np.isin(label, (0, 1)).all():
        return label if row["class"] is None else row["class"]
    return ", ".join(classes[number] for number in np.flatnonzero(label).tolist()) or "no class"


def _html_row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
