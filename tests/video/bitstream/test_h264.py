"""H.264's sequence parameter sets, compared with what FFmpeg decodes."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from mgdali.video.bitstream.h264 import h264_header
from mgdali.video.bitstream.nal_units import header_units
from mgdali.video.stream_facts import probe
from tests.support.videos import moving_square, write_video

X264 = "x264-params"


def first_set(path: Path) -> bytes:
    """Return the sequence parameter set in the header of H.264 in MP4."""
    with av.open(str(path)) as container:
        return header_units("h264", container.streams.video[0].codec_context.extradata or b"")[0]


@pytest.mark.parametrize(
    ("pixel_format", "options", "profile"),
    [
        ("yuv420p", {"profile": "baseline"}, 66),
        ("yuv420p", {"profile": "main"}, 77),
        ("yuv420p", {X264: "cqm=jvt"}, 100),
        ("yuv420p10le", {}, 110),
        ("yuv422p", {}, 122),
        ("yuv444p", {X264: "cqm=jvt"}, 244),
    ],
)
def test_profiles_and_sizes_are_those_that_ffmpeg_decodes(
    tmp_path: Path, pixel_format: str, options: dict[str, str], profile: int
) -> None:
    frames = moving_square(3, 50, 98)
    path = write_video(tmp_path / "clip.mp4", frames, pixel_format=pixel_format, options=options)
    header = h264_header(first_set(path))
    assert (header.width, header.height, header.profile) == (112, 64, profile)
    assert (header.width - header.left - header.right, header.height - header.top - header.bottom) == (98, 50)
    assert header.progressive
    assert header.tools == ()


def test_lossless_coding_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(3, 48, 64), options={"qp": "0"})
    assert h264_header(first_set(path)).tools == ("lossless blocks",)
    assert probe(path.read_bytes(), "clip.mp4").oddity == "it uses lossless blocks"
