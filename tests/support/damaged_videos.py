"""Videos that are damaged in the middle, each with the video that ends where the damage begins."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import av

from tests.support.coded_videos import X264
from tests.support.videos import moving_square, write_video

Damage = Literal["cut", "zeros"]


def write_damaged(folder: Path, damage: Damage, num_packets: int = 25) -> tuple[Path, Path]:
    """Write an H.264 video of 40 frames with B-frames, and return it damaged, and its intact beginning.

    Args:
        folder: The folder of both files.
        damage: ``"cut"``: the file ends in the middle of a packet. ``"zeros"``: a packet is overwritten by zeros.
        num_packets: Number of intact packets.
    """
    whole = write_video(folder / "whole.mp4", moving_square(40, 48, 64), options=X264)
    # The header is moved to the front of the file, where the damage does not reach it.
    damaged = _copy(whole, folder / f"{damage}.mp4", 40)
    with av.open(str(damaged)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][num_packets]
        start, size = packet.pos, packet.size
    assert start is not None
    content = damaged.read_bytes()
    if damage == "cut":
        damaged.write_bytes(content[: start + size // 2])
    else:
        damaged.write_bytes(content[:start] + bytes(size) + content[start + size :])
    return damaged, _copy(whole, folder / "intact.mp4", num_packets)


def _copy(source: Path, path: Path, num_packets: int) -> Path:
    """Copy the first packets of a video into a new file."""
    with av.open(str(source)) as container, av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for number, packet in enumerate(container.demux(stream)):
            if number < num_packets and packet.size:
                packet.stream = copy
                out.mux(packet)
    return path
