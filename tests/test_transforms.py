import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mgdali.choices import Draw, draw
from mgdali.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CropPosition,
    FrameSizeError,
    OutputFormat,
    SpatialTransform,
    Window,
)

SIDES = st.integers(1, 4320)
UNIFORM = st.floats(0, 1, exclude_max=True)
SCALES = st.lists(st.floats(0.01, 1), min_size=1, max_size=5).map(tuple)


def choices(size: float = 0.5, place: float = 0.5, flip: float = 0.5) -> Draw:
    return Draw(np.full(1, 0.5), np.array([size, place]), flip)


def assert_size(window: Window, side: float, most: int) -> None:
    """Check for a square of about that side: an even number of pixels, or the whole shorter side of the frame."""
    assert window.bottom - window.top == window.right - window.left
    size = window.right - window.left
    assert size == most or (size % 2 == 0 and abs(size - max(side, 2)) <= 1)


def every_window(transform: SpatialTransform, height: int, width: int, sizes: int) -> list[Window]:
    """Return the windows for evenly spread random numbers: one for each of ``sizes`` crop sizes and five places."""
    grid = itertools.product(range(sizes), range(5))
    return [transform.window(height, width, choices((i + 0.5) / sizes, (j + 0.5) / 5)) for i, j in grid]


@given(SIDES, SIDES, UNIFORM, UNIFORM, SCALES, st.integers(0, 4))
def test_a_training_window_lies_inside_the_frame(
    height: int, width: int, size: float, place: float, scales: tuple[float, ...], max_distort: int
) -> None:
    transform = SpatialTransform(training=True, scales=scales, max_distort=max_distort)
    window = transform.window(height, width, choices(size, place))
    assert 0 <= window.top < window.bottom <= height
    assert 0 <= window.left < window.right <= width


@given(SIDES, SIDES, st.integers(1, 600), st.integers(0, 300))
def test_a_testing_window_is_a_centred_square_inside_the_frame(
    height: int, width: int, crop_size: int, more: int
) -> None:
    resize = crop_size + more
    window = SpatialTransform(crop_size=crop_size, resize=resize).window(height, width, choices())
    assert_size(window, min(height, width) * crop_size / resize, min(height, width))
    assert abs(window.top + window.bottom - height) <= 3
    assert abs(window.left + window.right - width) <= 3
    assert window.top % 2 == window.left % 2 == 0
    assert 0 <= window.top < window.bottom <= height
    assert 0 <= window.left < window.right <= width


POSITIONS: tuple[CropPosition, ...] = ("start", "center", "end")


def three_windows(height: int, width: int, crop_size: int, resize: int) -> list[Window]:
    """Return the testing windows at each position."""
    return [
        SpatialTransform(crop_size=crop_size, resize=resize, crop_position=position).window(height, width, choices())
        for position in POSITIONS
    ]


@given(SIDES, SIDES, st.integers(1, 600), st.integers(0, 300))
def test_three_testing_windows_are_equal_squares_along_the_longer_side(
    height: int, width: int, crop_size: int, more: int
) -> None:
    windows = three_windows(height, width, crop_size, crop_size + more)
    # Crops of a square frame are next to each other, as in pytorchvideo.
    tall = height > width
    along = [(window.top, window.bottom) if tall else (window.left, window.right) for window in windows]
    across = [(window.left, window.right) if tall else (window.top, window.bottom) for window in windows]
    assert len({last - first for first, last in [*along, *across]}) == 1
    # Positions are even numbers.
    assert along[0][0] == 0
    assert abs(sum(along[1]) - max(height, width)) < 4
    assert 0 <= max(height, width) - along[2][1] < 2
    assert len(set(across)) == 1
    assert abs(sum(across[0]) - min(height, width)) < 4


@given(SIDES, SIDES, st.integers(1, 600))
def test_three_crops_of_the_whole_shorter_side_begin_and_end_with_the_frame(
    height: int, width: int, crop_size: int
) -> None:
    first, _, last = three_windows(2 * height, 2 * width, crop_size, crop_size)
    side = 2 * min(height, width)
    assert first == (0, 0, side, side)
    assert last == (2 * height - side, 2 * width - side, 2 * height, 2 * width)


@pytest.mark.parametrize(
    ("position", "wide", "tall"),
    [
        ("start", Window(16, 0, 240, 224), Window(0, 16, 224, 240)),
        ("center", Window(16, 58, 240, 282), Window(58, 16, 282, 240)),
        ("end", Window(16, 116, 240, 340), Window(116, 16, 340, 240)),
    ],
)
def test_the_testing_windows_of_usual_frames(position: CropPosition, wide: Window, tall: Window) -> None:
    transform = SpatialTransform(crop_position=position)
    assert transform.window(256, 340, choices()) == wide
    assert transform.window(340, 256, choices()) == tall


def test_testing_windows_do_not_depend_on_random_numbers() -> None:
    transform = SpatialTransform(flip_prob=1)
    assert transform.window(240, 320, choices(0, 0)) == transform.window(240, 320, choices(0.99, 0.99))
    assert not transform.flip(choices(flip=0))


@pytest.mark.parametrize(("height", "width"), [(200, 300), (300, 200), (201, 201)])
def test_training_uses_all_size_pairs_at_all_five_places_equally(height: int, width: int) -> None:
    sides = {200: [200, 176, 150, 132], 201: [201, 176, 150, 132]}[min(height, width)]
    expected = []
    for i, j in itertools.product(range(4), range(4)):
        if abs(i - j) > 1:
            continue
        high, wide = sides[i], sides[j]
        low, far = height - high, width - wide
        for top, left in [(0, 0), (0, far), (low, 0), (low, far), (low / 2, far / 2)]:
            # At even pixels.
            top, left = int(top / 2) * 2, int(left / 2) * 2
            expected.append(Window(top, left, top + high, left + wide))
    assert sorted(every_window(SpatialTransform(training=True), height, width, 10)) == sorted(expected)


def test_training_windows_are_square_if_no_distortion_is_allowed() -> None:
    transform = SpatialTransform(training=True, max_distort=0, scales=(1, 0.5))
    windows = every_window(transform, 100, 160, 2)
    assert {(w.bottom - w.top, w.right - w.left) for w in windows} == {(100, 100), (50, 50)}


def test_training_windows_use_any_pair_of_scales_if_all_distortion_is_allowed() -> None:
    transform = SpatialTransform(training=True, max_distort=2, scales=(1, 0.5, 0.25))
    windows = every_window(transform, 100, 160, 9)
    sides = (100, 50, 24)
    assert {(w.bottom - w.top, w.right - w.left) for w in windows} == set(itertools.product(sides, sides))


RECTANGLES = st.tuples(st.integers(1, 600), st.integers(1, 600))


@given(SIDES, SIDES, RECTANGLES, st.integers(0, 300), st.sampled_from(POSITIONS))
def test_the_testing_window_of_a_rectangle_has_its_shape_and_lies_inside_the_frame(
    height: int, width: int, crop_size: tuple[int, int], more: int, position: CropPosition
) -> None:
    resize = min(crop_size) + more
    transform = SpatialTransform(crop_size=crop_size, resize=resize, crop_position=position)
    window = transform.window(height, width, choices())
    assert 0 <= window.top < window.bottom <= height
    assert 0 <= window.left < window.right <= width
    # Of the resized frame, or of one that is larger so that the clip fits in.
    scale = min(min(height, width) / resize, height / crop_size[0], width / crop_size[1])
    for length, size in zip((window.bottom - window.top, window.right - window.left), crop_size, strict=True):
        assert abs(length - max(scale * size, 2)) <= 2 or length == 1


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [
        (256, 340, Window(64, 20, 192, 320)),
        (340, 256, Window(114, 0, 224, 256)),
        (512, 1024, Window(128, 212, 384, 812)),
    ],
)
def test_the_testing_windows_of_a_wide_clip(height: int, width: int, window: Window) -> None:
    assert SpatialTransform(crop_size=(128, 300)).window(height, width, choices()) == window


def test_without_resizing_the_window_has_the_clips_size() -> None:
    transform = SpatialTransform(crop_size=(99, 120), resize=None)
    assert transform.window(120, 160, choices()) == Window(10, 20, 109, 140)
    with pytest.raises(FrameSizeError, match="98 by 160 pixels are smaller than the clip of 99 by 120"):
        transform.window(98, 160, choices())


@given(SIDES, SIDES, RECTANGLES, UNIFORM, UNIFORM)
def test_a_multiscale_window_of_a_rectangle_lies_inside_the_frame_and_has_its_shape_without_distortion(
    height: int, width: int, crop_size: tuple[int, int], size: float, place: float
) -> None:
    transform = SpatialTransform(training=True, crop_size=crop_size, max_distort=0)
    window = transform.window(height, width, choices(size, place))
    assert 0 <= window.top < window.bottom <= height
    assert 0 <= window.left < window.right <= width
    largest = min(height / crop_size[0], width / crop_size[1])
    scale = transform.scales[min(int(4 * size), 3)] * largest
    for length, side in zip((window.bottom - window.top, window.right - window.left), crop_size, strict=True):
        assert abs(length - max(scale * side, 2)) <= 2.5 or length == 1


@given(SIDES, SIDES, st.lists(UNIFORM, min_size=22, max_size=22))
def test_a_random_resized_window_is_even_inside_the_frame_and_within_its_ranges(
    height: int, width: int, numbers: list[float]
) -> None:
    transform = SpatialTransform(training=True, crop="random_resized")
    window = transform.window(height, width, Draw(np.full(1, 0.5), np.full(2, 0.5), 0.5, np.array(numbers)))
    high, wide = window.bottom - window.top, window.right - window.left
    assert 0 <= window.top < window.bottom <= height
    assert 0 <= window.left < window.right <= width
    assert window.top % 2 == window.left % 2 == 0
    assert high % 2 == 0 or high == height
    assert wide % 2 == 0 or wide == width
    if min(height, width) >= 200:
        assert 0.7 < wide / high < 1.4
        assert 0.07 * min(height, width) ** 2 < high * wide


def random_resized(transform: SpatialTransform, height: int, width: int) -> NDArray[np.float64]:
    """Return the windows of 2000 videos, ``[2000, 4]``."""
    assert transform.resized_crop == 22
    draws = (draw(0, 0, i, 8, training=True, resized_crop=transform.resized_crop) for i in range(2000))
    return np.array([transform.window(height, width, each) for each in draws], np.float64)


def test_areas_ratios_and_places_of_random_resized_windows_are_uniform() -> None:
    transform = SpatialTransform(training=True, crop="random_resized", crop_scale=(0.2, 0.45), crop_ratio=(0.5, 2))
    top, left, bottom, right = random_resized(transform, 1000, 1000).T
    high, wide = bottom - top, right - left
    shares, ratios = high * wide / 1e6, np.log2(wide / high)
    down, right = top / (1000 - high), left / (1000 - wide)
    # Quarters of the ranges have a quarter of the windows each.
    for values, least, most in ((shares, 0.2, 0.45), (ratios, -1, 1), (down, 0, 1), (right, 0, 1)):
        counts, _ = np.histogram(values, 4, (least - 0.01, most + 0.01))
        assert counts.sum() == 2000
        assert counts.min() > 400


def test_a_random_resized_window_that_never_fits_is_the_largest_in_the_middle() -> None:
    transform = SpatialTransform(training=True, crop="random_resized", crop_scale=(0.9, 1))
    assert {tuple(window) for window in random_resized(transform, 100, 1000).tolist()} == {(0, 432, 100, 566)}
    assert {tuple(window) for window in random_resized(transform, 1000, 100).tolist()} == {(432, 0, 566, 100)}


def test_other_choices_do_not_depend_on_the_kind_of_crop() -> None:
    one, other = (draw(3, 1, 4, 8, training=True, resized_crop=count) for count in (0, 22))
    assert (one.offsets.tolist(), one.crop.tolist(), one.flip) == (
        other.offsets.tolist(),
        other.crop.tolist(),
        other.flip,
    )
    assert pickle.loads(pickle.dumps(other)).resized_crop.tolist() == other.resized_crop.tolist()


def test_every_place_and_size_occurs_in_an_epochs_draws() -> None:
    transform = SpatialTransform(training=True)
    drawn = {transform.window(200, 300, draw(0, 0, index, 8, training=True)) for index in range(1000)}
    assert drawn == set(every_window(transform, 200, 300, 10))


@given(UNIFORM)
def test_a_flip_probability_of_zero_never_and_of_one_always_mirrors(uniform: float) -> None:
    assert SpatialTransform(training=True, flip_prob=1).flip(choices(flip=uniform))
    assert not SpatialTransform(training=True, flip_prob=0).flip(choices(flip=uniform))


def test_clips_are_mirrored_with_the_requested_probability() -> None:
    transform = SpatialTransform(training=True, flip_prob=0.25)
    flips = [transform.flip(choices(flip=(i + 0.5) / 100)) for i in range(100)]
    assert sum(flips) == 25


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SpatialTransform(crop_size=0), "crop_size must be .* >= 1, got 0"),
        (lambda: SpatialTransform(crop_size=112.5), "crop_size must be .* got 112.5"),
        (lambda: SpatialTransform(crop_size=(224, 0)), "crop_size must be .* >= 1, got 0"),
        (lambda: SpatialTransform(crop_size=(1, 2, 3)), r"crop_size must be .*\(height, width\), got \(1, 2, 3\)"),
        (lambda: SpatialTransform(resize="none"), "resize must be .* got 'none'"),
        (lambda: SpatialTransform(crop_size=(224, 300), resize=223), "resize must be .* >= 224, got 223"),
        (lambda: SpatialTransform(crop="random"), "crop must be one of .*'random_resized'.* got 'random'"),
        (lambda: SpatialTransform(crop_scale=(0, 1)), r"crop_scale must be .* at most 1.* got \(0, 1\)"),
        (lambda: SpatialTransform(crop_scale=(0.5, 1.5)), r"crop_scale must be .* got \(0.5, 1.5\)"),
        (lambda: SpatialTransform(crop_ratio=(2, 1)), r"crop_ratio must be .* smaller one first, got \(2, 1\)"),
        (lambda: SpatialTransform(crop_ratio=1), "crop_ratio must be .* got 1"),
        (lambda: SpatialTransform(resize=223), "resize must be .* >= 224, got 223"),
        (lambda: SpatialTransform(crop_position="left"), "crop_position must be one of .*'start'.* got 'left'"),
        (lambda: SpatialTransform(crop_position=None), "crop_position must be one of .* got None"),
        (
            lambda: SpatialTransform(training=True, crop_position="end"),
            "crop_position .*training=False.* got 'end'",
        ),
        (lambda: SpatialTransform(max_distort=-1), "max_distort must be .* >= 0, got -1"),
        (lambda: SpatialTransform(scales=()), r"scales must be .* got \(\)"),
        (lambda: SpatialTransform(scales=(1, 0)), r"scales must be .* got \(1, 0\)"),
        (lambda: SpatialTransform(scales=[1.5]), r"scales must be .* got \[1.5\]"),
        (lambda: SpatialTransform(scales=(np.nan,)), "scales must be .* got .*nan"),
        (lambda: SpatialTransform(flip_prob=-0.1), r"flip_prob must be in \[0, 1\], got -0.1"),
        (lambda: SpatialTransform(flip_prob=1.1), r"flip_prob must be in \[0, 1\], got 1.1"),
        (lambda: OutputFormat(dtype="float64"), "dtype must be .* got 'float64'"),
        (lambda: OutputFormat(dtype=torch.int64), "dtype must be .* got torch.int64"),
        (lambda: OutputFormat(layout="TCHW"), "layout must be .* got 'TCHW'"),
        (lambda: OutputFormat(mean=(0.5, 0.5)), r"mean must be three .* got \(0.5, 0.5\)"),
        (lambda: OutputFormat(mean=0.5), "mean must be three .* got 0.5"),
        (lambda: OutputFormat(mean=(0, 0, np.nan)), "mean must be three finite .* got .*nan"),
        (lambda: OutputFormat(std=(1, 1, 1, 1)), r"std must be three .* got \(1, 1, 1, 1\)"),
        (lambda: OutputFormat(std=(1, 1, np.inf)), "std must be three finite .* got .*inf"),
        (lambda: OutputFormat(std=(1, 0, 1)), r"std must be > 0, got \(1.0, 0.0, 1.0\)"),
        (lambda: OutputFormat(dtype="uint8", mean=(0, 0, 0)), "uint8.*mean and std"),
        (lambda: OutputFormat(dtype="uint8", std=(1, 1, 1)), "uint8.*mean and std"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_output_is_normalised_with_the_imagenet_statistics_by_default() -> None:
    output = OutputFormat()
    assert (output.dtype, output.layout) == ("float32", "NTCHW")
    assert (output.mean, output.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_mean_and_std_may_be_of_any_usual_kind() -> None:
    output = OutputFormat(mean=[0, 0.5, 1], std=np.array([0.25, 0.5, 1]))
    assert output.mean == (0.0, 0.5, 1.0)
    assert output.std == (0.25, 0.5, 1.0)


@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW", "NTHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_each_dtype_and_layout_is_accepted(dtype: Any, layout: Any) -> None:
    output = OutputFormat(dtype=dtype, layout=layout)
    assert (output.dtype, output.layout) == (dtype, layout)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8], ids=str)
def test_a_torch_dtype_is_accepted_as_its_name(dtype: Any) -> None:
    assert OutputFormat(dtype=dtype) == OutputFormat(dtype=str(dtype).removeprefix("torch."))


def test_uint8_leaves_pixels_unchanged() -> None:
    output = OutputFormat(dtype="uint8")
    assert output.mean is None
    assert output.std is None
