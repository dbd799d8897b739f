"""A small set of sample videos that the tests write themselves, and where to find the project's shared ones.

Both sets have the same folders::

    formats/             one video per codec, pixel format or container
    labelled/<class>/    one short H.264 video per class
    frames/00001/        a video as a folder of JPEG files
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import av
import cv2

from tests.support.coded_videos import X264, X265
from tests.support.videos import moving_square, rotate_by_metadata, write_video

NUM_CLASSES = 12
NUM_FRAME_FILES = 16
PACKED = "mpeg4_packed_160x120_21f.avi"


def shared_folder() -> Path:
    """Return the folder of shared samples and expected values, which may be missing.

    It is located next to the checkout, unless the environment variable MGDALI_SHARED contains another path.
    """
    return Path(os.environ.get("MGDALI_SHARED") or Path(__file__).parents[3] / "shared")


def _write_rotated(path: Path) -> None:
    write_video(path, moving_square(12, 120, 160, seed=4), options=X264)
    rotate_by_metadata(path, 1)


def _write_uneven(path: Path) -> None:
    times = [40 * t + 300 * (t // 6) + t % 5 for t in range(20)]
    write_video(path, moving_square(20, 120, 160, seed=5), options=X264, times=times)


def _write_packed(path: Path) -> None:
    """Write MPEG-4 as old encoders put B-frames into AVI.

    A packet contains a reference frame and the B-frame that is shown before it. The next packet is an empty frame.
    """
    plain = path.with_name("plain.avi")
    write_video(plain, moving_square(21, 120, 160, seed=9), codec="mpeg4", options={"bf": "1", "g": "10"})
    start_of_frame, empty_frame = b"\0\0\1\xb6", b"\0\0\1\xb6\x50\x4f"

    def is_b_frame(packet: bytes) -> bool:
        return packet[packet.index(start_of_frame) + 4] >> 6 == 2

    with av.open(str(plain)) as source, av.open(str(path), "w") as container:
        stream = source.streams.video[0]
        out = container.add_stream_from_template(stream)
        packets: list[bytes] = []
        for content in (bytes(packet) for packet in source.demux(stream) if packet.size):
            if is_b_frame(content):
                packets[-1] += content
                packets.append(empty_frame)
            else:
                packets.append(content)
        # Decoders recognize a packed stream by the name of the encoder that wrote it, in front of the first frame.
        group = packets[0].index(b"\0\0\1\xb3")
        packets[0] = packets[0][:group] + b"\0\0\1\xb2DivX503b1393p" + packets[0][group:]
        for t, content in enumerate(packets):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts, packet.time_base = out, t, t, stream.time_base
            packet.is_keyframe = t % 10 == 0
            container.mux(packet)
    plain.unlink()


def _writer(num_frames: int, height: int, width: int, seed: int, **options: object) -> Callable[[Path], object]:
    return lambda path: write_video(path, moving_square(num_frames, height, width, seed), **options)  # type: ignore[arg-type]


# A file's name begins with its codec; "10bit", "yuv444" and "rotated" in it describe the video.
FORMATS: dict[str, Callable[[Path], object]] = {
    "av1_160x128_20f.mkv": _writer(
        20, 128, 160, 1, codec="libsvtav1", options={"g": "12", "svtav1-params": "lookahead=0"}
    ),
    "h264_10bit_160x128_12f.mp4": _writer(12, 128, 160, 2, pixel_format="yuv420p10le", options=X264),
    "h264_1280x720_6f.mp4": _writer(6, 720, 1280, 3, options=X264),
    "h264_160x120_24f.mp4": _writer(24, 120, 160, 6, options=X264),
    "h264_160x120_16f.avi": _writer(16, 120, 160, 7, options=X264),
    "h264_rotated_160x120_12f.mp4": _write_rotated,
    "h264_uneven_160x120_20f.mkv": _write_uneven,
    "h264_yuv444_160x128_8f.mp4": _writer(8, 128, 160, 8, pixel_format="yuv444p", options=X264),
    "hevc_160x144_16f.mp4": _writer(16, 144, 160, 10, codec="libx265", options=X265),
    "mjpeg_160x120_8f.avi": _writer(8, 120, 160, 11, codec="mjpeg", pixel_format="yuvj420p"),
    "mpeg4_160x120_20f.avi": _writer(20, 120, 160, 12, codec="mpeg4", options={"bf": "2", "g": "12"}),
    PACKED: _write_packed,
    "vp9_160x128_24f.webm": _writer(24, 128, 160, 13, codec="libvpx-vp9", options={"g": "12", "cpu-used": "8"}),
}


def write_sample_videos(folder: Path) -> Path:
    """Write the whole set into ``folder``, with the same content each time, and return the folder."""
    (folder / "formats").mkdir(parents=True)
    for name, write in FORMATS.items():
        write(folder / "formats" / name)
    for i in range(NUM_CLASSES):
        path = folder / "labelled" / f"sign_{i:02}" / "video.mp4"
        path.parent.mkdir(parents=True)
        write_video(path, moving_square(9 + 5 * i % 23, 128, 128 + 16 * (i % 3), seed=20 + i))
    frames = folder / "frames" / "00001"
    frames.mkdir(parents=True)
    for t, rgb in enumerate(moving_square(NUM_FRAME_FILES, 120, 160, seed=14), start=1):
        cv2.imwrite(str(frames / f"{t:05}.jpg"), rgb[..., ::-1])
    return folder
