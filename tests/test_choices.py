"""Random choices: functions of the seed, the epoch and the video alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgdali.choices import Draw, Purpose, draw, generator

SEEDS = st.integers(0, 2**64)


def numbers(choices: Draw) -> list[float]:
    return [*choices.offsets, *choices.crop, choices.flip]


@given(SEEDS, st.integers(0, 10_000), st.integers(0, 10**7), st.integers(1, 64))
def test_draws_are_repeatable_and_in_range(seed: int, epoch: int, index: int, num_frames: int) -> None:
    first, second = (draw(seed, epoch, index, num_frames, training=True) for _ in range(2))
    assert numbers(first) == numbers(second)
    assert first.offsets.shape == (num_frames,)
    assert first.crop.shape == (2,)
    assert isinstance(first.flip, float)
    assert all(0 <= number < 1 for number in numbers(first))


def test_draws_differ_between_seeds_epochs_and_videos() -> None:
    draws = [draw(s, e, i, 8, training=True) for s in range(4) for e in range(4) for i in range(20)]
    everything = [number for choices in draws for number in numbers(choices)]
    assert len(set(everything)) == len(everything)


def test_the_draw_of_a_first_occurrence_stays_and_later_ones_differ() -> None:
    first, *later = (draw(3, 2, 7, 2, training=True, occurrence=occurrence) for occurrence in range(4))
    pinned = [0.83761046, 0.14578774, 0.10589357, 0.56118784, 0.89306771]
    assert numbers(first) == pytest.approx(pinned, abs=1e-8)
    assert numbers(draw(3, 2, 7, 2, training=True)) == numbers(first)
    everything = [number for choices in (first, *later) for number in numbers(choices)]
    assert len(set(everything)) == len(everything)


def test_draws_are_uniform() -> None:
    draws = np.array([numbers(draw(0, 0, index, 4, training=True)) for index in range(4000)])
    for column in draws.T:
        assert np.abs(np.histogram(column, bins=10, range=(0, 1))[0] / 4000 - 0.1).max() < 0.02
    assert np.abs(np.corrcoef(draws.T) - np.eye(draws.shape[1])).max() < 0.06


def test_crop_and_flip_do_not_depend_on_the_number_of_frames() -> None:
    few, many = (draw(1, 2, 3, num_frames, training=True) for num_frames in (2, 32))
    assert few.crop.tolist() == many.crop.tolist()
    assert few.flip == many.flip


def test_testing_draws_nothing_at_random() -> None:
    assert numbers(draw(1, 2, 3, 4, training=False)) == [0.5] * 7


def test_generators_of_two_purposes_share_no_numbers() -> None:
    numbers = [generator(purpose, 1, 2).random() for purpose in Purpose]
    assert len(set(numbers)) == len(Purpose)
    assert generator(Purpose.SHUFFLE, 1, 2).random() == numbers[0]


@pytest.mark.parametrize("training", [False, True])
def test_a_draw_is_the_same_in_another_process(training: bool) -> None:
    choices = draw(1, 2, 3, 4, training=training)
    assert numbers(pickle.loads(pickle.dumps(choices))) == numbers(choices)


def test_nobody_can_change_the_choices_that_all_clips_share_in_testing() -> None:
    with pytest.raises(ValueError, match="read-only"):
        draw(0, 0, 0, 4, training=False).offsets[0] = 0
