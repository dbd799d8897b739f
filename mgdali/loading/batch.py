"""The inputs of the DALI graphs, declared once, and batches arranged as these inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.video_dataset import Video
from mgdali.loading.stats import ClipWork
from mgdali.workers.clip_job import ClipResult
from mgdali.workers.encoded_job import Result

__all__ = [
    "KIND_CLIP",
    "KIND_MEASURE",
    "KIND_PICKS_KNOWN",
    "LABEL",
    "Arrays",
    "GraphInput",
    "Part",
    "arrange_clips",
    "arrange_encoded",
    "clip_inputs",
    "encoded_inputs",
    "label_input",
    "single_clips",
]

Arrays = tuple[list[NDArray[Any]] | NDArray[Any], ...]
"""A batch in the order of the graph's inputs. Each input is a list with one array per sample or, which DALI accepts
faster, one array of all samples."""

KIND_CLIP, KIND_PICKS_KNOWN, KIND_MEASURE = range(3)
"""What a graph that decodes does with a sample: use its finished clip; decode the picks that are known; or decode the
whole video, measure its motion and pick."""


@dataclass(frozen=True)
class GraphInput:
    """One input of a DALI graph.

    Attributes:
        name: Name by which the source fills it and the graph reads it.
        dtype: NumPy type of its elements.
        ndim: Number of dimensions of one sample, without the batch's.
        layout: DALI's layout of one sample; empty if the input is not an image or video.
    """

    name: str
    dtype: type[np.generic]
    ndim: int = 0
    layout: str = ""


_PIXELS = GraphInput("pixels", np.uint8, ndim=4, layout="FCHW")
_FLIP = GraphInput("flip", np.int32)
LABEL = GraphInput("label", np.int64)
"""The input of labels that are class indices."""

_PICKS = GraphInput("picks", np.int64, ndim=1)
_NUM_FRAMES = GraphInput("num_frames", np.int64)


def label_input(labels: NDArray[Any]) -> GraphInput:
    """Return the input of a data set's labels.

    Args:
        labels: Class indices int64 ``[N]``, numbers float32 ``[N]``, or vectors float32 ``[N, C]``.
    """
    return GraphInput(LABEL.name, labels.dtype.type, ndim=labels.ndim - 1)


def clip_inputs(label: GraphInput = LABEL) -> tuple[GraphInput, ...]:
    """Return the inputs of the graph that gets finished clips.

    They are pixels ``[N, 3, H, W]``, whether to mirror them, the label, the picks ``[N]`` and the number of frames in
    the video.

    Args:
        label: The input of the labels.
    """
    return _PIXELS, _FLIP, label, _PICKS, _NUM_FRAMES


def encoded_inputs(label: GraphInput = LABEL, *, transform: bool = False) -> tuple[GraphInput, ...]:
    """Return the inputs of the graph that decodes.

    They are those of :func:`clip_inputs` and, in addition, the encoded file, the offsets ``[N]``, the sample's kind,
    the index of each pick among the decoded frames ``[N]``, their visible part (top, left, height, width), the matrix
    for their colours ``[9]``, and the crop window in the decoded frames (top, left, bottom, right). An input that a
    sample does not need holds one element of any value.

    Args:
        label: The input of the labels.
        transform: Whether the graph calls the user's function. A further input is then the seed of the function with
            the video's index in the data set, ``[2]``.
    """
    return (*_ENCODED, _TRANSFORM, label) if transform else (*_ENCODED, label)


_ENCODED = (
    GraphInput("file", np.uint8, ndim=1),
    GraphInput("offsets", np.float64, ndim=1),
    GraphInput("kind", np.int32),
    _PIXELS,
    _PICKS,
    _NUM_FRAMES,
    GraphInput("places", np.int64, ndim=1),
    GraphInput("visible", np.int32, ndim=1),
    GraphInput("colours", np.float32, ndim=1),
    GraphInput("window", np.float32, ndim=1),
    _FLIP,
)

_TRANSFORM = GraphInput("transform", np.int64, ndim=1)

_NOT_NEEDED = {each.name: np.zeros((1,) * each.ndim, each.dtype) for each in _ENCODED if each.ndim}
_NOT_NEEDED["pixels"] = np.zeros((1, 3, 1, 1), np.uint8)


@dataclass(frozen=True)
class Part:
    """A batch for the graph, or as much of a batch as the graph may decode at a time.

    Attributes:
        arrays: The graph's inputs.
        paths: Paths of the clips' videos.
        last: Whether this part completes its batch.
        indices: Indices of the clips' videos in the data set.
        gpu_bytes: Number of bytes that the GPU needs to decode it; 0 if the graph decodes nothing of it.
        gpu_limit: Number of bytes that parts may need together while they are in the graphs, this one included.
        work: How each clip was made.
    """

    arrays: Arrays
    paths: list[str]
    last: bool
    indices: list[int] = field(default_factory=list)
    gpu_bytes: int = 0
    gpu_limit: float = math.inf
    work: list[ClipWork] = field(default_factory=list)


def single_clips(
    videos: list[Video], results: list[Result], memory: list[NDArray[np.uint8]]
) -> tuple[list[Video], list[Result], list[NDArray[np.uint8]]]:
    """Return videos with several views as one video, result and clip per view.

    Args:
        videos: The batch's videos.
        results: Their results.
        memory: Each file's bytes, clip's pixels, or pixels of several clips.
    """
    found: list[tuple[Video, Result, NDArray[np.uint8]]] = []
    for video, result, pixels in zip(videos, results, memory, strict=True):
        if isinstance(result, ClipResult) and not isinstance(result.flip, bool):
            found += [(video, own, clip) for own, clip in zip(result.single_clips(), pixels, strict=True)]
        else:
            found.append((video, result, pixels))
    return [each[0] for each in found], [each[1] for each in found], [each[2] for each in found]


def arrange_clips(
    videos: list[Video], results: list[Result], memory: list[NDArray[np.uint8]], *, label: GraphInput = LABEL
) -> Arrays:
    """Return a batch of finished clips as the inputs :func:`clip_inputs`.

    Args:
        videos: The batch's videos.
        results: Their results, all of them finished clips.
        memory: The clips' pixels.
        label: The input of the labels.
    """
    clips = [result for result in results if isinstance(result, ClipResult)]
    return _in_order(
        clip_inputs(label),
        pixels=memory,
        flip=[clip.flip for clip in clips],
        label=_labels(videos, label),
        picks=np.stack([clip.picks for clip in clips]),
        num_frames=[clip.num_frames for clip in clips],
    )


def arrange_encoded(
    videos: list[Video],
    results: list[Result],
    memory: list[NDArray[np.uint8]],
    *,
    label: GraphInput = LABEL,
    transform: list[tuple[int, int]] | None = None,
) -> Arrays:
    """Return a batch of encoded files and finished clips as the inputs :func:`encoded_inputs`.

    Args:
        videos: The batch's videos.
        results: Their results.
        memory: Each file's bytes or clip's pixels.
        label: The input of the labels.
        transform: Seed of the user's function and index of the video in the data set, for each; None for no function.
    """
    samples = [_encoded_sample(result, content) for result, content in zip(results, memory, strict=True)]
    return _in_order(
        encoded_inputs(label, transform=transform is not None),
        **{name: [sample[name] for sample in samples] for name in samples[0]},
        transform=[np.array(each, np.int64) for each in transform or ()],
        num_frames=[result.num_frames for result in results],
        flip=[result.flip for result in results],
        label=_labels(videos, label),
    )


def _labels(videos: list[Video], label: GraphInput) -> NDArray[Any]:
    """Return the labels of a batch, ``[N]`` or ``[N, C]``."""
    return np.array([video.label for video in videos], label.dtype)


def _encoded_sample(result: Result, content: NDArray[np.uint8]) -> dict[str, Any]:
    """Return those inputs of a sample that depend on its kind."""
    if isinstance(result, ClipResult):
        sample: dict[str, Any] = {"kind": KIND_CLIP, "pixels": content}
        sample["window"] = np.array((0, 0, *result.shape[2:4]), np.float32)
    else:
        top, left = result.visible[:2]
        sample = {"kind": KIND_MEASURE if result.places is None else KIND_PICKS_KNOWN, "file": content}
        sample |= {"offsets": result.offsets, "visible": np.array(result.visible, np.int32), "colours": result.colours}
        sample["window"] = np.array(result.window, np.float32) + np.array((top, left, top, left), np.float32)
        if result.places is not None:
            sample["places"] = result.places
    if result.picks is not None:
        sample["picks"] = result.picks
    return {**_NOT_NEEDED, **sample}


def _in_order(inputs: tuple[GraphInput, ...], **values: Any) -> Arrays:
    """Return the values in the inputs' order; numbers become one array of the input's type."""
    return tuple(np.array(values[each.name], each.dtype) if each.ndim == 0 else values[each.name] for each in inputs)
