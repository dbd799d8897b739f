"""VP9 videos whose damage only a decoder finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import av.error

VP9: dict[str, Any] = {
    "codec": "libvpx-vp9",
    "options": {"crf": "20", "b": "0", "cpu-used": "8", "auto-alt-ref": "0"},
}
"""Arguments of ``write_video`` for VP9 without hidden frames, which the graph would leave to PyAV."""

# Where the tiles of a packet of a small video may begin.
_OFFSETS = range(120, 12, -1)


def write_broken_vp9(source: Path, path: Path, packet: int) -> Path:
    """Copy a VP9 file, and change a byte of one packet so that decoding that packet fails.

    The byte is as far behind the packet's headers as possible: the file and the headers look intact.

    Args:
        source: The intact file.
        path: The new file.
        packet: Number of the packet that is damaged, from 0.
    """
    content = source.read_bytes()
    with av.open(str(source)) as container:
        place = [packet for packet in container.demux(video=0) if packet.size][packet]
        start = content.index(bytes(place))
    for offset in _OFFSETS:
        broken = bytearray(content)
        if offset < place.size:
            broken[start + offset] = 0xFF
            path.write_bytes(bytes(broken))
            if _frames_before_error(path) == packet:
                return path
    raise AssertionError(f"no byte of packet {packet} of {source} breaks the decoder")


def _frames_before_error(path: Path) -> int | None:
    """Return the number of frames that are decoded before an error; None without an error."""
    count = 0
    with av.open(str(path)) as container:
        try:
            for _ in container.decode(video=0):
                count += 1
        except av.error.InvalidDataError:
            return count
    return None
