"""Properties of a video stream that decide whether the GPU's decoder accepts it, and how large its frames become."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import av
import av.error

from mgdali.errors import VideoDecodeError
from mgdali.gpu.driver import DecoderCaps
from mgdali.video.containers import open_container
from mgdali.video.frames import ffmpeg_message
from mgdali.video.opening import video_stream
from mgdali.video.record import VideoRecord

__all__ = ["NVDEC_BY_DALI", "NvdecTable", "StreamFacts", "nvdec_refusal", "probe", "recorded_facts"]

NVDEC_BY_DALI = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg")
"""FFmpeg's names of the codecs that ``fn.decoders.video`` of DALI decodes with NVDEC."""

NvdecTable = Mapping[str, DecoderCaps]
"""FFmpeg's names of the codecs that a GPU decodes (4:2:0, 8 bits per sample), with its limits."""

_CHROMA = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4"}


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """Properties of a file's best video stream.

    Attributes:
        codec: FFmpeg's name of the codec.
        chroma: Chroma subsampling, ``"4:2:0"``, ``"4:2:2"`` or ``"4:4:4"``; FFmpeg's name of any other pixel format.
        bit_depth: Number of bits per sample.
        width, height: Size of the stored picture, in pixels.
        rotation: Angle by which to turn the stored picture counterclockwise for display, in degrees, a multiple of 90.
        num_frames: Number of packets. It differs from the number of frames only if the stream has hidden or repeated
            frames.
    """

    codec: str
    chroma: str
    bit_depth: int
    width: int
    height: int
    rotation: int
    num_frames: int

    @property
    def frame_bytes(self) -> int:
        """Number of bytes of a frame as 8-bit RGB."""
        return 3 * self.height * self.width


def probe(content: bytes, path: str) -> StreamFacts:
    """Return the properties of an encoded file.

    The packets are counted and the first frame is decoded, because FFmpeg reports the rotation with frames only, and to
    find files without any decodable frame.

    Args:
        content: The file.
        path: Path of the file, for errors.

    Raises:
        VideoDecodeError: If the file cannot be opened, has no video stream, or has no frame that can be decoded.
    """
    try:
        with open_container(io.BytesIO(content), path) as container:
            stream = video_stream(container, path)
            first: av.VideoFrame | None = None
            packets = 0
            for packet in container.demux(stream):
                packets += packet.size > 0
                if first is None:
                    first = next(iter(stream.codec_context.decode(packet)), None)
            if first is None:
                raise VideoDecodeError(path, 0, "it contains no frame that can be displayed")
            return _facts(stream.codec_context.codec.canonical_name, first.format, first.rotation, packets)
    except (av.error.FFmpegError, OSError) as error:
        raise VideoDecodeError(path, 0, ffmpeg_message(error)) from error


def nvdec_refusal(facts: StreamFacts, table: NvdecTable) -> str | None:
    """Return the reason the GPU's decoder cannot decode a stream; None if it can.

    Args:
        facts: Properties of the stream.
        table: Codecs and limits of the GPU.
    """
    if facts.codec not in NVDEC_BY_DALI or facts.codec not in table:
        return f"NVDEC of this GPU does not decode {facts.codec}"
    if facts.chroma != "4:2:0" or facts.bit_depth != 8:
        return f"NVDEC does not decode {facts.chroma} with {facts.bit_depth} bits to 8-bit RGB"
    if facts.rotation:
        return "DALI's decoder does not rotate frames"
    if not table[facts.codec].fits(facts.width, facts.height):
        return f"NVDEC of this GPU does not decode {facts.codec} of {facts.width}x{facts.height} pixels"
    return None


def recorded_facts(record: VideoRecord) -> StreamFacts:
    """Return the properties of a video from its record in a motion index, without reading the file."""
    pixels = av.VideoFormat(record.pixel_format, record.width, record.height)
    return _facts(record.codec, pixels, record.rotation, record.num_frames)


def _facts(codec: str, pixels: av.VideoFormat, rotation: float, num_frames: int) -> StreamFacts:
    """Return the properties of a stream, with the chroma subsampling and the bit depth of its pixel format."""
    halved = (pixels.chroma_width(16) == 8, pixels.chroma_height(16) == 8)
    planar = not pixels.is_rgb and len(pixels.components) >= 3
    return StreamFacts(
        codec=codec,
        chroma=_CHROMA.get((int(halved[0]), int(halved[1])), pixels.name) if planar else pixels.name,
        bit_depth=pixels.components[0].bits,
        width=pixels.width,
        height=pixels.height,
        rotation=round(rotation / 90) * 90,
        num_frames=num_frames,
    )
