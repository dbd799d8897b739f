"""AV1's units and sequence headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgdali.video.bitstream.av1 import find_obus
from mgdali.video.stream_facts import probe
from tests.support.videos import moving_square, write_video


def test_units_are_found_with_and_without_lengths_and_extensions() -> None:
    # A temporal delimiter; a unit of 130 bytes; one with an extension; the last one without a length.
    packet = b"\x12\0" + b"\x0a\x82\1" + bytes(130) + b"\x36\x08\2ab" + b"\x18xyz"
    found = [(kind, packet[start:end]) for kind, start, end in find_obus(packet)]
    assert found == [(2, b""), (1, bytes(130)), (6, b"ab"), (3, b"xyz")]


@given(st.binary())
def test_units_of_any_content_end(packet: bytes) -> None:
    starts = [start for _, start, _ in find_obus(packet)]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("grain", [0, 8])
def test_film_grain_is_named(tmp_path: Path, grain: int) -> None:
    options = {"svtav1-params": f"film-grain={grain}:lookahead=0"}
    path = write_video(tmp_path / "clip.mp4", moving_square(4, 64, 96), codec="libsvtav1", options=options)
    assert probe(path.read_bytes(), "clip.mp4").oddity == ("it uses film grain" if grain else "")
