"""MP4 files in memory: times of frames, place of the header, and what is read back."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from mgdali.packing.mp4 import PresentationTimes, presentation_times, read_file, write_mp4
from mgdali.video.packets import StreamLog


class Log(StreamLog):
    """A log of frames with given times, without a video."""

    def __init__(self, times: list[int | None], time_base: Fraction, rate: float = 0) -> None:
        super().__init__()
        self.time_base, self.rate, self._times = time_base, rate, times
        self._timed = None not in times


def seconds(times: PresentationTimes) -> list[Fraction]:
    return [Fraction(tick, times.per_second) for tick in times.ticks.tolist()]


@pytest.mark.parametrize("base", [Fraction(1, 15360), Fraction(1001, 30000), Fraction(1, 1000), Fraction(1, 90000)])
def test_times_are_kept_exactly(base: Fraction) -> None:
    uneven = [7, 8, 20, 21, 400]
    assert seconds(presentation_times(Log([*uneven], base))) == [time * base for time in uneven]


def test_times_before_zero_are_shifted_together() -> None:
    assert presentation_times(Log([-90, -40, 10], Fraction(1, 1000))).ticks.tolist() == [0, 50, 100]


@pytest.mark.parametrize("times", [[0, None, 2], [0, 2, 1], [3, 3, 4]])
def test_without_known_increasing_times_frames_follow_at_the_average_rate(times: list[int | None]) -> None:
    assert seconds(presentation_times(Log(times, Fraction(1, 25), 30000 / 1001))) == [
        Fraction(1001 * t, 30000) for t in range(3)
    ]
    assert seconds(presentation_times(Log(times, Fraction(1, 25)))) == [Fraction(t, 25) for t in range(3)]


def test_times_that_mp4_cannot_store_are_rounded_and_stay_increasing() -> None:
    hour = 3600 * 10**9
    exact = [0, 1, 2, 33_366_667, hour, hour + 40_000_000]
    times = presentation_times(Log([*exact], Fraction(1, 10**9)))
    assert np.all(np.diff(times.ticks) > 0)
    assert times.ticks[-1] < 1 << 31
    errors = [abs(found - Fraction(time, 10**9)) for found, time in zip(seconds(times), exact, strict=True)]
    assert max(errors) <= Fraction(2, times.per_second)


def test_the_last_frame_lasts_as_long_as_most_frames() -> None:
    assert presentation_times(Log([0, 40, 80, 1000], Fraction(1, 1000))).last_step == 40
    assert presentation_times(Log([5], Fraction(1, 1000), 50.0)).last_step == 20
    assert presentation_times(Log([5], Fraction(1, 1000))).last_step == 40


def written(ticks: list[int], per_second: int = 1000, b_frames: int = 2) -> bytes:
    """An MP4 file of frames with these times."""
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": str(b_frames), "g": "6"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        container.start_encoding()
        packets = []
        for t in range(len(ticks)):
            frame = av.VideoFrame(32, 16, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([20 * t % 256]) * plane.buffer_size)
            frame.pts, frame.time_base = t, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        return write_mp4(stream, packets, PresentationTimes(np.array(ticks), per_second, last_step=40))


def demuxed(content: bytes) -> tuple[list[av.Packet], av.VideoStream]:
    container = av.open(io.BytesIO(content))
    return [packet for packet in container.demux(video=0) if packet.size], container.streams.video[0]


@pytest.mark.parametrize(
    "ticks", [[0, 40, 80, 120, 160, 200, 240], [7, 8, 20, 300, 301, 302, 303, 9000], [95443718], [0]]
)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_file_has_these_times_and_no_packet_is_discarded(ticks: list[int], b_frames: int) -> None:
    packets, stream = demuxed(written(ticks, b_frames=b_frames))
    assert sorted(packet.pts for packet in packets if packet.pts is not None) == ticks
    assert stream.time_base == Fraction(1, 1000)
    assert not any(packet.is_discard for packet in packets)
    decoding = [packet.dts for packet in packets if packet.dts is not None]
    assert decoding == sorted(set(decoding))
    assert all(packet.dts <= packet.pts for packet in packets if packet.dts is not None and packet.pts is not None)


def test_the_header_is_before_the_packets_and_has_no_date_or_version() -> None:
    content = written([0, 40, 80])
    assert content.index(b"ftyp") < content.index(b"moov") < content.index(b"mdat")
    assert b"Lavf" not in content
    header = content.index(b"mvhd") + 4
    assert content[header + 4 : header + 12] == bytes(8), "times of creation and change"
    assert content == written([0, 40, 80])


class Forwards(io.RawIOBase):
    """A file that can be read from its beginning to its end only, such as a member of a tar in a network stream."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(size)


def test_a_file_can_be_decoded_without_seeking() -> None:
    with av.open(Forwards(written([0, 40, 80, 120, 160])), format="mp4") as container:
        assert len(list(container.decode(video=0))) == 5


@pytest.mark.parametrize("count", [1, 13])
def test_reading_back_gives_the_places_of_the_packets_and_a_log_of_decoding(count: int) -> None:
    ticks = [40 * t + t % 3 for t in range(count)]
    content = written(ticks)
    facts = read_file(content)
    packets, stream = demuxed(content)
    for packet, offset, size in zip(packets, facts.offsets.tolist(), facts.sizes.tolist(), strict=True):
        assert content[offset : offset + size] == bytes(packet)
    assert facts.extradata == stream.codec_context.extradata
    assert facts.log.times is not None
    assert facts.log.times.tolist() == ticks
    assert (facts.log.width, facts.log.height, facts.log.pixel_format) == (32, 16, "yuv420p")
