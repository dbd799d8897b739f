"""Which peers there are: what each needs, and what its picks are held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["ours", "documented", "by hand", "floor"]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One loader of the comparison.

    Attributes:
        name: as it is chosen and shown.
        maker: the module below ``peers`` and its function that takes a task and paths and returns a loader. The module
            is imported in the peer's own process only.
        kind: "documented" is used as its documentation advises; "by hand" is what one can write without us; "floor"
            decodes and does nothing else.
        needs: packages beyond our own dependencies, as they are imported.
        extra: what installs them.
        luma: whether its motion is of the decoder's luma plane or of RGB frames; None where it picks nothing.
        tolerance: frames that its picks may be off, where its RGB or its weights of R, G and B are not the reference's.
        index: whether it is given a motion index.
        gpu: whether it needs an NVIDIA GPU.
        borrows_ffmpeg: whether its package brings no FFmpeg, so that it is lent PyAV's.
    """

    name: str
    maker: str
    kind: Kind = "documented"
    needs: tuple[str, ...] = ()
    extra: str = "bench"
    luma: Literal["plane", "rgb"] | None = "rgb"
    tolerance: int = 1
    index: bool = False
    gpu: bool = False
    borrows_ffmpeg: bool = False


_ALL = [
    Peer(name="mgdali", maker="ours:without_index", kind="ours", luma="plane", tolerance=0),
    Peer(name="mgdali-index", maker="ours:with_index", kind="ours", luma="plane", tolerance=0, index=True),
    Peer(name="dataloader-pyav", maker="dataloader:pyav", needs=("av",)),
    Peer(name="dataloader-opencv", maker="dataloader:opencv", needs=("cv2",)),
    Peer(name="dataloader-decord", maker="dataloader:decord", needs=("decord",)),
    Peer(name="dataloader-torchcodec", maker="dataloader:torchcodec", needs=("torchcodec",), borrows_ffmpeg=True),
    Peer(name="spdl", maker="spdl_threads:SpdlLoader", needs=("spdl.io",), borrows_ffmpeg=True),
    Peer(name="dataloader-pyav-luma", maker="dataloader:pyav_luma", kind="by hand", luma="plane", tolerance=0),
    Peer(name="decode-only", maker="floor:decode_only", kind="floor", luma=None),
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
