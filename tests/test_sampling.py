import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import mgdali
from mgdali.sampling import (
    Inverse,
    motion_weights,
    sample_fps,
    sample_motion_clip,
    sample_motion_guided,
    sample_segment,
    sample_stride,
    sample_top_motion,
)

COUNTS = st.integers(1, 80)
OFFSETS = st.floats(0, 1, exclude_max=True)
MOTION = st.lists(st.floats(0, 1e90), min_size=1, max_size=60)
WHOLE_MOTION = st.lists(st.integers(0, 9), min_size=1, max_size=40)
SIXTEENTHS = st.integers(0, 15).map(lambda part: part / 16)
INVERSES = st.sampled_from(["step", "nearest"])


@st.composite
def counts_and_offsets(draw: st.DrawFn, places: st.SearchStrategy[float] = OFFSETS) -> tuple[int, list[float]]:
    count = draw(COUNTS)
    return count, draw(st.lists(places, min_size=count, max_size=count))


def smallest_frame_above(weights: list[int], count: int, offsets: list[float]) -> list[int]:
    """Apply the rule of the design in exact arithmetic."""
    total = sum(weights)
    picks = []
    for i, offset in enumerate(offsets):
        level = (i + Fraction(offset)) * total / count
        picks.append(next(t for t in range(len(weights)) if sum(weights[: t + 1]) > level))
    return picks


@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_picks_are_as_expected(shared: Path, inverse: Inverse) -> None:
    cases = json.loads((shared / "golden" / "sampling.json").read_text())
    assert cases
    for case in cases:
        picks = sample_motion_guided(
            case["motion"], case["num_frames"], mu=case["mu"], offsets=case["offsets"], inverse=inverse
        )
        assert picks.tolist() == case[inverse]


@given(WHOLE_MOTION.filter(any), counts_and_offsets(SIXTEENTHS), st.sampled_from([1, 2]))
def test_a_pick_is_the_first_frame_whose_cumulative_motion_exceeds_its_level(
    motion: list[int], parts: tuple[int, list[float]], mu: int
) -> None:
    count, offsets = parts
    expected = smallest_frame_above([s**mu for s in motion], count, offsets)
    assert sample_motion_guided(motion, count, mu=mu, offsets=offsets).tolist() == expected


@given(MOTION, counts_and_offsets(), st.floats(0, 3), INVERSES)
def test_picks_are_sorted_and_in_range(
    motion: list[float], parts: tuple[int, list[float]], mu: float, inverse: Inverse
) -> None:
    count, offsets = parts
    picks = sample_motion_guided(motion, count, mu=mu, offsets=offsets, inverse=inverse)
    assert picks.dtype == np.int64
    assert picks.shape == (count,)
    assert (np.diff(picks) >= 0).all()
    assert picks.min() >= 0
    assert picks.max() < len(motion)


@given(MOTION, COUNTS, OFFSETS, INVERSES)
def test_one_offset_applies_to_all_picks(motion: list[float], count: int, offset: float, inverse: Inverse) -> None:
    one = sample_motion_guided(motion, count, offsets=offset, inverse=inverse)
    each = sample_motion_guided(motion, count, offsets=np.full(count, offset), inverse=inverse)
    assert one.tolist() == each.tolist()


def test_defaults_are_those_of_the_paper() -> None:
    motion = [0, 3, 50, 2, 8, 1, 0, 90, 4, 7]
    expected = sample_motion_guided(motion, 4, mu=0.5, offsets=[0.5] * 4, inverse="step")
    assert sample_motion_guided(motion, 4).tolist() == expected.tolist()


@pytest.mark.parametrize("parts", [0, *(pytest.param(parts, marks=pytest.mark.slow) for parts in (1, 128, 255))])
def test_without_motion_weights_every_length_is_cut_into_equal_segments(parts: int) -> None:
    for total in range(1, 401):
        motion = np.arange(total) * 7.5
        for count in range(1, 65):
            expected = (np.arange(count) * 256 + parts) * total // (256 * count)
            segment = sample_segment(total, count, offsets=parts / 256)
            guided = sample_motion_guided(motion, count, mu=0, offsets=parts / 256)
            assert np.array_equal(segment, expected), (total, count)
            assert np.array_equal(guided, expected), (total, count)


@given(st.integers(1, 10_000), counts_and_offsets())
def test_segment_picks_are_sorted_and_in_range(total: int, parts: tuple[int, list[float]]) -> None:
    count, offsets = parts
    picks = sample_segment(total, count, offsets=offsets)
    assert picks.dtype == np.int64
    assert (np.diff(picks) >= 0).all()
    assert picks.min() >= 0
    assert picks.max() < total


@given(st.integers(1, 300), counts_and_offsets(), st.floats(0, 3))
def test_a_still_video_is_sampled_evenly(total: int, parts: tuple[int, list[float]], mu: float) -> None:
    count, offsets = parts
    picks = sample_motion_guided(np.zeros(total), count, mu=mu, offsets=offsets)
    assert picks.tolist() == sample_segment(total, count, offsets=offsets).tolist()


@given(st.integers(2, 300), COUNTS)
def test_a_still_video_is_sampled_evenly_by_the_released_rule_too(total: int, count: int) -> None:
    picks = sample_motion_guided(np.zeros(total), count, inverse="nearest")
    moving = sample_motion_guided(np.ones(total), count, inverse="nearest")
    assert picks.tolist() == moving.tolist()


@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_a_video_of_one_frame_repeats_it(inverse: Inverse) -> None:
    assert sample_motion_guided([0], 5, inverse=inverse).tolist() == [0] * 5


@given(
    st.lists(st.just(0.0) | st.floats(1e-3, 1e6), min_size=1, max_size=60),
    counts_and_offsets(),
    st.sampled_from([0, 0.5, 1, 2]),
    st.integers(-20, 20),
    INVERSES,
)
def test_scaling_motion_by_a_power_of_four_changes_nothing(
    motion: list[float], parts: tuple[int, list[float]], mu: float, power: int, inverse: Inverse
) -> None:
    # Powers of four scale S ** mu exactly for these mu, so even a level on the edge of a step stays on its side.
    count, offsets = parts
    scaled = np.array(motion) * 4.0**power
    expected = sample_motion_guided(motion, count, mu=mu, offsets=offsets, inverse=inverse)
    assert sample_motion_guided(scaled, count, mu=mu, offsets=offsets, inverse=inverse).tolist() == expected.tolist()


@given(WHOLE_MOTION, counts_and_offsets(SIXTEENTHS), st.integers(1, 1000))
def test_scaling_whole_numbers_by_a_whole_number_changes_nothing(
    motion: list[int], parts: tuple[int, list[float]], factor: int
) -> None:
    count, offsets = parts
    expected = sample_motion_guided(motion, count, mu=1, offsets=offsets)
    scaled = [s * factor for s in motion]
    assert sample_motion_guided(scaled, count, mu=1, offsets=offsets).tolist() == expected.tolist()


@given(WHOLE_MOTION, counts_and_offsets(SIXTEENTHS), st.sampled_from([0.5, 1, 2]), st.data())
def test_more_motion_in_a_stretch_never_gives_it_fewer_picks(
    roots: list[int], parts: tuple[int, list[float]], mu: float, data: st.DataObject
) -> None:
    # Squares of whole numbers have whole weights for each of these mu, so that the comparison is exact.
    count, offsets = parts
    start = data.draw(st.integers(0, len(roots) - 1))
    end = data.draw(st.integers(start + 1, len(roots)))
    livelier = np.array(roots)
    livelier[start:end] += data.draw(st.lists(st.integers(0, 9), min_size=end - start, max_size=end - start))

    def picks_inside(motion: np.ndarray) -> int:
        picks = sample_motion_guided(motion, count, mu=mu, offsets=offsets)
        return int(((picks >= start) & (picks < end)).sum())

    assert picks_inside(livelier**2) >= picks_inside(np.array(roots) ** 2)


@given(WHOLE_MOTION.filter(any), counts_and_offsets(), st.sampled_from([0.5, 1, 2]))
def test_a_frame_without_motion_is_not_picked_if_others_move(
    motion: list[int], parts: tuple[int, list[float]], mu: float
) -> None:
    count, offsets = parts
    assert all(motion[t] > 0 for t in sample_motion_guided(motion, count, mu=mu, offsets=offsets))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_an_offset_just_below_one_stays_on_the_last_moving_frame(count: int) -> None:
    below = float(np.nextafter(1, 0))
    assert sample_motion_guided([0, 1, 2, 0, 0], count, mu=1, offsets=below)[-1] == 2
    assert sample_segment(5, count, offsets=below)[-1] == 4


def test_the_released_rule_spreads_picks_if_only_the_first_frame_has_motion() -> None:
    still = sample_motion_guided([0, 0, 0, 0, 0], 4, inverse="nearest")
    assert sample_motion_guided([5, 0, 0, 0, 0], 4, inverse="nearest").tolist() == still.tolist()
    assert len(set(still.tolist())) > 1


def test_weights_are_motion_to_the_power_of_mu() -> None:
    assert motion_weights([0, 4, 9], 0.5).tolist() == [0, 2, 3]
    assert motion_weights([0, 4, 9], 2).tolist() == [0, 16, 81]
    assert motion_weights([0, 4, 9], 0).tolist() == [1, 1, 1]
    assert motion_weights([0, 0], 0.5).tolist() == [1, 1]


# --- Even steps of time -----------------------------------------------------------------------------------------------


def test_steps_of_time_pick_the_frames_that_are_shown_then() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        seconds = np.cumsum(rng.uniform(0.005, 0.2, int(rng.integers(1, 60)))) + 7
        count, fps, offset = int(rng.integers(1, 12)), rng.uniform(1, 40), rng.random()
        picks = sample_fps(seconds, count, fps, offset=offset)
        start = offset * max(seconds[-1] - seconds[0] - (count - 1) / fps, 0)
        for i, pick in enumerate(picks.tolist()):
            shown = seconds[0] + start + i / fps
            assert seconds[pick] <= shown + 1e-6
            assert pick == len(seconds) - 1 or seconds[pick + 1] > shown


@pytest.mark.parametrize(("rate", "fps", "step"), [(30, 10, 3), (25, 5, 5), (30000 / 1001, 30000 / 1001, 1)])
def test_steps_of_a_whole_number_of_frames_are_exact(rate: float, fps: float, step: int) -> None:
    assert sample_fps(np.arange(300) / rate, 20, fps, offset=0).tolist() == [step * i for i in range(20)]


def test_a_short_video_repeats_its_last_frame_or_is_played_again() -> None:
    assert sample_fps([0, 0.5, 1], 6, 2).tolist() == [0, 1, 2, 2, 2, 2]
    assert sample_fps([0, 0.5, 1], 6, 2, past_end="loop").tolist() == [0, 1, 2, 0, 1, 2]
    assert sample_fps([3.0], 3, 2, past_end="loop").tolist() == [0, 0, 0]


# --- Runs around motion -----------------------------------------------------------------------------------------------


def test_a_run_is_within_the_video_and_its_middle_is_the_motion_guided_pick_if_it_fits() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        motion = rng.random(int(rng.integers(1, 80))) ** 4
        count, stride, offset = int(rng.integers(1, 9)), int(rng.integers(1, 9)), rng.random()
        picks = sample_motion_clip(motion, count, stride, mu=1, offset=offset)
        (middle,) = sample_motion_guided(motion, 1, mu=1, offsets=offset).tolist()
        span = (count - 1) * stride + 1
        if span > len(motion):
            assert picks.tolist() == [min(i * stride, len(motion) - 1) for i in range(count)]
            continue
        assert np.diff(picks).tolist() == [stride] * (count - 1)
        assert picks[0] >= 0
        assert picks[-1] < len(motion)
        if span // 2 <= middle < len(motion) - span:
            assert picks[0] == middle - span // 2
        else:
            assert picks[0] <= middle <= picks[0] + span - 1


def test_middles_of_runs_follow_the_distribution_of_motion() -> None:
    motion = np.zeros(100)
    motion[[30, 60]] = 1, 3
    offsets = (np.arange(1000) + 0.5) / 1000
    middles = np.array([sample_motion_clip(motion, 3, 2, mu=1, offset=offset)[1] for offset in offsets])
    assert set((middles + 1).tolist()) <= {30, 31, 60, 61}
    assert (middles < 40).mean() == pytest.approx(0.25, abs=0.01)


def test_a_short_video_is_played_again_by_a_looping_run() -> None:
    assert sample_motion_clip([1, 2, 3], 4, 2, past_end="loop").tolist() == [0, 2, 1, 0]


# --- An even share ----------------------------------------------------------------------------------------------------


def motions_with_still_stretches() -> Iterator[tuple[np.random.Generator, NDArray[np.float64]]]:
    """Yield motion of random lengths, some of it still as a whole, with a generator for the other arguments."""
    for seed in range(300):
        rng = np.random.default_rng(seed)
        total = int(rng.integers(1, 8 if seed % 3 == 0 else 200))
        yield rng, rng.random(total) ** 4 * 1e6 * (rng.random(total) < rng.random())


@given(MOTION, st.sampled_from([0, 0.3, 0.5, 1, 2]))
def test_without_an_even_share_weights_are_motion_to_the_power_of_mu_to_the_bit(motion: list[float], mu: float) -> None:
    powers = np.array(motion, np.float64) ** mu
    expected = powers if powers.any() else np.ones(len(motion))
    assert motion_weights(motion, mu, 0).tobytes() == motion_weights(motion, mu).tobytes() == expected.tobytes()


def test_an_even_share_is_a_mixture_of_two_distributions() -> None:
    for rng, motion in motions_with_still_stretches():
        mu, even = rng.choice([0, 0.5, 1, 2]), rng.choice([1e-9, rng.random(), 1])
        plain, mixed = motion_weights(motion, mu), motion_weights(motion, mu, even)
        expected = (1 - even) * plain / plain.sum() + even / len(plain)
        assert np.abs(mixed / mixed.sum() - expected).max() < 1e-12
        assert mixed.sum() == pytest.approx(len(plain), rel=1e-12)


@pytest.mark.parametrize("offset", [0, 0.5, 0.7, float(np.nextafter(1, 0))])
def test_with_the_whole_share_even_every_length_is_cut_into_equal_segments(offset: float) -> None:
    rng = np.random.default_rng(0)
    for total in (*range(1, 50), 64, 100, 301, 1024, 3000):
        motion = rng.random(total) ** 4 * 1e6 * (rng.random(total) < 0.7)
        for count in (1, 2, 3, 8, 16, 31, 64):
            picks = sample_motion_guided(motion, count, even=1, offsets=offset)
            assert np.array_equal(picks, sample_segment(total, count, offsets=offset)), (total, count)


@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_an_even_share_changes_nothing_in_a_still_video(inverse: Inverse) -> None:
    for total in (1, 2, 7, 100, 333):
        for count in (1, 8, 33):
            expected = sample_motion_guided(np.zeros(total), count, inverse=inverse).tolist()
            for even in (0.1, 0.5, 1):
                picks = sample_motion_guided(np.zeros(total), count, even=even, inverse=inverse)
                assert picks.tolist() == expected, (total, count, even)


@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_an_even_share_limits_the_gap_between_two_picks(inverse: Inverse) -> None:
    # Each frame has at least even / T of the distribution. The levels of picks i and i + 1 are (1 + offsets[i + 1] -
    # offsets[i]) / N apart, and all frames between the two picks lie between the two levels. With the released rule, a
    # level is up to half a frame from its pick. The limit between two picks is the same; after the last pick it is
    # higher by half a frame, and by one because the rule counts from the second frame.
    nearly = 1e-6
    for rng, motion in motions_with_still_stretches():
        count, mu, even = int(rng.integers(1, 40)), rng.choice([0.5, 1, 2]), rng.uniform(0.02, 1)
        offsets = rng.random(count) if rng.random() < 0.5 else np.full(count, 0.5)
        picks = sample_motion_guided(motion, count, mu=mu, even=even, offsets=offsets, inverse=inverse)
        frames_per_level = len(motion) / (count * even)
        assert (np.diff(picks) <= (1 + np.diff(offsets)) * frames_per_level + 1 + nearly).all()
        assert picks[0] <= offsets[0] * frames_per_level + nearly
        rounding = 1.5 if inverse == "nearest" else 0
        assert len(motion) - 1 - picks[-1] <= (1 - offsets[-1]) * frames_per_level + rounding + nearly


def test_an_even_share_reaches_stretches_without_motion() -> None:
    motion = [0] * 50 + [100] * 10 + [0] * 40
    assert set(sample_motion_guided(motion, 8)) <= set(range(50, 60))
    picks = sample_motion_guided(motion, 8, even=0.5)
    assert picks.tolist() == [12, 37, 51, 53, 55, 57, 62, 87]


def test_sampling_does_not_change_its_input() -> None:
    motion = np.array([0.0, 5.0, 1.0, 9.0])
    offsets = np.array([0.25, 0.75])
    sample_motion_guided(motion, 2, offsets=offsets)
    sample_motion_guided(motion, 2, offsets=offsets, inverse="nearest")
    sample_top_motion(motion, 2)
    assert motion.tolist() == [0.0, 5.0, 1.0, 9.0]
    assert offsets.tolist() == [0.25, 0.75]


@pytest.mark.parametrize("even", [0, 0.5, 1])
@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_motion_whose_sum_exceeds_float64_is_rejected(inverse: Inverse, even: float) -> None:
    with pytest.raises(ValueError, match="overflow"):
        sample_motion_guided([1e308] * 4, 4, mu=1, even=even, inverse=inverse)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_motion_whose_highest_level_exceeds_float64_is_rejected() -> None:
    with pytest.raises(ValueError, match="overflow"):
        sample_motion_guided([1e307] * 4, 30, mu=1)
    # With an even share the sum of the weights is T.
    expected = sample_segment(4, 30)
    assert sample_motion_guided([1e307] * 4, 30, mu=1, even=0.5).tolist() == expected.tolist()


@given(st.integers(1, 200), COUNTS, st.integers(1, 20), st.data())
def test_stride_takes_every_nth_frame_and_then_repeats_the_last(
    total: int, count: int, stride: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, total - 1))
    picks = sample_stride(total, count, stride, start=start)
    assert picks.dtype == np.int64
    assert picks.tolist() == [min(start + i * stride, total - 1) for i in range(count)]


@given(st.integers(1, 300), COUNTS, st.integers(1, 40), st.data())
def test_stride_plays_a_short_video_again(total: int, count: int, stride: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, total - 1))
    picks = sample_stride(total, count, stride, start=start, past_end="loop")
    assert picks.dtype == np.int64
    assert picks.tolist() == [(start + i * stride) % total for i in range(count)]


@pytest.mark.parametrize("stride", [2**62, 2**64])
def test_a_stride_of_any_size_stays_in_the_video(stride: int) -> None:
    assert sample_stride(10, 4, stride, start=2).tolist() == [2, 9, 9, 9]
    expected = [(2 + i * stride) % 10 for i in range(4)]
    assert sample_stride(10, 4, stride, start=2, past_end="loop").tolist() == expected


@given(WHOLE_MOTION, st.data())
def test_top_motion_takes_the_largest_and_among_equals_the_earliest(motion: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(motion)))
    left = list(range(len(motion)))
    chosen = []
    for _ in range(count):
        largest = max(motion[t] for t in left)
        chosen.append(next(t for t in left if motion[t] == largest))
        left.remove(chosen[-1])
    picks = sample_top_motion(motion, count)
    assert picks.dtype == np.int64
    assert picks.tolist() == sorted(chosen)


@given(WHOLE_MOTION, st.integers(1, 60))
def test_top_motion_of_a_short_video_takes_all_frames_and_repeats_them_evenly(motion: list[int], more: int) -> None:
    picks = sample_top_motion(motion, len(motion) + more)
    times = np.bincount(picks, minlength=len(motion))
    assert picks.tolist() == sorted(picks)
    assert len(times) == len(motion)
    assert times.min() >= 1
    assert times.max() - times.min() <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_motion_guided([], 2), r"motion must have shape \[T\].* got shape \[0\]"),
        (lambda: sample_motion_guided([[1, 2]], 2), r"motion must have shape \[T\].* got shape \[1, 2\]"),
        (lambda: sample_motion_guided(3.0, 2), r"motion must have shape \[T\].* got shape \[\]"),
        (lambda: sample_motion_guided([0, -2.5], 2), r"motion\[1\] = -2.5"),
        (lambda: sample_motion_guided([0, 1, math.nan], 2), r"motion\[2\] = nan"),
        (lambda: sample_motion_guided([math.inf], 2), r"motion\[0\] = inf"),
        (lambda: sample_top_motion([0, -2.5], 2), r"motion\[1\] = -2.5"),
        (lambda: motion_weights([0, -2.5]), r"motion\[1\] = -2.5"),
        (lambda: sample_motion_guided([1], 2, mu=-0.25), "mu must be .* got -0.25"),
        (lambda: sample_motion_guided([1], 2, mu=math.nan), "mu must be .* got nan"),
        (lambda: sample_motion_guided([1], 2, mu=math.inf), "mu must be .* got inf"),
        (lambda: sample_motion_guided([1], 2, even=-0.25), "even must be .* got -0.25"),
        (lambda: sample_motion_guided([1], 2, even=1.5), "even must be .* got 1.5"),
        (lambda: motion_weights([1], even=math.nan), "even must be .* got nan"),
        (lambda: sample_fps([0, 1], 2, 0), "fps must be .* got 0"),
        (lambda: sample_fps([1, 0], 2, 5), "seconds must be finite and not decreasing"),
        (lambda: sample_fps([], 2, 5), r"seconds must have shape \[T\] .* got shape \[0\]"),
        (lambda: motion_weights([1], even="half"), "even must be .* got 'half'"),
        (lambda: motion_weights([1], even=np.array([0.1, 0.2])), r"even must be .* got array\(\[0.1, 0.2\]\)"),
        (lambda: motion_weights([0, 1e-310], 1, 0.5), "too small for float64, 1e-310: scale motion up"),
        (lambda: sample_motion_guided([1], 0), "num_frames must be .* got 0"),
        (lambda: sample_motion_guided([1], 2.0), "num_frames must be .* got 2.0"),
        (lambda: sample_segment(5, -3), "num_frames must be .* got -3"),
        (lambda: sample_stride(5, 0, 1, start=0), "num_frames must be .* got 0"),
        (lambda: sample_top_motion([1], None), "num_frames must be .* got None"),
        (lambda: sample_motion_guided([1], 2, offsets=1), r"offsets must be in \[0, 1\), got 1"),
        (lambda: sample_motion_guided([1], 2, offsets=[0.5, -0.1]), r"offsets must be in \[0, 1\), got .*-0.1"),
        (lambda: sample_motion_guided([1], 1, offsets=math.nan), r"offsets must be in \[0, 1\), got nan"),
        (lambda: sample_motion_guided([1], 2, offsets=[0.5] * 3), r"shape \[2\], got shape \[3\]"),
        (lambda: sample_segment(5, 2, offsets=1.5), r"offsets must be in \[0, 1\), got 1.5"),
        (lambda: sample_segment(5, 2, offsets=[[0.5, 0.5]]), r"shape \[2\], got shape \[1, 2\]"),
        (lambda: sample_motion_guided([1], 2, inverse="floor"), "inverse must be .* got 'floor'"),
        (lambda: sample_segment(0, 2), "total must be .* got 0"),
        (lambda: sample_stride(0, 2, 1, start=0), "total must be .* got 0"),
        (lambda: sample_stride(5, 2, 0, start=0), "stride must be .* got 0"),
        (lambda: sample_stride(5, 2, 1.5, start=0), "stride must be .* got 1.5"),
        (lambda: sample_stride(5, 2, 1, start=5), r"start must be in \[0, 5\), got 5"),
        (lambda: sample_stride(5, 2, 1, start=-1), r"start must be in \[0, 5\), got -1"),
        (lambda: sample_stride(5, 2, 1, start=1.5), "start must be .* got 1.5"),
        (lambda: sample_stride(5, 2, 1, start=0, past_end="last"), "past_end must be .* got 'last'"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_motion_that_overflows_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"motion \*\* 3 overflows float64.*1e\+200"):
        sample_motion_guided([0, 1e200], 2, mu=3)


def run_python(code: str) -> str:
    """Return the output of ``code`` in a separate interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(Path(mgdali.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["mgdali", "mgdali.sampling", "mgdali.motion"])
def test_importing_the_reference_imports_no_heavy_package(module: str) -> None:
    heavy = ["torch", "nvidia.dali", "cupy", "av"]
    assert run_python(f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_the_reference_modules_are_available_after_importing_the_package() -> None:
    code = "import mgdali; print(mgdali.sampling.__name__, mgdali.motion.__name__)"
    assert run_python(code) == "mgdali.sampling mgdali.motion"


def test_every_public_name_is_available_without_dali() -> None:
    names = [name for name in mgdali.__all__ if name != "MGDaliIterator"]
    code = (
        "import sys; sys.modules['nvidia.dali'] = None; import mgdali; "
        f"print([name for name in {names} if getattr(mgdali, name) is None or name not in dir(mgdali)])"
    )
    assert run_python(code) == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = mgdali.Nothing
