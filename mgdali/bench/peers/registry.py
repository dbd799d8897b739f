"""All peers: the packages that each needs, and the reference that its picks are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HeldTo = Literal["plane", "rgb", "feature", "segment"]
Preset = Literal["small", "fast", "archive"]
Kind = Literal["ours", "documented", "by hand", "floor"]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One loader of the comparison.

    Attributes:
        name: Name on the command line and in the tables.
        maker: ``module:function`` below ``mgdali.bench.peers``. The function takes a task and paths and returns a
            loader. Only the peer's own process imports the module.
        kind: ``"ours"`` is this project; ``"documented"`` is used as its documentation advises; ``"by hand"`` is code
            that a user can write; ``"floor"`` only decodes.
        needs: Modules to import beyond this project's own dependencies.
        extra: Extra of this project that installs them.
        held_to: Reference that the picks are compared with: motion of the decoder's luma plane, of RGB frames, at the
            feature level, or the picks of segment sampling; None if the peer does not pick.
        tolerance: Largest accepted difference of a pick, in frames, for peers whose RGB conversion or luma weights
            differ from the reference's.
        index: Whether the peer uses a motion index.
        preset: Preset of the packed data set that the peer loads; None if it loads the originals.
        gpu: Whether the peer needs an NVIDIA GPU.
        borrows_ffmpeg: Whether the package contains no FFmpeg, so that PyAV's libraries are made available to it.
    """

    name: str
    maker: str
    kind: Kind = "documented"
    needs: tuple[str, ...] = ()
    extra: str = "bench"
    held_to: HeldTo | None = "rgb"
    tolerance: int = 1
    index: bool = False
    preset: Preset | None = None
    gpu: bool = False
    borrows_ffmpeg: bool = False


_ALL = [
    Peer(name="mgdali", maker="ours:without_index", kind="ours", held_to="plane", tolerance=0),
    Peer(name="mgdali-index", maker="ours:with_index", kind="ours", held_to="plane", tolerance=0, index=True),
    Peer(name="mgdali-packed", maker="ours:packed", kind="ours", held_to="plane", tolerance=0, preset="small"),
    Peer(name="mgdali-packed-fast", maker="ours:packed", kind="ours", held_to="plane", tolerance=0, preset="fast"),
    Peer(name="mgdali-feature", maker="ours:feature", kind="ours", held_to="feature"),
    Peer(name="mgdali-segment", maker="ours:segment", kind="ours", held_to="segment", tolerance=0),
    Peer(name="dataloader-pyav", maker="dataloader:pyav", needs=("av",)),
    Peer(name="dataloader-opencv", maker="dataloader:opencv", needs=("cv2",)),
    Peer(name="dataloader-decord", maker="dataloader:decord", needs=("decord",)),
    Peer(name="dataloader-torchcodec", maker="dataloader:torchcodec", needs=("torchcodec",), borrows_ffmpeg=True),
    Peer(name="spdl", maker="spdl_threads:SpdlLoader", needs=("spdl.io",), borrows_ffmpeg=True),
    Peer(name="dataloader-pyav-luma", maker="dataloader:pyav_luma", kind="by hand", held_to="plane", tolerance=0),
    Peer(
        name="torchcodec-known-picks",
        maker="known_picks:torchcodec",
        kind="by hand",
        needs=("torchcodec",),
        held_to="plane",
        tolerance=0,
        preset="small",
        borrows_ffmpeg=True,
    ),
    Peer(name="decode-only", maker="floor:decode_only", kind="floor", held_to=None),
    Peer(name="mgdali-cuda", maker="ours:on_cuda", kind="ours", gpu=True),
    Peer(
        name="torchcodec-cuda",
        maker="nvidia_threads:torchcodec",
        needs=("torchcodec",),
        gpu=True,
        borrows_ffmpeg=True,
    ),
    Peer(
        name="pynvvideocodec",
        maker="nvidia_threads:pynvvideocodec",
        needs=("PyNvVideoCodec",),
        extra="bench-gpu",
        gpu=True,
    ),
    Peer(
        name="dali-readers-video", maker="dali_reader:readers_video", needs=("nvidia.dali",), extra="cuda12", gpu=True
    ),
]
PEERS: dict[str, Peer] = {peer.name: peer for peer in _ALL}
