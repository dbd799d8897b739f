"""The packets of an open container by their numbers, with jumps over long parts that are not needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np

from mgdali.video.opening import TIMED_CONTAINERS
from mgdali.video.packets import number_packets, read_packets
from mgdali.video.record import VideoRecord

__all__ = ["NumberedPackets", "SeekError"]

# Fewer packets are read past: a jump reads the container's index and drops what was read ahead.
_LEAST_JUMP = 250
# Number of packets to read after a jump until the key frame must come.
_MOST_AFTER_JUMP = 2000


class SeekError(Exception):
    """A jump in a container did not lead to the expected key frame."""


class NumberedPackets:
    """The packets of a stream with their numbers, which count from the first packet of the file.

    Packets that are not needed are read past, so no container needs to support seeking. Only in MP4 and Matroska, whose
    packets have reliable times, a jump leads over many packets. The packet after the jump is identified by its time.

    Args:
        container: The open container, from which nothing was read.
        stream: Its video stream.
        record: Record of the video, with the times of its key frames; None to jump never.
    """

    def __init__(
        self, container: av.container.InputContainer, stream: av.VideoStream, record: VideoRecord | None
    ) -> None:
        number_packets(stream)
        self.stream = stream
        self._container = container
        self._record = record if container.format.name in TIMED_CONTAINERS else None
        self._packets = self._read()
        self._next = 0

    def run(self, first: int, last: int) -> Iterator[tuple[int, av.Packet[Any]]]:
        """Yield the packets from number ``first`` to ``last``. Runs must be asked for in increasing order.

        Raises:
            SeekError: If a jump did not lead to packet ``first``, which must be of a key frame.
            av.error.FFmpegError: If a packet cannot be read.
        """
        if first - self._next >= _LEAST_JUMP:
            self._jump(first)
        for packet in self._packets:
            number, self._next = self._next, self._next + 1
            if number >= first:
                yield number, packet
            if number == last:
                return

    def _read(self) -> Iterator[av.Packet[Any]]:
        return (packet for packet in read_packets(self._container, self.stream) if packet.size)

    def _jump(self, first: int) -> None:
        """Continue with packet ``first``, if its time is known."""
        time = self._time_of(first)
        if time is None:
            return
        try:
            self._container.seek(time, stream=self.stream)
        except (av.error.FFmpegError, OSError) as error:
            raise SeekError from error
        packets = self._read()
        for _, packet in zip(range(_MOST_AFTER_JUMP), packets, strict=False):
            if packet.pts == time and packet.is_keyframe:
                self._packets = _with_first(packet, packets)
                self._next = first
                return
            if packet.pts is None or (packet.is_keyframe and packet.pts > time):
                break
        raise SeekError

    def _time_of(self, number: int) -> int | None:
        """Return the presentation time of a packet that contains a key frame; None if it is not known."""
        record = self._record
        if record is None or record.packets is None:
            return None
        keys = record.key_frames
        at = int(np.searchsorted(record.packets[keys], number))
        if at == len(keys) or record.packets[keys[at]] != number:
            return None
        return record.time_of_key(int(keys[at]))


def _with_first(packet: av.Packet[Any], others: Iterator[av.Packet[Any]]) -> Iterator[av.Packet[Any]]:
    yield packet
    yield from others
