"""Reading the packets that known picks need, without opening the container.

The record of a packed video says where each packet is in the file. So only these bytes are read: one part of the file
per run of packets, and one request per part over a network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgdali.errors import VideoDecodeError
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord

__all__ = ["Run", "knows_packets", "parts_of_runs", "read_runs"]

Run = tuple[int, int]
"""Numbers of the first and the last packet of a run."""

# Up to this many bytes between two runs are read too, because a second read or request costs more. (A request to a
# server takes milliseconds, in which a network transfers much more than the packets of a group.)
_GAP_BYTES = 1024


def knows_packets(record: VideoRecord) -> bool:
    """Return whether a record says where the packets are, and which packet contains which frame."""
    return record.packets is not None and record.packet_offsets is not None and record.packet_sizes is not None


def read_runs(media: Media, record: VideoRecord, runs: Sequence[Run]) -> dict[int, bytes]:
    """Read runs of packets of a video.

    Args:
        media: The video.
        record: Record of the video, with the places of its packets (:func:`knows_packets`).
        runs: Runs of packets, increasing, which do not overlap.

    Returns:
        The content of each packet by its number, in increasing order.

    Raises:
        VideoDecodeError: If the file is missing, cannot be read, or ends before a packet.
    """
    assert record.packet_offsets is not None
    assert record.packet_sizes is not None
    offsets, sizes = record.packet_offsets, record.packet_sizes
    parts = parts_of_runs(record, runs)
    contents = media.read_parts([span for span, _ in parts])
    found: dict[int, bytes] = {}
    for ((start, _), joined), content in zip(parts, contents, strict=True):
        for first, last in joined:
            begins = (offsets[first : last + 1] - start).tolist()
            lengths = sizes[first : last + 1].tolist()
            for number, (begin, length) in enumerate(zip(begins, lengths, strict=True), first):
                found[number] = content[begin : begin + length]
    return found


def parts_of_runs(record: VideoRecord, runs: Sequence[Run]) -> list[tuple[tuple[int, int], list[Run]]]:
    """Return the parts of the file to read: offset and length of each in bytes, and the runs in it.

    Args:
        record: Record of the video, with the places of its packets (:func:`knows_packets`).
        runs: Runs of packets, increasing.

    Raises:
        VideoDecodeError: If the packets of a run are not in the order of their places.
    """
    assert record.packet_offsets is not None
    assert record.packet_sizes is not None
    parts: list[tuple[tuple[int, int], list[Run]]] = []
    for first, last in runs:
        offsets = record.packet_offsets[first : last + 1]
        begin, end = int(offsets[0]), int(offsets[-1]) + int(record.packet_sizes[last])
        if np.any(np.diff(offsets) <= 0):
            raise VideoDecodeError(record.path, 0, f"packets {first} to {last} are not in order in the file")
        if parts and 0 <= begin - sum(parts[-1][0]) <= _GAP_BYTES:
            (offset, _), joined = parts[-1]
            parts[-1] = ((offset, end - offset), [*joined, (first, last)])
        else:
            parts.append(((begin, end - begin), [(first, last)]))
    return parts
