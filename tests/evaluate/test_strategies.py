"""The compared strategies, and the offsets that they share."""

from __future__ import annotations

import numpy as np
import pytest

from mgdali.datasets.video_dataset import Video
from mgdali.evaluate.options import EvaluateOptions
from mgdali.evaluate.strategies import picks_of, strategies_of
from mgdali.evaluate.videos import MeasuredVideo
from mgdali.samplers import MotionGuided, Segment, Stride, TopMotion
from mgdali.sampling import sample_motion_guided, sample_segment

RNG = np.random.default_rng(0)
VIDEO = MeasuredVideo(Video("a.mp4", 0), None, {"image": RNG.random(30), "feature": RNG.random(30)})


def test_every_level_mu_and_even_is_a_strategy() -> None:
    options = EvaluateOptions(data="videos", mu=(0.5, 1.0), even=(0.0, 0.2), stride=(2, 4))
    found = {each.name: each.make(3) for each in strategies_of(options)}
    assert list(found)[:4] == ["segment", "stride 2", "stride 4", "top motion, image"]
    assert [found[name] for name in list(found)[:4]] == [Segment(3), Stride(3, stride=2), Stride(3), TopMotion(3)]
    expected = {
        f"motion-guided, {level}, mu {mu:g}" + (", even 0.2" if even else ""): MotionGuided(
            3, motion=level, mu=mu, even=even
        )
        for level in ("image", "feature")
        for mu in (0.5, 1.0)
        for even in (0.0, 0.2)
    }
    assert {name: sampler for name, sampler in found.items() if name.startswith("motion")} == expected
    assert [each.name for each in strategies_of(options) if each.guided] == list(expected)


def test_top_motion_uses_the_only_level() -> None:
    found = strategies_of(EvaluateOptions(data="videos", motion="feature"))
    assert [each.make(2) for each in found if each.name.startswith("top")] == [TopMotion(2, motion="feature")]


def test_testing_uses_the_middles() -> None:
    assert (picks_of(Segment(4), VIDEO, 7, seed=5, clip=0, training=False) == sample_segment(30, 4)).all()


@pytest.mark.parametrize("level", ["image", "feature"])
def test_motion_is_that_of_the_level(level: str) -> None:
    sampler = MotionGuided(4, motion=level)  # type: ignore[arg-type]
    expected = sample_motion_guided(VIDEO.motion[level], 4)  # type: ignore[index]
    assert (picks_of(sampler, VIDEO, 7, seed=5, clip=0, training=False) == expected).all()


def test_random_offsets_differ_by_seed_clip_and_video_and_are_the_same_for_all_strategies() -> None:
    places = [(7, 5, 0), (8, 5, 0), (7, 6, 0), (7, 5, 1)]
    found = [picks_of(Segment(8), VIDEO, video, seed=seed, clip=clip, training=True) for video, seed, clip in places]
    assert len({tuple(picks.tolist()) for picks in found}) == 4
    # Without smoothing by motion, motion-guided sampling equals segment sampling, if the offsets are the same.
    guided = [
        picks_of(MotionGuided(8, mu=0.0), VIDEO, video, seed=seed, clip=clip, training=True)
        for video, seed, clip in places
    ]
    assert all((a == b).all() for a, b in zip(found, guided, strict=True))
