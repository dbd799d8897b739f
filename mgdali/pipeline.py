"""The DALI graphs, as plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mgdali.transforms import OutputFormat

try:
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.pipeline import Pipeline
    from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy
except ImportError as error:
    raise ImportError(
        "MGDaliIterator needs NVIDIA DALI, on machines without a GPU too: pip install 'mgdali[cuda12]', "
        f"or 'mgdali[cuda13]' beside a CUDA 13 driver ({error})"
    ) from error

__all__ = ["OUTPUTS", "DALIGenericIterator", "LastBatchPolicy", "Pipeline", "cpu_pipeline"]

OUTPUTS = ["clips", "labels", "frames", "num_frames"]
"""What every graph gives, in order: clips, labels int64 [N], picks int64 [N, T], frames in the video int64 [N]."""

_DTYPES = {"float32": types.FLOAT, "float16": types.FLOAT16, "uint8": types.UINT8}


def cpu_pipeline(
    source: Callable[[], Any],
    *,
    batch_size: int,
    num_threads: int,
    crop_size: int,
    output: OutputFormat,
) -> Pipeline:
    """The graph for machines without a GPU: clips come decoded, DALI's CPU operators do the rest.

    Args:
        source: gives batches as :data:`mgdali.source.ClipArrays`; it keeps each batch's memory until
            ``HELD_BATCHES`` more were asked for.
        batch_size: the most clips a batch has.
        num_threads: DALI's threads.
        crop_size: side of the clips handed out, in pixels.
        output: their type, layout and normalization.
    """
    # One batch ahead: the source looks ahead on its own, and what DALI holds is memory.
    build = pipeline_def(
        batch_size=batch_size, num_threads=num_threads, device_id=None, prefetch_queue_depth=1, py_num_workers=0
    )(_clips_graph)
    return build(source, crop_size=crop_size, output=output)


def _clips_graph(source: Callable[[], Any], crop_size: int, output: OutputFormat) -> tuple[Any, ...]:
    frames, window, flip, labels, picks, num_frames = fn.external_source(
        source=source,
        num_outputs=6,
        batch=True,
        no_copy=True,
        layout=["FHWC", "", "", "", "", ""],
        dtype=[types.UINT8, types.FLOAT, types.INT32, types.INT64, types.INT64, types.INT64],
        ndim=[4, 1, 0, 0, 1, 0],
    )
    return _finish(frames, window, flip, crop_size, output), labels, picks, num_frames


def _finish(frames: Any, window: Any, flip: Any, crop_size: int, output: OutputFormat) -> Any:
    """Resize the crop window, mirror, normalize and lay out: the same on every route."""
    clips = fn.resize(frames, roi_start=window[:2], roi_end=window[2:], size=(crop_size, crop_size))
    # DALI normalizes pixels of 0 to 255; mean and std are given for [0, 1]. Without them pixels stay as they are.
    mean = output.mean or (0.0, 0.0, 0.0)
    std = output.std or (1 / 255, 1 / 255, 1 / 255)
    return fn.crop_mirror_normalize(
        clips,
        mirror=flip,
        mean=[255 * value for value in mean],
        std=[255 * value for value in std],
        dtype=_DTYPES[output.dtype],
        # DALI names a clip's axes without the batch's N, and frames F.
        output_layout=output.layout[1:].replace("T", "F"),
    )
