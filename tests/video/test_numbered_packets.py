"""Jumps over packets that are not needed: the same frames as without jumps, and a fallback if a jump fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mgdali.index.measure import measure_video
from mgdali.samplers import Representation
from mgdali.video import numbered_packets
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.numbered_packets import NumberedPackets
from mgdali.video.opening import open_video
from mgdali.video.picked_frames import read_picked
from mgdali.video.record import VideoRecord
from tests.support.coded_videos import CODED


@pytest.fixture(autouse=True)
def short_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbered_packets, "_LEAST_JUMP", 1)


def record_of(media: Media) -> VideoRecord:
    return measure_video(media, media.path, (Representation(),))


def pixels(media: Media, record: VideoRecord, picks: list[int]) -> list[tuple[int, bytes]]:
    return [(t, frame.to_ndarray().tobytes()) for t, frame in read_picked(media, record, picks)]


def count_jumps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    jumps: list[int] = []
    jump = NumberedPackets._jump

    def counted(self: NumberedPackets, first: int) -> None:
        jump(self, first)
        if self._next == first:
            jumps.append(first)

    monkeypatch.setattr(NumberedPackets, "_jump", counted)
    return jumps


@pytest.mark.parametrize("kind", CODED)
def test_frames_after_a_jump_are_those_of_whole_decoding(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = Media(str(CODED[kind].write(tmp_path)))
    record = record_of(media)
    picks = sorted({record.num_frames // 2, max(record.num_frames - 2, 0)})
    whole = {t: frame.to_ndarray().tobytes() for t, frame in enumerate(read_frames(media))}
    jumps = count_jumps(monkeypatch)
    # A record that was sent to a worker has the times of key frames only.
    for known in (record, record.without_times()):
        assert pixels(media, known, picks) == [(t, whole[t]) for t in picks]
    if len(record.key_frames) > 1 and Path(media.path).suffix in (".mp4", ".mkv", ".webm") and record.times is not None:
        assert jumps


@pytest.mark.parametrize("shift", [-1, 1, 10**7])
def test_wrong_times_of_key_frames_change_no_frame(tmp_path: Path, shift: int) -> None:
    media = Media(str(CODED["h264-mp4"].write(tmp_path)))
    record = record_of(media)
    expected = pixels(media, replace(record, times=None), [3, 40, 48])
    assert record.times is not None
    assert pixels(media, replace(record, times=record.times + shift), [3, 40, 48]) == expected


def test_a_jump_reads_less_of_the_file(tmp_path: Path) -> None:
    path = CODED["h264-no-b-frames"].write(tmp_path)
    media = Media(str(path))
    record = record_of(media)
    last = int(record.key_frames[-1])
    assert record.packets is not None
    with open_video(media) as (container, stream):
        packets = NumberedPackets(container, stream, record)
        (found,) = packets.run(int(record.packets[last]), int(record.packets[last]))
        assert found[1].is_keyframe
        assert packets._next == record.packets[last] + 1
    assert np.array_equal(record.without_times().key_times, record.times[record.key_frames])  # type: ignore[arg-type, index]
