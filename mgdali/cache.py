"""The folder for caches."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return the user's cache folder: ``$XDG_CACHE_HOME/mgdali`` or ``~/.cache/mgdali``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mgdali"
