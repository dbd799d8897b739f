"""Functions that the benchmark commands share: the folder of sample videos, progress messages and the JSON file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["clips_folder", "say", "write_report"]

_DEFAULT_CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"
"""Folder of sample videos that is used if neither ``--clips`` nor ``MGDALI_CLIPS`` is given."""


def clips_folder(given: Path | None) -> Path:
    """Return the folder of sample videos: ``given`` (``--clips``), else ``$MGDALI_CLIPS``, else a default.

    The command ends with one line if the folder does not exist.
    """
    folder = given or Path(os.environ.get("MGDALI_CLIPS", _DEFAULT_CLIPS))
    if not folder.is_dir():
        raise SystemExit(
            f"{Path(sys.argv[0]).name}: the folder of sample videos {folder} does not exist: pass one with --clips DIR"
        )
    return folder.resolve()


def say(text: str) -> None:
    """Print progress to standard error. Standard output contains only the results."""
    print(text, file=sys.stderr, flush=True)


def write_report(report: dict[str, Any], out: Path | None) -> None:
    """Write a report as JSON to ``out``, the path given with ``--out``; do nothing if it is None."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n")
