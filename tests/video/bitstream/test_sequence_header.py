"""Sequence headers that end early or are random, for all codecs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgdali.video.bitstream.av1 import av1_header
from mgdali.video.bitstream.h264 import h264_header
from mgdali.video.bitstream.hevc import hevc_header
from mgdali.video.bitstream.mpeg4 import mpeg4_header
from mgdali.video.bitstream.sequence_header import SequenceHeader, padded


@pytest.mark.parametrize("read", [h264_header, hevc_header, mpeg4_header, av1_header])
@given(content=st.binary(max_size=200))
def test_random_headers_are_read_or_refused(read: Callable[[bytes], SequenceHeader], content: bytes) -> None:
    try:
        header = read(content)
    except ValueError:
        return
    assert header.width >= 0
    assert header.height >= 0


def test_sides_are_padded_to_whole_blocks() -> None:
    assert [padded(side, 16) for side in (0, 1, 16, 17, 1080)] == [0, 16, 16, 32, 1088]
