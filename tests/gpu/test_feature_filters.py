"""The choice of a kernel for a filter bank, and the forms in which the kernels take the filters."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import motion as reference
from mgdali.filter_bank import separate
from mgdali.gpu.cuda_kernels import describe_videos, kernel_folder
from mgdali.gpu.feature_filters import (
    MAX_ROW_FILTERS,
    bank_code,
    feature_plan,
    feature_units,
    filter_scale,
    filter_table,
    filter_words,
)


def random_filters(size: float = 1.0) -> NDArray[np.float32]:
    return (size * np.random.default_rng(0).normal(size=(8, 3, 7, 7))).astype(np.float32)


def with_row_filters(count: int) -> NDArray[np.float32]:
    """Return a bank of separable filters of one plane with this many row filters and one column filter."""
    rng = np.random.default_rng(count)
    spatial = np.einsum("fb,y,bx->fyx", rng.normal(size=(8, count)), rng.normal(size=7), rng.normal(size=(count, 7)))
    return np.repeat(spatial[:, None], 3, axis=1).astype(np.float32)


def numbers(code: str, name: str) -> NDArray[np.float64]:
    """Return the numbers of a C++ definition."""
    found = re.search(rf"\b{name}\b[^=]*=([^;]*);", code)
    assert found, name
    return np.array([float(text.rstrip("f")) for text in re.findall(r"-?\d[\d.e+-]*f?", found[1])])


# --- The choice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tensor_cores", [False, True])
def test_the_default_bank_is_measured_by_the_separable_kernel(tensor_cores: bool) -> None:
    plan = feature_plan(reference.default_filters(), tensor_cores=tensor_cores)
    assert plan.kernel == "separable"
    assert plan.function == "feature_difference_separable"
    assert plan.head == ""
    assert plan.weights is None


@pytest.mark.parametrize(("tensor_cores", "kernel"), [(True, "tensor cores"), (False, "float32")])
def test_other_banks_are_measured_by_the_tensor_cores_if_the_gpu_has_them(tensor_cores: bool, kernel: str) -> None:
    assert feature_plan(random_filters(), tensor_cores=tensor_cores).kernel == kernel


def test_another_separable_bank_is_put_before_the_source() -> None:
    plan = feature_plan(with_row_filters(2), tensor_cores=True)
    assert plan.kernel == "separable"
    assert plan.head.startswith("#define MGDALI_BANK\n")


def test_a_bank_with_more_row_filters_than_registers_needs_another_kernel() -> None:
    assert feature_plan(with_row_filters(MAX_ROW_FILTERS), tensor_cores=True).kernel == "separable"
    assert separate(with_row_filters(MAX_ROW_FILTERS + 1)) is not None
    assert feature_plan(with_row_filters(MAX_ROW_FILTERS + 1), tensor_cores=True).kernel == "tensor cores"


@pytest.mark.parametrize("kernel", ["separable", "tensor cores", "float32"])
def test_a_kernel_can_be_given(kernel: Any) -> None:
    plan = feature_plan(reference.default_filters(), tensor_cores=True, kernel=kernel)
    assert plan.kernel == kernel
    assert (kernel_folder() / f"{plan.source}.cu").is_file()


def test_the_separable_kernel_for_another_bank_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a separable bank"):
        feature_plan(random_filters(), tensor_cores=True, kernel="separable")


def test_luma_planes_have_a_kernel_for_separable_banks_only() -> None:
    plan = feature_plan(reference.default_filters(), tensor_cores=True, planes=True)
    assert plan.function == "feature_difference_separable_plane"
    with pytest.raises(ValueError, match="not a separable bank"):
        feature_plan(random_filters(), tensor_cores=True, planes=True)
    with pytest.raises(ValueError, match="'float32' does not take luma planes"):
        feature_plan(reference.default_filters(), tensor_cores=True, planes=True, kernel="float32")


# --- Separable banks --------------------------------------------------------------------------------------------------


def test_the_numbers_in_the_repository_are_those_of_the_default_bank() -> None:
    bank = separate(reference.default_filters())
    assert bank is not None
    kept, made = (kernel_folder() / "default_bank.cuh").read_text(), bank_code(bank)
    assert re.sub(r"[\d.e-]+f", "", kept).endswith(re.sub(r"[\d.e-]+f", "", made))
    for name in ("kRows", "kFilters", "kOutputs", "kPlane", "kRow", "kRowOf", "kColumn", "kMixing"):
        # Another LAPACK may differ in the last bit.
        np.testing.assert_allclose(numbers(kept, name), numbers(made, name), rtol=2e-7)


def test_the_plane_of_luma_weights_is_in_bytes() -> None:
    bank = separate(reference.default_filters())
    assert bank is not None
    code = bank_code(bank)
    assert numbers(code, "kPlane").tolist() == list(reference.LUMA_WEIGHTS)
    assert "kPlaneIsBytes = true" in code


@pytest.mark.parametrize("colour", [(0.3, 0.6, -0.1), (0.1234567, 0.7654321, 0.3141592), (1, 1, 1e-3)])
def test_other_planes_are_integers_whose_sums_fit_into_32_bits(colour: tuple[float, float, float]) -> None:
    spatial = np.outer(np.arange(7), np.arange(7) - 2.0)
    bank = separate(spatial[None, None] * np.array(colour)[None, :, None, None])
    assert bank is not None
    code = bank_code(bank)
    plane = numbers(code, "kPlane")
    assert "kPlaneIsBytes = false" in code
    assert 2**30 < 255 * np.abs(plane).sum() < 2**31
    np.testing.assert_allclose(plane / plane[np.abs(plane).argmax()], bank.plane, rtol=0, atol=1e-6)


# --- The other kernels ------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_per_tap() -> None:
    filters = random_filters()
    table = filter_table(filters)
    assert table.shape == (147, 8)
    assert table[(2 * 7 + 5) * 3 + 1, 6] == filters[6, 1, 2, 5]


@pytest.mark.parametrize("size", [1e-20, 1e-5, 1.0, 3e4])
def test_the_largest_half_is_between_one_and_two(size: float) -> None:
    filters = random_filters(size)
    halves = filter_words(filters).view(np.float16)
    assert 1 <= np.abs(halves).max() <= 2
    assert np.log2(filter_scale(filters)) % 1 == 0


def test_halves_contain_every_weight_once_and_zeros() -> None:
    # Multiples of 2^-10 between 1 and 2 are exact as halves.
    filters = 1 + np.random.default_rng(0).integers(0, 1024, (8, 3, 7, 7)).astype(np.float32) / 1024
    halves = filter_words(filters).view(np.float16).reshape(8, -1)
    assert halves.shape == (8, 22 * 4 * 2)
    for own, found in zip(filters, halves, strict=True):
        assert sorted(found[found != 0].tolist()) == sorted(own.ravel().tolist())


def test_the_largest_motion_fits_into_its_units() -> None:
    filters = random_filters()
    table = describe_videos([0], [(2, 1080, 1920)])
    largest = 255 * np.linalg.norm(np.abs(filters.astype(np.float64)).sum(axis=(1, 2, 3))) * 1080 * 1920
    units = feature_units(filters, table)
    assert 2**60 < largest * units < 2**63
    assert np.log2(units) % 1 == 0
