"""MGDali: a video dataloader on NVIDIA DALI that picks frames by motion (MGSampler, ICCV 2021).

Names are imported when they are first used: ``import mgdali`` imports neither DALI, CuPy nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgdali import motion, sampling
    from mgdali.datasets.mixing import mixing_weights
    from mgdali.datasets.video_dataset import Video, VideoDataset
    from mgdali.errors import DatasetError, TransformError, VideoDecodeError, WorkerError
    from mgdali.index.build import build_index
    from mgdali.index.reader import MotionIndex
    from mgdali.iterator import MGDaliIterator
    from mgdali.one_video.clip import PickedClip
    from mgdali.one_video.pick import pick_frames
    from mgdali.packing.encoding import Encoding
    from mgdali.packing.pack import pack
    from mgdali.samplers import Fps, MotionClip, MotionGuided, Representation, Segment, Stride, TopMotion
    from mgdali.video.time_range import TimeRange
    from mgdali.views import Views

__version__ = "0.1.0"

__all__ = [
    "DatasetError",
    "Encoding",
    "Fps",
    "MGDaliIterator",
    "MotionClip",
    "MotionGuided",
    "MotionIndex",
    "PickedClip",
    "Representation",
    "Segment",
    "Stride",
    "TimeRange",
    "TopMotion",
    "TransformError",
    "Video",
    "VideoDataset",
    "VideoDecodeError",
    "Views",
    "WorkerError",
    "build_index",
    "mixing_weights",
    "motion",
    "pack",
    "pick_frames",
    "sampling",
]

_MODULES = {
    "DatasetError": "errors",
    "Encoding": "packing.encoding",
    "Fps": "samplers",
    "MGDaliIterator": "iterator",
    "MotionClip": "samplers",
    "MotionGuided": "samplers",
    "MotionIndex": "index.reader",
    "PickedClip": "one_video.clip",
    "Representation": "samplers",
    "Segment": "samplers",
    "Stride": "samplers",
    "TimeRange": "video.time_range",
    "TopMotion": "samplers",
    "TransformError": "errors",
    "Video": "datasets.video_dataset",
    "VideoDataset": "datasets.video_dataset",
    "VideoDecodeError": "errors",
    "Views": "views",
    "WorkerError": "errors",
    "build_index": "index.build",
    "mixing_weights": "datasets.mixing",
    "pack": "packing.pack",
    "pick_frames": "one_video.pick",
}


def __getattr__(name: str) -> Any:
    if name in ("motion", "sampling"):
        return importlib.import_module(f"mgdali.{name}")
    if name in _MODULES:
        return getattr(importlib.import_module(f"mgdali.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'mgdali' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
