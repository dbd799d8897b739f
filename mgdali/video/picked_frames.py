"""Decoding only the frames that known picks need.

Decoding begins at the key frame before a pick and ends at the pick. Frames that no other frame refers to are skipped.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import av
import av.error
import numpy as np

from mgdali.errors import VideoDecodeError
from mgdali.video.containers import open_container
from mgdali.video.frames import ffmpeg_message
from mgdali.video.kept_frames import frame_checksum
from mgdali.video.media import Media, frames_stream
from mgdali.video.numbered_packets import NumberedPackets, SeekError
from mgdali.video.opening import open_video
from mgdali.video.packet_bytes import Run, knows_packets, read_runs
from mgdali.video.packets import (
    decode_packets,
    mark_packet,
    packet_decoder,
    packet_of,
)
from mgdali.video.record import VideoRecord

__all__ = ["Picked", "frames_needed", "needed_packets", "read_checked", "read_picked"]

Picked = tuple[int, av.VideoFrame]
"""Index of a picked frame in the video, and the decoded frame."""


def read_picked(media: Media, record: VideoRecord, picks: list[int]) -> Iterator[Picked]:
    """Decode the picked frames of a video. They are byte for byte those of decoding the whole video.

    Args:
        media: The video.
        record: Record of the video, which must match its content.
        picks: Indices of the frames, increasing, without repetitions, at least one.

    Yields:
        The picks in order, each with its frame as decoded.

    Raises:
        VideoDecodeError: If the video cannot be read or does not give all of these frames. Decoding all frames may
            still succeed.
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
        raise VideoDecodeError(media.path, count, f"the decoder returned {count} of the {len(picks)} picked frames")


def read_checked(
    media: Media, record: VideoRecord, picks: list[int], checksums: Sequence[int], *, first: int
) -> Iterator[Picked]:
    """Decode the picked frames of a video as :func:`read_picked`, and compare them with those of an earlier decoding.

    In a damaged video, frames may differ if decoding begins in the middle.

    Args:
        media, record, picks: As for :func:`read_picked`.
        checksums: Checksums of frames of the video when all of it was decoded (:func:`frame_checksum`).
        first: Index of the frame that ``checksums[0]`` belongs to.

    Yields:
        The picks in order, each with its frame as decoded.

    Raises:
        VideoDecodeError: As :func:`read_picked`, and if a frame differs.
    """
    for pick, frame in read_picked(media, record, picks):
        if frame_checksum(frame) != checksums[pick - first]:
            raise VideoDecodeError(media.path, pick, "it gives other frames if it is decoded in part")
        yield pick, frame


def needed_packets(record: VideoRecord, picks: list[int]) -> list[tuple[int, int]]:
    """Return the runs of packets to decode, as numbers of the first and the last packet of each, increasing.

    Each run begins at a key frame and ends at a pick. Runs that touch are joined.

    Args:
        record: Record of the video; its ``packets`` must not be None.
        picks: Indices of the frames.
    """
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
    """Return the number of frames that are decoded for ``picks``, which must be increasing and without repetitions."""
    if record.packets is None:
        return picks[-1] + 1
    referenced = record.referenced.copy()
    referenced[picks] = True
    decoded = record.packets[referenced]
    runs = needed_packets(record, picks)
    return sum(int(((decoded >= first) & (decoded <= last)).sum()) for first, last in runs)


def _read(media: Media, record: VideoRecord, picks: list[int]) -> Iterator[Picked]:
    """Decode the picked frames in the way that suits the video, and keep their size and format."""
    files = media.frame_files()
    if files is not None:
        yield from _from_files(media, files, picks)
        return
    if knows_packets(record):
        yield from _without_container(media, record, picks)
        return
    if record.packets is None:
        with open_video(media) as (container, stream):
            yield from _by_counting(decode_packets(container, stream, None), picks)
        return
    missing = list(picks)
    try:
        with open_video(media) as (container, stream):
            for pick, frame in _by_packets(NumberedPackets(container, stream, record), record, picks):
                missing.remove(pick)
                yield pick, frame
    except SeekError:
        # Reading past all packets needs no container that can be searched.
        with open_video(media) as (container, stream):
            yield from _by_packets(NumberedPackets(container, stream, None), record, missing)


def _from_files(media: Media, files: list[str], picks: list[int]) -> Iterator[Picked]:
    """Read only the JPEG files of the picked frames, and decode them."""
    if picks[-1] >= len(files):
        raise VideoDecodeError(media.path, 0, f"it has {len(files)} frames, but frame {picks[-1]} was picked")
    content = io.BytesIO(frames_stream([files[t] for t in picks], media.path))
    with open_container(content, media.path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        yield from zip(picks, container.decode(stream), strict=False)


def _by_counting(frames: Iterator[av.VideoFrame], picks: list[int]) -> Iterator[Picked]:
    """Decode from the first frame to the last pick, if it is unknown which packet contains which frame."""
    wanted = set(picks)
    for t, frame in enumerate(frames):
        if t in wanted:
            yield t, frame
        if t == picks[-1]:
            return


def _by_packets(packets: NumberedPackets, record: VideoRecord, picks: list[int]) -> Iterator[Picked]:
    """Decode the runs of packets that the picks need, without frames that no other frame refers to."""
    assert record.packets is not None
    context = packets.stream.codec_context
    pick_of = {int(record.packets[pick]): pick for pick in picks}
    runs = needed_packets(record, picks)
    unreferenced = _unreferenced(record, runs) - pick_of.keys()
    for first, last in runs:
        for number, packet in packets.run(first, last):
            mark_packet(packet, number)
            # The decoder skips the frame only if it too finds that no other frame refers to it.
            context.skip_frame = "NONREF" if number in unreferenced else "DEFAULT"
            yield from _only_picked(context.decode(packet), pick_of)
        # Get the frames that the decoder delays for reordering, and reset it for the next key frame.
        yield from _only_picked(context.decode(None), pick_of)
        context.flush_buffers()


def _unreferenced(record: VideoRecord, runs: list[Run]) -> set[int]:
    """Return the packets of runs whose frames no other frame refers to."""
    assert record.packets is not None
    candidates = record.packets[~record.referenced]
    wanted = np.zeros(len(candidates), bool)
    for first, last in runs:
        wanted |= (candidates >= first) & (candidates <= last)
    return set(candidates[wanted].tolist())


def _without_container(media: Media, record: VideoRecord, picks: list[int]) -> Iterator[Picked]:
    """Read only the runs of packets that the picks need, and decode them, except for frames that nothing refers to."""
    assert record.packets is not None
    pick_of = {int(record.packets[pick]): pick for pick in picks}
    runs = needed_packets(record, picks)
    skipped = _unreferenced(record, runs) - pick_of.keys()
    contents = read_runs(media, record, runs)
    context = packet_decoder(record.codec, record.extradata)
    for first, last in runs:
        for number in range(first, last + 1):
            if number not in skipped:
                packet = av.Packet(contents[number])
                mark_packet(packet, number)
                yield from _only_picked(context.decode(packet), pick_of)
        # Without this, frames of an open group would be decoded from frames of the run before, without an error.
        yield from _only_picked(context.decode(None), pick_of)
        context.flush_buffers()


def _only_picked(frames: list[av.VideoFrame], pick_of: dict[int, int]) -> Iterator[Picked]:
    """Yield the picked ones of some frames; ``pick_of`` maps the packet's number to the pick."""
    for frame in frames:
        number = packet_of(frame)
        if number in pick_of:
            yield pick_of[number], frame
