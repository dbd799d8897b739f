"""Opening a media file: FFmpeg opens nothing else, whatever the file contains and whatever its name is."""

from __future__ import annotations

import io
from pathlib import Path

import av
import av.error
import cv2
import pytest

import mgdali.video.containers
from mgdali.errors import VideoDecodeError
from mgdali.index.measure import measure_video
from mgdali.samplers import Representation
from mgdali.video.containers import open_container
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.stream_facts import probe
from tests.support.faulty_server import FaultyServer
from tests.support.referring_files import REFERRING, write_external_reference, write_referring_files
from tests.support.videos import moving_square, write_video

REFUSED = r"playlists and other files that refer to other files are not opened .*Give the media file itself"


def num_frames(path: str, options: dict[str, str] | None = None) -> int:
    """Return the number of frames that FFmpeg decodes without the package's limits."""
    with av.open(path, options=options) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", REFERRING)
def test_a_file_that_refers_to_others_is_refused_and_these_are_not_opened(
    tmp_path: Path, server: FaultyServer, name: str
) -> None:
    path = write_referring_files(tmp_path, server.url)[name]
    content = path.read_bytes()
    for media in (Media(str(path)), Media(str(path)).loaded(), Media(f"{tmp_path}/a.tar::{name}", (0, 9), content)):
        with pytest.raises(VideoDecodeError, match=f"{name}: .*{REFUSED}") as caught:
            list(read_frames(media))
        assert (caught.value.path, caught.value.frame) == (media.path, 0)
    with pytest.raises(VideoDecodeError, match=f"{name}: .*{REFUSED}"):
        probe(content, str(path))
    error = measure_video(Media(str(path)), str(path), (Representation(),)).error
    assert error is not None
    assert "are not opened" in error
    assert server.requests == []


def test_a_playlist_behind_a_url_is_refused(tmp_path: Path, server: FaultyServer) -> None:
    write_referring_files(tmp_path, server.url)
    with pytest.raises(VideoDecodeError, match=REFUSED):
        list(read_frames(f"{server.url}/server.m3u8"))
    assert len(server.requests) == 1, "the playlist only"


@pytest.mark.parametrize("name", REFERRING)
def test_a_format_that_is_not_known_to_refer_to_others_cannot_open_them_either(
    tmp_path: Path, server: FaultyServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mgdali.video.containers, "_formats", lambda: ",".join(av.formats_available))
    path = write_referring_files(tmp_path, server.url)[name]
    with pytest.raises(VideoDecodeError, match=name):
        list(read_frames(path))
    assert server.requests == []


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "concat-named-otherwise.mp4", "server.m3u8"])
def test_ffmpeg_by_itself_opens_what_the_files_refer_to(tmp_path: Path, server: FaultyServer, name: str) -> None:
    # Otherwise the tests above would prove nothing.
    path = write_referring_files(tmp_path, server.url)[name]
    assert num_frames(str(path), {"protocol_whitelist": "file,http,tcp"}) == 9
    assert bool(server.requests) == name.startswith("server")


@pytest.mark.parametrize(
    "path", ["concat:target.ts|target.ts", "subfile,,start,0,end,0,,:target.ts", "file:target.ts", "image%03d.png"]
)
def test_a_path_is_no_url_and_no_pattern(in_folder: Path, path: str) -> None:
    write_video(in_folder / "target.ts", moving_square(9, 48, 64))
    for t, picture in enumerate(moving_square(3, 48, 64)):
        cv2.imwrite(f"image{t:03}.png", picture)
    assert num_frames(path) >= 3
    with pytest.raises(VideoDecodeError, match="No such file") as caught:
        list(read_frames(path))
    assert caught.value.path == path


@pytest.mark.parametrize(
    "name",
    [
        "colon:x.mp4",
        "file:x.mp4",
        "http:x.mp4",
        "pipe:0",
        "-",
        "concat:a|b",
        "subfile,,start,0,end,0,,:x.mp4",
        "x%03d.mp4",
        "x*{a,b}.mp4",
        "a?b#c.mp4",
        "x.mp4 ",
        "no ending",
        "ü\udcff.mp4",
    ],
)
def test_a_local_file_may_have_any_name(in_folder: Path, name: str) -> None:
    plain = write_video(in_folder / "plain.mp4", moving_square(5, 48, 64))
    (in_folder / name).write_bytes(plain.read_bytes())
    expected = [frame.to_ndarray().tobytes() for frame in read_frames(plain)]
    for path in (name, str(in_folder / name)):
        assert [frame.to_ndarray().tobytes() for frame in read_frames(path)] == expected
    (in_folder / name).write_bytes(b"no video")
    with pytest.raises(VideoDecodeError) as caught:
        list(read_frames(name))
    assert caught.value.path == name
    assert f"cannot decode {name}: Invalid data" in str(caught.value)


def test_the_format_of_a_local_file_depends_on_its_ending(tmp_path: Path) -> None:
    # FFmpeg recognizes a few formats by their ending only.
    (tmp_path / "raw.qcif").write_bytes(bytes(176 * 144 * 3 // 2 * 3))
    file = Media(str(tmp_path / "raw.qcif")).open()
    with file, open_container(file, "raw.qcif", options={"video_size": "176x144"}) as container:
        assert container.format.name == "rawvideo"
        assert sum(1 for _ in container.decode(video=0)) == 3


@pytest.mark.parametrize("ending", ["jpg", "JPG", "png", "bmp", "tiff"])
def test_one_picture_is_a_video_of_one_frame(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    cv2.imwrite(str(path), moving_square(1, 48, 64)[0])
    for media in (Media(str(path)), Media(str(path)).loaded()):
        assert [(frame.width, frame.height) for frame in read_frames(media)] == [(64, 48)]


def test_frames_of_a_quicktime_file_in_another_file_are_not_read(tmp_path: Path) -> None:
    path = write_external_reference(tmp_path)
    follow = {"enable_drefs": "1", "use_absolute_path": "1"}
    assert num_frames(str(path), follow) == 9
    with pytest.raises(VideoDecodeError, match="no frame that can be displayed"):
        list(read_frames(path))
    # Even if FFmpeg is asked to follow the reference, it cannot open the file.
    with open_container(io.BytesIO(path.read_bytes()), str(path), options=follow) as container:
        assert list(container.decode(video=0)) == []


def test_formats_that_need_no_file_are_refused() -> None:
    for name in ("image2", "rtsp", "lavfi", "hls", "concat", "sdp"):
        with (
            pytest.raises(VideoDecodeError, match=REFUSED),
            open_container(io.BytesIO(b"nothing"), "a.mp4", format=name),
        ):
            pass


def test_a_text_is_not_drawn_as_a_video(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Notes about videos.\n" * 50)
    with pytest.raises(VideoDecodeError, match=r"notes\.txt: .*nvalid"):
        list(read_frames(str(text)))
