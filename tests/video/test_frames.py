"""Reading all frames of a video: files that cannot be decoded are named with the reason."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest

from mgdali.choices import draw
from mgdali.errors import VideoDecodeError
from mgdali.samplers import Segment
from mgdali.transforms import SpatialTransform
from mgdali.video import crop, frames
from mgdali.video.crop import Cropper
from mgdali.video.decoder import Decoder
from mgdali.video.frames import RGBConverter, read_frames
from mgdali.video.packets import StreamLog
from tests.support.videos import moving_square, write_sound, write_video


def truncated(video: Path) -> bytes:
    return video.read_bytes()[: video.stat().st_size // 2]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.mp4", b"", "Invalid data|End of file"),
        ("garbage.mp4", b"not a video at all" * 500, "Invalid data"),
        ("text.avi", b"RIFF", "Invalid data|End of file"),
    ],
)
def test_a_file_that_is_not_a_video_is_named_with_ffmpegs_message(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoDecodeError, match=words) as caught:
        list(read_frames(path))
    assert caught.value.path == str(path)
    assert caught.value.frame == 0
    assert str(path) in str(caught.value)


def test_a_cut_off_mp4_and_a_missing_file_and_a_folder_are_named(video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(truncated(video))
    for path, words in (
        (cut, "Invalid data"),
        (tmp_path / "none.mp4", "No such file"),
        (tmp_path, "folder without JPEG"),
    ):
        with pytest.raises(VideoDecodeError, match=words) as caught:
            list(read_frames(path))
        assert caught.value.path == str(path)


def test_a_sound_file_has_no_video(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "sound.wav")
    with pytest.raises(VideoDecodeError, match="no video stream"):
        list(read_frames(path))


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("noted", [False, True])
def test_a_video_of_an_unknown_codec_is_named(tmp_path: Path, ending: str, noted: bool) -> None:
    path = write_video(tmp_path / f"a.{ending}", moving_square(5, 48, 64))
    name = {"mp4": b"avc1", "mkv": b"V_MPEG4/ISO/AVC"}[ending]
    path.write_bytes(path.read_bytes().replace(name, name[:-1] + b"x"))
    with pytest.raises(VideoDecodeError, match=f"a.{ending}: FFmpeg has no decoder for the codec"):
        list(read_frames(path, log=StreamLog() if noted else None))


def test_an_error_in_the_middle_contains_the_number_of_decoded_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mov", moving_square(20, 40, 48), codec="png", pixel_format="rgb24")
    data = bytearray(path.read_bytes())
    # Damage the eleventh picture: overwrite its signature.
    at = -1
    for _ in range(11):
        at = data.index(b"\x89PNG\r\n", at + 1)
    data[at : at + 6] = bytes(6)
    path.write_bytes(bytes(data))
    with pytest.raises(VideoDecodeError) as caught:
        list(read_frames(path))
    assert caught.value.frame == 10
    assert "after 10 frames" in str(caught.value)


def test_a_decode_error_survives_pickling(tmp_path: Path) -> None:
    import pickle

    error = pickle.loads(pickle.dumps(VideoDecodeError("a.mp4", 7, "no")))
    assert (error.path, error.frame, error.reason) == ("a.mp4", 7, "no")
    assert str(error) == str(VideoDecodeError("a.mp4", 7, "no"))


def in_another_thread(action: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action).result(timeout=60)


def users(video: Path) -> dict[str, Callable[[], object]]:
    """Return functions that use one decoder, cropper and converter each."""
    decoder = Decoder(Segment(num_frames=3), memory_budget=1 << 30)
    cropper = Cropper(SpatialTransform(crop_size=16, resize=20))
    converter = RGBConverter()
    frame, choices = next(read_frames(video)), draw(0, 0, 0, 3, training=False)
    return {
        "Decoder": lambda: decoder.decode(video, choices.offsets, picture=lambda frame: frames.quarter_turns(frame)),
        "Cropper": lambda: cropper.crop(frame, choices),
        "RGBConverter": lambda: converter(frame),
    }


@pytest.mark.parametrize("name", ["Decoder", "Cropper", "RGBConverter"])
def test_a_second_thread_is_refused_until_the_first_has_finished(
    video: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = users(video)[name]
    refused: list[str] = []

    def use_by_two(frame: av.VideoFrame) -> int:
        # The first thread is in the middle of its use.
        monkeypatch.undo()
        with pytest.raises(RuntimeError, match=f"another thread: create one {name} per thread") as caught:
            in_another_thread(use)
        refused.append(str(caught.value))
        use()
        return 0

    monkeypatch.setattr(frames, "quarter_turns", use_by_two)
    monkeypatch.setattr(crop, "quarter_turns", use_by_two)
    use()
    assert len(refused) == 1
    in_another_thread(use)
