"""Reading only the packets that picks need, compared with decoding whole files."""

from __future__ import annotations

import random
import tarfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from mgdali import VideoDecodeError
from mgdali.index.measure import measure_video
from mgdali.samplers import Representation
from mgdali.video import media as media_module
from mgdali.video import remote
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.packet_bytes import parts_of_runs, read_runs
from mgdali.video.picked_frames import needed_packets, read_picked
from mgdali.video.record import VideoRecord
from tests.support.coded_videos import CODED

# The codecs of packed data sets, and others whose decoders need nothing but the packets.
CODECS = [name for name in CODED if name.split("-")[0] in ("h264", "hevc", "av1", "vp8", "vp9")]


def without_container(source: Path, target: Path) -> VideoRecord:
    """Write the packets of a video one after another, with bytes in between, and return their record."""
    record = measure_video(Media(str(source)), str(target), (Representation(),))
    offsets, sizes = [], []
    with av.open(str(source)) as container, target.open("wb") as file:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata
        for packet in container.demux(stream):
            if packet.size:
                file.write(b"between")
                offsets.append(file.tell())
                sizes.append(packet.size)
                file.write(bytes(packet))
    places = {"packet_offsets": np.array(offsets, np.int64), "packet_sizes": np.array(sizes, np.int32)}
    return replace(record, extradata=extradata, **places)


@pytest.fixture(scope="module")
def h264(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VideoRecord]:
    """A file with nothing but the packets of a video in open groups of 12 frames, and its record."""
    folder = tmp_path_factory.mktemp("packets")
    path = folder / "a.packets"
    return path, without_container(CODED["h264-mp4"].write(folder), path)


@pytest.mark.parametrize("name", CODECS)
def test_picked_frames_are_those_of_decoding_the_whole_file(name: str, tmp_path: Path) -> None:
    source = CODED[name].write(tmp_path)
    record = without_container(source, tmp_path / "packets")
    if record.packets is None:
        pytest.skip("packets and frames are not one to one")
    whole = [frame.to_ndarray().tobytes() for frame in read_frames(Media(str(source)))]
    rng = random.Random(1)
    numbers = range(len(whole))
    for picks in [[t] for t in numbers] + [sorted(rng.sample(numbers, min(len(whole), 8))) for _ in range(5)]:
        read = read_picked(Media(str(tmp_path / "packets")), record, picks)
        assert [(t, frame.to_ndarray().tobytes()) for t, frame in read] == [(t, whole[t]) for t in picks]


def test_only_the_runs_of_packets_are_read_each_in_one_part(h264: tuple[Path, VideoRecord]) -> None:
    path, record = h264
    runs = needed_packets(record, [20, 45])
    parts = parts_of_runs(record, runs)
    assert len(parts) == len(runs) == 2
    assert record.packet_sizes is not None
    needed = sum(int(record.packet_sizes[first : last + 1].sum()) for first, last in runs)
    read = sum(length for (_, length), _ in parts)
    assert read == needed + len(b"between") * sum(last - first for first, last in runs)
    assert read < path.stat().st_size / 2


def test_runs_that_nearly_touch_are_read_together(h264: tuple[Path, VideoRecord]) -> None:
    _, record = h264
    assert [joined for _, joined in parts_of_runs(record, [(0, 3), (4, 6), (20, 30)])] == [[(0, 3), (4, 6)], [(20, 30)]]


def test_a_member_of_a_tar_is_read_in_place_and_from_memory(h264: tuple[Path, VideoRecord], tmp_path: Path) -> None:
    path, record = h264
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(Path(__file__), "first.txt")
        tar.add(path, "a.packets")
    with tarfile.open(tmp_path / "a.tar") as tar:
        span = (tar.getmember("a.packets").offset_data, path.stat().st_size)
    member = Media(f"{tmp_path / 'a.tar'}::a.packets", span)
    runs = needed_packets(record, [3, 30])
    expected = read_runs(Media(str(path)), record, runs)
    assert read_runs(member, record, runs) == expected
    assert read_runs(member.loaded(), record, runs) == expected


def test_all_parts_are_requested_from_a_server_at_once(
    h264: tuple[Path, VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, record = h264
    requests: list[int] = []
    read_parts = media_module.read_parts

    def counted(file: str, spans: list[tuple[int, int]]) -> list[bytes]:
        requests.append(len(spans))
        return read_parts(f"file://{file}", spans)

    runs = needed_packets(record, [3, 30])
    expected = read_runs(Media(str(path)), record, runs)
    monkeypatch.setattr(media_module, "read_parts", counted)
    assert read_runs(Media(str(path)), record, runs) == expected
    assert requests == [2]


def test_a_file_that_ends_before_a_packet_is_an_error(
    h264: tuple[Path, VideoRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time between two tries over a network.
    monkeypatch.setattr(remote, "_FIRST_WAIT", 0.0)
    path, record = h264
    cut = tmp_path / "cut"
    cut.write_bytes(path.read_bytes()[:-100])
    for media in (Media(str(cut)), Media(f"{path}::a", (0, path.stat().st_size - 100)), Media(f"file://{cut}")):
        with pytest.raises(VideoDecodeError, match="before the end of the part"):
            list(read_picked(media, record, [record.num_frames - 1]))


def test_packets_out_of_order_are_an_error(h264: tuple[Path, VideoRecord]) -> None:
    path, record = h264
    assert record.packet_offsets is not None
    backwards = replace(record, packet_offsets=record.packet_offsets[::-1].copy())
    with pytest.raises(VideoDecodeError, match="not in order in the file"):
        list(read_picked(Media(str(path)), backwards, [20]))
