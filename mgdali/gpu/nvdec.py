"""What a stream is, found without decoding it: whether the GPU's decoder takes it, and how large it gets."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import av
import av.error

from mgdali.errors import VideoDecodeError
from mgdali.gpu.driver import DecoderCaps
from mgdali.video.frames import ffmpeg_message
from mgdali.video.record import VideoRecord

__all__ = ["NVDEC_BY_DALI", "NvdecTable", "StreamFacts", "nvdec_refusal", "probe", "recorded_facts"]

NVDEC_BY_DALI = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg")
"""Codecs that ``fn.decoders.video`` hands to NVDEC, by FFmpeg's names."""

NvdecTable = Mapping[str, DecoderCaps]
"""Codecs that the chip decodes (4:2:0, 8 bits), with its limits."""

_CHROMA = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4"}


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """A file's best video stream.

    Attributes:
        codec: by FFmpeg's name.
        chroma: ``"4:2:0"``, ``"4:2:2"``, ``"4:4:4"``, or FFmpeg's name of the pixel format where it is none of these.
        bit_depth: bits a sample.
        width, height: of the stored picture, in pixels.
        rotation: degrees that the picture is to be turned counterclockwise when shown.
        num_frames: packets, which is the number of frames but for streams with hidden or doubled ones.
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
        """Bytes of a frame as RGB."""
        return 3 * self.height * self.width


def probe(content: bytes, path: str) -> StreamFacts:
    """The facts of an encoded file.

    Its packets are counted, and the first frame is decoded: rotation is a frame's, and what cannot even give one frame
    is found here.

    Args:
        content: the file.
        path: its name, for errors.

    Raises:
        VideoDecodeError: it cannot be opened, has no video, or its first frame cannot be decoded.
    """
    try:
        with av.open(io.BytesIO(content), "r", metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream):
                raise VideoDecodeError(path, 0, "it has no video stream")
            stream.thread_type = "NONE"
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
    """Why a stream is not for the GPU's decoder, or None where it is."""
    if facts.codec not in NVDEC_BY_DALI or facts.codec not in table:
        return f"NVDEC here does not decode {facts.codec}"
    if facts.chroma != "4:2:0" or facts.bit_depth != 8:
        return f"{facts.chroma} with {facts.bit_depth} bits is not decoded by NVDEC to 8-bit RGB"
    if facts.rotation:
        return "DALI's decoder does not turn pictures"
    if not table[facts.codec].fits(facts.width, facts.height):
        return f"{facts.width}x{facts.height} is outside what NVDEC here takes of {facts.codec}"
    return None


def recorded_facts(record: VideoRecord) -> StreamFacts:
    """The facts of a video that was decoded before, without reading it."""
    pixels = av.VideoFormat(record.pixel_format, record.width, record.height)
    return _facts(record.codec, pixels, record.rotation, record.num_frames)


def _facts(codec: str, pixels: av.VideoFormat, rotation: float, num_frames: int) -> StreamFacts:
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
