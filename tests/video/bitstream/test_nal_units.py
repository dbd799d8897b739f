"""Splitting packets and headers into NAL units, after start codes and after lengths."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given
from hypothesis import strategies as st

from mgdali.video.bitstream.nal_units import (
    find_units,
    header_units,
    read_length_bytes,
    unit_starts,
    unit_type,
    without_emulation_prevention,
)
from tests.support.coded_videos import CODED

SETS = {"h264": {7, 8}, "hevc": {32, 33, 34}}


def contents(packet: bytes, length_bytes: int) -> list[bytes]:
    return [packet[start:end] for start, end in find_units(packet, length_bytes)]


def test_units_are_found_between_start_codes() -> None:
    packet = b"\7\0\0\1\x67\1\2\0\0\0\1\x68\3\0\0\1\0\0\1\x65\4\0\0\3\1"
    assert contents(packet, 0) == [b"\x67\1\2\0", b"\x68\3", b"\x65\4\0\0\3\1"]
    assert contents(b"\x65\4", 0) == contents(b"", 0) == []


@pytest.mark.parametrize("length_bytes", [1, 2, 3, 4])
def test_units_are_found_after_lengths(length_bytes: int) -> None:
    units = [b"\x67\0\0\1\2", b"", b"\x65" + bytes(200)]
    packet = b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)
    assert contents(packet, length_bytes) == units
    assert list(unit_starts(memoryview(packet), length_bytes)) == [
        start for start, _ in find_units(packet, length_bytes)
    ]


@pytest.mark.parametrize("packet", [b"\0\2\x65\1\0\3\x41\1", b"\0\2\x65\1\0"])
def test_the_last_unit_ends_beyond_a_packet_whose_lengths_are_wrong(packet: bytes) -> None:
    (first, end), (_, beyond) = find_units(packet, 2)
    assert packet[first:end] == b"\x65\1"
    assert beyond > len(packet)


@given(st.binary(), st.integers(0, 4))
def test_units_of_any_content_are_in_order_and_after_their_starts(packet: bytes, length_bytes: int) -> None:
    units = list(find_units(packet, length_bytes))
    assert all(start <= end for start, end in units)
    assert all(end <= start for (_, end), (start, _) in zip(units, units[1:], strict=False))
    assert {start for start, _ in units} <= set(unit_starts(packet, length_bytes))


@pytest.mark.parametrize("kind", ["h264-mp4", "h264-mkv", "hevc-mp4"])
def test_headers_of_containers_contain_the_sets_that_ffmpeg_puts_before_a_key_frame(kind: str, tmp_path: Path) -> None:
    with av.open(str(CODED[kind].write(tmp_path))) as container:
        stream = container.streams.video[0]
        codec, extradata = stream.codec_context.codec.canonical_name, stream.codec_context.extradata or b""
        packet = next(packet for packet in container.demux(stream) if packet.size)
        length_bytes = read_length_bytes(codec, extradata)
        in_packet = contents(bytes(packet), length_bytes)
        (converted,) = BitStreamFilterContext(f"{codec}_mp4toannexb", stream).filter(packet)
    assert length_bytes == 4
    units = contents(bytes(converted), 0)
    sets = [unit for unit in units if unit_type(codec, unit[0]) in SETS[codec]]
    assert {unit_type(codec, unit[0]) for unit in sets} == SETS[codec]
    assert [unit.rstrip(b"\0") for unit in sets] == header_units(codec, extradata)[: len(sets)]
    assert in_packet[-1] == units[-1]


def test_headers_with_start_codes_are_split_like_packets(tmp_path: Path) -> None:
    with av.open(str(CODED["h264-ts"].write(tmp_path))) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
    assert read_length_bytes("h264", extradata) == 0
    assert {unit_type("h264", unit[0]) for unit in header_units("h264", extradata)} == SETS["h264"]


@given(st.sampled_from(["h264", "hevc"]), st.binary())
def test_any_header_gives_units_within_it(codec: str, rest: bytes) -> None:
    assert sum(map(len, header_units(codec, b"\1" + rest))) <= len(rest)


def test_a_header_that_is_too_short_for_a_length_has_none() -> None:
    assert read_length_bytes("h264", b"\1\x64\0\x0a\xff") == 4
    assert read_length_bytes("h264", b"\1\x64\0\x0a") == 0
    assert read_length_bytes("hevc", b"\1" + bytes(20)) == 0
    assert read_length_bytes("mpeg4", b"\1" + bytes(30)) == 0


def test_bytes_that_prevent_start_codes_are_removed() -> None:
    assert without_emulation_prevention(b"\1\0\0\3\1\0\0\3\0\0\3\3") == b"\1\0\0\1\0\0\0\0\3"
