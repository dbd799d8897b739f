"""Strategies and numbers from the query of a request."""

from __future__ import annotations

import numpy as np
import pytest

from mgdali.explore.parameters import STRATEGY_PARAMETERS, BadParameterError, Parameters, read_strategy
from mgdali.samplers import MotionClip, MotionGuided, Sampler, Segment, Stride, TopMotion


@pytest.mark.parametrize(
    ("query", "sampler"),
    [
        ({}, MotionGuided()),
        ({"strategy": "motion", "num_frames": "3", "mu": "1e-1", "even": ".5"}, MotionGuided(3, mu=0.1, even=0.5)),
        ({"inverse": "nearest", "level": "feature"}, MotionGuided(inverse="nearest", motion="feature")),
        ({"strategy": "top", "level": "feature", "mu": "2"}, TopMotion(motion="feature")),
        ({"strategy": "segment", "num_frames": "512"}, Segment(512)),
        ({"strategy": "stride"}, Stride()),
        ({"strategy": "stride", "stride": "2", "past_end": "loop"}, Stride(stride=2, past_end="loop")),
        ({"strategy": "run", "num_frames": "4"}, MotionClip(4)),
        (
            {"strategy": "run", "mu": "2", "stride": "3", "past_end": "loop"},
            MotionClip(mu=2, stride=3, past_end="loop"),
        ),
        ({"num_frames": "", "mu": "", "seed": "", "strategy": ""}, MotionGuided()),
    ],
)
def test_a_query_describes_a_strategy_with_the_defaults_of_its_class(query: dict[str, str], sampler: Sampler) -> None:
    strategy = read_strategy(Parameters(query.items(), STRATEGY_PARAMETERS))
    assert (strategy.sampler, strategy.seed) == (sampler, None)
    np.testing.assert_array_equal(strategy.offsets, np.full(sampler.num_frames, 0.5))


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        ("num_frames", "0", "an integer from 1 to 512"),
        ("num_frames", "513", "an integer from 1 to 512"),
        ("num_frames", "8.0", "an integer from 1 to 512"),
        ("num_frames", "1_0", "an integer from 1 to 512"),
        ("num_frames", "٣", "an integer from 1 to 512"),
        ("num_frames", "9" * 5000, "an integer from 1 to 512"),
        ("mu", "-1", "a finite number >= 0"),
        ("mu", "nan", "a finite number >= 0"),
        ("mu", "1e999", "a finite number >= 0"),
        ("even", "1.01", "a number from 0 to 1"),
        ("stride", "0", "an integer from 1 to"),
        ("seed", "-1", "an integer from 0 to"),
        ("seed", "9007199254740992", "an integer from 0 to 9007199254740991"),
        ("strategy", "best", "one of motion, top, segment, stride, run"),
        ("inverse", "x", "one of step, nearest"),
        ("level", "x", "one of image, feature"),
        ("past_end", "x", "one of repeat_last, loop"),
    ],
)
def test_a_bad_value_is_named_with_its_range(name: str, value: str, range_: str) -> None:
    with pytest.raises(BadParameterError) as error:
        read_strategy(Parameters([(name, value)], STRATEGY_PARAMETERS))
    assert str(error.value).startswith(f"{name} must be {range_}")
    assert repr(value)[:20] in str(error.value)
    assert len(str(error.value)) < 200


def test_names_that_are_unknown_or_repeated_are_errors() -> None:
    with pytest.raises(BadParameterError, match=r"'num_frame' is not a parameter: use strategy, num_frames"):
        Parameters([("num_frame", "8")], STRATEGY_PARAMETERS)
    with pytest.raises(BadParameterError, match="mu is given twice: '1' and '2'"):
        Parameters([("mu", "1"), ("mu", "2")], STRATEGY_PARAMETERS)


def test_lists_of_integers_have_a_limit() -> None:
    assert Parameters([("at", "3,0,3")], ("at",)).integers("at", most_values=3) == [3, 0, 3]
    for value in ("1,2,3,4", "", "1,,2", "1, 2", "-1"):
        with pytest.raises(BadParameterError, match="at must be"):
            Parameters([("at", value)], ("at",)).integers("at", most_values=3)
