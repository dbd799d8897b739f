"""The log of a stream's packets and frames, compared with what the decoder reports."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mgdali.errors import VideoDecodeError
from mgdali.video.frames import read_frames
from mgdali.video.packets import StreamLog, decode_packets, number_packets
from tests.support.coded_videos import CODED
from tests.support.damaged_videos import Damage, write_damaged
from tests.support.videos import moving_square, rotate_by_metadata, write_video


def log_of(path: Path) -> StreamLog:
    log = StreamLog()
    for _ in read_frames(path, log=log):
        pass
    return log


def decode_with_packets(path: Path, skip_frame: str = "DEFAULT") -> dict[int, av.VideoFrame]:
    """Return frames by the number of their packet, in display order; NONREF skips frames that no other refers to."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.skip_frame = skip_frame
        number_packets(stream)
        frames = {}
        number = 0
        for packet in container.demux(stream):
            if packet.size:
                packet.opaque = number
                number += 1
            frames |= {frame.opaque: frame for frame in stream.codec_context.decode(packet)}
        return frames


@pytest.mark.parametrize("kind", CODED)
def test_frames_packets_and_times_are_the_decoders(kind: str, tmp_path: Path) -> None:
    path = CODED[kind].write(tmp_path)
    log = log_of(path)
    frames = decode_with_packets(path)
    assert log.num_frames == CODED[kind].num_frames == len(frames)
    assert log.packets is not None
    assert log.packets.tolist() == list(frames)
    assert log.times is not None
    assert log.times.tolist() == [frame.pts for frame in frames.values()]
    assert (np.diff(log.times) > 0).all()


@pytest.mark.parametrize("kind", CODED)
def test_key_frames_are_those_of_the_encoder(kind: str, tmp_path: Path) -> None:
    path = CODED[kind].write(tmp_path)
    frames = decode_with_packets(path)
    assert log_of(path).key_frames.tolist() == [t for t, frame in enumerate(frames.values()) if frame.key_frame]


@pytest.mark.parametrize("kind", CODED)
def test_unreferenced_frames_are_skipped_by_the_decoder(kind: str, tmp_path: Path) -> None:
    path = CODED[kind].write(tmp_path)
    log = log_of(path)
    assert log.packets is not None
    kept = decode_with_packets(path, "NONREF")
    spare = set(log.packets[~log.referenced].tolist())
    assert not spare & kept.keys()
    # The decoder may skip more frames: of lower temporal layers, or depending on the content of the frame.
    assert bool(spare) == (CODED[kind].skips or kind == "hevc-layers")


def test_unreferenced_frames_of_real_videos_are_skipped_by_the_decoder(real_videos: Path) -> None:
    skipping = 0
    for path in sorted((real_videos / "formats").iterdir()):
        log = log_of(path)
        if log.packets is not None:
            spare = set(log.packets[~log.referenced].tolist())
            skipping += bool(spare)
            assert not spare & decode_with_packets(path, "NONREF").keys()
    assert skipping >= 8


def test_uneven_times_are_kept_as_they_are(tmp_path: Path) -> None:
    coded = CODED["h264-uneven-times"]
    log = log_of(coded.write(tmp_path))
    assert log.times is not None
    assert coded.times is not None
    seconds = log.times * float(log.time_base)
    np.testing.assert_allclose(seconds - seconds[0], np.array(coded.times) / 1000, atol=1e-3)


def test_a_container_without_times_gives_none(sample_videos: Path) -> None:
    assert log_of(sample_videos / "formats" / "h264_160x120_16f.avi").times is None


def test_the_properties_of_the_stream_are_noted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(4, 64, 96))
    rotate_by_metadata(path, 1)
    log = log_of(path)
    assert (log.codec, log.pixel_format, log.width, log.height) == ("h264", "yuv420p", 96, 64)
    assert log.container == "mov,mp4,m4a,3gp,3g2,mj2"
    assert (log.rate, log.rotation % 360, log.time_base) == (30.0, 270, Fraction(1, 15360))


def test_frames_are_the_same_with_a_log_and_without(tmp_path: Path) -> None:
    path = CODED["h264-ts"].write(tmp_path)

    def frames(log: StreamLog | None) -> list[bytes]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return [frame.to_ndarray().tobytes() for frame in decode_packets(container, stream, log)]

    assert frames(StreamLog()) == frames(None)


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_all_frames_before_a_damage_are_decoded(tmp_path: Path, damage: Damage, thorough: bool) -> None:
    damaged, intact = write_damaged(tmp_path, damage)
    frames: list[bytes] = []
    log = StreamLog() if thorough else None
    with pytest.raises(VideoDecodeError, match="after 25 frames"):
        frames.extend(frame.to_ndarray().tobytes() for frame in read_frames(damaged, log=log))
    assert frames == [frame.to_ndarray().tobytes() for frame in read_frames(intact)]


def test_videos_decoded_in_turns_are_noted_as_if_alone(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(24, 64, 48))
    logs = [StreamLog(), StreamLog()]
    ahead, behind = (read_frames(path, log=log) for log in logs)
    held = [next(ahead) for _ in range(5)]
    for _ in range(25):
        # Drops the frame whose packet the other decoder still has.
        held = [*held[1:], next(ahead, None)]
        next(behind, None)
    packets = [log.packets for log in logs]
    assert all(own is not None and len(own) == 24 for own in packets)


@pytest.mark.parametrize("kind", ["h264-mp4", "mpeg2-ts", "vp9-hidden-frames"])
def test_a_log_that_was_stopped_knows_the_packet_of_each_frame_up_to_there(kind: str, tmp_path: Path) -> None:
    path = CODED[kind].write(tmp_path)
    whole, log = log_of(path), StreamLog()
    shown = 0
    for shown, _ in enumerate(read_frames(path, log=log), 1):
        if shown == 20:
            log.stop()
    assert whole.packets is not None
    assert log.packets is not None
    assert 20 <= shown <= log.num_frames < 50
    assert log.packets[:20].tolist() == whole.packets[:20].tolist()
    assert log.key_frames[log.key_frames < 20].tolist() == whole.key_frames[whole.key_frames < 20].tolist()


def test_packets_are_not_decoded_alone_if_the_container_changes_the_headers(tmp_path: Path) -> None:
    one, other = (
        write_video(tmp_path / f"{qp}.flv", moving_square(10, 64, 96), options={"qp": str(qp), "g": "5"})
        for qp in (20, 40)
    )
    joined = tmp_path / "joined.flv"
    # The header of a file has 13 bytes. The tags after it begin with the headers of the codec.
    joined.write_bytes(one.read_bytes() + other.read_bytes()[13:])
    log = log_of(joined)
    assert log.num_frames == 20
    assert log.packets is None
    assert log_of(one).packets is not None


def test_an_empty_log_has_nothing() -> None:
    log = StreamLog()
    assert log.num_frames == 0
    assert log.key_frames.size == log.referenced.size == 0


@pytest.mark.parametrize("logged", [False, True])
def test_a_stream_that_ffmpeg_finds_while_reading_changes_nothing_before_it(tmp_path: Path, logged: bool) -> None:
    path = write_video(tmp_path / "a.ts", moving_square(60, 96, 128))
    whole = [frame.to_ndarray() for frame in read_frames(path)]
    content = bytearray(path.read_bytes())
    # The last packet of MPEG-TS in which a frame begins gets the number of another stream.
    start = max(at for at in range(0, len(content), 188) if content[at + 1] & 0x5F == 0x41 and content[at + 2] == 0)
    content[start + 2] = 1
    path.write_bytes(content)
    with av.open(str(path)) as container, pytest.raises(IndexError):
        list(container.demux(container.streams.video[0]))
    frames = [frame.to_ndarray() for frame in read_frames(path, log=StreamLog() if logged else None)]
    assert len(frames) == 59
    assert all((one == other).all() for one, other in zip(frames, whole, strict=False))
