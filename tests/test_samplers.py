import dataclasses
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mgdali import sampling
from mgdali.motion import default_filters
from mgdali.samplers import (
    Fps,
    MotionClip,
    MotionGuided,
    Representation,
    Sampler,
    Segment,
    Stride,
    TopMotion,
    needs_times,
    sampled_picks,
)

STRATEGIES = [MotionGuided(), MotionClip(), Segment(), Stride(), TopMotion()]
MOTION = np.array([0, 3, 50, 2, 8, 1, 0, 90, 4, 7, 7, 12], np.float64)
OFFSETS = np.array([0.9, 0.1, 0.6, 0.3])


def name_of(strategy: Sampler) -> str:
    return type(strategy).__name__


def random_weights() -> NDArray[np.float32]:
    return np.random.default_rng(7).normal(size=(8, 3, 7, 7)).astype(np.float32)


@pytest.mark.parametrize("inverse", ["step", "nearest"])
@pytest.mark.parametrize(("mu", "even"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (2.0, 0.4), (0.5, 1.0)])
def test_motion_guided_picks_equal_the_reference(mu: float, even: float, inverse: sampling.Inverse) -> None:
    picks = MotionGuided(num_frames=4, mu=mu, even=even, inverse=inverse).pick(MOTION, len(MOTION), OFFSETS)
    expected = sampling.sample_motion_guided(MOTION, 4, mu=mu, even=even, offsets=OFFSETS, inverse=inverse)
    assert picks.tolist() == expected.tolist()


def test_by_default_no_share_is_spread_evenly() -> None:
    assert MotionGuided() == MotionGuided(even=0)
    assert MotionGuided() != MotionGuided(even=0.5)


def test_segment_picks_equal_the_reference() -> None:
    picks = Segment(num_frames=4).pick(None, 30, OFFSETS)
    assert picks.tolist() == sampling.sample_segment(30, 4, offsets=OFFSETS).tolist()


def test_top_motion_picks_equal_the_reference_for_any_offsets() -> None:
    expected = sampling.sample_top_motion(MOTION, 4).tolist()
    assert TopMotion(num_frames=4).pick(MOTION, len(MOTION), OFFSETS).tolist() == expected
    assert TopMotion(num_frames=4).pick(MOTION, len(MOTION), np.full(4, 0.5)).tolist() == expected


def test_stride_starts_wherever_the_clip_fits() -> None:
    # Four frames three apart span ten: in twelve frames they can start at 0, 1 or 2.
    strategy = Stride(num_frames=4, stride=3)
    first = {u: int(strategy.pick(None, 12, np.full(4, u))[0]) for u in (0, 0.3, 0.34, 0.5, 0.66, 0.67, 1 - 2**-53)}
    assert list(first.values()) == [0, 0, 1, 1, 1, 2, 2]


def test_stride_of_a_short_video_starts_at_its_beginning() -> None:
    assert Stride(num_frames=4, stride=3).pick(None, 6, np.full(4, 0.99)).tolist() == [0, 3, 5, 5]


def test_stride_of_a_short_video_can_play_it_again() -> None:
    strategy = Stride(num_frames=4, stride=3, past_end="loop")
    assert strategy.pick(None, 5, np.full(4, 0.99)).tolist() == [0, 3, 1, 4]
    assert strategy.pick(None, 12, np.full(4, 0.99)).tolist() == [2, 5, 8, 11]


def test_stride_in_testing_takes_the_middle() -> None:
    picks = Stride(num_frames=5, stride=2).pick(None, 29, np.full(5, 0.5))
    assert picks.tolist() == [10, 12, 14, 16, 18]


@pytest.mark.parametrize("kind", [MotionGuided, MotionClip, Segment, Stride, TopMotion])
@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=50), st.lists(st.floats(0, 1, exclude_max=True), min_size=1))
def test_picks_are_sorted_and_in_range(kind: Any, motion: list[float], offsets: list[float]) -> None:
    picks = kind(num_frames=len(offsets)).pick(np.array(motion), len(motion), np.array(offsets))
    assert picks.dtype == np.int64
    assert picks.tolist() == sorted(picks)
    assert len(picks) == len(offsets)
    assert picks[0] >= 0
    assert picks[-1] < len(motion)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=name_of)
def test_every_strategy_is_a_sampler(strategy: Sampler) -> None:
    assert isinstance(strategy, Sampler)
    assert strategy.num_frames == 8


def test_a_user_defined_strategy_is_a_sampler() -> None:
    class FirstFrame:
        num_frames = 1
        representation = None

        def pick(self, motion: None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
            return np.zeros(1, np.int64)

    assert isinstance(FirstFrame(), Sampler)
    assert not isinstance(object(), Sampler)


@pytest.mark.parametrize("strategy", [Segment(), Stride()], ids=name_of)
def test_strategies_without_motion_have_no_representation(strategy: Sampler) -> None:
    assert strategy.representation is None


@pytest.mark.parametrize("kind", [MotionGuided, MotionClip, TopMotion])
def test_strategies_that_use_motion_have_a_representation(kind: Any) -> None:
    assert kind().representation == Representation(motion="image", channels="luma")
    assert kind(channels="rgb").representation == Representation(motion="image", channels="rgb")
    assert kind(motion="feature").representation == Representation(motion="feature")
    weights = random_weights()
    assert np.array_equal(kind(motion="feature", weights=weights).representation.filters, weights)


def test_filters_are_the_default_bank_unless_given() -> None:
    assert np.array_equal(Representation(motion="feature").filters, default_filters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_a_tensor_of_weights_is_accepted(dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(random_weights()).to(dtype).requires_grad_()
    filters = MotionGuided(motion="feature", weights=tensor).representation.filters
    assert filters.dtype == np.float32
    assert np.array_equal(filters, tensor.detach().float().numpy())


@pytest.mark.parametrize("kind", [Representation, MotionGuided, TopMotion])
def test_training_the_layer_of_the_weights_does_not_change_a_sampler(kind: Any) -> None:
    layer = torch.nn.Conv2d(3, 8, 7)
    before = layer.weight.detach().clone().numpy()
    made = kind(motion="feature", weights=layer.weight)
    with torch.no_grad():
        layer.weight += 1
    representation = made if kind is Representation else made.representation
    assert np.array_equal(representation.filters, before)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=name_of)
def test_strategies_can_be_sent_to_another_process(strategy: Sampler) -> None:
    assert pickle.loads(pickle.dumps(strategy)) == strategy


def test_a_representation_with_weights_can_be_sent_to_another_process() -> None:
    sent = Representation(motion="feature", weights=random_weights())
    assert np.array_equal(pickle.loads(pickle.dumps(sent)).filters, random_weights())


@pytest.mark.parametrize("strategy", STRATEGIES, ids=name_of)
def test_strategies_cannot_be_changed(strategy: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        strategy.num_frames = 3


@pytest.mark.parametrize("kind", [MotionGuided, MotionClip, Segment, Stride, TopMotion])
@pytest.mark.parametrize("count", [0, -1, 2.5, None])
def test_the_number_of_frames_must_be_whole_and_positive(kind: Any, count: Any) -> None:
    with pytest.raises(ValueError, match=f"num_frames must be .* got {count}"):
        kind(num_frames=count)


@pytest.mark.parametrize("kind", [MotionGuided, MotionClip, Segment, Stride, TopMotion])
def test_only_the_number_of_frames_may_be_given_without_its_name(kind: Any) -> None:
    assert kind(5) == kind(num_frames=5)
    assert kind(5).num_frames == 5
    with pytest.raises(TypeError, match="positional"):
        kind(5, 4)
    assert [field.name for field in dataclasses.fields(kind) if not field.kw_only] == ["num_frames"]


@pytest.mark.parametrize("kind", [Representation, MotionGuided, TopMotion])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"motion": "flow"}, "motion must be .* got 'flow'"),
        ({"channels": "hsv"}, "channels must be .* got 'hsv'"),
        ({"motion": "feature", "channels": "rgb"}, 'channels=.rgb. .* motion="image"'),
        ({"weights": random_weights()}, 'weights .* motion="feature"'),
        ({"motion": "feature", "weights": np.zeros((8, 3, 5, 5))}, r"got \[8, 3, 5, 5\]"),
        ({"motion": "feature", "weights": torch.full((8, 3, 7, 7), math.nan)}, "weights must be finite, got NaN"),
    ],
)
def test_a_bad_representation_is_named(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MotionGuided(mu=-1.5), "mu must be .* got -1.5"),
        (lambda: MotionGuided(even=1.25), r"even must be .* got 1\.25"),
        (lambda: MotionGuided(inverse="floor"), "inverse must be .* got 'floor'"),
        (lambda: Stride(stride=0), "stride must be .* got 0"),
        (lambda: Stride(stride=1.5), "stride must be .* got 1.5"),
        (lambda: Stride(past_end="first"), "past_end must be .* got 'first'"),
        (lambda: MotionClip(stride=0), "stride must be .* got 0"),
        (lambda: MotionClip(mu=-1), "mu must be .* got -1"),
        (lambda: MotionClip(even=2), "even must be .* got 2"),
        (lambda: MotionClip(past_end="first"), "past_end must be .* got 'first'"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_strategy_with_times_gets_them_and_needs_them() -> None:
    seconds = np.arange(20) / 10
    found = sampled_picks(Fps(5, 4), None, 20, np.zeros(4), seconds)
    assert found.tolist() == [0, 2, 4, 6]
    assert needs_times(Fps(5, 4))
    assert not needs_times(Segment(4))
    with pytest.raises(ValueError, match="needs the times of the frames"):
        Fps(5, 4).pick(None, 20, np.zeros(4))
    for fps in (0, -1, float("nan"), "5"):
        with pytest.raises(ValueError, match="fps must be"):
            Fps(fps)  # type: ignore[arg-type]
