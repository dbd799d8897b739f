"""Filter banks as separable filters of one plane give the motion of the whole bank."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mgdali import motion as reference
from mgdali.filter_bank import MAX_SEPARABLE, SeparableBank, separate
from mgdali.video.frames import read_frames

Bank = NDArray[np.float32]


def feature_difference(frames: NDArray[np.uint8], bank: SeparableBank) -> NDArray[np.float64]:
    """Return S of frames uint8 [T, H, W, 3]: row filters of the plane, column filters of their responses, mixing."""
    margin = bank.rows.shape[1] // 2
    row_of = bank.row_of
    motion = np.zeros(len(frames))
    for t in range(1, len(frames)):
        plane = (frames[t].astype(np.float64) - frames[t - 1]) @ bank.plane
        windows = sliding_window_view(np.pad(plane, ((0, 0), (margin, margin))), 2 * margin + 1, axis=1)
        across = windows @ np.stack([bank.rows[np.flatnonzero(row_of == i)[0]] for i in range(row_of[-1] + 1)]).T
        windows = sliding_window_view(np.pad(across, ((margin, margin), (0, 0), (0, 0))), 2 * margin + 1, axis=0)
        responses = np.einsum("yxjt,jt->yxj", windows[:, :, row_of], bank.columns)
        motion[t] = np.linalg.norm(responses @ bank.mixing.T, axis=2).sum()
    return motion


def random_frames(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (4, 40, 52, 3), np.uint8)


def colour_times(spatial: NDArray[Any], colour: tuple[float, float, float] = (0.3, 0.6, 0.1)) -> Bank:
    return (spatial[:, None] * np.array(colour)[None, :, None, None]).astype(np.float32)


def outer_sums(seed: int, rows: int, columns: int, filters: int = 8) -> NDArray[np.float64]:
    """Return random combinations of all outer products of a few column filters and a few row filters."""
    rng = np.random.default_rng(seed)
    shares = rng.normal(size=(filters, columns, rows))
    return np.einsum("fab,ay,bx->fyx", shares, rng.normal(size=(columns, 7)), rng.normal(size=(rows, 7)))


def check(bank: Bank, frames: NDArray[np.uint8], rtol: float = 1e-6) -> SeparableBank:
    separable = separate(bank)
    assert separable is not None
    assert len(separable.rows) <= MAX_SEPARABLE
    np.testing.assert_allclose(
        feature_difference(frames, separable), reference.feature_difference(frames, bank), rtol=rtol
    )
    return separable


# --- The default bank -------------------------------------------------------------------------------------------------


def test_the_default_bank_is_five_separable_filters_with_three_row_filters() -> None:
    bank = separate(reference.default_filters())
    assert bank is not None
    assert bank.row_of.tolist() == [0, 0, 1, 1, 2]
    assert bank.multiply_adds == 56
    assert bank.mixing.shape == (5, 5)
    assert np.count_nonzero(bank.mixing) == 6


def test_the_plane_of_the_default_bank_is_luma() -> None:
    bank = separate(reference.default_filters())
    assert bank is not None
    np.testing.assert_allclose(bank.plane * 150, reference.LUMA_WEIGHTS, rtol=1e-7)


def test_filters_of_the_default_bank_are_exactly_symmetric_or_antisymmetric() -> None:
    bank = separate(reference.default_filters())
    assert bank is not None
    for taps in (*bank.rows, *bank.columns):
        assert taps.tolist() in (taps[::-1].tolist(), (-taps[::-1]).tolist())


@pytest.mark.parametrize("seed", range(3))
def test_motion_of_random_frames_is_the_reference(seed: int) -> None:
    check(reference.default_filters(), random_frames(seed), rtol=1e-7)


@pytest.mark.slow
def test_motion_of_real_frames_is_the_reference(sample_videos: Path) -> None:
    videos = sorted((sample_videos / "formats").glob("*.mp4"))[:3]
    assert videos
    for path in videos:
        frames = [frame.to_ndarray(format="rgb24") for frame in islice(read_frames(path), 3)]
        check(reference.default_filters(), np.stack(frames))


def test_motion_of_a_frame_that_brightens_evenly_is_the_reference() -> None:
    # Nearly everything cancels in the filters; what is left is along the borders.
    frames = np.repeat(np.array([0, 1, 200], np.uint8), 64 * 80 * 3).reshape(3, 64, 80, 3)
    check(reference.default_filters(), frames)


def test_motion_of_the_golden_frames_is_the_reference(shared: Path) -> None:
    golden = np.load(shared / "golden" / "difference.npz")
    for case in range(5):
        check(reference.default_filters(), golden[f"frames{case}"])


# --- Other banks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 3), (3, 1), (2, 2), (2, 3), (2, 4), (4, 2), (7, 1), (1, 7)])
def test_combinations_of_few_row_and_column_filters_are_found(rows: int, columns: int) -> None:
    bank = check(colour_times(outer_sums(rows + 10 * columns, rows, columns)), random_frames())
    assert len(bank.rows) <= rows * columns
    assert bank.multiply_adds <= 7 * (rows + rows * columns)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_separable_filters_without_anything_in_common_are_found(count: int) -> None:
    rng = np.random.default_rng(count)
    spatial = np.einsum("fy,fx->fyx", rng.normal(size=(count, 7)), rng.normal(size=(count, 7)))
    bank = check(colour_times(np.concatenate([spatial, np.zeros((8 - count, 7, 7))])), random_frames())
    assert len(bank.rows) == count


def test_equal_filters_cost_one_filter() -> None:
    bank = check(colour_times(np.repeat(outer_sums(0, 1, 1, filters=1), 8, axis=0)), random_frames())
    assert bank.multiply_adds == 14
    assert bank.mixing.tolist() == [[1.0]]


def test_one_filter_that_is_a_sum_has_one_response() -> None:
    spatial = np.concatenate([outer_sums(0, 2, 2, filters=1), np.zeros((7, 7, 7))])
    bank = check(colour_times(spatial), random_frames())
    assert bank.mixing.shape[0] == 1


@pytest.mark.parametrize("channel", range(3))
def test_a_bank_of_one_colour_weights_only_this_colour(channel: int) -> None:
    colour = [0.0, 0.0, 0.0]
    colour[channel] = -0.25
    bank = check(colour_times(outer_sums(1, 2, 2), (colour[0], colour[1], colour[2])), random_frames())
    assert np.flatnonzero(bank.plane).tolist() == [channel]


def test_colours_may_have_opposite_signs() -> None:
    bank = check(colour_times(outer_sums(1, 2, 2), (0.5, -0.25, -0.25)), random_frames())
    np.testing.assert_allclose(bank.plane, [1, -0.5, -0.5], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-7, 1e5, 1e30])
def test_the_size_of_the_weights_does_not_matter(size: float) -> None:
    check((reference.default_filters() * np.float32(size)).astype(np.float32), random_frames())


def test_a_bank_of_zeros_measures_no_motion() -> None:
    assert not feature_difference(random_frames(), check(np.zeros((8, 3, 7, 7), np.float32), random_frames())).any()


def test_a_random_bank_is_not_separable() -> None:
    assert separate(np.random.default_rng(0).normal(size=(8, 3, 7, 7))) is None


def test_a_bank_with_too_many_filters_of_one_plane_is_not_separable() -> None:
    assert separate(colour_times(outer_sums(0, 3, 3))) is None


def test_a_bank_of_two_planes_is_not_separable() -> None:
    bank = np.concatenate([colour_times(outer_sums(0, 1, 1, 4)), colour_times(outer_sums(0, 1, 1, 4), (0.1, 0.1, 0.8))])
    assert separate(bank) is None


@pytest.mark.parametrize("error", [1e-5, 1e-4])
def test_a_small_difference_from_the_form_is_not_ignored(error: float) -> None:
    bank = reference.default_filters()
    bank += np.float32(error) * np.abs(bank).max() * np.random.default_rng(0).normal(size=bank.shape).astype(np.float32)
    assert separate(bank) is None


@pytest.mark.parametrize("shape", [(8, 7, 7), (8, 1, 7, 7), (8, 3, 7, 5), (0, 3, 7, 7)])
def test_other_shapes_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="filters must have shape"):
        separate(np.zeros(shape))
