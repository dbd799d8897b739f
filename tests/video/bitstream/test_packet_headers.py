"""The headers of packets, read from encoded videos and from packets that the tests write byte by byte."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgdali.video.bitstream.packet_headers import CODECS, PacketHeaders
from tests.support.coded_videos import CODED

KINDS = [kind for kind, coded in CODED.items() if coded.codec not in ("mpeg2video", "mjpeg")]


def headers_and_packets(path: Path) -> tuple[PacketHeaders, list[tuple[bytes, bool]]]:
    """Return the reader of a video's headers, and each packet with its flag of a key frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [(bytes(packet), packet.is_keyframe) for packet in container.demux(stream) if packet.size]
        context = stream.codec_context
        return PacketHeaders(context.codec.canonical_name, context.extradata or b""), packets


def units(*contents: bytes) -> bytes:
    """Return a packet of units with start codes."""
    return b"".join(b"\0\0\0\1" + content for content in contents)


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_can_begin_at_the_key_frames_of_closed_groups(kind: str, tmp_path: Path) -> None:
    headers, packets = headers_and_packets(CODED[kind].write(tmp_path))
    keys = [number for number, (_, is_key) in enumerate(packets) if is_key]
    starts = [number for number, (content, _) in enumerate(packets) if headers.decoding_can_begin(content)]
    is_open = "open-gop=1" in str(CODED[kind].options)
    assert starts == (keys[:1] if is_open else keys)
    assert len(keys) >= (5 if is_open else 1)
    assert not any(headers.changes_parameter_sets(content) for content, _ in packets)


def test_an_idr_frame_of_h264_is_found_after_other_units() -> None:
    headers = PacketHeaders("h264", b"")
    delimiter, message, idr, other = b"\x09\x10", b"\x06\x05\x01", b"\x65\x88", b"\x41\x9a"
    assert headers.decoding_can_begin(units(delimiter, message, idr))
    assert not headers.decoding_can_begin(units(delimiter, message, other))
    # The second field of an IDR frame may be a P field.
    assert headers.decoding_can_begin(units(idr, other))
    assert not headers.decoding_can_begin(units(delimiter))


@pytest.mark.parametrize(("kind", "begins"), [(1, False), (9, False), (16, True), (18, True), (19, True), (20, True)])
def test_idr_and_bla_frames_of_hevc_are_starts(kind: int, begins: bool) -> None:
    headers = PacketHeaders("hevc", b"")
    assert headers.decoding_can_begin(units(b"\x4e\x01", bytes([kind << 1, 1, 0x80]))) == begins


def test_a_clean_random_access_frame_of_hevc_is_no_start() -> None:
    assert not PacketHeaders("hevc", b"").decoding_can_begin(units(bytes([21 << 1, 1, 0x80])))


@pytest.mark.parametrize(
    ("first", "begins"), [(0x82, True), (0x86, False), (0x8A, False), (0xA2, True), (0xB0, True), (0xB2, False)]
)
def test_the_first_byte_of_vp9_tells_key_frames(first: int, begins: bool) -> None:
    # Marker 10, profile (low bit first), in profile 3 a reserved bit, show_existing_frame, frame_type, show_frame.
    assert PacketHeaders("vp9", b"").decoding_can_begin(bytes([first, 0])) == begins


@pytest.mark.parametrize(
    ("frame", "begins"),
    [
        (b"\x10", True),
        # Hidden; shown although an earlier packet contains it; not a key frame.
        (b"\x00", False),
        (b"\x90", False),
        (b"\x30", False),
    ],
)
@pytest.mark.parametrize("kind", [3, 6])
def test_a_key_frame_of_av1_is_a_start_if_it_is_shown_at_once(frame: bytes, begins: bool, kind: int) -> None:
    headers = PacketHeaders("av1", b"")
    sequence = b"\x0a\x81\x00\x55"
    sized, extended, unsized = bytes([kind << 3 | 2, 1]), bytes([kind << 3 | 6, 0, 1]), bytes([kind << 3])
    for header in (sized, extended, unsized):
        assert headers.decoding_can_begin(b"\x12\0" + sequence + header + frame) == begins
    assert not headers.decoding_can_begin(b"\x12\0" + sequence)


@pytest.mark.parametrize("length_bytes", [1, 2, 3, 4])
def test_units_after_lengths_are_read(length_bytes: int) -> None:
    sets = [b"\x67\x64\x00\x0a\xac", b"\x68\xee\x3c"]
    extradata = b"\1\x64\x00\x0a" + bytes([0xFC | length_bytes - 1, 0xE1])
    extradata += b"\0\5" + sets[0] + b"\1\0\3" + sets[1]
    headers = PacketHeaders("h264", extradata)

    def packet(*contents: bytes) -> bytes:
        return b"".join(len(content).to_bytes(length_bytes, "big") + content for content in contents)

    assert headers.decoding_can_begin(packet(*sets, b"\x65\x88\x84"))
    assert not headers.decoding_can_begin(packet(*sets, b"\x41\x9a\x84"))
    assert not headers.changes_parameter_sets(packet(*sets, b"\x65\x88\x84"))
    assert headers.changes_parameter_sets(packet(sets[0], b"\x68\xee\x3d", b"\x65\x88\x84"))


@given(st.sampled_from(CODECS), st.sampled_from([b"", b"\1", b"\1" + bytes(20)]), st.binary(), st.binary(min_size=1))
def test_any_content_gives_an_answer(codec: str, beginning: bytes, rest: bytes, packet: bytes) -> None:
    headers = PacketHeaders(codec, beginning + rest)
    assert headers.decoding_can_begin(packet) in (True, False)
    assert headers.changes_parameter_sets(packet) in (True, False)
