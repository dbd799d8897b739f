"""Files that refer to other files, which FFmpeg would open."""

from __future__ import annotations

from pathlib import Path

from tests.support.videos import moving_square, write_video


def _hls(url: str) -> str:
    return (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:1\n"
        f"#EXTINF:1.0,\n{url}\n#EXT-X-ENDLIST\n"
    )


def _dash(url: str) -> str:
    return (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )


_FFCONCAT = "ffconcat version 1.0\nfile {}\n"
_SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 49170 RTP/AVP 33\n"
_VOBSUB = (
    "# VobSub index file, v7 (do not modify this line!)\nsize: 64x48\nid: en, index: 0\n"
    "timestamp: 00:00:00:000, filepos: 000000000\n"
)
_HERE, _THERE = "target.ts", "{folder}/target.ts"
_SERVER = "{server}/target.ts"

REFERRING = {
    "list.m3u8": _hls(_HERE),
    "absolute.m3u8": _hls(_THERE),
    "server.m3u8": _hls(_SERVER),
    "named-otherwise.mp4": _hls(_HERE),
    "list.mpd": _dash(_HERE),
    "server.mpd": _dash(_SERVER),
    "list.ffconcat": _FFCONCAT.format(_HERE),
    "server.ffconcat": _FFCONCAT.format(_SERVER),
    "concat-named-otherwise.mp4": _FFCONCAT.format(_HERE),
    "stream.sdp": _SDP,
    "subtitles.idx": _VOBSUB,
}
"""Texts of the files by name."""


def write_referring_files(folder: Path, server: str) -> dict[str, Path]:
    """Write a video, ``target.ts``, and all files that refer to it. Return the paths of these by name.

    Args:
        folder: The folder of all files.
        server: URL of a server of this folder.
    """
    write_video(folder / "target.ts", moving_square(9, 48, 64))
    for name, text in REFERRING.items():
        (folder / name).write_text(text.replace("{folder}", str(folder)).replace("{server}", server))
    return {name: folder / name for name in REFERRING}


def write_external_reference(folder: Path) -> Path:
    """Write a QuickTime file whose frames are in another file, ``frames.mov``. The reference is an alias record."""
    content = write_video(folder / "frames.mov", moving_square(9, 48, 64), codec="png", pixel_format="rgb24")
    target = str(content).encode().replace(b"/", b":")
    target += bytes(len(target) % 2)
    alias = bytes(10 + 1 + 27 + 12 + 1 + 63 + 16 + 4 + 16)
    alias += (2).to_bytes(2, "big") + len(target).to_bytes(2, "big") + target + b"\xff\xff\0\0"
    entry = b"alis" + bytes(4) + alias
    entry = (len(entry) + 4).to_bytes(4, "big") + entry
    own = (12).to_bytes(4, "big") + b"url \0\0\0\1"
    data = bytearray(content.read_bytes())
    start = data.index(own)
    data[start : start + len(own)] = entry
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = data.index(box) - 4
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + len(entry) - len(own)).to_bytes(4, "big")
    # Without the frames themselves.
    frames = data.index(b"mdat") + 4
    size = int.from_bytes(data[frames - 8 : frames - 4], "big") - 8
    data[frames : frames + size] = bytes(size)
    path = folder / "external.mov"
    path.write_bytes(bytes(data))
    return path
