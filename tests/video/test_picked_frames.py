"""Decoding only what known picks need, compared with decoding all frames."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from mgdali import VideoDecodeError
from mgdali.index.measure import measure_video
from mgdali.samplers import Representation
from mgdali.video import picked_frames
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.packets import packet_of
from mgdali.video.picked_frames import frames_needed, needed_packets, read_picked
from mgdali.video.record import VideoRecord
from tests.support.coded_videos import CODED
from tests.support.sample_videos import FORMATS as SAMPLES
from tests.support.sample_videos import PACKED, shared_folder
from tests.support.videos import moving_square, write_video

FORMATS = [
    "av1_640x360_125f.mkv",
    "h264_10bit_200x200_30f.mp4",
    "h264_340x256_32f.mp4",
    "h264_arm_wrestling_340x256_280f.mp4",
    "h264_bikes_640x272_250f.mp4",
    "h264_carphone_176x144_120f.mp4",
    "h264_drinking_1920x1080_103f.avi",
    "h264_fullrange_1280x720_30f.mp4",
    "h264_yuv444_1638x409_4f.mp4",
    "hevc_128x128_10f.mp4",
    "mpeg4_xvid_320x240_164f.avi",
    "vp9_bikes_12fps.webm",
]


def record_of(media: Media) -> VideoRecord:
    return measure_video(media, media.path, (Representation(),))


def content(frame: av.VideoFrame) -> tuple[str, int, int, bytes]:
    digest = hashlib.blake2b(frame.to_ndarray().tobytes()).digest()
    return frame.format.name, frame.width, frame.height, digest


def assert_same_frames(media: Media, sets: int, *, singly: bool = False) -> None:
    """Compare random picks, and with ``singly`` each frame alone, with decoding all frames."""
    record = record_of(media)
    whole = [content(frame) for frame in read_frames(media)]
    assert record.error is None
    rng = random.Random(1)
    picks = [[t] for t in range(len(whole))] if singly else []
    picks += [sorted(rng.sample(range(len(whole)), min(len(whole), rng.choice([1, 2, 8, 16])))) for _ in range(sets)]
    for chosen in picks:
        assert [(t, content(frame)) for t, frame in read_picked(media, record, chosen)] == [
            (t, whole[t]) for t in chosen
        ]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list to which the packet number of each decoded frame is appended."""
    numbers: list[int] = []
    only_picked = picked_frames._only_picked

    def counted(frames: list[av.VideoFrame], pick_of: dict[int, int]) -> object:
        numbers.extend(number for frame in frames if (number := packet_of(frame)) is not None)
        return only_picked(frames, pick_of)

    monkeypatch.setattr(picked_frames, "_only_picked", counted)
    return numbers


def test_every_file_of_the_formats_folder_is_tested(real_videos: Path) -> None:
    names = sorted(path.name for path in (real_videos / "formats").iterdir())
    assert names == (sorted(SAMPLES) if names[0] in SAMPLES else FORMATS)


SHARED_FORMATS = shared_folder() / "clips" / "formats"
SHARED = [pytest.param(SHARED_FORMATS / name, id=name, marks=pytest.mark.slow) for name in FORMATS]


@pytest.mark.parametrize("path", [*map(Path, SAMPLES), *(SHARED if SHARED_FORMATS.is_dir() else [])], ids=str)
def test_picks_of_real_videos_are_the_frames_of_whole_decoding(path: Path, sample_videos: Path) -> None:
    # A shared path is absolute, so that joining leaves it unchanged.
    assert_same_frames(Media(str(sample_videos / "formats" / path)), 2 if "1920" in path.name else 4)


@pytest.mark.parametrize("kind", CODED)
def test_picks_of_each_way_of_coding_are_the_frames_of_whole_decoding(kind: str, tmp_path: Path) -> None:
    assert_same_frames(Media(str(CODED[kind].write(tmp_path))), 10, singly=True)


def test_picks_of_a_folder_of_frames_are_read_from_their_files_alone(sample_videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(sample_videos / "frames" / "00001", folder)
    media = Media(str(folder))
    assert_same_frames(media, 4)
    record = record_of(media)
    files = media.frame_files()
    assert files is not None
    for t, file in enumerate(files):
        if t not in (2, 9):
            Path(file).write_bytes(b"")
    assert [t for t, _ in read_picked(media, record, [2, 9])] == [2, 9]


def test_a_member_of_a_tar_is_read_in_its_span(tmp_path: Path) -> None:
    video = CODED["h264-mp4"].write(tmp_path).read_bytes()
    (tmp_path / "a.tar").write_bytes(bytes(512) + video + bytes(512))
    assert_same_frames(Media(f"{tmp_path / 'a.tar'}::a.mp4", (512, len(video))), 4)


def test_decoding_begins_at_the_key_frame_before_a_pick_and_ends_with_it(tmp_path: Path, decoded: list[int]) -> None:
    media = Media(str(CODED["h264-no-b-frames"].write(tmp_path)))
    record = record_of(media)
    first, second = record.key_frames[1:3].tolist()
    assert second - first > 2
    list(read_picked(media, record, [first + 1]))
    assert decoded == [first, first + 1]
    decoded.clear()
    list(read_picked(media, record, [1, second]))
    assert decoded == [0, 1, second]


@pytest.mark.parametrize("kind", [kind for kind, coded in CODED.items() if coded.skips])
def test_unreferenced_frames_are_skipped(kind: str, tmp_path: Path, decoded: list[int]) -> None:
    media = Media(str(CODED[kind].write(tmp_path)))
    record = record_of(media)
    assert record.packets is not None
    spare = record.packets[~record.referenced].tolist()
    # The last referenced frame. Without skipping, all frames before it in its run would be decoded.
    last = int(record.referenced.nonzero()[0][-1])
    start = int(record.packets[record.key_frames[record.key_frames <= last][-1]])
    assert len(spare) > 10
    list(read_picked(media, record, [0, last]))
    assert not set(decoded) & set(spare)
    assert set(decoded) <= set(range(start, int(record.packets[last]) + 1)) | {0}
    # A picked frame is decoded even if no other frame refers to it.
    decoded.clear()
    pick = int((~record.referenced).nonzero()[0][0])
    list(read_picked(media, record, [pick]))
    assert set(decoded) & set(spare) == {int(record.packets[pick])}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CODED)
def test_at_most_the_predicted_number_of_frames_is_decoded(kind: str, tmp_path: Path, decoded: list[int]) -> None:
    media = Media(str(CODED[kind].write(tmp_path)))
    record = record_of(media)
    rng = random.Random(2)
    for _ in range(20):
        picks = sorted(rng.sample(range(record.num_frames), min(record.num_frames, 4)))
        decoded.clear()
        list(read_picked(media, record, picks))
        # Decoders may omit frames that are displayed before a key frame but follow it in the file.
        assert len(picks) <= len(decoded) <= frames_needed(record, picks) <= record.num_frames


def test_runs_of_packets_are_joined_where_they_touch(tmp_path: Path) -> None:
    record = record_of(Media(str(CODED["mpeg2-mpg"].write(tmp_path))))
    assert record.packets is not None
    keys = record.key_frames.tolist()
    runs = needed_packets(record, [keys[1], keys[1] + 1, keys[3]])
    assert [first for first, _ in runs] == record.packets[[keys[1], keys[3]]].tolist()
    assert needed_packets(record, list(range(record.num_frames))) == [(0, record.num_frames - 1)]


def test_frames_of_an_earlier_reading_may_be_dropped_during_the_next(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(24, 64, 48))
    media = Media(str(path))
    record = record_of(media)
    picks = [21, 22, 23]
    for _ in range(3):
        seen = []
        # Until the first frame of this reading arrives, _frame is still the last frame of the previous reading.
        for pick, _frame in read_picked(media, record, picks):
            seen.append(pick)
        assert seen == picks


def test_a_packed_stream_is_known_not_to_be_one_to_one(sample_videos: Path) -> None:
    record = record_of(Media(str(sample_videos / "formats" / PACKED)))
    assert (record.num_frames, record.packets, record.key_frames.tolist()) == (21, None, [])
    assert record.referenced.all()


@pytest.mark.parametrize("kind", ["h264-mp4", "mpeg4-avi"])
@pytest.mark.parametrize("one_to_one", [True, False])
def test_a_record_of_a_longer_video_is_an_error(kind: str, one_to_one: bool, tmp_path: Path) -> None:
    path = CODED[kind].write(tmp_path)
    media = Media(str(path))
    record = record_of(media)
    if not one_to_one:
        record = VideoRecord(
            path=record.path,
            num_frames=record.num_frames,
            width=record.width,
            height=record.height,
            pixel_format=record.pixel_format,
        )
    write_video(path, moving_square(20, 64, 96), codec=CODED[kind].codec)
    got = []
    with pytest.raises(VideoDecodeError, match="1 of the 2 picked frames"):
        got.extend(t for t, _ in read_picked(media, record, [0, 45]))
    assert got == [0]


def take_out_frames(folder: Path) -> None:
    for file in sorted(folder.iterdir())[3:]:
        file.unlink()


def leave_it_empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize("damage", [take_out_frames, leave_it_empty, shutil.rmtree])
def test_a_record_of_more_frames_than_a_folder_has_is_an_error(
    damage: Callable[[Path], None], sample_videos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(sample_videos / "frames" / "00001", folder)
    media = Media(str(folder))
    record = record_of(media)
    damage(folder)
    with pytest.raises(VideoDecodeError, match=str(folder)):
        list(read_picked(media, record, [1, 5]))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    path = CODED["h264-mp4"].write(tmp_path)
    record = record_of(Media(str(path)))
    path.unlink()
    with pytest.raises(VideoDecodeError, match="No such file"):
        list(read_picked(Media(str(path)), record, [3]))


def test_a_video_encoded_again_in_another_size_gives_the_records_size(tmp_path: Path) -> None:
    path = CODED["h264-no-b-frames"].write(tmp_path)
    record = record_of(Media(str(path)))
    write_video(path, moving_square(50, 128, 192), options={"bf": "0", "g": "12"})
    ((_, frame),) = read_picked(Media(str(path)), record, [2])
    assert (frame.width, frame.height) == (96, 64)
