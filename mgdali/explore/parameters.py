"""The parameters of a request's query as objects: a strategy, numbers and choices, with errors that name the range."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import draw
from mgdali.samplers import Motion, MotionClip, MotionGuided, Sampler, Segment, Stride, TopMotion
from mgdali.sampling import Inverse, PastEnd

__all__ = ["STRATEGY_PARAMETERS", "BadParameterError", "Parameters", "Strategy", "read_num_frames", "read_strategy"]

STRATEGY_PARAMETERS = (
    "strategy",
    "num_frames",
    "mu",
    "even",
    "inverse",
    "level",
    "stride",
    "past_end",
    "seed",
)
"""Names of the parameters of all strategies and of their offsets. Each strategy ignores parameters of others."""

MOST_PICKS = 512
"""Largest number of picks, N."""

LARGEST = 2**53 - 1
"""The largest integer up to which JavaScript represents each one exactly."""

_Kind = Literal["motion", "top", "segment", "stride", "run"]
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_MOST_CHARACTERS = 60


class BadParameterError(ValueError):
    """A parameter that is unknown, has no such form, or is out of range."""


class Parameters:
    """The parameters of one request. An empty value counts as one that was not given.

    Args:
        items: Names and values, in the order of the query.
        known: The names that are possible.

    Raises:
        BadParameterError: If a name is not known or is given twice.
    """

    def __init__(self, items: Iterable[tuple[str, str]], known: Sequence[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in items:
            if name not in known:
                possible = f"use {', '.join(known)}" if known else "none are possible here"
                raise BadParameterError(f"{_short(name)} is not a parameter: {possible}")
            if name in self._values:
                raise BadParameterError(f"{name} is given twice: {_short(self._values[name])} and {_short(value)}")
            self._values[name] = value

    def text(self, name: str, *, most: int = 1000) -> str:
        """Return a text, which is empty if it is not given.

        Raises:
            BadParameterError: If it has more than ``most`` characters.
        """
        value = self._values.get(name, "")
        if len(value) > most:
            raise BadParameterError(f"{name} must have at most {most} characters, got {len(value)}")
        return value

    def integer(self, name: str, default: int, *, least: int = 0, most: int = LARGEST) -> int:
        """Return an integer from ``least`` to ``most``.

        Raises:
            BadParameterError: If it is something else.
        """
        value = self._values.get(name, "")
        return _integer(name, value, least, most) if value else default

    def optional_integer(self, name: str) -> int | None:
        """Return an integer >= 0; None if it is not given.

        Raises:
            BadParameterError: If it is something else.
        """
        value = self._values.get(name, "")
        return _integer(name, value, 0, LARGEST) if value else None

    def integers(self, name: str, *, most_values: int) -> list[int]:
        """Return integers >= 0 that are separated by commas: at least one, at most ``most_values``.

        Raises:
            BadParameterError: If they are something else.
        """
        value = self._values.get(name, "")
        parts = value.split(",") if value else []
        if not 1 <= len(parts) <= most_values:
            raise BadParameterError(
                f"{name} must be 1 to {most_values} integers, separated by commas, got {len(parts)}: {_short(value)}"
            )
        return [_integer(name, part, 0, LARGEST) for part in parts]

    def number(self, name: str, default: float, *, most: float = math.inf) -> float:
        """Return a finite number from 0 to ``most``.

        Raises:
            BadParameterError: If it is something else.
        """
        value = self._values.get(name, "")
        if not value:
            return default
        number = float(value) if _NUMBER.fullmatch(value) else math.nan
        if not math.isfinite(number) or not 0 <= number <= most:
            wanted = "a finite number >= 0" if most == math.inf else f"a number from 0 to {most:g}"
            raise BadParameterError(f"{name} must be {wanted}, got {_short(value)}")
        return number

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of the choices.

        Raises:
            BadParameterError: If it is something else.
        """
        value = self._values.get(name, "") or default
        if value not in choices:
            raise BadParameterError(f"{name} must be one of {', '.join(choices)}, got {_short(value)}")
        return value

    def switch(self, name: str) -> bool:
        """Return whether a switch is 1; it is 0 if it is not given.

        Raises:
            BadParameterError: If it is something else.
        """
        return self.choice(name, ("0", "1"), "0") == "1"

    def level(self) -> Motion:
        """Return the level at which motion is measured.

        Raises:
            BadParameterError: If it is not a level.
        """
        return "feature" if self.choice("level", get_args(Motion), "image") == "feature" else "image"


@dataclass(frozen=True)
class Strategy:
    """A strategy as the page describes it.

    Attributes:
        sampler: The strategy.
        level: The level of the motion that is shown, also for a strategy that does not use motion.
        seed: Seed of random offsets; None if all offsets are 0.5, as in testing.
    """

    sampler: Sampler
    level: Motion
    seed: int | None

    @property
    def offsets(self) -> NDArray[np.float64]:
        """Offsets of the picks, float64 ``[N]``: those of :func:`mgdali.pick_frames` with the same seed."""
        return draw(self.seed or 0, 0, 0, self.sampler.num_frames, training=self.seed is not None).offsets


def read_strategy(parameters: Parameters) -> Strategy:
    """Return the strategy that the parameters :data:`STRATEGY_PARAMETERS` describe.

    Raises:
        BadParameterError: If one of them is out of range.
    """
    kind = parameters.choice("strategy", get_args(_Kind), "motion")
    num_frames = read_num_frames(parameters)
    mu, even = parameters.number("mu", 0.5), parameters.number("even", 0.0, most=1)
    inverse: Inverse = "nearest" if parameters.choice("inverse", get_args(Inverse), "step") == "nearest" else "step"
    past_end: PastEnd = (
        "loop" if parameters.choice("past_end", get_args(PastEnd), "repeat_last") == "loop" else "repeat_last"
    )
    level, default = parameters.level(), MotionClip.stride if kind == "run" else Stride.stride
    stride = parameters.integer("stride", default, least=1)
    sampler: Sampler
    if kind == "motion":
        sampler = MotionGuided(num_frames, motion=level, mu=mu, even=even, inverse=inverse)
    elif kind == "top":
        sampler = TopMotion(num_frames, motion=level)
    elif kind == "segment":
        sampler = Segment(num_frames)
    elif kind == "stride":
        sampler = Stride(num_frames, stride=stride, past_end=past_end)
    else:
        sampler = MotionClip(num_frames, stride=stride, motion=level, mu=mu, even=even, past_end=past_end)
    return Strategy(sampler, level, parameters.optional_integer("seed"))


def read_num_frames(parameters: Parameters) -> int:
    """Return the number of picks, N.

    Raises:
        BadParameterError: If it is out of range.
    """
    return parameters.integer("num_frames", 8, least=1, most=MOST_PICKS)


def _integer(name: str, value: str, least: int, most: int) -> int:
    if not _INTEGER.fullmatch(value) or not least <= int(value) <= most:
        raise BadParameterError(f"{name} must be an integer from {least} to {most}, got {_short(value)}")
    return int(value)


def _short(value: str) -> str:
    return repr(value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]}…")
