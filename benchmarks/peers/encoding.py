"""Videos that workloads need in addition to the samples: made once from the samples and kept in a cache folder."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
from av.video.frame import PictureType

from mgdali.video.frames import RGBConverter, read_frames


@dataclass(frozen=True)
class Coding:
    """Encoder, file extension and options for encoding a video again."""

    codec: str
    ending: str
    options: dict[str, str]


H264 = Coding("libx264", ".mp4", {"crf": "20", "preset": "veryfast"})
MPEG4 = Coding("mpeg4", ".mp4", {"qscale": "3"})
VP9 = Coding("libvpx-vp9", ".webm", {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"})


def transcoded(path: str, cache: Path, coding: Coding) -> str:
    """Return the path of a video with the same frames in another codec, at 25 frames per second."""
    return _cached(path, cache / coding.codec, coding.ending, lambda target: _transcode(path, target, coding))


def repeated(path: str, cache: Path, times: int) -> str:
    """Return the path of a video that repeats the packets of ``path`` several times, unchanged."""
    ending = Path(path).suffix
    return _cached(path, cache / f"times-{times}", ending, lambda target: _repeat(path, target, times))


def jpeg_frames(path: str, cache: Path, quality: int = 90) -> str:
    """Return a folder with the video's frames as JPEG files."""
    return _cached(path, cache / f"jpeg-{quality}", "", lambda target: _write_frames(path, target, quality))


def _cached(source: str, folder: Path, ending: str, make: Callable[[Path], None]) -> str:
    stat = os.stat(source)
    version = hashlib.blake2b(f"{source}:{stat.st_size}:{stat.st_mtime_ns}".encode(), digest_size=4).hexdigest()
    target = folder / f"{Path(source).stem}-{version}{ending}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, so that an interrupted command leaves no partial file under the final name.
        part = folder / f"part-{os.getpid()}{ending}"
        shutil.rmtree(part, ignore_errors=True)
        make(part)
        part.rename(target)
    return str(target)


def _transcode(path: str, target: Path, coding: Coding) -> None:
    with av.open(str(target), "w") as container:
        stream = container.add_stream(coding.codec, rate=25, options=coding.options)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuv420p"
        for t, frame in enumerate(read_frames(path)):
            if t == 0:
                stream.width, stream.height = frame.width, frame.height
            whole = frame.reformat(format="yuv420p")
            whole.pts, whole.time_base = t, Fraction(1, 25)
            # Without this, encoders copy the picture types of the source.
            whole.pict_type = PictureType.NONE
            container.mux(stream.encode(whole))
        container.mux(stream.encode())


def _repeat(path: str, target: Path, times: int) -> None:
    with av.open(str(target), "w") as output:
        stream = None
        shift = 0
        for _ in range(times):
            with av.open(path) as container:
                source = container.streams.video[0]
                stream = stream or output.add_stream_from_template(source)
                packets = [packet for packet in container.demux(source) if packet.dts is not None]
                ends = [(packet.pts or 0) + (packet.duration or 0) for packet in packets]
                base = packets[0].time_base
                for packet in packets:
                    packet.pts, packet.dts = (packet.pts or 0) + shift, (packet.dts or 0) + shift
                    packet.stream, packet.time_base = stream, base
                    output.mux(packet)
                # Packets without a duration need at least one tick before the first packet of the next repetition.
                shift += max(itertools.chain(ends, [0])) + 1
    assert stream is not None


def _write_frames(path: str, folder: Path, quality: int) -> None:
    folder.mkdir()
    to_rgb = RGBConverter()
    for t, frame in enumerate(read_frames(path), 1):
        bgr = cv2.cvtColor(to_rgb(frame), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{t:05d}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
