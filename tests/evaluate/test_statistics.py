"""Accuracies and paired differences, compared with values that were computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mgdali.evaluate.statistics import Difference, accuracy_of, difference_of

YES, NO = True, False


def test_the_accuracy_is_the_share_of_right_answers_with_its_error_over_videos() -> None:
    # Shares of the videos: 1, 1/2, 0, 1/2. Their standard deviation is sqrt(1/6), the error sqrt(1/6) / 2.
    found = accuracy_of(np.array([[YES, YES, NO, NO], [YES, NO, NO, YES]]))
    assert found.mean == 50.0
    assert found.error == pytest.approx(100 * math.sqrt(1 / 6) / 2)
    assert found.seeds == (50.0, 50.0)


def test_a_difference_is_paired_by_video() -> None:
    # Differences of the videos: +1, +1/2, 0, -1. Mean 1/8, variance (49 + 9 + 1 + 81) / 64 / 3 = 35/48.
    right = np.array([[YES, YES, NO, NO], [YES, YES, YES, NO]])
    baseline = np.array([[NO, NO, YES, YES], [NO, YES, NO, YES]])
    found = difference_of(right, baseline)
    assert found.mean == pytest.approx(12.5)
    assert found.error == pytest.approx(100 * math.sqrt(35 / 48) / 2)
    assert (found.won, found.lost) == (2, 1)
    assert not found.is_clear


def test_equal_answers_have_no_difference_and_no_error() -> None:
    answers = np.array([[YES, NO, YES]])
    assert difference_of(answers, answers) == Difference(0.0, 0.0, 0, 0)
    assert not difference_of(answers, answers).is_clear


def test_a_difference_is_clear_beyond_two_standard_errors() -> None:
    assert Difference(4.1, 2.0, 9, 1).is_clear
    assert Difference(-4.1, 2.0, 1, 9).is_clear
    assert not Difference(4.0, 2.0, 9, 1).is_clear


def test_one_video_has_no_standard_error() -> None:
    found = difference_of(np.array([[YES]]), np.array([[NO]]))
    assert found.mean == 100.0
    assert math.isnan(found.error)
    assert not found.is_clear
