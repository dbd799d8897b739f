"""Small real videos, written with PyAV, for tests of code that reads them."""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

_encoded: dict[tuple[object, ...], bytes] = {}
"""Files that this process has encoded. Most fixtures write the same few videos for each test."""


def moving_square(num_frames: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """RGB frames, uint8 [T, H, W, 3]: a bright square moves over a smooth background in uneven steps."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    background = np.stack([y * 255 // height, x * 255 // width, (x + y) % 256], axis=-1).astype(np.uint8)
    frames = np.repeat(background[None], num_frames, axis=0)
    side = max(2, min(height, width) // 4)
    top, left = 0, 0
    for frame in frames:
        frame[top : top + side, left : left + side] = (250, 240, 20)
        step = int(rng.integers(0, side))
        top, left = (top + step // 2) % (height - side + 1), (left + step) % (width - side + 1)
    return frames


def write_video(
    path: Path,
    frames: NDArray[np.uint8],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
) -> Path:
    """Encode RGB frames uint8 [T, H, W, 3]; ``times`` are presentation times in 1/1000 s, by default 30 per second.

    A file with the same frames and settings as an earlier one is a copy of it.
    """
    if options is None:
        options = {"crf": "18", "preset": "veryfast"} if codec == "libx264" else {}
    content = frames.shape, hashlib.sha256(np.ascontiguousarray(frames)).digest(), None if times is None else (*times,)
    key = path.suffix, codec, pixel_format, *sorted(options.items()), *content
    if key in _encoded:
        path.write_bytes(_encoded[key])
    else:
        _encode(path, frames, codec, pixel_format, options, times)
        _encoded[key] = path.read_bytes()
    return path


def _encode(
    path: Path,
    frames: NDArray[np.uint8],
    codec: str,
    pixel_format: str,
    options: dict[str, str],
    times: Sequence[int] | None,
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height = frames.shape[2], frames.shape[1]
        stream.pix_fmt = pixel_format
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for t, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[t], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_sound(path: Path) -> Path:
    """Write a WAV file with a tenth of a second of silence."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    return path


def rotate_by_metadata(path: Path, quarter_turns: int) -> None:
    """Write a rotation into the track header of an MP4 file: the number of clockwise quarter turns when shown."""
    one = 1 << 16
    cos, sin = [(one, 0), (0, one), (-one, 0), (0, -one)][quarter_turns % 4]
    matrix = np.array([cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30], ">i4").tobytes()
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd") + 4
    assert data[header] == 0, "a track header of version 0"
    data[header + 40 : header + 76] = matrix
    path.write_bytes(bytes(data))
