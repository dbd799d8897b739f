"""Numbers of things as text."""

from __future__ import annotations

import pytest

from mgdali.quantities import counted


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0,), "0 videos"),
        ((1,), "1 video"),
        ((2, "frame"), "2 frames"),
        ((1, "class", "classes"), "1 class"),
        ((2, "class", "classes"), "2 classes"),
        ((1234567,), "1234567 videos"),
    ],
)
def test_only_one_thing_has_the_singular(arguments: tuple[int], text: str) -> None:
    assert counted(*arguments) == text


def test_groups_of_digits_are_separated_on_request() -> None:
    assert counted(1234567, "batch", "batches", separator=",") == "1,234,567 batches"
