"""Streams without packets, compared with those of the containers that the headers come from."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from mgdali.video.bare_stream import BARE_CODECS, bare_stream
from tests.support.coded_videos import CODED

KINDS = [kind for kind in CODED if kind.split("-")[0] in BARE_CODECS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_stream_decodes_the_packets_of_the_container(kind: str, tmp_path: Path) -> None:
    with av.open(str(CODED[kind].write(tmp_path))) as container:
        source = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(source) if packet.size]
        codec, extradata = source.codec_context.codec.canonical_name, source.codec_context.extradata
        with bare_stream(codec, extradata, width=source.width, height=source.height, path="a") as stream:
            context = stream.codec_context
            assert (context.codec.canonical_name, context.extradata) == (codec, extradata)
            assert (context.width, context.height) == (source.width, source.height)
            frames = [frame for content in packets for frame in context.decode(av.Packet(content))]
            frames += context.decode(None)
    assert len(frames) == CODED[kind].num_frames


def test_a_long_header_is_passed_on_unchanged() -> None:
    extradata = bytes(range(256)) * 300
    with bare_stream("h264", extradata, width=70_000, height=2, path="a") as stream:
        assert stream.codec_context.extradata == extradata
        assert (stream.codec_context.width, stream.codec_context.height) == (70_000, 2)
