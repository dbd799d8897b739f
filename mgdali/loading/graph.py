"""The DALI graphs, as plain functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.dlpack import DLDeviceType, from_dlpack

from mgdali.gpu.caps_cache import use_caps_cache_if_possible
from mgdali.gpu.picking import FrameFunctions
from mgdali.loading.batch import KIND_CLIP, KIND_PICKS_KNOWN, Arrays, GraphInput, clip_inputs, encoded_inputs
from mgdali.loading.graph_transform import GraphTransform
from mgdali.loading.settings import LoaderSettings
from mgdali.transforms import OutputFormat

try:
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.pipeline import Pipeline
    from nvidia.dali.plugin.pytorch import fn as torch_fn
except ImportError as error:
    raise ImportError(
        "MGDaliIterator needs NVIDIA DALI, also on machines without a GPU: pip install 'mgdali[cuda12]', "
        f"or 'mgdali[cuda13]' for a CUDA 13 driver ({error})"
    ) from error

__all__ = [
    "OUTPUTS",
    "Pipeline",
    "clips_pipeline",
    "decoding_pipeline",
    "to_torch_tensor",
]

OUTPUTS = ["clips", "labels", "frames", "num_frames"]
"""Outputs of every graph, in order: clips, labels [N] or [N, C], picks int64 [N, T], frames in the video int64 [N]."""

_TYPES = {
    np.uint8: types.UINT8,
    np.int32: types.INT32,
    np.int64: types.INT64,
    np.float32: types.FLOAT,
    np.float64: types.FLOAT64,
}
# As an int, because comparing members of an enumeration takes longer than the conversion.
_ON_CPU = int(DLDeviceType.kDLCPU)
_DTYPES = {"float32": types.FLOAT, "float16": types.FLOAT16, "uint8": types.UINT8}


def clips_pipeline(source: Callable[[], Arrays], settings: LoaderSettings) -> Pipeline:
    """Return the graph that gets finished clips: workers have decoded, cropped and resized them.

    Args:
        source: Returns the next batch as :func:`mgdali.loading.batch.arrange_clips` arranges it. The memory of each
            batch must stay valid until its outputs were returned.
        settings: Settings of the loader.
    """
    build = pipeline_def(**_execution(settings))(_clips_graph)
    return build(source, settings.label, settings.route.device_id is not None, settings.output)


def decoding_pipeline(
    source: Callable[[], Arrays],
    settings: LoaderSettings,
    functions: FrameFunctions,
    transform: GraphTransform | None = None,
) -> Pipeline:
    """Return the graph that gets encoded files: DALI decodes them, and ``functions`` pick frames and gather them.

    If the picks of a video are known, its file contains only the frames that they need. Without a GPU
    (``settings.route``), DALI decodes on the CPU; its releases support VP8, VP9 and MJPEG there.

    Args:
        source: Returns the next batch as :func:`mgdali.loading.batch.arrange_encoded` arranges it; memory as above.
        settings: Settings of the loader.
        functions: What the graph calls with decoded videos. Arrays are CuPy's on DALI's stream; NumPy's without a GPU.
        transform: The user's function, which the graph calls with each clip before mirroring it; None for no function.
    """
    build = pipeline_def(**_execution(settings))(_decoding_graph)
    on_gpu = settings.route.device_id is not None
    if on_gpu:
        use_caps_cache_if_possible()
    return build(source, settings.label, functions, on_gpu, settings.transform.size, settings.output, transform)


def to_torch_tensor(tensor: Any) -> torch.Tensor:
    """Return a tensor of DALI as one of torch, which has the same memory.

    Args:
        tensor: A ``TensorCPU`` or ``TensorGPU``.
    """
    # Given the tensor, torch first tries arguments that DALI does not know, and takes four times as long. On a GPU it
    # also passes its stream.
    return from_dlpack(tensor.__dlpack__() if tensor.__dlpack_device__()[0] == _ON_CPU else tensor)


def _execution(settings: LoaderSettings) -> dict[str, Any]:
    # The source prepares further batches itself, and each batch in DALI takes memory.
    return {
        "batch_size": settings.order.batch_size * settings.clips_per_video,
        "num_threads": settings.num_threads,
        "device_id": settings.route.device_id,
        "prefetch_queue_depth": settings.queue_depth,
        # Outputs then own their memory, and a failure belongs to one batch.
        "exec_dynamic": True,
        "py_num_workers": 0,
        "enable_conditionals": True,
    }


def _clips_graph(
    source: Callable[[], Arrays], label: GraphInput, on_gpu: bool, output: OutputFormat
) -> tuple[Any, ...]:
    given = _inputs(source, clip_inputs(label))
    clips, labels, picks, num_frames = given["pixels"], given["label"], given["picks"], given["num_frames"]
    if on_gpu:
        clips, labels, picks, num_frames = clips.gpu(), labels.gpu(), picks.gpu(), num_frames.gpu()
    elif output.layout == "NTCHW" and output.dtype != "float16":
        return _finished_planes(clips, given["flip"], output), labels, picks, num_frames
    return _finished(clips, given["flip"], output), labels, picks, num_frames


def _decoding_graph(
    source: Callable[[], Arrays],
    label: GraphInput,
    functions: FrameFunctions,
    on_gpu: bool,
    size: tuple[int, int],
    output: OutputFormat,
    transform: GraphTransform | None,
) -> tuple[Any, ...]:
    given = _inputs(source, encoded_inputs(label, transform=transform is not None))
    files, kind, window = given["file"], given["kind"], given["window"]
    offsets, pixels, labels = given["offsets"], given["pixels"], given["label"]
    known_picks, known_num_frames, places = given["picks"], given["num_frames"], given["places"]
    visible, colours = given["visible"], given["colours"]
    if on_gpu:
        offsets, pixels, known_picks, labels = offsets.gpu(), pixels.gpu(), known_picks.gpu(), labels.gpu()
        places, visible, colours = places.gpu(), visible.gpu(), colours.gpu()
    # DALI splits the batch and runs each branch on its samples.
    if kind == KIND_CLIP:
        frames = fn.transpose(pixels, perm=[0, 2, 3, 1])
        picks, num_frames = known_picks, known_num_frames
    else:
        # The decoder's threads mostly wait for NVDEC. Bound to one core each, they would also wait for workers there.
        video = fn.decoders.video(files, device="mixed" if on_gpu else "cpu", affine=False)
        if kind == KIND_PICKS_KNOWN:
            (frames,) = _called(functions.gather, [video, places, visible, colours], ["FHWC"], on_gpu)
            picks, num_frames = known_picks, known_num_frames
        else:
            frames, picks = _called(functions.pick, [video, offsets, visible, colours], ["FHWC", ""], on_gpu)
            num_frames = video.shape()[0]
    if on_gpu:
        num_frames = num_frames.gpu()
    clips = fn.resize(frames, roi_start=window[:2], roi_end=window[2:], size=size)
    if transform is not None:
        clips = _transformed(clips, given["transform"], transform, on_gpu)
    return _finished(clips, given["flip"], output), labels, picks, num_frames


def _transformed(clips: Any, seeds: Any, transform: GraphTransform, on_gpu: bool) -> Any:
    """Return what the user's function makes of the clips."""
    planes = fn.transpose(clips, perm=[0, 3, 1, 2])
    if on_gpu:
        return torch_fn.torch_python_function(
            planes, seeds.gpu(), function=transform, batch_processing=False, output_layouts="FCHW", device="gpu"
        )
    # On the CPU the torch operator does no more than this, but it creates a CUDA stream in any case.
    return fn.dl_tensor_python_function(
        planes,
        seeds,
        function=partial(_with_torch, transform),
        batch_processing=False,
        output_layouts="FCHW",
        device="cpu",
    )


def _with_torch(transform: GraphTransform, *inputs: Any) -> Any:
    """Call a function of tensors with capsules of DLPack, and return one."""
    return transform(*map(from_dlpack, inputs)).__dlpack__()


def _called(function: Callable[..., Any], inputs: list[Any], layouts: list[str], on_gpu: bool) -> Any:
    """Return what a function returns for the samples of a batch: one output for each layout."""
    outputs = fn.python_function(
        *inputs,
        function=function,
        num_outputs=len(layouts),
        batch_processing=True,
        output_layouts=layouts,
        device="gpu" if on_gpu else "cpu",
    )
    return [outputs] if len(layouts) == 1 else outputs


def _inputs(source: Callable[[], Arrays], inputs: tuple[GraphInput, ...]) -> dict[str, Any]:
    """Return the graph's inputs by name."""
    nodes: Any = fn.external_source(
        source=source,
        num_outputs=len(inputs),
        batch=True,
        no_copy=True,
        layout=[each.layout for each in inputs],
        dtype=[_TYPES[each.dtype] for each in inputs],
        ndim=[each.ndim for each in inputs],
    )
    # DALI converts this function too, and its zip() does not accept strict=.
    return {each.name: nodes[i] for i, each in enumerate(inputs)}


def _finished(clips: Any, flip: Any, output: OutputFormat) -> Any:
    """Mirror and normalize the clips, and change their layout."""
    # DALI normalizes pixels of 0 to 255, while mean and std are in units of [0, 1]. Without them pixels stay unchanged.
    mean = output.mean or (0.0, 0.0, 0.0)
    std = output.std or (1 / 255, 1 / 255, 1 / 255)
    return fn.crop_mirror_normalize(
        clips,
        mirror=flip,
        mean=[255 * value for value in mean],
        std=[255 * value for value in std],
        dtype=_DTYPES[output.dtype],
        # DALI's layouts do not include the batch's N, and call the frames F.
        output_layout=output.layout[1:].replace("T", "F"),
    )


def _finished_planes(clips: Any, flip: Any, output: OutputFormat) -> Any:
    """Do the same for clips on the host that already have their final layout.

    The results are equal to the bit, in half of the time or less.
    """
    if flip == 1:
        clips = fn.flip(clips)
    if output.mean is None or output.std is None:
        # The clips must not stay in the workers' memory, which is used again.
        return fn.copy(clips)
    channels = (1, 3, 1, 1)
    return fn.normalize(
        clips,
        axes=[0, 2, 3],
        mean=np.array([255 * value for value in output.mean], np.float32).reshape(channels),
        stddev=np.array([255 * value for value in output.std], np.float32).reshape(channels),
        dtype=_DTYPES[output.dtype],
    )
