"""The DALI graphs, as plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mgdali.loading.source import MADE_HERE, PICKS_KNOWN
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

__all__ = ["OUTPUTS", "DALIGenericIterator", "LastBatchPolicy", "Pipeline", "clips_pipeline", "decoding_pipeline"]

OUTPUTS = ["clips", "labels", "frames", "num_frames"]
"""What every graph gives, in order: clips, labels int64 [N], picks int64 [N, T], frames in the video int64 [N]."""

_DTYPES = {"float32": types.FLOAT, "float16": types.FLOAT16, "uint8": types.UINT8}


def clips_pipeline(
    source: Callable[[], Any],
    *,
    batch_size: int,
    num_threads: int,
    output: OutputFormat,
    device_id: int | None = None,
) -> Pipeline:
    """The graph that gets clips: workers have decoded, cut out and resized, DALI does the rest.

    Args:
        source: gives batches as :func:`mgdali.loading.source.arrange_clips` makes them; a batch's memory is kept until
            two more were given.
        batch_size: the most clips a batch has.
        num_threads: DALI's threads.
        output: the clips' type, layout and normalization.
        device_id: the GPU that does the rest, or None for the CPU.
    """
    build = pipeline_def(**_execution(batch_size, num_threads, device_id))(_clips_graph)
    return build(source, device_id is not None, output)


def decoding_pipeline(
    source: Callable[[], Any],
    picker: Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]],
    *,
    batch_size: int,
    num_threads: int,
    crop_size: int,
    output: OutputFormat,
    device_id: int | None,
) -> Pipeline:
    """The graph that gets files: DALI decodes whole videos, ``picker`` measures motion and picks. Where the picks are
    known, DALI decodes no more than these need.

    Args:
        source: gives batches as :func:`mgdali.loading.source.arrange_encoded` makes them; memory is kept as above.
        picker: called with a batch's videos, uint8 ``[T, H, W, 3]`` each, and offsets, float64 ``[N]`` each; returns
            the picked frames, uint8 ``[N, H, W, 3]`` each, and the picks, int64 ``[N]`` each. Arrays are CuPy's on
            DALI's stream, or NumPy's without a GPU.
        device_id: the GPU. None has DALI decode on the CPU, which its releases do for VP8, VP9 and MJPEG only.
        crop_size: side of the clips handed out, in pixels.
        batch_size, num_threads, output: as above; each of the threads drives a decoder.
    """
    build = pipeline_def(**_execution(batch_size, num_threads, device_id))(_decoding_graph)
    return build(source, picker, device_id is not None, crop_size, output)


def _execution(batch_size: int, num_threads: int, device_id: int | None) -> dict[str, Any]:
    # One batch ahead: the source looks ahead on its own, and what DALI holds is memory.
    return {
        "batch_size": batch_size,
        "num_threads": num_threads,
        "device_id": device_id,
        "prefetch_queue_depth": 1,
        "py_num_workers": 0,
        "enable_conditionals": True,
    }


def _clips_graph(source: Callable[[], Any], on_gpu: bool, output: OutputFormat) -> tuple[Any, ...]:
    inputs: Any = fn.external_source(
        source=source,
        num_outputs=5,
        batch=True,
        no_copy=True,
        layout=["FCHW", "", "", "", ""],
        dtype=[types.UINT8, types.INT32, types.INT64, types.INT64, types.INT64],
        ndim=[4, 0, 0, 1, 0],
    )
    clips, flip, labels, picks, num_frames = inputs
    if on_gpu:
        clips, labels, picks, num_frames = clips.gpu(), labels.gpu(), picks.gpu(), num_frames.gpu()
    elif output.layout == "NTCHW" and output.dtype != "float16":
        return _finished_planes(clips, flip, output), labels, picks, num_frames
    return _finished(clips, flip, output), labels, picks, num_frames


def _decoding_graph(
    source: Callable[[], Any], picker: Callable[..., Any], on_gpu: bool, crop_size: int, output: OutputFormat
) -> tuple[Any, ...]:
    inputs: Any = fn.external_source(
        source=source,
        num_outputs=9,
        batch=True,
        no_copy=True,
        layout=["", "", "", "FCHW", "", "", "", "", ""],
        dtype=[types.UINT8, types.FLOAT64, types.INT32, types.UINT8, *[types.INT64] * 2, types.FLOAT, types.INT32]
        + [types.INT64],
        ndim=[1, 1, 0, 4, 1, 0, 1, 0, 0],
    )
    files, offsets, kind, pixels, known_picks, known_num_frames, window, flip, labels = inputs
    # An argument of the decoder stays on the host.
    wanted = fn.cast(known_picks, dtype=types.INT32)
    if on_gpu:
        offsets, pixels, known_picks, labels = offsets.gpu(), pixels.gpu(), known_picks.gpu(), labels.gpu()
    # DALI runs each branch on its part of the batch.
    if kind == MADE_HERE:
        frames = fn.transpose(pixels, perm=[0, 2, 3, 1])
        picks, num_frames = known_picks, known_num_frames
    elif kind == PICKS_KNOWN:
        # Not padded: picks beyond the end, of a file that has changed, are an error and no black frames.
        frames = fn.decoders.video(files, frames=wanted, pad_mode="none", device="mixed" if on_gpu else "cpu")
        picks, num_frames = known_picks, known_num_frames
    else:
        video = fn.decoders.video(files, device="mixed" if on_gpu else "cpu")
        picked: Any = fn.python_function(
            video,
            offsets,
            function=picker,
            num_outputs=2,
            batch_processing=True,
            output_layouts=["FHWC", ""],
            device="gpu" if on_gpu else "cpu",
        )
        frames, picks = picked
        num_frames = video.shape()[0]
    if on_gpu:
        num_frames = num_frames.gpu()
    clips = fn.resize(frames, roi_start=window[:2], roi_end=window[2:], size=(crop_size, crop_size))
    return _finished(clips, flip, output), labels, picks, num_frames


def _finished(clips: Any, flip: Any, output: OutputFormat) -> Any:
    """Mirror, normalize and lay out."""
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


def _finished_planes(clips: Any, flip: Any, output: OutputFormat) -> Any:
    """The same, to the bit, of clips that lie on the host as they are handed out, in half the time or less."""
    if flip == 1:
        clips = fn.flip(clips)
    if output.mean is None or output.std is None:
        # What is handed out must not lie in the workers' memory.
        return fn.copy(clips)
    channels = (1, 3, 1, 1)
    return fn.normalize(
        clips,
        axes=[0, 2, 3],
        mean=np.array([255 * value for value in output.mean], np.float32).reshape(channels),
        stddev=np.array([255 * value for value in output.std], np.float32).reshape(channels),
        dtype=_DTYPES[output.dtype],
    )
