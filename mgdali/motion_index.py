"""Deprecated name of :mod:`mgdali.index.reader`, kept until version 0.3."""

from __future__ import annotations

import warnings

from mgdali.index.reader import MotionIndex

__all__ = ["MotionIndex"]

warnings.warn(
    "mgdali.motion_index is deprecated and will be removed in version 0.3: use `from mgdali import MotionIndex`",
    DeprecationWarning,
    stacklevel=2,
)
