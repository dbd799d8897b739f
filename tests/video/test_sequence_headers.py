"""Sequence headers, compared with what FFmpeg decodes, and headers that end early or are random."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgdali.video.sequence_headers import (
    Bits,
    SequenceHeader,
    av1_header,
    h264_header,
    hevc_header,
    mpeg4_header,
    without_emulation_prevention,
)
from mgdali.video.stream_facts import probe
from tests.support.videos import moving_square, write_video

READERS = [h264_header, hevc_header, mpeg4_header, av1_header]
X264 = "x264-params"


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


def test_bytes_that_prevent_start_codes_are_removed() -> None:
    assert without_emulation_prevention(b"\1\0\0\3\1\0\0\3\0\0\3\3") == b"\1\0\0\1\0\0\0\0\3"


def _first_set(path: Path) -> bytes:
    """Return the sequence parameter set in the header of H.264 in MP4."""
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
    return extradata[8 : 8 + int.from_bytes(extradata[6:8], "big")]


@pytest.mark.parametrize(
    ("pixel_format", "options", "profile"),
    [
        ("yuv420p", {"profile": "baseline"}, 66),
        ("yuv420p", {"profile": "main"}, 77),
        ("yuv420p", {X264: "cqm=jvt"}, 100),
        ("yuv420p10le", {}, 110),
        ("yuv422p", {}, 122),
        ("yuv444p", {X264: "cqm=jvt"}, 244),
    ],
)
def test_h264_profiles_and_sizes_are_those_that_ffmpeg_decodes(
    tmp_path: Path, pixel_format: str, options: dict[str, str], profile: int
) -> None:
    frames = moving_square(3, 50, 98)
    path = write_video(tmp_path / "clip.mp4", frames, pixel_format=pixel_format, options=options)
    header = h264_header(_first_set(path))
    assert (header.width, header.height, header.profile) == (112, 64, profile)
    assert (header.width - header.left - header.right, header.height - header.top - header.bottom) == (98, 50)
    assert header.progressive
    assert header.tools == ()


def test_lossless_h264_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(3, 48, 64), options={"qp": "0"})
    assert h264_header(_first_set(path)).tools == ("lossless blocks",)
    assert probe(path.read_bytes(), "clip.mp4").oddity == "it uses lossless blocks"


@pytest.mark.parametrize("options", [{}, {"flags": "+qpel"}, {"mpeg_quant": "1"}])
def test_ordinary_tools_of_mpeg4_are_no_oddity(tmp_path: Path, options: dict[str, str]) -> None:
    path = write_video(tmp_path / "clip.avi", moving_square(4, 48, 64), codec="mpeg4", options=options)
    facts = probe(path.read_bytes(), "clip.avi")
    assert (facts.oddity, facts.coded_width, facts.coded_height, facts.progressive) == ("", 64, 48, True)


def test_data_partitioning_of_mpeg4_is_named(tmp_path: Path) -> None:
    options = {"data_partitioning": "1"}
    path = write_video(tmp_path / "clip.avi", moving_square(4, 48, 64), codec="mpeg4", options=options)
    assert probe(path.read_bytes(), "clip.avi").oddity == "it uses data partitioning"


@pytest.mark.parametrize("grain", [0, 8])
def test_film_grain_of_av1_is_named(tmp_path: Path, grain: int) -> None:
    options = {"svtav1-params": f"film-grain={grain}:lookahead=0"}
    path = write_video(tmp_path / "clip.mp4", moving_square(4, 64, 96), codec="libsvtav1", options=options)
    assert probe(path.read_bytes(), "clip.mp4").oddity == ("it uses film grain" if grain else "")


@pytest.mark.parametrize("read", READERS)
@given(content=st.binary(max_size=200))
def test_random_headers_are_read_or_refused(read: Callable[[bytes], SequenceHeader], content: bytes) -> None:
    try:
        header = read(content)
    except ValueError:
        return
    assert header.width >= 0
    assert header.height >= 0
