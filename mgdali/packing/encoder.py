"""Encoding frames to an MP4 file in memory: the copy of a video, or of a part of it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import av.error
from av.bitstream import BitStreamFilterContext

from mgdali.errors import VideoDecodeError
from mgdali.packing.encoding import Encoding
from mgdali.packing.mp4 import FileFacts, presentation_times, read_file, write_mp4
from mgdali.packing.scaling import PIXEL_FORMAT, FrameScaler
from mgdali.video.frames import ffmpeg_message
from mgdali.video.packets import StreamLog

__all__ = ["Encoder"]

# x264 writes its options into the first packet, about 700 bytes, as "supplemental enhancement information".
_WITHOUT_SEI = {"h264": "filter_units=remove_types=6"}
# Encoders give frames of slow videos more bytes, because each is shown longer. In a data set all frames count the same.
_FRAME_TIME = Fraction(1, 25)
_ADVICE = "Choose another codec for the data set (h264 encodes frames of every size), or remove the file from it."


class Encoder:
    """Encodes the frames of one copy, one after another.

    Args:
        first: First frame of the copy, as the original has it.
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
        """Encode the next frame of the original."""
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
            log: Log of the frames of the original that were added.
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
