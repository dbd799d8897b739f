"""Reading numbers of any length and Exp-Golomb codes from bits."""

from __future__ import annotations

import pytest

from mgdali.video.bitstream.bits import Bits


def test_bits_are_read_from_the_most_significant_one() -> None:
    bits = Bits(b"\xa5\x0f")
    assert [bits.read(), bits.read(3), bits.read(4), bits.read(8)] == [1, 2, 5, 15]
    with pytest.raises(ValueError, match="ends too early"):
        bits.read()


@pytest.mark.parametrize(
    ("code", "number"), [("1", 0), ("010", 1), ("011", 2), ("00100", 3), ("00111", 6), ("0001000", 7)]
)
def test_exp_golomb_codes(code: str, number: int) -> None:
    assert Bits(int(code.ljust(8, "0"), 2).to_bytes(1, "big")).golomb() == number


def test_numbers_with_too_many_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        Bits(bytes(8)).golomb()
