"""The copy of one video: its frames, its times, its record, and S of the original."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.gpu.nvdec import ANY_GPU, choose_way
from mgdali.index.measure import measure_video
from mgdali.packing.encode import EncodedVideo, encode_video
from mgdali.packing.encoding import Codec, Encoding, Preset
from mgdali.packing.scaling import FrameScaler
from mgdali.samplers import Representation
from mgdali.video.bitstream.packet_headers import PacketHeaders
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.meters import luma_plane
from mgdali.video.packets import StreamLog
from mgdali.video.picked_frames import frames_needed, read_picked
from mgdali.video.stream_facts import probe
from tests.support.coded_videos import CODED
from tests.support.videos import moving_square, rotate_by_metadata, write_video

IMAGE, RGB, FEATURE = Representation(), Representation(channels="rgb"), Representation(motion="feature")
FIELDS = ("container", "codec", "pixel_format", "rate", "width", "height", "rotation", "num_frames")


def copy_of(path: Path, encoding: Encoding | None = None) -> EncodedVideo:
    return encode_video(Media(str(path)), encoding or Encoding(), (IMAGE,))


def media_of(copy: EncodedVideo) -> Media:
    return Media("copy.tar::copy.mp4", (0, len(copy.content)), content=copy.content)


def packets_of(copy: EncodedVideo) -> list[bytes]:
    """The packets of a copy, cut out by its record."""
    offsets, sizes = copy.record.packet_offsets, copy.record.packet_sizes
    assert offsets is not None
    assert sizes is not None
    return [copy.content[at : at + size] for at, size in zip(offsets.tolist(), sizes.tolist(), strict=True)]


def seconds(times: NDArray[np.int64] | None, base: tuple[int, int]) -> list[Fraction]:
    assert times is not None
    return [time * Fraction(*base) for time in times.tolist()]


def luma_errors(media: Media, copy: EncodedVideo, short_side: int = 256) -> list[float]:
    """The mean squared error of luma of each frame of a copy, against the scaled original."""
    errors = []
    scale: FrameScaler | None = None
    for frame, copied in zip(read_frames(media), read_frames(media_of(copy)), strict=True):
        scale = scale or FrameScaler(frame, short_side)
        errors.append(float(np.square(luma_plane(scale(frame)).astype(np.float64) - luma_plane(copied)).mean()))
    return errors


def psnr(errors: list[float]) -> float:
    return float(10 * np.log10(255**2 / np.mean(errors)))


def assert_record_is_that_of_the_file(copy: EncodedVideo, step: int = 1) -> None:
    """Compare the record with a log of decoding the whole copy, and frames with those of decoding each alone."""
    log, record = StreamLog(), copy.record
    whole = [frame.to_ndarray() for frame in read_frames(media_of(copy), log=log)]
    assert {name: getattr(record, name) for name in FIELDS} == {name: getattr(log, name) for name in FIELDS}
    assert record.time_base == (log.time_base.numerator, log.time_base.denominator)
    for name in ("times", "packets", "referenced", "key_frames"):
        np.testing.assert_array_equal(getattr(record, name), getattr(log, name), err_msg=name)
    for t in range(0, record.num_frames, step):
        ((_, frame),) = read_picked(media_of(copy), record, [t])
        np.testing.assert_array_equal(frame.to_ndarray(), whole[t])


def assert_copy_of(media: Media, copy: EncodedVideo) -> None:
    """Compare the record of a copy with the index record of the original."""
    original = measure_video(media, media.path, (IMAGE,))
    assert original.error is None
    assert copy.record.num_frames == original.num_frames
    np.testing.assert_array_equal(copy.record.motion["image"], original.motion["image"])
    assert copy.origin == original.fingerprint
    if original.times is not None:
        found, expected = (seconds(each.times, each.time_base) for each in (copy.record, original))
        assert found == [time - min(expected[0], 0) for time in expected]


CODECS = [pytest.param("h264"), pytest.param("hevc", marks=pytest.mark.slow), pytest.param("av1")]


@pytest.mark.parametrize("codec", CODECS)
def test_the_record_is_that_of_decoding_the_copy(codec: Codec, tmp_path: Path) -> None:
    path = CODED["h264-uneven-times"].write(tmp_path)
    copy = copy_of(path, Encoding(codec=codec))
    assert_record_is_that_of_the_file(copy)
    assert_copy_of(Media(str(path)), copy)
    assert (copy.record.path, copy.record.origin, copy.record.codec) == ("", str(path), codec)


def test_each_frame_is_that_of_the_original_at_its_place(tmp_path: Path) -> None:
    path = CODED["h264-mp4"].write(tmp_path)
    copy = copy_of(path)
    assert max(luma_errors(Media(str(path)), copy)) < 255**2 / 10**3.0


def test_all_levels_of_motion_are_measured_on_the_original_in_the_same_pass(tmp_path: Path) -> None:
    media = Media(str(write_video(tmp_path / "a.mp4", moving_square(5, 100, 120))))
    levels = (IMAGE, RGB, FEATURE)
    record = encode_video(media, Encoding(short_side=32), levels).record
    original = measure_video(media, "a", levels)
    assert record.motion.keys() == {"image", "image_rgb", "feature"}
    assert record.filters == original.filters
    for name, motion in original.motion.items():
        np.testing.assert_array_equal(record.motion[name], motion)


def test_the_fingerprint_is_that_of_the_file(tmp_path: Path) -> None:
    copy = copy_of(CODED["h264-one-frame"].write(tmp_path))
    (tmp_path / "copy.mp4").write_bytes(copy.content)
    known = Media(str(tmp_path / "copy.mp4")).fingerprint()
    assert copy.record.fingerprint is not None
    assert (copy.record.fingerprint.size, copy.record.fingerprint.head) == (known.size, known.head)
    assert copy.record.fingerprint.mtime_ns is None


@pytest.mark.parametrize("codec", ["h264", pytest.param("hevc", marks=pytest.mark.slow)])
def test_a_pick_of_small_needs_at_most_three_frames_whatever_the_length(codec: Codec, tmp_path: Path) -> None:
    for count in (*range(1, 10), 15, 17, 26):
        path = write_video(tmp_path / f"{count}.mp4", moving_square(count, 32, 48, seed=count))
        record = copy_of(path, Encoding(codec=codec)).record
        assert record.key_frames.tolist() == list(range(0, count, 8))
        assert max(frames_needed(record, [t]) for t in range(count)) <= 3


@pytest.mark.parametrize(("gop", "most"), [(1, 1), (2, 2), (5, 3), (18, 3), (25, 4)])
def test_gop_sets_the_length_of_the_groups(gop: int, most: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(40, 32, 48))
    record = copy_of(path, Encoding(gop=gop)).record
    assert record.key_frames.tolist() == list(range(0, 40, gop))
    assert max(frames_needed(record, [t]) for t in range(40)) == most


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_of_fast_is_a_key_frame(codec: Codec, tmp_path: Path) -> None:
    copy = copy_of(CODED["h264-mp4"].write(tmp_path), Encoding(preset="fast", codec=codec))
    assert copy.record.key_frames.tolist() == list(range(50))
    assert_record_is_that_of_the_file(copy, step=9)


@pytest.mark.parametrize("preset", ["small", "archive"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_group_is_closed(preset: Preset, codec: Codec, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(40, 64, 96))
    copy = copy_of(path, Encoding(preset=preset, codec=codec, gop=None if preset == "small" else 16))
    record, packets = copy.record, packets_of(copy)
    assert record.packets is not None
    assert record.extradata
    headers = PacketHeaders(codec, record.extradata)
    starts = [int(record.packets[key]) for key in record.key_frames]
    assert len(starts) >= 3
    assert all(headers.decoding_can_begin(packets[start]) for start in starts)
    # Packets of a group contain the frames from its key frame to the next one, and nothing else.
    for key, start in zip(record.key_frames.tolist(), starts, strict=True):
        assert start == key
    assert_record_is_that_of_the_file(copy, step=7)


def test_a_file_for_the_cpu_is_a_file_for_nvdec(tmp_path: Path) -> None:
    for height, width in ((64, 96), (54, 98)):
        path = write_video(tmp_path / f"{height}.mp4", moving_square(11, height, width))
        copy = copy_of(path)
        assert choose_way(probe(copy.content, "copy.mp4"), ANY_GPU, record=copy.record).kind in ("as is", "remuxed")


SOURCES = ["h264-one-frame", "hevc-ts", "mpeg4-avi", "mpeg2-mpg", "mjpeg-avi", "vp9-hidden-frames", "av1"]


@pytest.mark.parametrize("kind", SOURCES)
def test_videos_of_each_kind_are_copied_frame_by_frame(kind: str, tmp_path: Path) -> None:
    path = CODED[kind].write(tmp_path)
    copy = copy_of(path)
    assert_copy_of(Media(str(path)), copy)
    assert_record_is_that_of_the_file(copy, step=11)
    assert psnr(luma_errors(Media(str(path)), copy)) > 33


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_members_of_tars_and_folders_of_frames_are_copied(kind: str, sample_videos: Path, tmp_path: Path) -> None:
    if kind == "tar":
        video = CODED["h264-mp4"].write(tmp_path).read_bytes()
        (tmp_path / "a.tar").write_bytes(bytes(512) + video + bytes(512))
        media = Media(f"{tmp_path / 'a.tar'}::a.mp4", (512, len(video)))
    else:
        media = Media(str(sample_videos / "frames" / "00001"))
    copy = encode_video(media, Encoding(), (IMAGE,))
    assert_copy_of(media, copy)
    assert_record_is_that_of_the_file(copy, step=5)
    assert copy.record.origin == media.path


def test_turned_videos_are_copied_upright(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(9, 48, 96))
    rotate_by_metadata(path, 1)
    copy = copy_of(path)
    assert (copy.record.width, copy.record.height, copy.record.rotation) == (48, 96, 0)
    assert psnr(luma_errors(Media(str(path)), copy)) > 33


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (16, 16), (301, 33)])
def test_frames_of_any_size_are_encoded(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        for _ in range(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), 90, np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    copy = copy_of(path)
    assert_copy_of(Media(str(path)), copy)
    assert_record_is_that_of_the_file(copy, step=4)
    assert (copy.record.width, copy.record.height) == tuple(max(side // 2 * 2, 2) for side in size)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("tags", [(2, 1, 1, 1), (1, 9, 9, 16), (0, 2, 2, 2)])
def test_colours_are_tagged_as_in_the_original(codec: Codec, tags: tuple[int, int, int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = tags
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane in frame.planes:
            plane.update(np.full(plane.buffer_size // 2, 800, np.uint16).tobytes())
        container.mux([*stream.encode(frame), *stream.encode(None)])
    copy = copy_of(path, Encoding(codec=codec))
    (made,) = read_frames(media_of(copy))
    found = made.color_range, made.colorspace, made.color_primaries, made.color_trc
    # HEVC and AV1 always say whether the range is full; without a tag it is not.
    assert found == (tags if codec == "h264" else (tags[0] or 1, *tags[1:]))
    assert np.abs(luma_plane(made).astype(int) - 200).max() <= 1


def test_frames_that_change_their_size_are_copied_in_the_first_size(tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{i}.ts", moving_square(5, *size)).read_bytes()
        for i, size in enumerate([(48, 64), (96, 128)])
    ]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(parts))
    copy = copy_of(path)
    assert (copy.record.width, copy.record.height, copy.record.num_frames) == (64, 48, 10)
    assert_copy_of(Media(str(path)), copy)


def test_frames_of_slow_videos_get_the_same_bytes(tmp_path: Path) -> None:
    frames = moving_square(20, 64, 96, seed=2)
    copies = [
        copy_of(write_video(tmp_path / f"{step}.mkv", frames, options={"qp": "0"}, times=[step * t for t in range(20)]))
        for step in (40, 1000)
    ]
    assert packets_of(copies[0]) == packets_of(copies[1])
    assert [copy.record.rate for copy in copies] == [25, 1]


def test_sound_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        sound = container.add_stream("pcm_s16le", rate=8000)
        assert isinstance(stream, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        sound.layout = "mono"
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        container.mux([*stream.encode(av.VideoFrame(64, 48, "yuv420p")), *stream.encode(None)])
        container.mux([*sound.encode(silence), *sound.encode(None)])
    with av.open(str(path)) as container:
        assert len(container.streams) == 2
    with media_of(copy_of(path)).open() as file, av.open(file) as container:
        assert [stream.type for stream in container.streams] == ["video"]


_DIGEST = """
import hashlib, sys
from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Encoding
from mgdali.video.media import Media
for codec in ("h264", "hevc", "av1"):
    for preset in ("small", "fast", "archive"):
        encoding = Encoding(codec=codec, preset=preset)
        print(hashlib.sha256(encode_video(Media(sys.argv[1]), encoding, ()).content).hexdigest())
"""


@pytest.mark.slow
def test_a_video_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    path = str(CODED["h264-mp4"].write(tmp_path))
    # glibc then fills memory that is not initialized with this byte, which encoders must not read.
    runs = [
        subprocess.run(
            [sys.executable, "-c", _DIGEST, path],
            env={**os.environ, "MALLOC_PERTURB_": fill},
            capture_output=True,
            check=True,
        )
        for fill in ("0", "85")
    ]
    assert len(runs[0].stdout.split()) == 9
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stderr == b""


def test_a_copy_says_nothing_about_when_and_by_what_it_was_written(tmp_path: Path) -> None:
    content = copy_of(CODED["h264-mp4"].write(tmp_path)).content
    assert not [words for words in (b"Lavf", b"Lavc", b"x264", b"cabac=") if words in content]


def test_a_video_that_cannot_be_read_is_the_error_of_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(999))
    with pytest.raises(VideoDecodeError) as reading:
        list(read_frames(path))
    with pytest.raises(VideoDecodeError) as copying:
        copy_of(path)
    assert str(copying.value) == str(reading.value)
    with pytest.raises(VideoDecodeError, match="No such file"):
        copy_of(tmp_path / "missing.mp4")


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_a_size_that_the_encoder_refuses_is_an_error_of_the_video(codec: Codec, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(3, 2, 2), codec="mpeg4")
    with pytest.raises(VideoDecodeError) as raised:
        copy_of(path, Encoding(codec=codec))
    error = raised.value
    assert error.path == str(path)
    assert f"the encoder {Encoding(codec=codec).encoder} failed for frames of 2x2" in error.reason
    assert "h264" in error.advice


REAL = [
    "av1_640x360_125f.mkv",
    "h264_10bit_200x200_30f.mp4",
    "h264_fullrange_1280x720_30f.mp4",
    "h264_yuv444_1638x409_4f.mp4",
    "hevc_128x128_10f.mp4",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_videos_are_copied_frame_by_frame(name: str, shared: Path) -> None:
    media = Media(str(shared / "clips" / "formats" / name))
    copy = encode_video(media, Encoding(), (IMAGE,))
    assert_copy_of(media, copy)
    assert_record_is_that_of_the_file(copy, step=13)
    assert psnr(luma_errors(media, copy)) > 36


PEERS = [
    "*stereo_spatial.mp4",
    "*sample_rotate_and_reflect.mp4",
    "*_res_change.h264",
    "*animated_transparent_loop.gif",
    "*_avi_mjpeg.avi",
]


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PEERS)
def test_odd_videos_of_other_projects_are_copied_frame_by_frame(pattern: str, shared: Path) -> None:
    (path,) = (shared / "peers").glob(pattern)
    copy = copy_of(path)
    assert_copy_of(Media(str(path)), copy)
    assert_record_is_that_of_the_file(copy, step=13)
    assert copy.record.rotation == 0


@pytest.mark.slow
def test_small_takes_at_most_nine_tenths_of_the_bytes_at_38_db(shared: Path) -> None:
    names = [
        "h264_arm_wrestling_340x256_280f.mp4",
        "h264_bikes_640x272_250f.mp4",
        "vp9_bikes_12fps.webm",
        "mpeg4_xvid_320x240_164f.avi",
    ]
    medias = [Media(str(shared / "clips" / "formats" / name)) for name in names]
    copies = [encode_video(media, Encoding(), ()) for media in medias]
    assert sum(len(copy.content) for copy in copies) <= 0.9 * sum(copy.origin.size for copy in copies)
    ratios = [psnr(luma_errors(media, copy)) for media, copy in zip(medias, copies, strict=True)]
    assert np.mean(ratios) >= 38
    assert min(ratios) >= 36
    for copy in copies:
        assert max(frames_needed(copy.record, [t]) for t in range(copy.record.num_frames)) == 3
