"""Decoding only what known picks need: from key frames on, up to the last pick, without frames that none refers to."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import av.error
import numpy as np

from mgdali.errors import VideoDecodeError
from mgdali.video.frames import ffmpeg_message
from mgdali.video.media import Media, frames_stream
from mgdali.video.opening import open_video
from mgdali.video.packets import mark_packet, number_packets, packet_of
from mgdali.video.record import VideoRecord

__all__ = ["frames_needed", "needed_packets", "read_picked"]

Picked = tuple[int, av.VideoFrame]


def read_picked(media: Media, record: VideoRecord, picks: list[int]) -> Iterator[Picked]:
    """The picked frames of a video, each the same to the byte as when all are decoded.

    Args:
        media: the video.
        record: what is known of it, which must still hold.
        picks: frames, rising, each once.

    Yields:
        Picks and their frames.

    Raises:
        VideoDecodeError: it cannot be read, or does not give all of these frames. It may still when decoded whole.
    """
    count = 0
    try:
        for pick, frame in _read(media, record, picks):
            if (frame.width, frame.height, frame.format.name) != (record.width, record.height, record.pixel_format):
                frame = frame.reformat(width=record.width, height=record.height, format=record.pixel_format)
            count += 1
            yield pick, frame
    except (av.error.FFmpegError, OSError) as error:
        raise VideoDecodeError(media.path, count, ffmpeg_message(error)) from error
    if count < len(picks):
        raise VideoDecodeError(media.path, count, f"it gave {count} of the {len(picks)} frames that were picked")


def needed_packets(record: VideoRecord, picks: list[int]) -> list[tuple[int, int]]:
    """Runs of packets, first and last, that the picks need: each from a key frame to a pick, or several of them."""
    assert record.packets is not None
    keys = record.key_frames
    needs = []
    for pick in picks:
        before = int(np.searchsorted(keys, pick, side="right")) - 1
        first = int(record.packets[keys[before]]) if before >= 0 else 0
        needs.append((first, int(record.packets[pick])))
    runs: list[tuple[int, int]] = []
    for first, last in sorted(needs):
        if runs and first <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], last))
        else:
            runs.append((first, last))
    return runs


def frames_needed(record: VideoRecord, picks: list[int]) -> int:
    """Frames that are decoded for picks, rising and each once."""
    if record.packets is None:
        return picks[-1] + 1
    referenced = record.referenced.copy()
    referenced[picks] = True
    decoded = record.packets[referenced]
    runs = needed_packets(record, picks)
    return sum(int(((decoded >= first) & (decoded <= last)).sum()) for first, last in runs)


def _read(media: Media, record: VideoRecord, picks: list[int]) -> Iterator[Picked]:
    files = media.frame_files()
    if files is not None:
        yield from _from_files(media, files, picks)
        return
    with open_video(media) as (container, stream):
        if record.packets is None:
            yield from _by_counting(container.decode(stream), picks)
        else:
            yield from _by_packets(container, stream, record, picks)


def _from_files(media: Media, files: list[str], picks: list[int]) -> Iterator[Picked]:
    """Of frames in files of their own only the picked ones are read."""
    if picks[-1] >= len(files):
        raise VideoDecodeError(media.path, 0, f"it has {len(files)} frames, of which number {picks[-1]} was picked")
    content = io.BytesIO(frames_stream([files[t] for t in picks], media.path))
    with av.open(content, "r", metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        yield from zip(picks, container.decode(stream), strict=False)


def _by_counting(frames: Iterator[av.VideoFrame], picks: list[int]) -> Iterator[Picked]:
    wanted = set(picks)
    for t, frame in enumerate(frames):
        if t in wanted:
            yield t, frame
        if t == picks[-1]:
            return


def _by_packets(
    container: av.container.InputContainer, stream: av.VideoStream, record: VideoRecord, picks: list[int]
) -> Iterator[Picked]:
    assert record.packets is not None
    number_packets(stream)
    context = stream.codec_context
    pick_of = {int(record.packets[pick]): pick for pick in picks}
    spare = set(record.packets[~record.referenced].tolist()) - pick_of.keys()
    packets = enumerate(packet for packet in container.demux(stream) if packet.size)
    for first, last in needed_packets(record, picks):
        for number, packet in packets:
            if number < first:
                continue
            mark_packet(packet, number)
            # The decoder has the last word on what nothing refers to.
            context.skip_frame = "NONREF" if number in spare else "DEFAULT"
            yield from _those_picked(context.decode(packet), pick_of)
            if number == last:
                break
        # What the decoder still holds back for its order; then it is ready for the next key frame.
        yield from _those_picked(context.decode(None), pick_of)
        context.flush_buffers()


def _those_picked(frames: list[av.VideoFrame], pick_of: dict[int, int]) -> Iterator[Picked]:
    for frame in frames:
        number = packet_of(frame)
        if number in pick_of:
            yield pick_of[number], frame
