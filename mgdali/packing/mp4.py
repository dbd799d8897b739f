"""Writing encoded frames to an MP4 file in memory, and reading back what the file contains.

The file's header (``moov``) comes before the packets, so that tools can decode a member of a tar while they read it
from a network, without seeking. FFmpeg writes it after the packets, because their sizes are known only then.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.video.media import Media
from mgdali.video.opening import open_video
from mgdali.video.packets import StreamLog, read_packets

__all__ = ["FileFacts", "PresentationTimes", "presentation_times", "read_file", "write_mp4"]

# Without "bitexact" FFmpeg writes its version into the file.
_WRITING = {"avoid_negative_ts": "disabled", "fflags": "+bitexact"}
# QuickTime decodes HEVC only with this tag.
_TAGS = {"hevc": "hvc1"}

# MP4 stores differences of times in 32 bits.
_MOST_TICKS = (1 << 31) - 1
_COARSE = 1_000_000
_DEFAULT_RATE = Fraction(25)

# The boxes on the path to the table of the packets' positions.
_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_OFFSETS = {b"stco": ">u4", b"co64": ">u8"}


@dataclass(frozen=True, eq=False)
class PresentationTimes:
    """Presentation times of the frames of a file.

    Attributes:
        ticks: Time of each frame, int64 ``[T]`` in ticks, increasing, the first >= 0.
        per_second: Number of ticks in a second.
        last_step: Duration of the last frame, in ticks, >= 1.
    """

    ticks: NDArray[np.int64]
    per_second: int
    last_step: int


def presentation_times(log: StreamLog) -> PresentationTimes:
    """Return the times of the frames of a copy: those of the original, exactly if MP4 can store them.

    If a difference would not fit into 32 bits, times are rounded to longer ticks. Times before 0 are not possible: all
    are then shifted, so that the first is 0. If the original has no known increasing times, frame t gets the time t
    divided by the average rate, or by 25 if the rate is unknown.

    Args:
        log: Log of all frames of the original.
    """
    times, base = log.times, log.time_base
    if times is None or base <= 0:
        rate = Fraction(log.rate).limit_denominator(10_000) or _DEFAULT_RATE
        times, base = np.arange(log.num_frames, dtype=np.int64), 1 / rate
    times = times - min(int(times[0]), 0)
    span = int(times[-1] - times[0])
    if 2 * span * base.numerator <= _MOST_TICKS:
        per_second, ticks = base.denominator, times * base.numerator
    else:
        per_second = max(min(_COARSE, int(_MOST_TICKS / (2 * span * base))), 1)
        ticks = np.array([round(time * base * per_second) for time in times.tolist()], np.int64)
        # Frames that are closer than a tick keep their order.
        steps = np.arange(len(ticks))
        ticks = np.maximum.accumulate(ticks - steps) + steps
    # The last frame lasts as long as most others. Containers do not say it reliably.
    typical = np.median(np.diff(ticks)) if len(ticks) > 1 else per_second / (log.rate or _DEFAULT_RATE)
    return PresentationTimes(ticks, per_second, last_step=max(int(typical), 1))


def write_mp4(
    template: av.VideoStream, packets: Sequence[av.Packet[av.VideoStream]], times: PresentationTimes
) -> bytes:
    """Return an MP4 file with the packets of an encoder.

    Args:
        template: Stream with the encoder's properties.
        packets: Packets of T frames in decoding order, whose ``pts`` are the numbers 0 to T - 1 of the frames. They are
            used up.
        times: Presentation times of the frames.

    Raises:
        av.error.FFmpegError: If FFmpeg cannot write the file.
    """
    ticks = times.ticks
    steps = np.append(np.diff(ticks), times.last_step)
    places = np.array([packet.pts for packet in packets])
    # A packet must be decoded before its frame is shown, and decoding times must increase.
    delay = int(np.max(np.arange(len(packets)) - places))
    before = ticks[0] - steps[0] * np.arange(delay, 0, -1)
    decoding = np.concatenate([before, ticks])
    scale = str(times.per_second)
    target = io.BytesIO()
    options = _WRITING | {"video_track_timescale": scale, "movie_timescale": scale}
    with av.open(target, "w", format="mp4", container_options=options) as container:
        stream = container.add_stream_from_template(template, opaque=True)
        codec = stream.codec_context.codec.canonical_name
        if codec in _TAGS:
            stream.codec_context.codec_tag = _TAGS[codec]
        for number, (packet, place) in enumerate(zip(packets, places.tolist(), strict=True)):
            packet.stream = stream
            packet.time_base = Fraction(1, times.per_second)
            packet.pts, packet.dts = int(ticks[place]), int(decoding[number])
            packet.duration = int(steps[place])
            container.mux(packet)
    return _header_first(target.getvalue())


@dataclass(frozen=True, kw_only=True, eq=False)
class FileFacts:
    """What is in an MP4 file of one video stream.

    Attributes:
        log: Log of its packets, and of its frames as the decoder returns them. They were not decoded.
        extradata: Headers that FFmpeg's decoder gets before the first packet.
        offsets: Position of each packet in the file, int64 ``[T]``, in bytes.
        sizes: Size of each packet, int32 ``[T]``, in bytes.
    """

    log: StreamLog
    extradata: bytes
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]


def read_file(content: bytes) -> FileFacts:
    """Return what is in an MP4 file, in which each packet contains one frame. Only its first frame is decoded.

    Args:
        content: The file.

    Raises:
        VideoDecodeError: If it has no video stream.
        av.error.FFmpegError: If FFmpeg cannot read it or decode its first frame.
    """
    log = StreamLog()
    offsets, sizes = [], []
    times: list[tuple[int, int]] = []
    media = Media("copy.mp4::copy.mp4", (0, len(content)), content=content)
    with open_video(media, thorough=True) as (container, stream):
        context = stream.codec_context
        log.begin(container, stream)
        shown: list[av.VideoFrame] = []
        for packet in read_packets(container, stream):
            if not packet.size:
                continue
            assert packet.pos is not None
            assert packet.pts is not None
            times.append((packet.pts, len(times)))
            offsets.append(packet.pos)
            sizes.append(packet.size)
            log.add_packet(packet)
            if len(times) == 1:
                # The decoder says what it makes of the stream, such as the pixel format.
                shown = [*context.decode(packet), *context.decode(None)]
        for time, number in sorted(times):
            frame = shown[0]
            frame.pts, frame.opaque = time, [number]
            log.add_frame(frame)
        return FileFacts(
            log=log,
            extradata=context.extradata or b"",
            offsets=np.array(offsets, np.int64),
            sizes=np.array(sizes, np.int32),
        )


def _header_first(content: bytes) -> bytes:
    """Return an MP4 file whose header was moved before the packets, with their new positions in its tables."""
    boxes = list(_boxes(content, 0, len(content)))
    header = next(box for box in boxes if box.kind == b"moov")
    moved = bytearray(content[header.start : header.end])
    for table in _offset_tables(moved, 0, len(moved)):
        # After the version and the number of entries, eight bytes, the table contains positions only.
        positions = np.frombuffer(memoryview(moved)[table.body + 8 : table.end], _OFFSETS[table.kind])
        positions += len(moved)
    first = boxes[0].end
    return content[:first] + bytes(moved) + content[first : header.start] + content[header.end :]


@dataclass(frozen=True)
class _Box:
    """A box of an MP4 file.

    Attributes:
        kind: Its type, four letters.
        start, body, end: Positions of its first byte, of its content, and after its last byte.
    """

    kind: bytes
    start: int
    body: int
    end: int


def _boxes(content: bytes | bytearray, start: int, end: int) -> Iterator[_Box]:
    """Yield the boxes in a part of an MP4 file."""
    while start < end:
        size, kind = struct.unpack_from(">I4s", content, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, body)
            body += 8
        yield _Box(kind, start, body, start + size)
        start += size


def _offset_tables(content: bytes | bytearray, start: int, end: int) -> Iterator[_Box]:
    """Yield the tables of positions in a part of the header."""
    for box in _boxes(content, start, end):
        if box.kind in _PATH:
            yield from _offset_tables(content, box.body, box.end)
        elif box.kind in _OFFSETS:
            yield box
