"""The packets that picks of a video need, so that a decoder can decode them as one stream.

A decoder that gets packets of several places in a video as one stream keeps its reference frames from one place to the
next. So decoding must begin at frames after which no frame refers to earlier ones. The key frames of open groups are
not such frames: frames that are stored after them may refer to frames before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.video.bitstream.packet_headers import PacketHeaders
from mgdali.video.media import Media
from mgdali.video.packet_bytes import read_runs
from mgdali.video.picked_frames import needed_packets
from mgdali.video.record import VideoRecord

__all__ = ["NeededPackets", "checked_picks", "frames_to_decode", "read_needed"]

# PyAV's classes are generic for type checkers only.
_Packets: TypeAlias = "Mapping[int, bytes | av.Packet[Any]]"


@dataclass(frozen=True, kw_only=True, eq=False)
class NeededPackets:
    """Packets of a video that were read without its container, for P picks.

    Attributes:
        contents: Content of each packet that was read, by its number, in increasing order.
        picks: Indices of the picked frames in the video, int64 ``[P]``.
        frames: Frames that must be decoded for the picks, int64 ``[N]``, increasing.
        numbers: Number of the packet of each of these frames, int32 ``[N]``, increasing.
    """

    contents: Mapping[int, bytes]
    picks: NDArray[np.int64]
    frames: NDArray[np.int64]
    numbers: NDArray[np.int32]

    @property
    def decoded(self) -> list[bytes]:
        """Content of the packets of the frames that must be decoded, in their order in the file."""
        return [self.contents[number] for number in self.numbers.tolist()]


def read_needed(media: Media, record: VideoRecord, picks: Sequence[int]) -> NeededPackets:
    """Read the packets that picked frames need, and no others unless the video has open groups.

    In a video with open groups, the packets from the first one to the last pick are read.

    Args:
        media: The video.
        record: Record of the video, which must match its content, with the places of its packets
            (:func:`~mgdali.video.packet_bytes.knows_packets`), of one of the codecs of :class:`PacketHeaders`.
        picks: Indices of P >= 1 frames, in any order, also repeated.

    Raises:
        ValueError: If a pick is not a frame of the video.
        VideoDecodeError: If the file is missing, cannot be read, or ends before a packet.
    """
    chosen = checked_picks(record, picks)
    assert record.packets is not None
    headers = PacketHeaders(record.codec, record.extradata or b"")
    runs = needed_packets(record, chosen.tolist())
    contents = read_runs(media, record, runs)
    joinable = needed_packets(_with_starts(record, contents, headers), chosen.tolist())
    if not all(any(a <= first and last <= b for a, b in runs) for first, last in joinable):
        contents = read_runs(media, record, [(0, runs[-1][1])])
    frames = frames_to_decode(record, chosen, contents, headers)
    return NeededPackets(contents=contents, picks=chosen, frames=frames, numbers=np.sort(record.packets[frames]))


def checked_picks(record: VideoRecord, picks: Sequence[int]) -> NDArray[np.int64]:
    """Return the picks of a video, int64 ``[P]``.

    Raises:
        ValueError: If ``record.packets`` is None, there are no picks, or a pick is not a frame of the video.
    """
    if record.packets is None:
        raise ValueError(
            f"{record.path}: its packets and frames are not one to one, so the packets of the picks are unknown"
        )
    chosen = np.asarray(picks, np.int64)
    if not chosen.size or chosen.min() < 0 or chosen.max() >= record.num_frames:
        raise ValueError(f"{record.path}: picks must be frames from 0 to {record.num_frames - 1}, got {list(picks)}")
    return chosen


def frames_to_decode(
    record: VideoRecord, picks: NDArray[np.int64], packets: _Packets, headers: PacketHeaders
) -> NDArray[np.int64]:
    """Return the frames that must be decoded for picks if their packets are joined, int64 ``[N]``, increasing.

    These are, for each pick, the frames from the last one at which decoding can begin
    (:meth:`PacketHeaders.decoding_can_begin`) to the pick, without frames that no other frame refers to unless they are
    picked.

    Args:
        record: Record of the video; its ``packets`` must not be None.
        picks: Indices of P frames.
        packets: Packets by number: those of the key frames at which decoding may have to begin.
        headers: Reader of the packets' headers.
    """
    assert record.packets is not None
    wanted = record.referenced.copy()
    wanted[picks] = True
    needed = np.zeros(record.num_frames, bool)
    for first, last in needed_packets(_with_starts(record, packets, headers), picks.tolist()):
        needed |= (record.packets >= first) & (record.packets <= last)
    return np.flatnonzero(wanted & needed)


def _with_starts(record: VideoRecord, packets: _Packets, headers: PacketHeaders) -> VideoRecord:
    """Return a record whose key frames are those frames among some packets at which decoding can begin."""
    assert record.packets is not None
    numbers = zip(record.key_frames.tolist(), record.packets[record.key_frames].tolist(), strict=True)
    starts = [
        key for key, number in numbers if number in packets and headers.decoding_can_begin(bytes(packets[number]))
    ]
    return replace(record, key_frames=np.array(starts, np.int32))
