"""Feature-level motion of luma planes is the reference's, for all banks that are measured there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mgdali.filter_bank import SeparableBank, separate
from mgdali.motion import LUMA_WEIGHTS, default_filters, feature_difference
from mgdali.video.separable_loop import TILE_COLUMNS, TILE_ROWS
from mgdali.video.separable_motion import PlaneMotion, default_bank, luma_bank

SIZES = [(1, 1), (3, 200), (7, 7), (641, 3), (TILE_ROWS, TILE_COLUMNS), (TILE_ROWS + 1, 2 * TILE_COLUMNS + 3)]


def random_planes(*shape: int, dtype: type[np.unsignedinteger[Any]] = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def luma_filters(spatial: NDArray[np.float64]) -> NDArray[np.float32]:
    """Filters float32 [8, 3, 7, 7] of luma."""
    return (spatial[:, None] * (np.array(LUMA_WEIGHTS) / 256)[:, None, None]).astype(np.float32)


def products(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Eight filters: ``count`` outer products of random taps, and zeros."""
    rng = np.random.default_rng(seed)
    spatial = np.zeros((8, 7, 7))
    spatial[:count] = np.einsum("fy,fx->fyx", rng.normal(size=(count, 7)), rng.normal(size=(count, 7)))
    return spatial


def meter_of(filters: NDArray[np.float32]) -> PlaneMotion:
    bank = luma_bank(filters)
    assert bank is not None
    return PlaneMotion(bank)


def squared_filters(bank: SeparableBank) -> NDArray[np.float64]:
    """The matrix of the quadratic form of a plane's 7x7 windows that is the squared norm of a bank's responses."""
    separable = np.einsum("jy,jx->jyx", bank.columns, bank.rows).reshape(len(bank.rows), -1)
    outputs = bank.mixing @ separable * bank.plane.sum()
    return outputs.T @ outputs


# --- Banks ------------------------------------------------------------------------------------------------------------


def test_the_constants_are_the_default_bank() -> None:
    flat = default_filters().astype(np.float64).sum(axis=1).reshape(8, -1)
    expected = flat.T @ flat
    np.testing.assert_allclose(squared_filters(default_bank()), expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_the_default_bank_takes_as_few_multiply_adds_as_the_one_that_is_found() -> None:
    found = separate(default_filters())
    assert found is not None
    assert default_bank().multiply_adds == found.multiply_adds
    assert np.count_nonzero(default_bank().mixing) == np.count_nonzero(found.mixing)


def test_only_separable_filters_of_luma_are_measured_on_planes() -> None:
    assert luma_bank(default_filters()) is not None
    assert luma_bank(luma_filters(products(3))) is not None
    assert luma_bank(default_filters()[:, ::-1].copy()) is None
    assert luma_bank(luma_filters(np.random.default_rng(0).normal(size=(8, 7, 7)))) is None
    assert luma_bank(np.random.default_rng(0).normal(size=(8, 3, 7, 7)).astype(np.float32)) is None


# --- Motion -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_motion_with_the_default_bank_is_the_reference(size: tuple[int, int]) -> None:
    planes = random_planes(3, *size)
    meter = meter_of(default_filters())
    motion = [0.0, meter(planes[1], planes[0]), meter(planes[2], planes[1])]
    np.testing.assert_allclose(motion, feature_difference(planes), rtol=1e-6)


@pytest.mark.parametrize("size", [(2, 3), (TILE_ROWS + 9, TILE_COLUMNS + 11)])
@pytest.mark.parametrize(
    "filters",
    [
        luma_filters(products(1)),
        luma_filters(products(8)),
        luma_filters(products(4, seed=1)) * np.float32(1e-30),
        luma_filters(products(4, seed=1)) * np.float32(-1e30),
        default_filters()[[0, 0, 2, 0, 2, 2, 0, 0]],
        default_filters()[:, :, ::-1].copy(),
    ],
    ids=["one", "eight", "small", "large", "repeated", "flipped"],
)
def test_motion_with_other_banks_is_the_reference(filters: NDArray[np.float32], size: tuple[int, int]) -> None:
    planes = random_planes(2, *size)
    np.testing.assert_allclose(
        meter_of(filters)(planes[1], planes[0]), feature_difference(planes, filters)[1], rtol=1e-6
    )


def test_motion_of_a_picture_that_brightens_evenly_is_the_reference() -> None:
    # Nearly everything cancels in the filters; what is left is along the borders.
    planes = np.repeat(np.array([0, 200], np.uint8), 90 * 150).reshape(2, 90, 150)
    np.testing.assert_allclose(
        meter_of(default_filters())(planes[1], planes[0]), feature_difference(planes)[1], rtol=1e-6
    )


def test_there_is_no_motion_between_equal_planes_or_with_a_bank_of_zeros() -> None:
    planes = random_planes(2, 40, 50)
    assert meter_of(default_filters())(planes[0], planes[0]) == 0
    assert meter_of(np.zeros((8, 3, 7, 7), np.float32))(planes[1], planes[0]) == 0


@pytest.mark.parametrize("size", [(1, 1), (5, 11), (TILE_ROWS + 9, TILE_COLUMNS + 11)])
def test_planes_of_16_bits_are_measured_in_full(size: tuple[int, int]) -> None:
    planes = random_planes(2, *size, dtype=np.uint16)
    changes = torch.from_numpy(planes[1].astype(np.float64) - planes[0])[None, None]
    filters = torch.from_numpy(default_filters().astype(np.float64).sum(axis=1, keepdims=True))
    expected = torch.nn.functional.conv2d(changes, filters, padding=3).norm(dim=1).sum()
    np.testing.assert_allclose(meter_of(default_filters())(planes[1], planes[0]), expected, rtol=1e-6)


def test_the_type_and_the_padding_of_a_plane_do_not_matter() -> None:
    planes = random_planes(2, 40, 70)
    meter = meter_of(default_filters())
    expected = meter(planes[1, :, :50].copy(), planes[0, :, :50].copy())
    assert meter(planes[1, :, :50], planes[0, :, :50]) == expected
    assert meter(planes[1, :, :50].astype(np.uint16), planes[0, :, :50].astype(np.uint16)) == expected


@pytest.mark.parametrize(
    ("now", "before", "message"),
    [
        (random_planes(4, 5), random_planes(5, 4), r"got \[4, 5\] uint8 and \[5, 4\] uint8"),
        (random_planes(4, 5), random_planes(4, 5, dtype=np.uint16), r"got \[4, 5\] uint8 and \[4, 5\] uint16"),
        (random_planes(2, 4, 5), random_planes(2, 4, 5), r"got \[2, 4, 5\]"),
        (random_planes(0, 5), random_planes(0, 5), r"got \[0, 5\]"),
        (np.zeros((4, 5)), np.zeros((4, 5)), "uint8 or uint16, got float64"),
    ],
)
def test_planes_of_another_form_are_an_error(now: NDArray[Any], before: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        meter_of(default_filters())(now, before)
