"""MPEG-4's layer headers and frame types."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from mgdali.video.bitstream.mpeg4 import B_FRAME, I_FRAME, frame_type
from mgdali.video.frames import read_frames
from mgdali.video.packets import StreamLog
from mgdali.video.stream_facts import probe
from tests.support.coded_videos import CODED
from tests.support.videos import moving_square, write_video


@pytest.mark.parametrize("options", [{}, {"flags": "+qpel"}, {"mpeg_quant": "1"}])
def test_ordinary_tools_are_no_oddity(tmp_path: Path, options: dict[str, str]) -> None:
    path = write_video(tmp_path / "clip.avi", moving_square(4, 48, 64), codec="mpeg4", options=options)
    facts = probe(path.read_bytes(), "clip.avi")
    assert (facts.oddity, facts.coded_width, facts.coded_height, facts.progressive) == ("", 64, 48, True)


def test_data_partitioning_is_named(tmp_path: Path) -> None:
    options = {"data_partitioning": "1"}
    path = write_video(tmp_path / "clip.avi", moving_square(4, 48, 64), codec="mpeg4", options=options)
    assert probe(path.read_bytes(), "clip.avi").oddity == "it uses data partitioning"


def test_frame_types_are_those_of_the_decoder(tmp_path: Path) -> None:
    path = CODED["mpeg4-avi"].write(tmp_path)
    with av.open(str(path)) as container:
        read = [frame_type(bytes(packet)) for packet in container.demux(video=0) if packet.size]
    log = StreamLog()
    # FFmpeg's numbers of the types begin with 1.
    decoded = [int(frame.pict_type) - 1 for frame in read_frames(path, log=log)]
    assert {I_FRAME, B_FRAME} < set(decoded)
    assert log.packets is not None
    assert [read[number] for number in log.packets] == decoded
    assert frame_type(b"\0\0\1\xb0\1") is None
