"""What a picture of picks shows agrees with the reference."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.one_video.clip import PickedClip
from mgdali.one_video.explanation import RunningSum, explain, explain_clip
from mgdali.samplers import MotionGuided, Sampler, Segment, Stride, TopMotion
from mgdali.sampling import Inverse, sample_motion_guided, sample_segment

TOTAL = 61
FIRST = 100


def motion(total: int = TOTAL) -> NDArray[np.float64]:
    values = np.random.default_rng(3).gamma(0.4, 1e4, total)
    values[[0, 7, 8, 9]] = 0
    return values


def frames_met(curve: RunningSum) -> NDArray[np.int64]:
    """The frames that a reader finds: each level followed to the curve, and from there down to the axis."""
    if curve.inverse == "step":
        return np.array([curve.x[np.argmax(curve.y > level)] for level in curve.levels])
    return np.array([curve.x[np.abs(curve.y - level).argmin()] for level in curve.levels])


@pytest.mark.parametrize("inverse", ["step", "nearest"])
@pytest.mark.parametrize("even", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0])
def test_each_level_meets_the_curve_at_the_frame_that_is_picked(mu: float, even: float, inverse: Inverse) -> None:
    offsets = np.random.default_rng(5).random(7)
    sampler = MotionGuided(7, mu=mu, even=even, inverse=inverse)
    for places in (np.full(7, 0.5), offsets):
        picks = FIRST + sample_motion_guided(motion(), 7, mu=mu, even=even, offsets=places, inverse=inverse)
        shown = explain(sampler, picks, motion=motion(), total=TOTAL, offsets=places, first_frame=FIRST)
        curve = shown.running_sum
        assert curve is not None
        assert frames_met(curve).tolist() == curve.picks.tolist() == shown.rows[0].frames.tolist() == picks.tolist()
        np.testing.assert_allclose(curve.levels, (np.arange(7) + places) / 7)
        assert curve.y[-1] == pytest.approx(1)
        assert (np.diff(curve.y) >= 0).all()
        # The mark of a pick is on the curve: within the rise of a staircase, or on the point itself.
        rise = dict(zip(curve.x.tolist(), zip([0.0, *curve.y[:-1]], curve.y, strict=True), strict=True))
        if inverse == "nearest":
            assert [rise[t][1] for t in picks.tolist()] == curve.meets.tolist()
        else:
            assert all(
                rise[t][0] - 1e-12 <= meets <= rise[t][1] + 1e-12
                for t, meets in zip(picks.tolist(), curve.meets, strict=True)
            )
        assert ("middle" in curve.title) == (places is not offsets)


def test_the_curve_of_a_still_video_is_not_called_a_sum_of_motion() -> None:
    curve = explain(MotionGuided(2), [2, 7], motion=np.zeros(10), total=10).running_sum
    assert curve is not None
    assert curve.title.startswith("Running sum of equal weights (nothing moves)")
    np.testing.assert_allclose(curve.y, np.arange(1, 11) / 10)


@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_without_the_offsets_a_level_of_the_same_part_leads_to_each_pick(inverse: Inverse) -> None:
    sampler = MotionGuided(7, inverse=inverse)
    middle = explain(sampler, sampler.pick(motion(), TOTAL, np.full(7, 0.5)), motion=motion(), total=TOTAL)
    assert middle.running_sum is not None
    np.testing.assert_allclose(middle.running_sum.levels, (np.arange(7) + 0.5) / 7, rtol=0, atol=1e-12)
    for seed in range(5):
        picks = sampler.pick(motion(), TOTAL, np.random.default_rng(seed).random(7))
        curve = explain(sampler, picks, motion=motion(), total=TOTAL).running_sum
        assert curve is not None
        assert np.floor(curve.levels * 7).tolist() == list(range(7))
        # Levels may be at the very end of a frame's rise, so they are moved towards the middle of that rise.
        low = np.append(0.0, curve.y)[picks] if inverse == "step" else curve.y[picks]
        inside = curve.levels + (low + curve.y[picks] - 2 * curve.levels) * 1e-9
        moved = replace(curve, levels=inside)
        assert frames_met(moved).tolist() == picks.tolist()


@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_a_still_video_and_a_single_frame_have_a_curve(inverse: Inverse) -> None:
    for total in (1, 30):
        sampler = MotionGuided(4, inverse=inverse)
        picks = sampler.pick(np.zeros(total), total, np.full(4, 0.5))
        curve = explain(sampler, picks, motion=np.zeros(total), total=total).running_sum
        assert curve is not None
        assert frames_met(curve).tolist() == picks.tolist()


@pytest.mark.parametrize("sampler", [Segment(5), Stride(5), TopMotion(5)])
def test_other_strategies_are_shown_without_a_running_sum(sampler: Sampler) -> None:
    values = None if sampler.representation is None else motion()
    picks = FIRST + sampler.pick(values, TOTAL, np.full(5, 0.5))
    shown = explain(sampler, picks, motion=values, total=TOTAL, first_frame=FIRST)
    assert shown.running_sum is None
    assert (shown.motion is None) == (values is None)
    assert shown.rows[0].frames.tolist() == picks.tolist()


def test_picks_are_compared_with_evenly_spread_ones_unless_they_are_such_picks() -> None:
    picks = FIRST + TopMotion(5).pick(motion(), TOTAL, np.full(5, 0.5))
    arguments: dict[str, Any] = {"motion": motion(), "total": TOTAL, "first_frame": FIRST}
    _, even = explain(TopMotion(5), picks, **arguments).rows
    assert (even.kind, even.with_images) == ("even", False)
    assert even.frames.tolist() == (FIRST + sample_segment(TOTAL, 5)).tolist()
    assert len(explain(TopMotion(5), picks, **arguments, compare=False).rows) == 1
    assert len(explain(Segment(5), even.frames, total=TOTAL, first_frame=FIRST).rows) == 1


@pytest.mark.parametrize(
    "wrong", [{"picks": [1, 2]}, {"motion": np.ones(3)}, {"seconds": [0.0]}, {"motion": -np.ones(9)}]
)
def test_arrays_of_a_wrong_shape_or_range_are_named(wrong: dict[str, object]) -> None:
    arguments: dict[str, Any] = {"picks": [1, 2, 3], "motion": np.ones(9), "total": 9, **wrong}
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must"):
        explain(MotionGuided(3), **arguments)


def picked(indices: list[int], seconds: list[float], frame_rate: float, first_frame: int = 0) -> PickedClip:
    return PickedClip(
        frames=np.zeros((len(indices), 2, 2, 3), np.uint8),
        indices=np.array(indices),
        seconds=np.array(seconds),
        motion=np.ones(20),
        first_frame=first_frame,
        sampler=MotionGuided(len(indices)),
        name="a.mp4",
        frame_rate=frame_rate,
    )


def test_a_clip_is_shown_with_the_times_of_its_frames() -> None:
    shown = explain_clip(picked([4, 9, 14], [0.4, 1.4, 1.9], 10.0))
    assert shown.title == "a.mp4: 3 of 20 frames"
    assert shown.seconds is not None
    # The times of picks are exact; those between them are interpolated; those after them follow from the frame rate.
    np.testing.assert_allclose(shown.seconds[[0, 4, 9, 14]], [0, 0.4, 1.4, 1.9])
    np.testing.assert_allclose(shown.seconds[[2, 19]], [0.2, 2.4])
    part = explain_clip(picked([104, 109], [10.4, 10.9], 10.0, first_frame=100))
    assert part.title == "a.mp4: 2 of 20 frames (100 to 119)"
    assert part.seconds is not None
    assert part.seconds[[0, 4, 19]] == pytest.approx([10.0, 10.4, 11.9])
    assert explain_clip(picked([4, 9], [np.nan, np.nan], 0.0)).seconds is None
    assert explain_clip(picked([0], [0.0], 0.0)).seconds is None


def test_its_json_has_every_value_of_it() -> None:
    shown = explain(MotionGuided(3), [101, 110, 140], motion=motion(), total=TOTAL, first_frame=FIRST, title="a")
    read = json.loads(json.dumps(shown.as_dict(), allow_nan=False))
    assert (read["title"], read["first_frame"], read["total"], read["seconds"]) == ("a", FIRST, TOTAL, None)
    assert read["motion"] == motion().tolist()
    assert [row["frames"] for row in read["rows"]] == [row.frames.tolist() for row in shown.rows]
    assert shown.running_sum is not None
    assert set(read["running_sum"]) == {"title", "inverse", "x", "y", "levels", "picks", "meets"}
    assert read["running_sum"]["y"] == shown.running_sum.y.tolist()
