"""The graphs' inputs are declared once, and batches are arranged as declared."""

from __future__ import annotations

import numpy as np

from mgdali.datasets.video_dataset import Video
from mgdali.loading.batch import (
    KIND_CLIP,
    KIND_MEASURE,
    KIND_PICKS_KNOWN,
    Arrays,
    GraphInput,
    arrange_clips,
    arrange_encoded,
    clip_inputs,
    encoded_inputs,
)
from mgdali.transforms import Window
from mgdali.video.colour import colour_correction
from mgdali.workers.clip_job import ClipResult
from mgdali.workers.encoded_job import EncodedResult

CLIP = ClipResult((4, 3, 8, 8), True, np.array([0, 2, 2, 5]), 6, 6, 0.1)
COLOURS = colour_correction("bt709")
FILE = EncodedResult((5,), Window(2, 4, 10, 12), False, np.full(4, 0.5), 7, 7, 432, (0, 0, 12, 12), COLOURS)
KNOWN = EncodedResult(
    *((5,), Window(0, 0, 8, 8), True, np.full(4, 0.5), 7, 4, 768, (6, 2, 8, 8), COLOURS),
    picks=np.array([1, 1, 2, 3]),
    places=np.array([0, 0, 1, 2]),
)
VIDEOS = [Video("a.mp4", 3), Video("b.mp4", 1), Video("c.mp4", 0)]


def check(arrays: Arrays, inputs: tuple[GraphInput, ...], size: int) -> dict[str, list[np.ndarray]]:
    """Compare each sample with its declaration, and return the samples by name."""
    assert len(arrays) == len(inputs)
    samples = {each.name: [np.asarray(value) for value in array] for each, array in zip(inputs, arrays, strict=True)}
    for each in inputs:
        assert len(samples[each.name]) == size, each
        assert {(value.dtype, value.ndim) for value in samples[each.name]} == {(np.dtype(each.dtype), each.ndim)}, each
        assert len(each.layout) in (0, each.ndim)
    return samples


def test_finished_clips_are_arranged_as_declared() -> None:
    pixels = np.zeros(CLIP.shape, np.uint8)
    samples = check(arrange_clips(VIDEOS[:2], [CLIP, CLIP], [pixels, pixels]), clip_inputs(), 2)
    assert samples["pixels"][0].base is pixels.base
    assert [label.tolist() for label in samples["label"]] == [3, 1]
    assert samples["picks"][1].tolist() == [0, 2, 2, 5]


def test_clips_and_files_in_one_batch_are_arranged_as_declared() -> None:
    memory = [np.zeros(result.shape, np.uint8) for result in (CLIP, FILE, KNOWN)]
    transform = [(1 << 62, 7), (3, 8), (4, 9)]
    arrays = arrange_encoded(VIDEOS, [CLIP, FILE, KNOWN], memory, transform=transform)
    samples = check(arrays, encoded_inputs(transform=True), 3)
    assert [tuple(each.tolist()) for each in samples["transform"]] == transform
    samples = check(arrange_encoded(VIDEOS, [CLIP, FILE, KNOWN], memory), encoded_inputs(), 3)
    assert [kind.tolist() for kind in samples["kind"]] == [KIND_CLIP, KIND_MEASURE, KIND_PICKS_KNOWN]
    assert [window.tolist() for window in samples["window"]] == [[0, 0, 8, 8], [2, 4, 10, 12], [6, 2, 14, 10]]
    assert samples["picks"][2].tolist() == [1, 1, 2, 3]
    assert samples["places"][2].tolist() == [0, 0, 1, 2]
    assert [visible.tolist() for visible in samples["visible"][1:]] == [[0, 0, 12, 12], [6, 2, 8, 8]]
    assert [colours.tolist() for colours in samples["colours"][1:]] == [COLOURS.tolist()] * 2
