"""Copies of videos whose packets are left out, changed or replaced, without decoding them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import av
from av.bitstream import BitStreamFilterContext

# In quotes: PyAV's class takes no arguments at run time.
Packet: TypeAlias = "av.Packet[av.VideoStream]"


def packets_of(path: Path) -> list[Packet]:
    """Return the packets of a video's first video stream that have content."""
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(container.streams.video[0]) if packet.size]


def copy_video(
    source: Path,
    target: Path,
    *,
    change: Callable[[int, Packet], Iterable[Packet]] = lambda _, packet: [packet],
    bitstream_filter: str = "",
    options: dict[str, str] | None = None,
) -> Path:
    """Copy a video to another container.

    Args:
        source: The video.
        target: Path of the copy; its suffix selects the container.
        change: Function that gets the number of each packet, from 0, and the packet. It returns what is written
            instead.
        bitstream_filter: FFmpeg's description of a bitstream filter, through which the packets go afterwards; empty for
            no filter.
        options: FFmpeg's options for writing the container.
    """
    with av.open(str(source)) as before, av.open(str(target), "w", container_options=options or {}) as after:
        stream = before.streams.video[0]
        out = after.add_stream_from_template(stream)
        described = BitStreamFilterContext(bitstream_filter, stream, out) if bitstream_filter else None
        for number, packet in enumerate(packet for packet in before.demux(stream) if packet.size):
            for changed in change(number, packet):
                for copied in [changed] if described is None else described.filter(changed):
                    copied.stream, copied.time_base = out, stream.time_base
                    after.mux(copied)
    return target


def header_first(source: Path, target: Path) -> bytes:
    """Copy an MP4 file so that its header precedes the packets, and return the content of the copy."""
    return copy_video(source, target, options={"movflags": "faststart"}).read_bytes()
