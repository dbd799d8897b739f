"""The page's JavaScript modules in a browser, and random strategies as they describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mgdali
from mgdali import MotionClip, MotionGuided, Segment, Stride, TopMotion
from mgdali.samplers import Sampler
from tests.support.browser import open_modules

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["EXACT", "call", "modules", "random_strategy", "sampler_of"]

PAGE = Path(mgdali.__file__).parent / "explore" / "page"
# Exponents for which NumPy and browsers compute the same bits. For others, the last bit of a power can differ.
EXACT = (0.0, 0.5, 1.0, 2.0)


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
    """Return the strategy in Python that a strategy object of the page describes."""
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


def random_strategy(rng: np.random.Generator) -> dict[str, Any]:
    """Return a strategy object of the page, with values for the parameters of all strategies."""
    return {
        "strategy": str(rng.choice(["motion", "motion", "motion", "top", "segment", "stride", "run"])),
        "numFrames": int(rng.integers(1, 65)),
        "mu": float(rng.choice([*EXACT, 0.8, round(rng.random() * 3, 4)])),
        "even": float(rng.choice([0.0, 0.0, 1.0, 0.03125, round(rng.random(), 4)])),
        "inverse": str(rng.choice(["step", "nearest"])),
        "level": str(rng.choice(["image", "feature"])),
        "stride": int(rng.choice([1, 2, 4, 8, 30, 1000])),
        "pastEnd": str(rng.choice(["repeat_last", "loop"])),
        "seed": [None, 0, 3, 2**53 - 1][int(rng.integers(4))],
    }
