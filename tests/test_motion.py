from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mgdali.motion import (
    LUMA_WEIGHTS,
    Channels,
    check_filters,
    default_filters,
    feature_difference,
    has_luma_weights,
    image_difference,
    luma_from_rgb,
)

RGB = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.just(3)),
    elements=st.integers(0, 255),
)


def random_frames(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


def random_filters() -> NDArray[np.float32]:
    return np.random.default_rng(6).normal(size=(8, 3, 7, 7)).astype(np.float32)


def coloured(spatial: NDArray[Any], colour: tuple[float, float, float]) -> NDArray[np.float32]:
    """Filters [8, 3, 7, 7] of 7x7 filters and weights of R, G and B."""
    return (spatial[:, None] * np.array(colour)[:, None, None]).astype(np.float32)


def luma_filters(seed: int = 7) -> NDArray[np.float32]:
    """Random filters, weighted as luma."""
    red, green, blue = LUMA_WEIGHTS
    return coloured(np.random.default_rng(seed).normal(size=(8, 7, 7)), (red / 256, green / 256, blue / 256))


def convolve(image: NDArray[Any], filters: NDArray[Any], padding: int = 3) -> NDArray[np.float64]:
    """Responses of ``filters`` to one image ``[H, W, 3]``, by torch in float64: ``[8, H, W]``."""
    planes = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]
    return torch.nn.functional.conv2d(planes, torch.from_numpy(filters).double(), padding=padding)[0].numpy()


@pytest.mark.parametrize("case", range(5))
def test_differences_are_as_expected(shared: Path, case: int) -> None:
    with np.load(shared / "golden" / "difference.npz") as arrays:
        frames, weights = arrays[f"frames{case}"], arrays[f"weights{case}"]
        luma, rgb, feature = arrays[f"luma{case}"], arrays[f"rgb{case}"], arrays[f"feature{case}"]
    assert image_difference(frames).tolist() == luma.tolist()
    assert image_difference(frames, channels="rgb").tolist() == rgb.tolist()
    np.testing.assert_allclose(feature_difference(frames, weights), feature, rtol=1e-6)


@pytest.mark.parametrize(
    ("colour", "luma"),
    [((0, 0, 0), 0), ((255, 255, 255), 255), ((255, 0, 0), 76), ((0, 255, 0), 149), ((0, 0, 255), 28)],
)
def test_luma_of_known_colours(colour: tuple[int, int, int], luma: int) -> None:
    assert luma_from_rgb(np.full((2, 3, 3), colour, np.uint8)).tolist() == [[luma] * 3] * 2


@given(RGB)
def test_luma_is_the_integer_formula(frames: NDArray[np.uint8]) -> None:
    luma = luma_from_rgb(frames)
    assert luma.dtype == np.uint8
    assert luma.shape == frames.shape[:-1]
    expected = [(77 * int(r) + 150 * int(g) + 29 * int(b)) >> 8 for r, g, b in frames.reshape(-1, 3)]
    assert luma.ravel().tolist() == expected


@given(RGB, st.sampled_from(["luma", "rgb"]))
def test_image_difference_sums_absolute_differences(frames: NDArray[np.uint8], channels: Channels) -> None:
    planes = luma_from_rgb(frames) if channels == "luma" else frames
    flat = planes.reshape(len(planes), -1).tolist()
    expected = [0] + [
        sum(abs(a - b) for a, b in zip(now, before, strict=True))
        for before, now in zip(flat[:-1], flat[1:], strict=True)
    ]
    motion = image_difference(frames, channels=channels)
    assert motion.dtype == np.float64
    assert motion.tolist() == expected


def test_luma_planes_give_the_same_motion_as_their_rgb_frames() -> None:
    frames = random_frames(4, 9, 11, 3)
    assert image_difference(luma_from_rgb(frames)).tolist() == image_difference(frames).tolist()


def test_a_large_image_difference_does_not_overflow() -> None:
    frames = np.zeros((3, 1080, 1920, 3), np.uint8)
    frames[1] = 255
    largest = 255 * 1080 * 1920
    assert image_difference(frames).tolist() == [0, largest, largest]
    assert image_difference(frames, channels="rgb").tolist() == [0, 3 * largest, 3 * largest]


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (31, 20), (70, 21)])
@pytest.mark.parametrize("weights", [None, random_filters()], ids=["default", "random"])
def test_feature_difference_equals_the_difference_of_convolved_frames(
    size: tuple[int, int], weights: NDArray[np.float32] | None
) -> None:
    frames = random_frames(3, *size, 3)
    filters = default_filters() if weights is None else weights
    features = np.stack([convolve(frame, filters) for frame in frames])
    expected = np.sqrt((np.diff(features, axis=0) ** 2).sum(axis=1)).sum(axis=(1, 2))
    motion = feature_difference(frames, weights)
    assert motion.dtype == np.float64
    assert motion[0] == 0
    np.testing.assert_allclose(motion[1:], expected, rtol=1e-10)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (70, 21)])
@pytest.mark.parametrize("weights", [None, luma_filters()], ids=["default", "luma"])
def test_luma_planes_have_the_feature_motion_of_grey_frames(
    size: tuple[int, int], weights: NDArray[np.float32] | None
) -> None:
    planes = random_frames(3, *size)
    grey = np.repeat(planes[..., None], 3, axis=-1)
    motion = feature_difference(planes, weights)
    assert motion.dtype == np.float64
    np.testing.assert_allclose(motion, feature_difference(grey, weights), rtol=1e-12)


def test_filters_with_lumas_weights_respond_to_luma_only() -> None:
    filters = luma_filters()
    frames = random_frames(2, 20, 30, 3)
    # Luma before it is rounded to integers.
    luma = frames @ (np.array(LUMA_WEIGHTS) / 256)
    features = [convolve(plane[..., None], filters.sum(axis=1, keepdims=True)) for plane in luma]
    expected = np.sqrt(((features[1] - features[0]) ** 2).sum(axis=0)).sum()
    np.testing.assert_allclose(feature_difference(frames, filters)[1], expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-30, -1, 0, 3.7, 1e30])
@pytest.mark.parametrize("filters", [default_filters(), luma_filters()], ids=["default", "luma"])
def test_lumas_weights_are_found_at_any_size_of_the_filters(filters: NDArray[np.float32], size: float) -> None:
    assert has_luma_weights(filters * np.float32(size))


@pytest.mark.parametrize(
    "filters",
    [
        coloured(random_filters()[:, 0], (0.299, 0.587, 0.114)),
        coloured(random_filters()[:, 0], (1 / 3, 1 / 3, 1 / 3)),
        coloured(random_filters()[:, 0], (77, 150, 0)),
        np.concatenate([luma_filters()[:7], luma_filters()[7:, ::-1]]),
        random_filters(),
    ],
    ids=["other luma", "grey", "no blue", "one filter", "random"],
)
def test_filters_of_other_colours_need_rgb_frames(filters: NDArray[np.float32]) -> None:
    assert not has_luma_weights(filters)
    feature_difference(random_frames(2, 4, 5, 3), filters)
    with pytest.raises(ValueError, match=r"need RGB frames .* got luma planes \[2, 4, 5\]"):
        feature_difference(random_frames(2, 4, 5), filters)


@pytest.mark.parametrize("error", [1e-5, 1e-6])
def test_a_small_difference_from_lumas_weights_is_not_ignored(error: float) -> None:
    filters = default_filters().astype(np.float64)
    filters[:, 0] *= 1 + error
    assert not has_luma_weights(filters)


@settings(max_examples=30)
@given(RGB)
def test_feature_difference_is_the_same_backwards(frames: NDArray[np.uint8]) -> None:
    forwards, backwards = feature_difference(frames), feature_difference(frames[::-1])
    np.testing.assert_allclose(forwards[1:], backwards[:0:-1], rtol=1e-12)
    assert (forwards >= 0).all()


def test_a_still_video_has_no_motion() -> None:
    frames = np.repeat(random_frames(1, 12, 10, 3), 4, axis=0)
    assert image_difference(frames).tolist() == [0] * 4
    assert image_difference(frames, channels="rgb").tolist() == [0] * 4
    assert feature_difference(frames).tolist() == [0] * 4


def test_default_filters_sum_to_zero_and_their_magnitudes_to_one() -> None:
    filters = default_filters()
    assert filters.shape == (8, 3, 7, 7)
    assert filters.dtype == np.float32
    np.testing.assert_allclose(filters.sum(axis=(2, 3), dtype=np.float64), 0, atol=1e-7)
    np.testing.assert_allclose(np.abs(filters).sum(axis=(1, 2, 3), dtype=np.float64), 1, rtol=1e-6)


def test_default_filters_do_not_respond_to_a_uniform_change_of_colour() -> None:
    change = np.broadcast_to(np.array([200.0, -120.0, 255.0]), (20, 24, 3))
    assert np.abs(convolve(change, default_filters(), padding=0)).max() < 1e-4


def test_default_filters_respond_to_their_directions() -> None:
    y, x = np.mgrid[:7, :7].astype(np.float64)

    def responses(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        return convolve(np.repeat(plane[..., None], 3, axis=2), default_filters(), padding=0)[:, 0, 0]

    # Ramps along 0, 45, 90 and 135 degrees; each first derivative ignores the ramp perpendicular to it.
    for along, ramp in enumerate((x, x + y, y, y - x)):
        answers = np.abs(responses(ramp))
        across = (along + 2) % 4
        assert answers[:4].argmax() == along
        assert answers[across] < 1e-5
        assert answers[4:].max() < 1e-5
    assert np.abs(responses((x - 3) ** 2)[4:]).argmax() == 0
    assert np.abs(responses((y - 3) ** 2)[4:]).argmax() == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image_difference(random_frames(2, 4, 4, 3), channels="hsv"), "channels must be .* got 'hsv'"),
        (lambda: image_difference(np.zeros((2, 4, 4, 3), np.float32)), "uint8, got float32"),
        (lambda: image_difference(random_frames(2, 4, 4, 4)), r"got \[2, 4, 4, 4\]"),
        (lambda: image_difference(random_frames(4, 3)), r"got \[4, 3\]"),
        (lambda: image_difference(random_frames(2, 4, 4), channels="rgb"), r"\[T, H, W, 3\], got \[2, 4, 4\]"),
        (lambda: image_difference(random_frames(0, 4, 4, 3)), r"empty, got shape \[0, 4, 4, 3\]"),
        (lambda: feature_difference(np.zeros((2, 4, 4, 3), np.int64)), "uint8, got int64"),
        (lambda: feature_difference(random_frames(4, 4)), r"\[T, H, W, 3\] or \[T, H, W\], got \[4, 4\]"),
        (lambda: feature_difference(random_frames(2, 0, 4, 3)), r"empty, got shape \[2, 0, 4, 3\]"),
        (lambda: feature_difference(random_frames(2, 4, 4, 3), np.zeros((8, 1, 7, 7))), r"got \[8, 1, 7, 7\]"),
        (lambda: check_filters(np.zeros((4, 3, 7, 7))), r"\[8, 3, 7, 7\], got \[4, 3, 7, 7\]"),
        (lambda: check_filters(np.full((8, 3, 7, 7), np.nan)), "weights must be finite, got NaN"),
        (lambda: check_filters(np.full((8, 3, 7, 7), np.inf)), "weights must be finite, got .*infinity"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
