"""What the benchmarks' commands have in common."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["clips_folder", "write_report"]


def clips_folder(given: Path | None) -> Path:
    """As given, or MGDALI_CLIPS, or the shared folder's beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "clips"
    folder = given or Path(os.environ.get("MGDALI_CLIPS", beside))
    if not folder.is_dir():
        raise SystemExit(f"{Path(sys.argv[0]).name}: {folder} is no folder of clips; name one with --clips")
    return folder.resolve()


def write_report(report: dict[str, Any], out: Path | None) -> None:
    """Put a report where ``--out`` says, if it says so."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n")
