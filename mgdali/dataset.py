"""Deprecated name of :mod:`mgdali.datasets.video_dataset`, kept until version 0.3."""

from __future__ import annotations

import warnings

from mgdali.datasets.video_dataset import VIDEO_EXTENSIONS, Video, VideoDataset

__all__ = ["VIDEO_EXTENSIONS", "Video", "VideoDataset"]

warnings.warn(
    "mgdali.dataset is deprecated and will be removed in version 0.3: use `from mgdali import VideoDataset`",
    DeprecationWarning,
    stacklevel=2,
)
