"""The matrix of the colours in sequence headers, compared with the one of the frames that FFmpeg decodes."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from mgdali.video.bitstream.h264 import h264_header
from mgdali.video.bitstream.hevc import hevc_header
from mgdali.video.bitstream.nal_units import header_units, unit_type
from mgdali.video.bitstream.sequence_header import SequenceHeader
from mgdali.video.stream_facts import coded_frames_of
from tests.support.videos import moving_square

TAGS = (1, 2, 5, 6, 7, 9)
X265 = "log-level=none"
ENCODERS = {
    "libx264": {},
    "libx265": {"x265-params": X265},
    "libvpx-vp9": {"threads": "1"},
    "libsvtav1": {"preset": "12"},
}
# Options that add fields of sequence headers before the description of the colours.
LONG_HEADERS = {
    "h264-matrices": ("libx264", {"x264-params": "cqm=jvt:sar=7/5:overscan=show"}),
    "h264-cropped": ("libx264", {"x264-params": "sar=2000/1999:crop-rect=2,2,2,2"}),
    "hevc-scaling-lists": ("libx265", {"x265-params": f"{X265}:scaling-list=default:sar=7:overscan=show"}),
    "hevc-layers": ("libx265", {"x265-params": f"{X265}:temporal-layers=3:bframes=4:b-pyramid=1"}),
    "hevc-tools-off": ("libx265", {"x265-params": f"{X265}:no-sao=1:no-amp=1:no-strong-intra-smoothing=1:ctu=16"}),
    "hevc-lossless": ("libx265", {"x265-params": f"{X265}:lossless=1"}),
    "hevc-main-10": ("libx265", {"x265-params": X265}),
}


def write(path: Path, encoder: str, options: dict[str, str], matrix: int, pixel_format: str = "yuv420p") -> Path:
    """Write a video whose header names a matrix."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=30, options=dict(options))
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        stream.codec_context.colorspace = matrix
        for image in moving_square(4, 64, 96):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
            frame.colorspace = matrix
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def headers_and_frames(path: Path) -> tuple[SequenceHeader, int]:
    """Return the sequence header of a video, and the matrix of its first frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = coded_frames_of(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        for packet in packets:
            frames.add(av.Packet(bytes(packet)))
        decoder = av.CodecContext.create(stream.codec_context.codec.name, "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.extradata = stream.codec_context.extradata
        decoded = [frame for packet in packets for frame in decoder.decode(av.Packet(bytes(packet)))]
        decoded += decoder.decode(None)
    assert frames.header is not None
    return frames.header, int(decoded[0].colorspace)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_matrix_is_the_one_of_the_decoded_frames(encoder: str, tmp_path: Path) -> None:
    found = set()
    for tag in TAGS:
        header, matrix = headers_and_frames(write(tmp_path / f"{tag}.mkv", encoder, ENCODERS[encoder], tag))
        assert header.matrix == matrix
        found.add(matrix)
    assert found >= {1, 6, 9}


@pytest.mark.parametrize("kind", LONG_HEADERS)
def test_other_fields_before_it_are_skipped(kind: str, tmp_path: Path) -> None:
    encoder, options = LONG_HEADERS[kind]
    pixel_format = "yuv420p10le" if kind == "hevc-main-10" else "yuv420p"
    header, matrix = headers_and_frames(write(tmp_path / "a.mkv", encoder, options, 9, pixel_format))
    assert header.matrix == matrix == 9


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_the_matrix_is_unknown_if_the_header_ends_before_it(codec: str, tmp_path: Path) -> None:
    encoder, kind, read = ("libx264", 7, h264_header) if codec == "h264" else ("libx265", 33, hevc_header)
    path = write(tmp_path / "a.mp4", encoder, ENCODERS[encoder], 9)
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
    unit = next(unit for unit in header_units(codec, extradata) if unit_type(codec, unit[0]) == kind)
    whole = read(unit)
    matrices = []
    for end in range(len(unit), 0, -1):
        try:
            header = read(unit[:end])
        except ValueError:
            break
        assert (header.width, header.height) == (whole.width, whole.height)
        matrices.append(header.matrix)
    assert matrices[0] == 9
    assert matrices[-1] is None
    assert matrices == sorted(matrices, key=lambda matrix: matrix is None)


def golomb(*values: int) -> str:
    """Return numbers in Exp-Golomb code."""
    codes = [f"{value + 1:b}" for value in values]
    return "".join("0" * (len(code) - 1) + code for code in codes)


def test_every_optional_field_of_hevc_before_it_is_skipped() -> None:
    """Build a sequence parameter set with the optional fields of ITU-T H.265, 7.3.2.2, that common encoders omit."""
    profile = "00000001" + "0" * 32 + "10" + "0" * 46 + "00011110"
    sizes = golomb(0, 1, 96, 64) + "0" + golomb(0, 0, 4) + "1" + golomb(1, 0, 0) + golomb(0, 1, 0, 2, 0, 0)
    scaling = "11"
    for size, count in enumerate((16, 64, 64, 64)):
        for matrix in range(2 if size == 3 else 6):
            # A list that is copied from another one, then lists with coefficients and, for large blocks, a mean.
            scaling += "0" + golomb(0) if matrix == 0 else "1" + golomb(*[9] * (count + (size > 1)))
    pcm = "1" + "0" * 8 + golomb(0, 1) + "0"
    # Three sets of short-term pictures: one has two pictures, one keeps two of three, one keeps one of three.
    sets = golomb(3) + golomb(1, 1) + (golomb(0) + "1") * 2 + "10" + golomb(0) + "1" + "01" + "00" + "11" + golomb(2)
    sets += "01" + "00" + "00"
    long_term = "1" + golomb(1) + "0" * 8 + "1"
    colours = "1" + "1" + f"{255:08b}" + "0" * 32 + "11" + "1" + "0101" + "1" + f"{9:08b}{16:08b}{10:08b}"
    bits = "00000001" + profile + sizes + scaling + "00" + pcm + sets + long_term + "00" + colours
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    header = hevc_header(b"\x42\x01" + int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert (header.width, header.height, header.profile, header.matrix) == (96, 64, 1, 10)
