"""Media of each kind: files, folders of JPEG frames, members of tars and URLs, and their fingerprints."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.video.media import Fingerprint, Media, find_media, frames_stream
from tests.support.faulty_server import FaultyServer
from tests.support.videos import moving_square, write_video


def write_frames(folder: Path, names: Sequence[str], size: tuple[int, int] = (48, 64)) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, moving_square(len(names), *size), strict=True):
        (folder / name).write_bytes(cv2.imencode(".jpg", frame)[1].tobytes())
    return [str(folder / name) for name in names]


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def decoded(source: str | bytes) -> NDArray[np.uint8]:
    with av.open(io.BytesIO(source) if isinstance(source, bytes) else source) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture
def frames(tmp_path: Path) -> list[str]:
    return write_frames(tmp_path / "clip", [f"img_{t:05d}.jpg" for t in range(1, 13)])


def test_a_streams_packets_are_the_files_unchanged(frames: list[str]) -> None:
    with av.open(io.BytesIO(frames_stream(frames, "clip"))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert [bytes(packet) for packet in packets] == [Path(file).read_bytes() for file in frames]
        assert all(packet.is_keyframe for packet in packets)
        assert [float(packet.pts * packet.time_base) * 25 for packet in packets] == pytest.approx(range(12))
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("mjpeg", 64, 48)


def test_a_stream_shows_each_file(frames: list[str]) -> None:
    np.testing.assert_array_equal(decoded(frames_stream(frames, "clip")), np.concatenate([*map(decoded, frames)]))


@pytest.mark.parametrize("chosen", [None, [0, 3, 7, 11]], ids=["all", "some"])
def test_dali_decodes_a_stream(frames: list[str], chosen: list[int] | None) -> None:
    dali = pytest.importorskip("nvidia.dali")
    content = np.frombuffer(frames_stream(frames, "clip"), np.uint8)

    @dali.pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def graph() -> Any:
        encoded = dali.fn.external_source(source=lambda: [content])
        return dali.fn.decoders.video(encoded, device="cpu", **({"frames": chosen} if chosen else {}))

    pipeline = graph()
    pipeline.build()
    video = np.array(pipeline.run()[0][0]).astype(int)
    expected = decoded(content.tobytes())[slice(None) if chosen is None else chosen].astype(int)
    assert video.shape == expected.shape
    # DALI and PyAV round colours differently. A wrong frame would differ by far more.
    assert np.abs(video - expected).mean() < 3
    if chosen is not None:
        assert np.abs(video - expected[::-1]).mean() > 5


def test_the_sample_frames_are_a_video(real_videos: Path) -> None:
    media = Media(str(real_videos / "frames" / "00001"))
    files = media.frame_files()
    assert files is not None
    assert len(decoded(media.read())) == len(files) == len(list((real_videos / "frames" / "00001").glob("*.jpg")))
    assert Media(f"{media.path}/%05d.jpg").frame_files() == files


def test_frames_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["img_2.jpg", "img_10.JPG", "img_1.jpeg", "img_9.jpg", ".img_0.jpg", "notes.txt"]
    folder = make_files(tmp_path, *names)
    expected = [str(folder / name) for name in ("img_1.jpeg", "img_2.jpg", "img_9.jpg", "img_10.JPG")]
    assert Media(str(folder)).frame_files() == expected


def test_a_pattern_takes_its_own_frames_only_whatever_their_first_number_and_gaps(tmp_path: Path) -> None:
    folder = make_files(
        tmp_path, "img_00012.jpg", "img_00007.jpg", "img_00010.jpg", "img_100000.jpg", "flow_x_00007.jpg", "img_7.jpg"
    )
    expected = [str(folder / f"img_{number}.jpg") for number in ("00007", "00010", "00012", "100000")]
    assert Media(f"{folder}/img_%05d.jpg").frame_files() == expected
    assert Media(f"{folder}/img_%d.jpg").frame_files() == [f"{folder}/img_7.jpg", f"{folder}/img_100000.jpg"]
    assert Media(f"{folder}/flow_x_%05d.jpg").frame_files() == [f"{folder}/flow_x_00007.jpg"]


def test_optical_flow_next_to_the_frames_needs_a_pattern(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "clip", "img_00001.jpg", "flow_x_00001.jpg", "flow_y_00001.jpg")
    with pytest.raises(VideoDecodeError, match=r"clip: .*\(flow_x_#, flow_y_#, img_#\).*img_%05d\.jpg"):
        Media(str(folder)).read()


def test_a_broken_frame_in_the_middle_is_left_to_the_decoder(frames: list[str]) -> None:
    Path(frames[5]).write_bytes(b"\xff\xd8 no image")
    with av.open(io.BytesIO(frames_stream(frames, "clip"))) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == 12


def test_an_empty_frame_is_named_with_its_place(frames: list[str]) -> None:
    Path(frames[5]).write_bytes(b"")
    with pytest.raises(VideoDecodeError, match=r"clip: .*img_00006\.jpg is empty \(after 5 frames\)"):
        frames_stream(frames, "clip")


@pytest.mark.parametrize(
    "content", [b"", b"no image" * 20, cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes()]
)
def test_a_first_frame_that_is_not_a_jpeg_is_named(frames: list[str], content: bytes) -> None:
    Path(frames[0]).write_bytes(content)
    with pytest.raises(VideoDecodeError, match=r"clip: .*img_00001\.jpg is not a JPEG"):
        frames_stream(frames, "clip")


def test_a_local_file_is_opened_on_the_disk(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(5, 48, 64))
    media = Media(str(path))
    with media.open() as opened:
        assert isinstance(opened, io.FileIO)
        assert opened.read() == media.read() == path.read_bytes()
    assert media.frame_files() is None


def test_a_member_of_a_tar_is_read_by_its_span(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", moving_square(5, 48, 64)).read_bytes()
    (tmp_path / "shard.tar").write_bytes(b"x" * 1000 + video + b"y" * 1000)
    media = Media(f"{tmp_path}/shard.tar::run/a.mp4", (1000, len(video)))
    assert media.read() == video
    opened = media.open()
    assert isinstance(opened, io.BytesIO)
    assert decoded(opened.read()).shape == (5, 48, 64, 3)


def test_frames_are_opened_as_a_stream(frames: list[str]) -> None:
    opened = Media(os.path.dirname(frames[0])).open()
    assert isinstance(opened, io.BytesIO)
    assert len(decoded(opened.read())) == 12


@pytest.mark.parametrize(
    ("path", "span", "reason"),
    [
        ("nowhere.mp4", None, "No such file"),
        ("nowhere/img_%05d.jpg", None, "nowhere: No such file"),
        ("folder/img_%05d.jpg", None, "matches the pattern"),
        ("folder", None, "without JPEG"),
        ("nowhere.tar::a.mp4", (0, 5), r"nowhere\.tar: No such file"),
        ("cut.tar::a.mp4", (4, 10), "7 bytes before the end .* 4 "),
    ],
)
def test_what_cannot_be_read_is_named_with_the_reason_and_what_to_do(
    tmp_path: Path, path: str, span: tuple[int, int] | None, reason: str
) -> None:
    make_files(tmp_path, "folder/notes.txt", "cut.tar")
    media = Media(f"{tmp_path}/{path}", span)
    for action in (media.read, media.open, media.fingerprint):
        with pytest.raises(VideoDecodeError, match=f"{reason}.*Check .*on_error") as caught:
            action()
        assert caught.value.path == media.path
        assert caught.value.frame == 0


@pytest.mark.parametrize(("path", "span"), [("a.tar::b.mp4", (-1, 5)), ("a.tar::b.mp4", (0, -5)), ("a.mp4", (0, 5))])
def test_an_invalid_span_is_rejected(path: str, span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=path):
        Media(path, span)


def media_of_each_kind(folder: Path) -> dict[str, tuple[Media, Path]]:
    """Return media by kind, each with the file that contains its first byte."""
    content = bytes(range(256)) * 400
    (folder / "a.mp4").write_bytes(content)
    (folder / "shard.tar").write_bytes(content)
    first = write_frames(folder / "clip", ["1.jpg", "2.jpg", "3.jpg"])[0]
    return {
        "file": (Media(f"{folder}/a.mp4"), folder / "a.mp4"),
        "member": (Media(f"{folder}/shard.tar::a.mp4", (0, 90_000)), folder / "shard.tar"),
        "frames": (Media(f"{folder}/clip"), Path(first)),
    }


KINDS = pytest.mark.parametrize("kind", ["file", "member", "frames"])


@KINDS
def test_a_copy_is_unchanged(tmp_path: Path, kind: str) -> None:
    media, file = media_of_each_kind(tmp_path)[kind]
    known = media.fingerprint()
    os.utime(file, ns=(0, known.mtime_ns + 1))
    assert media.fingerprint() != known
    assert media.unchanged(known)


@KINDS
def test_other_content_of_the_same_size_is_a_change(tmp_path: Path, kind: str) -> None:
    media, file = media_of_each_kind(tmp_path)[kind]
    known = media.fingerprint()
    file.write_bytes(b"other" + file.read_bytes()[5:])
    os.utime(file, ns=(0, known.mtime_ns + 1))
    assert not media.unchanged(known)


@KINDS
def test_same_size_and_time_are_unchanged_without_reading(tmp_path: Path, kind: str) -> None:
    media, file = media_of_each_kind(tmp_path)[kind]
    known = media.fingerprint()
    # The head differs, but it is not read.
    assert media.unchanged(Fingerprint(known.size, known.mtime_ns, "another head"))
    assert not media.unchanged(Fingerprint(known.size + 1, known.mtime_ns, known.head))


def test_a_frame_more_or_less_is_a_change(tmp_path: Path) -> None:
    media, _ = media_of_each_kind(tmp_path)["frames"]
    known = media.fingerprint()
    assert known.size == sum(file.stat().st_size for file in (tmp_path / "clip").iterdir())
    # Both halves together have the size of the whole file, so only the number of files differs.
    content = (tmp_path / "clip" / "3.jpg").read_bytes()
    (tmp_path / "clip" / "3.jpg").write_bytes(content[:100])
    (tmp_path / "clip" / "4.jpg").write_bytes(content[100:])
    os.utime(tmp_path / "clip" / "4.jpg", ns=(0, known.mtime_ns + 10**9))
    assert media.fingerprint().size == known.size
    assert not media.unchanged(known)


def test_a_missing_video_is_an_error_not_a_change(tmp_path: Path) -> None:
    media, file = media_of_each_kind(tmp_path)["file"]
    known = media.fingerprint()
    file.unlink()
    with pytest.raises(VideoDecodeError, match=r"a\.mp4: No such file"):
        media.unchanged(known)


def test_all_videos_below_a_folder_are_found_in_order(tmp_path: Path) -> None:
    root = make_files(
        tmp_path,
        "b.mp4",
        "a/2.webm",
        "a/1.MKV",
        "a/.3.mp4",
        ".c/4.mp4",
        "a/x/notes.txt",
        "a/clip/1.jpg",
        "a/clip/2.jpg",
    )
    (root / "a" / "again").symlink_to(root / "a")
    assert find_media(root) == [f"{root}/{name}" for name in ("b.mp4", "a/1.MKV", "a/2.webm", "a/clip")]
    assert find_media(root / "a" / "clip") == [f"{root}/a/clip"]
    assert find_media(root, extensions=[".webm"]) == [f"{root}/{name}" for name in ("a/2.webm", "a/clip")]


def test_images_next_to_videos_do_not_count_as_a_video(tmp_path: Path) -> None:
    root = make_files(tmp_path, "run/a.mp4", "run/cover.jpg")
    assert find_media(root) == [f"{root}/run/a.mp4"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere.*: No such file"):
        find_media(tmp_path / "nowhere")


def test_a_url_has_a_fingerprint(tmp_path: Path, server: FaultyServer) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(range(256)) * 400)
    local, remote = Media(f"{tmp_path}/a.mp4").fingerprint(), Media(f"{server.url}/a.mp4").fingerprint()
    assert remote == Fingerprint(local.size, 0, local.head)
    assert Media(f"{server.url}/a.mp4").unchanged(remote)
    member = Media(f"{server.url}/a.mp4::x.mp4", (0, 70_000))
    assert member.fingerprint() == Fingerprint(70_000, 0, local.head)
    (tmp_path / "a.mp4").write_bytes(bytes(7))
    assert not Media(f"{server.url}/a.mp4").unchanged(remote)
