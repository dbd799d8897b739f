"""The page's modules in JavaScript give what the reference in Python gives."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mgdali
from mgdali import MotionClip, MotionGuided, Segment, Stride, TopMotion, pick_frames, sampling
from mgdali.choices import draw
from mgdali.one_video.explanation import explain, explain_clip
from mgdali.samplers import Sampler
from tests.support.browser import open_modules
from tests.support.videos import moving_square, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

PAGE = Path(mgdali.__file__).parent / "explore" / "page"
# Exponents for which NumPy and browsers compute the same bits. For others, the last bit of a power can differ.
EXACT = (0.0, 0.5, 1.0, 2.0)
# A pick may differ only if a level this much higher or lower, as a share of the whole sum, picks another frame.
TIE = 1e-12

Case = dict[str, Any]


@pytest.fixture
def modules(page: Page) -> Page:
    """A page that can import the modules."""
    open_modules(page, PAGE)
    return page


def call(modules: Page, body: str, argument: object = None) -> Any:
    """Run the body of a JavaScript function that gets the modules ``S``, ``E``, ``T`` and ``P``, and ``given``.

    Values go through JSON, which keeps all bits of float64 and is faster than Playwright's own form.
    """
    imports = ", ".join(f"import('/{name}.js')" for name in ("sampling", "explain", "strategies", "python"))
    function = f"""async (text) => {{
        const [S, E, T, P] = await Promise.all([{imports}]);
        const given = JSON.parse(text);
        const attempt = (work) => {{
            try {{ return work(); }}
            catch (error) {{ if (error instanceof RangeError) return {{error: error.message}}; throw error; }}
        }};
        return JSON.stringify(await (async () => {{ {body} }})());
    }}"""
    return json.loads(modules.evaluate(function, json.dumps(argument)))


def sampler_of(strategy: dict[str, Any]) -> Sampler:
    count, mu, even = strategy["numFrames"], strategy["mu"], strategy["even"]
    kind, level = strategy["strategy"], strategy["level"]
    if kind == "motion":
        return MotionGuided(count, mu=mu, even=even, inverse=strategy["inverse"], motion=level)
    if kind == "top":
        return TopMotion(count, motion=level)
    if kind == "segment":
        return Segment(count)
    if kind == "stride":
        return Stride(count, stride=strategy["stride"], past_end=strategy["pastEnd"])
    return MotionClip(count, stride=strategy["stride"], mu=mu, even=even, motion=level, past_end=strategy["pastEnd"])


def random_motion(rng: np.random.Generator) -> NDArray[np.float64]:
    total = int(rng.choice([1, 2, 3, rng.integers(4, 20), rng.integers(20, 160), rng.integers(160, 600)]))
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


def random_strategy(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "strategy": str(rng.choice(["motion", "motion", "motion", "top", "segment", "stride", "run"])),
        "numFrames": int(rng.integers(1, 65)),
        "mu": float(rng.choice([*EXACT, 0.8, round(rng.random() * 3, 4)])),
        "even": float(rng.choice([0.0, 0.0, 1.0, 0.03125, round(rng.random(), 4)])),
        "inverse": str(rng.choice(["step", "nearest"])),
        "level": str(rng.choice(["image", "feature"])),
        "stride": int(rng.choice([1, 2, 4, 8, 30, 1000])),
        "pastEnd": str(rng.choice(["repeat_last", "loop"])),
        "seed": [None, 0, 3, 2**53 - 1][rng.integers(4)],
    }


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
    print(f"{errors} errors; {inexact} with inexact powers, of which {ties} with other picks at ties")
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


def test_numbers_and_strings_are_written_as_in_python(modules: Page) -> None:
    rng = np.random.default_rng(3)
    numbers = [0.0, -0.0, 1.0, 1e15, 1e16, 1e22, 1e-4, 1e-5, 5e-324, 1.7e308, 0.1, 123456.5, 1234565.0, 0.03125, -2.5]
    numbers += (rng.random(500) * 10.0 ** rng.integers(-8, 9, 500)).tolist() + (np.arange(500) / 64).tolist()
    body = "return given.map((value) => [P.pythonFloat(value), P.general(value), P.general(value, 3)]);"
    assert call(modules, body, numbers) == [[repr(each), f"{each:g}", f"{each:.3g}"] for each in numbers]
    texts = ["", "a \"b\" 'c'", "\\n\\", "\n\r\t\0\x7f\x85", "é 漢 😀", "\udcff", "a\u202eb\u2028\u00a0", "\U000e0001"]
    written = call(modules, "return given.map(P.pythonString);", texts)
    assert [ast.literal_eval(each) for each in written] == texts
    assert all(each.isprintable() for each in written)


@pytest.mark.parametrize("name", ["plain.mp4", 'odd "name" \\ it\'s\n漢.mp4', os.fsdecode(b"not-utf8-\xff.mp4")])
def test_python_lines_print_the_page_s_picks(modules: Page, tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / "short.mp4", moving_square(40, 48, 64)).rename(tmp_path / name)
    rng = np.random.default_rng(4)
    cases = []
    for number in range(25):
        strategy = random_strategy(rng)
        strategy["mu"] = EXACT[number % 4]
        start, end = [(None, None), (0.4, None), (0.25, 1.0), (0.0, 0.5)][rng.integers(4)]
        clip = pick_frames(str(path), sampler=MotionGuided(motion=strategy["level"]), start=start, end=end)
        offsets = draw(strategy["seed"] or 0, 0, 0, strategy["numFrames"], training=strategy["seed"] is not None)
        video = {
            "path": str(path),
            "name": name,
            "start": start,
            "end": end,
            "motion": clip.motion.tolist(),
            "first_frame": clip.first_frame,
            "seconds": None,
        }
        cases.append({"strategy": strategy, "video": video, "offsets": offsets.offsets.tolist()})
    body = """return given.map(({strategy, video, offsets}) => {
        const explanation = E.explain(strategy, video, offsets);
        const picks = explanation.rows[0].frames;
        return {picks, title: explanation.title, lines: T.pythonLines(video, strategy, picks)};
    });"""
    for found in call(modules, body, cases):
        printed = io.StringIO()
        names: dict[str, Any] = {}
        with contextlib.redirect_stdout(printed):
            exec(found["lines"], names)
        assert ast.literal_eval(printed.getvalue()) == found["picks"]
        assert found["lines"].endswith(f"# {found['picks']}")
        assert found["title"] == explain_clip(names["clip"]).title.replace(str(path), name)


def test_python_lines_leave_out_defaults(modules: Page) -> None:
    body = """const video = {path: "a.mp4", start: null, end: null};
        return T.STRATEGIES.map(({id}) => T.pythonLines(video, T.makeStrategy(id)).split("\\n")[2]);"""
    classes = [MotionGuided, TopMotion, Segment, Stride, MotionClip]
    expected_lines = [f'clip = pick_frames("a.mp4", sampler={each.__name__}(8))' for each in classes]
    assert call(modules, body) == expected_lines
    body = "return T.STRATEGIES.map(({defaults}) => defaults);"
    assert [sampler_of(defaults) for defaults in call(modules, body)] == [each(8) for each in classes]


def test_addresses_keep_all_parameters_that_change_the_picks(modules: Page) -> None:
    rng = np.random.default_rng(5)
    strategies = [random_strategy(rng) for _ in range(300)]
    body = """return given.map((each) => {
        const query = String(T.toQuery(each));
        const read = T.fromQuery(new URLSearchParams(query));
        return [query, read, String(T.toQuery(read))];
    });"""
    for strategy, (query, read, again) in zip(strategies, call(modules, body, strategies), strict=True):
        assert query == again
        assert sampler_of(read) == sampler_of(strategy)
        assert read["seed"] == (None if strategy["strategy"] == "top" else strategy["seed"])
        names = dict(part.split("=") for part in query.split("&"))
        assert ("past_end" in names) == (strategy["strategy"] in ("stride", "run"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("strategy=best", "strategy must be one of ('motion', 'top', 'segment', 'stride', 'run'), got 'best'"),
        ("num_frames=0", "num_frames must be an integer in [1, 512], got 0"),
        ("num_frames=513", "num_frames must be an integer in [1, 512], got 513"),
        ("num_frames=0x10", "num_frames must be an integer in [1, 512], got '0x10'"),
        ("mu=-0.5", "mu must be a finite number >= 0, got -0.5"),
        ("mu=1e999", "mu must be a finite number >= 0, got inf"),
        ("even=1.01", "even must be a number in [0, 1], got 1.01"),
        ("level=pixel", "level must be one of ('image', 'feature'), got 'pixel'"),
        ("strategy=run&stride=1.5", "stride must be an integer >= 1, got 1.5"),
        ("seed=-1", "seed must be an integer >= 0, got -1"),
    ],
)
def test_an_address_with_a_bad_parameter_names_it(modules: Page, query: str, message: str) -> None:
    body = "return attempt(() => T.fromQuery(new URLSearchParams(given)));"
    assert call(modules, body, query) == {"error": message}


def test_an_address_without_parameters_is_the_default_strategy(modules: Page) -> None:
    body = """const empty = T.fromQuery(new URLSearchParams("num_frames=&seed=&mu="));
        return [T.fromQuery(new URLSearchParams()), empty, T.makeStrategy("motion")];"""
    first, second, default = call(modules, body)
    assert first == second == default


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
