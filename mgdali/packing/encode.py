"""Encoding the copy of one video for a packed data set: S is measured and the copy written while it is decoded once."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import av.error
from av.bitstream import BitStreamFilterContext

from mgdali.errors import VideoDecodeError
from mgdali.packing.encoding import Encoding
from mgdali.packing.mp4 import FileFacts, presentation_times, read_file, write_mp4
from mgdali.packing.scaling import PIXEL_FORMAT, FrameScaler
from mgdali.samplers import Representation
from mgdali.video.frames import ffmpeg_message, read_frames
from mgdali.video.media import Fingerprint, Media
from mgdali.video.meters import make_meter
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord, index_name

__all__ = ["EncodedVideo", "encode_video"]

# x264 writes its options into the first packet, about 700 bytes, as "supplemental enhancement information".
_WITHOUT_SEI = {"h264": "filter_units=remove_types=6"}
# Encoders give frames of slow videos more bytes, because each is shown longer. In a data set all frames count the same.
_FRAME_TIME = Fraction(1, 25)
_ADVICE = "Choose another codec for the data set (h264 encodes frames of every size), or remove the file from it."


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedVideo:
    """A copy of a video for a packed data set.

    Attributes:
        content: The MP4 file.
        record: Record of the copy, with S of the original. Its ``path`` is empty, its ``fingerprint`` has no time,
            and its ``packet_offsets`` count from the first byte of ``content``.
        origin: Fingerprint of the original, taken before its content was read.
    """

    content: bytes
    record: VideoRecord
    origin: Fingerprint


def encode_video(media: Media, encoding: Encoding, representations: tuple[Representation, ...]) -> EncodedVideo:
    """Decode a video once, measure S, and encode a copy.

    Frame t of the copy is frame t of the original: scaled, upright, 8-bit 4:2:0. The same video gives the same bytes
    in every process.

    Args:
        media: The video.
        encoding: Settings of the copy.
        representations: Representations for which S of the original is measured.

    Raises:
        VideoDecodeError: If the video cannot be read or decoded, or the encoder fails; the error then names it.
    """
    # Taken before the content is read. So a file that is written to meanwhile counts as changed.
    origin = media.fingerprint()
    log = StreamLog()
    meters = [make_meter(representation) for representation in representations]
    encoder: _Encoder | None = None
    for frame in read_frames(media, log=log):
        for meter in meters:
            meter.add(frame)
        if encoder is None:
            encoder = _Encoder(frame, encoding, media.path)
        encoder.add(frame)
    assert encoder is not None
    content = encoder.finish(log)
    facts = encoder.read_back(content)
    motions = [meter.motion for meter in meters]
    record = replace(
        VideoRecord.from_log(
            "", Fingerprint.of_content(content), facts.log, list(zip(representations, motions, strict=True))
        ),
        origin=index_name(media.path),
        extradata=facts.extradata,
        packet_offsets=facts.offsets,
        packet_sizes=facts.sizes,
    )
    return EncodedVideo(content=content, record=record, origin=origin)


class _Encoder:
    """Encodes the frames of one video, one after another.

    Args:
        first: First frame of the video.
        encoding: Settings.
        path: Path of the video, for errors.

    Raises:
        VideoDecodeError: If the encoder fails, here and in all methods.
    """

    def __init__(self, first: av.VideoFrame, encoding: Encoding, path: str) -> None:
        self._scale = FrameScaler(first, encoding.short_side)
        self._encoding, self._path = encoding, path
        self._count = 0
        self._held: av.VideoFrame | None = None
        self._packets: list[av.Packet[av.VideoStream]] = []
        if encoding.codec == "av1":
            # Otherwise SVT-AV1 prints its settings for each video. It knows no other way to stop this.
            os.environ.setdefault("SVT_LOG", "1")
        with self._errors():
            # The container only gives the stream its properties. The file is written after the last frame, when all
            # times are known.
            self._container = av.open(io.BytesIO(), "w", format="mp4")
            stream = self._container.add_stream(encoding.encoder, rate=1 / _FRAME_TIME, options=encoding.options)
            assert isinstance(stream, av.VideoStream)
            self._stream = stream
            self._set_up(stream.codec_context)
            self._container.start_encoding()
            words = _WITHOUT_SEI.get(encoding.codec)
            self._filter = None if words is None else BitStreamFilterContext(words, self._stream)

    def add(self, frame: av.VideoFrame) -> None:
        """Encode the next frame of the video."""
        with self._errors():
            scaled = self._scale(frame)
            scaled.pts, scaled.time_base = self._count, _FRAME_TIME
            self._encode_held(last=False)
            self._held = scaled
        self._count += 1

    def _encode_held(self, *, last: bool) -> None:
        """Encode the frame that was added last. It is held back because the last frame of a video has another type."""
        if self._held is not None:
            self._held.pict_type = self._encoding.frame_type(self._count - 1, last=last)
            self._keep(self._stream.encode(self._held))

    def finish(self, log: StreamLog) -> bytes:
        """Encode the frames that the encoder has delayed, and return the file.

        Args:
            log: Log of all frames of the original.
        """
        with self._errors():
            self._encode_held(last=True)
            self._keep(self._stream.encode(None))
            numbers = sorted(packet.pts for packet in self._packets if packet.pts is not None)
            if numbers != list(range(self._count)):
                raise self._error(f"it returned {len(numbers)} packets for {self._count} frames")
            content = write_mp4(self._stream, self._packets, presentation_times(log))
            self._container.close()
        return content

    def read_back(self, content: bytes) -> FileFacts:
        """Return what is in the file of :meth:`finish`."""
        with self._errors():
            facts = read_file(content)
            if facts.log.packets is None or facts.log.times is None or facts.log.num_frames != self._count:
                raise self._error(f"its file does not contain {self._count} frames with increasing times")
        return facts

    def _set_up(self, context: av.VideoCodecContext) -> None:
        """Set the properties of the stream."""
        context.width, context.height = self._scale.width, self._scale.height
        context.pix_fmt = PIXEL_FORMAT
        context.time_base = _FRAME_TIME
        # The workers are the parallelism. With several threads, the encoders' bytes may depend on their timing.
        context.thread_count = 1
        tags = self._scale.tags
        context.color_range, context.colorspace = tags.range, tags.matrix
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer

    def _keep(self, packets: list[av.Packet[av.VideoStream]]) -> None:
        for packet in packets:
            self._packets += [packet] if self._filter is None else self._filter.filter(packet)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise errors of FFmpeg as a VideoDecodeError that names the video and the encoder."""
        try:
            yield
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._error(ffmpeg_message(error)) from error

    def _error(self, reason: str) -> VideoDecodeError:
        size = f"{self._scale.width}x{self._scale.height}"
        return VideoDecodeError(
            self._path,
            self._count,
            f"the encoder {self._encoding.encoder} failed for frames of {size}: {reason}",
            _ADVICE,
        )
