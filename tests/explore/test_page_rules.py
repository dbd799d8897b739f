"""Picks and explanations in the page, which JavaScript computes, are those of the reference."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import sampling
from mgdali.one_video.explanation import explain
from tests.support.page_modules import EXACT, call, random_strategy, sampler_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

# A pick may differ only if a level this much higher or lower, as a share of the whole sum, picks another frame.
TIE = 1e-12

Case = dict[str, Any]


def random_motion(rng: np.random.Generator) -> NDArray[np.float64]:
    total = int(rng.choice([1, 2, 3, *rng.integers((4, 20, 160), (20, 160, 600)).tolist()]))
    noise = rng.random(total)
    kind = rng.integers(8)
    if kind == 0:
        return np.zeros(total)
    if kind == 1:
        return np.full(total, rng.choice([1.0, 0.3, 7.0]))
    if kind == 2:
        return np.asarray(noise * 1e-250)
    if kind == 3:
        return np.asarray(noise * 1e160)
    if kind == 4:
        return np.where(rng.random(total) < 0.1, noise * 1e6, 0.0)
    if kind == 5:
        return np.where(np.arange(total) == 0, 0.0, np.exp(noise * 30))
    if kind == 6:
        return rng.integers(0, 4, total).astype(np.float64)
    return np.round(noise * 1e6)


def random_case(rng: np.random.Generator) -> Case:
    motion, strategy = random_motion(rng), random_strategy(rng)
    count = strategy["numFrames"]
    offsets = [None, rng.random(count), np.full(count, 1 - 2.0**-53), np.zeros(count)][rng.integers(4)]
    return {
        "strategy": strategy,
        "video": {
            "name": "v",
            "motion": motion.tolist(),
            "first_frame": int(rng.choice([0, 17])),
            "seconds": None if rng.random() < 0.5 else (np.arange(len(motion)) / 30).tolist(),
        },
        "offsets": None if offsets is None else offsets.tolist(),
        "compare": bool(rng.random() < 0.7),
    }


def offsets_of(case: Case) -> NDArray[np.float64]:
    given = case["offsets"]
    return np.full(case["strategy"]["numFrames"], 0.5) if given is None else np.asarray(given)


def picks_of(case: Case, offsets: NDArray[np.float64]) -> list[int]:
    """The reference's picks, as indices in the file."""
    motion = np.asarray(case["video"]["motion"])
    picks = sampler_of(case["strategy"]).pick(motion, len(motion), offsets)
    return [case["video"]["first_frame"] + pick for pick in picks.tolist()]


def expected(case: Case) -> dict[str, Any]:
    """The reference's explanation without its title, or its error."""
    video, offsets = case["video"], offsets_of(case)
    try:
        with warnings.catch_warnings():
            # NumPy warns of the overflow that the reference then reports as an error.
            warnings.simplefilter("ignore", RuntimeWarning)
            described = explain(
                sampler_of(case["strategy"]),
                picks_of(case, offsets),
                motion=video["motion"],
                total=len(video["motion"]),
                offsets=offsets,
                first_frame=video["first_frame"],
                seconds=video["seconds"],
                compare=case["compare"],
            ).as_dict()
    except ValueError as error:
        return {"error": str(error)}
    del described["title"]
    return described


def assert_tied(case: Case, found: list[int]) -> None:
    """Check that levels which differ by less than :data:`TIE` lead to the picks."""
    offsets, nudge = offsets_of(case), TIE * case["strategy"]["numFrames"]
    lower = picks_of(case, np.clip(offsets - nudge, 0, None))
    upper = picks_of(case, np.clip(offsets + nudge, None, 1 - 2.0**-53))
    if case["strategy"]["strategy"] == "run":
        assert found in (lower, upper)
    else:
        assert all(low <= pick <= high for low, pick, high in zip(lower, found, upper, strict=True)), case


def assert_equal_up_to_powers(case: Case, found: dict[str, Any], reference: dict[str, Any]) -> bool:
    """Compare two explanations whose powers may differ in the last bit. Return whether the picks are the same."""
    curve, reference_curve = found["running_sum"], reference["running_sum"]
    picks, reference_picks = found["rows"][0]["frames"], reference["rows"][0]["frames"]
    if picks != reference_picks:
        assert_tied(case, picks)
    if reference_curve is not None:
        np.testing.assert_allclose(curve["y"], reference_curve["y"], rtol=1e-12, atol=0)
        assert curve["picks"] == picks
        places = [pick - case["video"]["first_frame"] for pick in picks]
        nearest = case["strategy"]["inverse"] == "nearest"
        assert curve["meets"] == ([curve["y"][place] for place in places] if nearest else curve["levels"])
        same = {name: curve[name] for name in ("y", "picks", "meets")}
        assert curve == {**reference_curve, **same}
    else:
        assert curve is None
    rows = [{**found["rows"][0], "frames": reference_picks}, *found["rows"][1:]]
    assert {**found, "rows": rows, "running_sum": reference_curve} == reference
    return bool(picks == reference_picks)


EXPLAIN = """return given.map((each) => attempt(() => {
    const explanation = E.explain(each.strategy, each.video, each.offsets, {compare: each.compare});
    const { title, ...rest } = E.plain(explanation);
    return rest;
}));"""


def test_explanations_of_random_videos_are_those_of_the_reference(modules: Page) -> None:
    rng = np.random.default_rng(0)
    cases = [random_case(rng) for _ in range(4000)]
    errors = ties = inexact = 0
    for first in range(0, len(cases), 500):
        part = cases[first : first + 500]
        for case, found in zip(part, call(modules, EXPLAIN, part), strict=True):
            reference = expected(case)
            if "error" in reference or case["strategy"]["mu"] in EXACT:
                assert found == reference, case
                errors += "error" in reference
            else:
                inexact += 1
                ties += not assert_equal_up_to_powers(case, found, reference)
    assert errors > 50
    assert ties < inexact / 50


def test_picks_are_those_of_the_golden_file(modules: Page, shared: Path) -> None:
    golden = json.loads((shared / "golden" / "sampling.json").read_text())
    defaults = random_strategy(np.random.default_rng(0)) | {"strategy": "motion", "even": 0.0}
    for inverse in ("step", "nearest"):
        cases = [
            {
                "strategy": {**defaults, "numFrames": case["num_frames"], "mu": case["mu"], "inverse": inverse},
                "video": {"motion": case["motion"], "first_frame": 0},
                "offsets": np.broadcast_to(case["offsets"], case["num_frames"]).tolist(),
            }
            for case in golden
        ]
        body = """return given.map(({strategy, video: {motion}, offsets}) =>
            Array.from(S.samplerPick(strategy, motion, motion.length, offsets)));"""
        for case, found, known in zip(cases, call(modules, body, cases), golden, strict=True):
            if found != known[inverse]:
                assert case["strategy"]["mu"] not in EXACT
                assert_tied(case, found)


def test_weights_differ_by_two_units_in_the_last_place_at_most(modules: Page) -> None:
    rng = np.random.default_rng(1)
    motion = np.concatenate([[0.0], rng.random(3000) * 10.0 ** rng.uniform(-20, 20, 3000)])
    exponents = [*EXACT, *rng.uniform(0, 3, 60).round(3).tolist()]
    body = "return given.exponents.map((mu) => Array.from(S.motionWeights(given.motion, mu)));"
    found = np.asarray(call(modules, body, {"motion": motion.tolist(), "exponents": exponents}))
    for mu, weights in zip(exponents, found, strict=True):
        reference = sampling.motion_weights(motion, mu)
        units = np.abs(weights - reference) / np.spacing(reference)
        assert units.max() <= (0 if mu in EXACT else 2), mu


def test_sums_have_the_bits_of_numpy(modules: Page) -> None:
    rng = np.random.default_rng(2)
    values = [rng.random(count) for count in [*range(1, 300), 1000, 4097, 100_000]]
    body = "return given.map((values) => S.pairwiseSum(Float64Array.from(values)));"
    assert call(modules, body, [each.tolist() for each in values]) == [float(each.sum()) for each in values]


ERRORS: list[tuple[Callable[..., Any], list[Any], dict[str, Any]]] = [
    (sampling.sample_motion_guided, [[0.0, -1.0], 1], {}),
    (sampling.sample_motion_guided, [[0.0, float("nan")], 1], {}),
    (sampling.sample_motion_guided, [[float("inf")], 1], {}),
    (sampling.sample_motion_guided, [[], 1], {}),
    (sampling.sample_motion_guided, [[1.0], 0], {}),
    (sampling.sample_motion_guided, [[1.0], 1.5], {}),
    (sampling.sample_motion_guided, [[1.0], 1], {"mu": -1.0}),
    (sampling.sample_motion_guided, [[1.0], 1], {"mu": float("nan")}),
    (sampling.sample_motion_guided, [[1.0], 1], {"even": 1.5}),
    (sampling.sample_motion_guided, [[1.0], 1], {"even": -1e-7}),
    (sampling.sample_motion_guided, [[1.0], 1], {"inverse": "it's"}),
    (sampling.sample_motion_guided, [[1.0], 1], {"offsets": 1.0}),
    (sampling.sample_motion_guided, [[1.0], 2], {"offsets": [0.5]}),
    (sampling.sample_motion_guided, [[1.0], 2], {"offsets": [0.5, 1.0]}),
    (sampling.sample_motion_guided, [[1.0, 1e200], 1], {"mu": 2.0}),
    (sampling.sample_motion_guided, [[1e308, 1e308], 1], {"mu": 1.0}),
    (sampling.sample_motion_guided, [[1e308, 1e308], 1], {"mu": 1.0, "even": 0.5}),
    (sampling.sample_motion_guided, [[5e-324, 0.0], 1], {"mu": 1.0, "even": 0.5}),
    (sampling.sample_motion_guided, [[1e308], 3], {"mu": 1.0}),
    (sampling.sample_segment, [0, 1], {}),
    (sampling.sample_segment, [3, 0], {}),
    (sampling.sample_segment, [3, 1], {"offsets": -0.5}),
    (sampling.sample_stride, [3, 1, 0], {"start": 0}),
    (sampling.sample_stride, [3, 1, 1], {"start": 3}),
    (sampling.sample_stride, [3, 1, 1], {"start": -1}),
    (sampling.sample_stride, [3, 1, 1], {"start": 0, "past_end": "stop"}),
    (sampling.sample_motion_clip, [[1.0], 1, 0], {}),
    (sampling.sample_motion_clip, [[1.0], 0, 1], {}),
    (sampling.sample_top_motion, [[], 1], {}),
    (sampling.sample_top_motion, [[1.0], 0], {}),
]


def camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_errors_have_the_reference_s_text(modules: Page) -> None:
    function = """async ([name, positional, options]) => {
        const module = await import("/sampling.js");
        try { return String(module[name](...positional, options)); }
        catch (error) { return error.message; }
    }"""
    for python, positional, options in ERRORS:
        with pytest.raises(ValueError, match=".") as caught:
            python(*positional, **options)
        given = [camel(python.__name__), positional, {camel(name): value for name, value in options.items()}]
        assert modules.evaluate(function, given) == str(caught.value)


@pytest.mark.parametrize("strategy", ["motion", "top", "segment", "stride", "run"])
def test_picks_of_1000_frames_take_less_than_a_frame_of_the_screen(modules: Page, strategy: str) -> None:
    body = """const motion = Float64Array.from(given.motion);
        const video = {name: "v", motion, seconds: null, first_frame: 0};
        const times = [];
        for (let step = 0; step < 101; step++) {
            const moved = T.makeStrategy(given.strategy, {numFrames: 16, mu: 0.3 + step / 100, even: 0.1});
            const start = performance.now();
            E.explain(moved, video);
            times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b)[50];"""
    motion = np.random.default_rng(6).random(1000).tolist()
    assert call(modules, body, {"strategy": strategy, "motion": motion}) < 16 / 4
