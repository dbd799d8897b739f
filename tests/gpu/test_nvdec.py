"""The way in which a video is decoded where a GPU is used, and the reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgdali.gpu.driver import DecoderCaps
from mgdali.gpu.nvdec import ANY_GPU, GPU_CODECS, Way, choose_way
from mgdali.index.measure import measure_video
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord
from mgdali.video.stream_facts import StreamFacts, probe
from tests.support.index_records import make_record

MP4, AVI = "mov,mp4,m4a,3gp,3g2,mj2", "avi"
TABLE = {codec: DecoderCaps(codec, "4:2:0", 8, 1, 48, 16, 4096, 4096, 65536) for codec in GPU_CODECS}
ORDER = np.array([0, 2, 1, 4, 3, 5, 6, 7, 8, 9], np.int32)
FACTS = StreamFacts(
    container=MP4,
    codec="h264",
    profile=100,
    chroma="4:2:0",
    bit_depth=8,
    width=320,
    height=256,
    coded_width=320,
    coded_height=256,
    declared_width=320,
    declared_height=256,
    num_packets=10,
    declared_frames=10,
    coded_frames=10,
    order=ORDER,
    reordering=1,
)
RECORD = make_record("clip.mp4", 10, packets=ORDER)


def way(*, record: VideoRecord | None = None, table: dict[str, DecoderCaps] | None = None, **changes: Any) -> Way:
    return choose_way(dataclasses.replace(FACTS, **changes), TABLE if table is None else table, record=record)


def test_a_plain_file_is_decoded_as_it_is_with_and_without_a_row_of_an_index() -> None:
    assert way() == way(record=RECORD) == way(declared_frames=0) == Way("as is", "")
    assert way(reordering=7).kind == "as is"
    for matrix in ("bt601", "bt709", "bt2020"):
        assert way(matrix=matrix).kind == "as is"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codec": "mjpeg"}, "DALI does not decode mjpeg on a GPU"),
        ({"codec": "prores"}, "DALI does not decode prores on a GPU"),
        ({"profile": 110}, "NVDEC does not decode profile 110 of h264"),
        ({"streams": 2}, "it has 2 video streams"),
        ({"chroma": "4:4:4"}, "NVDEC does not decode 4:4:4 with 8 bits to 8-bit RGB"),
        ({"bit_depth": 10}, "NVDEC does not decode 4:2:0 with 10 bits to 8-bit RGB"),
        ({"rotation": -90}, "it is rotated by -90 degrees"),
        ({"width": 319}, "its width or height is odd: 319x256"),
        ({"height": 255}, "its width or height is odd: 320x255"),
        ({"progressive": False}, "it is interlaced, or its headers allow interlaced frames"),
        ({"oddity": "a packet is damaged"}, "a packet is damaged"),
        ({"coded_frames": 12}, "it has 12 coded frames in 10 packets"),
        ({"odd_packets": 2}, "2 of its 10 packets do not contain exactly one displayed frame"),
        ({"discarded": 3}, "its container marks 3 packets to be discarded"),
        ({"corrupt": 1}, "its container marks 1 packets as corrupt"),
        ({"declared_frames": 13}, "its container declares 13 frames but has 10 packets"),
        ({"headers_change": True}, "its headers or its size change within the stream"),
        ({"matrix": "smpte240m"}, "its colour matrix smpte240m is not supported"),
        ({"coded_width": 4112}, "NVDEC of this GPU does not decode h264 of 4112x256 pixels"),
        ({"coded_height": 0}, "NVDEC of this GPU does not decode h264 of 320x0 pixels"),
        ({"codec": "vp8", "coded_height": 272}, "its coded size 320x272 differs from its displayed size 320x256"),
        ({"codec": "mpeg4", "coded_height": 272}, "its coded size 320x272 differs from its displayed size 320x256"),
    ],
)
def test_a_file_that_dali_decodes_wrongly_goes_to_pyav_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    assert way(**changes) == way(record=RECORD, **changes) == Way("pyav", reason)


def test_a_codec_that_the_gpu_lacks_goes_to_pyav() -> None:
    table = {codec: caps for codec, caps in TABLE.items() if codec != "h264"}
    assert way(table=table) == Way("pyav", "NVDEC of this GPU does not decode h264")
    assert {
        choose_way(dataclasses.replace(FACTS, codec=codec, profile=0), ANY_GPU).kind for codec in ("vp8", "av1")
    } == {"as is"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"container": AVI}, "its container avi does not have reliable presentation times"),
        ({"times": "3 of its 10 packets have no presentation time", "order": None}, "3 of its 10 packets have no"),
    ],
)
def test_a_file_without_usable_times_is_remuxed_if_an_index_tells_the_order(
    changes: dict[str, Any], reason: str
) -> None:
    remuxed = way(record=RECORD, **changes)
    assert remuxed.kind == "remuxed"
    assert remuxed.reason.startswith(reason)
    packed = make_record("clip.avi", 10, packets=None)
    for without in (way(**changes), way(record=packed, **changes)):
        assert without.kind == "pyav"
        assert without.reason.startswith(reason)
        assert without.reason.endswith("and no motion index has the order of its frames")


def test_times_in_the_order_of_the_packets_are_not_believed_if_there_are_b_frames() -> None:
    found = way(b_frames=True, reordering=0, order=np.arange(10, dtype=np.int32))
    assert found.kind == "pyav"
    assert found.reason.startswith("its presentation times are in the order of the packets although it has B-frames")
    assert way(b_frames=True).kind == "as is"
    in_order = np.arange(10, dtype=np.int32)
    record = make_record("clip.mp4", 10, packets=in_order)
    assert way(b_frames=True, reordering=0, order=in_order, record=record) == Way("as is")


def test_times_that_contradict_the_index_are_not_used() -> None:
    record = make_record("clip.mp4", 10, packets=np.arange(10, dtype=np.int32))
    words = "its presentation times give another order of its frames than its index row"
    assert way(record=record) == Way("remuxed", words)


def test_more_reordering_than_dali_sorts_sends_the_file_to_pyav() -> None:
    words = "8 frames are stored before a frame that is displayed earlier, but DALI can reorder only 7"
    assert way(reordering=8) == Way("pyav", words)
    late = np.array([0, 9, 1, 2, 3, 4, 5, 6, 7, 8], np.int32)
    found = way(record=make_record("clip.avi", 10, packets=late), container=AVI)
    assert found == Way("pyav", words)


def test_an_index_row_of_another_number_of_frames_sends_the_file_to_pyav() -> None:
    record = make_record("clip.mp4", 9, packets=None)
    assert way(record=record) == Way("pyav", "its index row has 9 frames but the file has 10 packets")


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_cropped_picture_is_remuxed(codec: str) -> None:
    found = way(codec=codec, profile=100 if codec == "h264" else 1, width=318, height=250)
    assert found == Way("remuxed", "its coded size 320x256 differs from its displayed size 318x250")


def test_a_container_that_contradicts_the_stream_is_remuxed() -> None:
    declared = way(declared_width=640)
    assert declared == Way("remuxed", "its container declares 640x256 pixels but it has 320x256")
    assert way(declared_height=0) == Way("remuxed", "its container does not declare its size")
    assert way(num_bytes=1 << 31) == Way("remuxed", "its file has 2147483648 bytes, but DALI reads at most 2147483647")


def test_real_files_go_the_expected_way_and_every_other_way_has_a_reason(real_videos: Path) -> None:
    ways = {}
    for path in sorted((real_videos / "formats").iterdir()):
        ways[path.name] = found = choose_way(probe(path.read_bytes(), str(path)), ANY_GPU)
        assert bool(found.reason) == (found.kind != "as is"), path
        if any(word in path.name for word in ("10bit", "yuv444", "rotated", ".avi")):
            assert found.kind == "pyav", path
    assert {"as is", "remuxed", "pyav"} == {found.kind for found in ways.values()}


def test_avi_files_with_an_index_are_remuxed_unless_their_packets_contain_several_frames(real_videos: Path) -> None:
    kinds = {}
    for path in sorted((real_videos / "formats").glob("*.avi")):
        record = measure_video(Media(str(path)), path.name, ())
        facts = probe(path.read_bytes(), str(path))
        found = choose_way(facts, ANY_GPU, record=record)
        kinds[path.name] = found.kind
        expected = record.packets is not None and facts.codec != "mjpeg" and facts.coded_frames == facts.num_packets
        if facts.codec == "mpeg4":
            expected &= (facts.coded_width, facts.coded_height) == (facts.width, facts.height)
        assert found.kind == ("remuxed" if expected else "pyav"), (path, found)
    assert "remuxed" in kinds.values()
