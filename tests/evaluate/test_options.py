"""The options of an evaluation: what is refused, and with which message."""

from __future__ import annotations

from typing import Any

import pytest

from mgdali.evaluate.options import EvaluateOptions


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_frames": ()}, "num_frames must be one or more different numbers, got []"),
        ({"num_frames": (2, 2)}, "num_frames must be one or more different numbers, got [2, 2]"),
        ({"num_frames": (0,)}, "num_frames must be an integer >= 1, got 0"),
        ({"stride": (0,)}, "stride must be an integer >= 1, got 0"),
        ({"mu": (-1.0,)}, "mu must be a finite number >= 0, got -1.0"),
        ({"even": (2.0,)}, "even must be a number in [0, 1], got 2.0"),
        ({"motion": "luma"}, "motion must be one of ('image', 'feature', 'both'), got 'luma'"),
        ({"folds": 1}, "folds must be an integer >= 2, got 1"),
        ({"seeds": 0}, "seeds must be an integer >= 1, got 0"),
        ({"num_workers": 0}, "num_workers must be an integer >= 1, got 0"),
        ({"c": 0.0}, "c must be a finite number > 0, got 0.0"),
        ({"mean": (1.0, float("nan"), 1.0)}, "mean must be three finite numbers, for R, G and B"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be three numbers > 0, got [1.0, 0.0, 1.0]"),
        ({"random_folds": True, "fold_column": "person"}, "contradict each other: leave out one of them"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        EvaluateOptions(data="videos", **changed)
    assert message in str(caught.value)


def test_both_levels_are_the_default() -> None:
    assert EvaluateOptions(data="videos").levels == ("image", "feature")
    assert EvaluateOptions(data="videos", motion="image").levels == ("image",)
