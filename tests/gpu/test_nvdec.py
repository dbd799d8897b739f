"""Properties of a stream, found before decoding, and whether the GPU's decoder accepts it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mgdali.errors import VideoDecodeError
from mgdali.gpu.driver import DecoderCaps
from mgdali.gpu.nvdec import StreamFacts, nvdec_refusal, probe
from mgdali.video.frames import read_frames
from tests.support.videos import moving_square, rotate_by_metadata, write_sound, write_video

CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4")
TABLE = {codec: DecoderCaps(codec, "4:2:0", 8, 1, 48, 16, 4096, 4096, 65536) for codec in CODECS}
FACTS = StreamFacts(codec="h264", chroma="4:2:0", bit_depth=8, width=340, height=256, rotation=0, num_frames=10)


def facts_of(path: Path) -> StreamFacts:
    return probe(path.read_bytes(), str(path))


def test_properties_of_real_files_match_their_decoded_frames(real_videos: Path) -> None:
    for path in sorted((real_videos / "formats").iterdir()):
        facts = facts_of(path)
        frames = list(read_frames(path))
        assert (facts.width, facts.height, facts.num_frames) == (frames[0].width, frames[0].height, len(frames)), path
        assert facts.codec == path.name.split("_")[0]
        assert facts.bit_depth == (10 if "10bit" in path.name else 8)
        assert facts.chroma == ("4:4:4" if "yuv444" in path.name else "4:2:0")
        taken = nvdec_refusal(facts, TABLE) is None
        assert taken == (not any(word in path.name for word in ("10bit", "yuv444", "rotated", "mjpeg")))


@pytest.mark.parametrize(
    ("pixel_format", "chroma", "depth"),
    [("yuv420p", "4:2:0", 8), ("yuv422p", "4:2:2", 8), ("yuv444p", "4:4:4", 8), ("yuv420p10le", "4:2:0", 10)],
)
def test_chroma_and_depth_match_the_pixel_format(tmp_path: Path, pixel_format: str, chroma: str, depth: int) -> None:
    facts = facts_of(write_video(tmp_path / "clip.mp4", moving_square(5, 48, 64), pixel_format=pixel_format))
    assert (facts.chroma, facts.bit_depth) == (chroma, depth)
    assert facts.frame_bytes == 3 * 48 * 64


def test_rgb_and_grey_formats_are_named(tmp_path: Path) -> None:
    frames = moving_square(3, 48, 64)
    rgb = facts_of(write_video(tmp_path / "rgb.mov", frames, codec="png", pixel_format="rgb24"))
    grey = facts_of(write_video(tmp_path / "grey.mkv", frames, codec="ffv1", pixel_format="gray"))
    assert (rgb.chroma, grey.chroma) == ("rgb24", "gray")


def test_rotation_is_found(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(5, 48, 64))
    rotate_by_metadata(path, 1)
    assert facts_of(path).rotation == -90


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codec": "prores"}, "does not decode prores"),
        ({"codec": "vp8"}, "does not decode vp8"),
        ({"chroma": "4:4:4"}, "4:4:4 with 8 bits"),
        ({"bit_depth": 10}, "4:2:0 with 10 bits"),
        ({"rotation": 90}, "does not rotate"),
        ({"width": 5000}, "5000x256"),
        ({"height": 8}, "340x8"),
    ],
)
def test_a_stream_that_nvdec_cannot_decode_is_rejected_with_the_reason(change: dict[str, Any], words: str) -> None:
    assert nvdec_refusal(FACTS, TABLE) is None
    assert words in str(nvdec_refusal(dataclasses.replace(FACTS, **change), TABLE))


def test_a_file_without_frames_is_a_decode_error_with_its_path(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", moving_square(5, 48, 64)).read_bytes()
    for content in (b"", b"garbage" * 99, video[: len(video) // 2]):
        with pytest.raises(VideoDecodeError, match=r"some\.mp4"):
            probe(content, "some.mp4")
    sound = write_sound(tmp_path / "sound.wav")
    with pytest.raises(VideoDecodeError, match=r"some\.wav.*no video stream"):
        probe(sound.read_bytes(), "some.wav")
