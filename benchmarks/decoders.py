"""Decoders to compare the GPU route with: SPDL, PyNvVideoCodec and torchcodec, each with NVIDIA's video decoder.

They do not share the limits of DALI's decoder. Each returns the picked frames of a video as RGB on the GPU. The picks
are known beforehand: no decoder measures motion. Each thread has its own decoder and its own CUDA stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.dlpack import from_dlpack

__all__ = [
    "CROP",
    "DECODERS",
    "RESIZE",
    "Baseline",
    "Picked",
    "Video",
    "frames_from_key_frames",
    "nv12_to_rgb",
    "restored",
]

RESIZE, CROP = 256, 224
"""Size of the clips in pixels: the shorter side after resizing, and the side of the square cut from the centre."""
_AT_ONCE = 16
"""Number of frames that are asked for at once where frames come in batches."""
_CACHED = 64
"""Number of hardware decoders that torchcodec may keep."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """A video and what the decoders need to know about it.

    Attributes:
        path: Path of the file.
        codec: FFmpeg's name of the codec.
        width, height: Size of the frames, in pixels, even.
        num_frames: Number of frames.
        picks: Indices of the picked frames, in increasing order; a frame may be picked several times.
        from_key_frames: Number of frames from each needed key frame to the last pick that depends on it.
        bt709: Whether colours follow BT.709; otherwise they follow BT.601.
        full_range: Whether luma ranges from 0 to 255; otherwise it ranges from 16 to 235.
        reference: Path of the clip that the CPU route makes of the picks (``.npy``, uint8 ``[N, 3, H, W]``).
    """

    path: str
    codec: str
    width: int
    height: int
    num_frames: int
    picks: tuple[int, ...]
    from_key_frames: int
    bt709: bool
    full_range: bool
    reference: str | None = None


class Picked(NamedTuple):
    """The picked frames of a video.

    Attributes:
        frames: RGB, uint8 ``[N, 3, H, W]``, on the GPU.
        decoded: Number of frames that were decoded for them; None if the library does not tell.
    """

    frames: torch.Tensor
    decoded: int | None


class Decoder(Protocol):
    """The decoder of one thread, which is used with the thread's CUDA stream as the current one."""

    def every(self, video: Video) -> Picked:
        """Decode all frames of a video, as for measuring motion, and return the picked ones."""

    def needed(self, video: Video) -> Picked:
        """Decode what the library decodes if it is asked for the picked frames only."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A library to compare with.

    Attributes:
        module: Module to import, whose version is reported.
        make: Creates the decoder of a thread, given the largest width and height of coded frames.
        every: What is timed if all frames are decoded.
        needed: What is timed if only the needed frames are decoded.
    """

    module: str
    make: Callable[[int, int], Decoder]
    every: str
    needed: str


# --- Arithmetic ------------------------------------------------------------------------------------------------------


def frames_from_key_frames(picks: Iterable[int], key_frames: Sequence[int]) -> int:
    """Return the number of frames to decode if decoding begins at the last key frame before each pick.

    If there is no key frame between two picks, the frames between them are decoded only once.

    Args:
        picks: Indices of the picked frames.
        key_frames: Indices of the frames at which decoding can begin, in increasing order; if the first pick is before
            all of them, decoding begins at frame 0.
    """
    last: dict[int, int] = {}
    for pick in picks:
        start = max((key for key in key_frames if key <= pick), default=0)
        last[start] = max(last.get(start, pick), pick)
    return sum(pick - start + 1 for start, pick in last.items())


def restored(distinct: Sequence[int], picks: Sequence[int]) -> list[int]:
    """Return the position of each pick among the distinct picks."""
    places = {pick: place for place, pick in enumerate(distinct)}
    return [places[pick] for pick in picks]


def nv12_to_rgb(frames: torch.Tensor, *, bt709: bool, full_range: bool) -> torch.Tensor:
    """Convert frames from NV12 to RGB. Each chroma sample is used for its four pixels, without interpolation.

    Args:
        frames: uint8 ``[N, 3 H / 2, W]``: H rows of luma, then H / 2 rows in which Cb and Cr alternate; even H, W.
        bt709: Whether the colours follow BT.709; otherwise they follow BT.601.
        full_range: Whether luma ranges from 0 to 255 and chroma from 0 to 255; otherwise from 16 to 235 and to 240.

    Returns:
        uint8 ``[N, 3, H, W]``.
    """
    count, rows, width = frames.shape
    height = rows * 2 // 3
    luma = frames[:, :height].float()
    chroma = frames[:, height:].view(count, height // 2, width // 2, 2).float() - 128
    chroma = chroma.repeat_interleave(2, 1).repeat_interleave(2, 2)
    if not full_range:
        luma = (luma - 16) * (255 / 219)
        chroma = chroma * (255 / 224)
    red, blue = (0.2126, 0.0722) if bt709 else (0.299, 0.114)
    green = 1 - red - blue
    cb, cr = chroma.unbind(-1)
    r = luma + 2 * (1 - red) * cr
    b = luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / green
    return torch.stack([r, g, b], 1).round_().clamp_(0, 255).to(torch.uint8)


# --- SPDL ------------------------------------------------------------------------------------------------------------


class Spdl:
    """SPDL's ``NvDecDecoder``. It returns NV12; only the picked frames are converted to RGB, by torch."""

    def __init__(self, max_width: int, max_height: int) -> None:
        import spdl.io

        self._io: Any = spdl.io
        allocator = (torch.cuda.caching_allocator_alloc, torch.cuda.caching_allocator_delete)
        stream = torch.cuda.current_stream().cuda_stream
        self._config = self._io.cuda_config(device_index=0, stream=stream, allocator=allocator)

    def every(self, video: Video) -> Picked:
        packets = self._io.demux_video(video.path)
        codec = packets.codec
        if video.codec in ("h264", "hevc"):
            packets = self._io.apply_bsf(packets, f"{video.codec}_mp4toannexb")
        # The thread's decoder, which SPDL keeps and reconfigures.
        decoder = self._io.nvdec_decoder(self._config, codec)
        frames = self._io.to_torch(decoder.decode_packets(packets))
        return Picked(self._rgb(frames[list(video.picks)], video), len(frames))

    def needed(self, video: Video) -> Picked:
        wanted = sorted(set(video.picks))
        found: list[torch.Tensor] = []
        decoded = 0
        stream = self._io.streaming_load_video_nvdec(video.path, self._config, num_frames=_AT_ONCE)
        with closing(stream):
            for batch in stream:
                frames = self._io.to_torch(batch)
                found += [frames[pick - decoded] for pick in wanted if decoded <= pick < decoded + len(frames)]
                decoded += len(frames)
                if decoded > wanted[-1]:
                    break
        return Picked(self._rgb(torch.stack(found)[restored(wanted, video.picks)], video), decoded)

    def _rgb(self, frames: torch.Tensor, video: Video) -> torch.Tensor:
        expected = (len(video.picks), video.height * 3 // 2, video.width)
        if tuple(frames.shape) != expected:
            raise ValueError(f"SPDL returned frames of the shape {tuple(frames.shape)}, not {expected}")
        return nv12_to_rgb(frames, bt709=video.bt709, full_range=video.full_range)


# --- PyNvVideoCodec --------------------------------------------------------------------------------------------------


class PyNvVideoCodec:
    """PyNvVideoCodec's ``SimpleDecoder``, reconfigured for each file, as in NVIDIA's sample for many files."""

    def __init__(self, max_width: int, max_height: int) -> None:
        import PyNvVideoCodec

        self._library: Any = PyNvVideoCodec
        self._max_width, self._max_height = max_width, max_height
        self._decoder: Any = None

    def every(self, video: Video) -> Picked:
        decoder = self._opened(video.path)
        wanted = sorted(set(video.picks))
        found: list[torch.Tensor] = []
        decoded = 0
        while decoded < video.num_frames:
            frames = decoder.get_batch_frames(_AT_ONCE)
            if not frames:
                break
            # The next call overwrites the frames.
            found += [
                from_dlpack(frames[pick - decoded]).clone()
                for pick in wanted
                if decoded <= pick < decoded + len(frames)
            ]
            decoded += len(frames)
        return Picked(self._picked(found, wanted, video), decoded)

    def needed(self, video: Video) -> Picked:
        # Repeated indices are dropped by the library.
        wanted = sorted(set(video.picks))
        frames = self._opened(video.path).get_batch_frames_by_index(wanted)
        return Picked(self._picked([from_dlpack(frame).clone() for frame in frames], wanted, video), None)

    def _opened(self, path: str) -> Any:
        if self._decoder is None:
            self._decoder = self._library.SimpleDecoder(
                path,
                gpu_id=0,
                cuda_stream=torch.cuda.current_stream().cuda_stream,
                use_device_memory=True,
                max_width=self._max_width,
                max_height=self._max_height,
                output_color_type=self._library.OutputColorType.RGB,
            )
        else:
            # The decoder reuses its memory, so earlier work on its frames must be finished.
            torch.cuda.current_stream().synchronize()
            self._decoder.reconfigure_decoder(path)
        return self._decoder

    @staticmethod
    def _picked(found: list[torch.Tensor], wanted: list[int], video: Video) -> torch.Tensor:
        if len(found) != len(wanted):
            raise ValueError(f"PyNvVideoCodec returned {len(found)} of {len(wanted)} frames")
        return torch.stack(found).permute(0, 3, 1, 2)[restored(wanted, video.picks)]


# --- torchcodec ------------------------------------------------------------------------------------------------------


class TorchCodec:
    """torchcodec's ``VideoDecoder`` on CUDA, a new one for each file; it keeps hardware decoders by itself."""

    def __init__(self, max_width: int, max_height: int) -> None:
        from torchcodec import decoders

        self._library: Any = decoders
        # Its default is less than one decoder for each thread and size of videos. Older versions have no such function.
        if set_capacity := getattr(decoders, "set_nvdec_cache_capacity", None):
            set_capacity(_CACHED)

    def every(self, video: Video) -> Picked:
        frames = self._opened(video.path).get_all_frames().data
        return Picked(frames[list(video.picks)], len(frames))

    def needed(self, video: Video) -> Picked:
        frames = self._opened(video.path).get_frames_at(indices=list(video.picks)).data
        return Picked(frames, video.from_key_frames)

    def _opened(self, path: str) -> Any:
        decoder = self._library.VideoDecoder(path, device="cuda", seek_mode="exact")
        if fallback := getattr(decoder, "cpu_fallback", None):
            raise ValueError(f"torchcodec does not decode on the GPU: {fallback}")
        return decoder


DECODERS: dict[str, Baseline] = {
    "spdl": Baseline(
        module="spdl.io",
        make=Spdl,
        every="decoding all frames to NV12; of the picked frames: conversion to RGB, resizing, centre crop",
        needed="decoding from frame 0 to the last pick to NV12; of the picked frames: conversion to RGB, resizing, "
        "centre crop; decoded frames are counted",
    ),
    "pynvvideocodec": Baseline(
        module="PyNvVideoCodec",
        make=PyNvVideoCodec,
        every="decoding all frames and converting them to RGB; of the picked frames: resizing, centre crop",
        needed="get_batch_frames_by_index of the picked frames, in RGB; resizing, centre crop; the library does not "
        "tell how many frames it decodes",
    ),
    "torchcodec": Baseline(
        module="torchcodec",
        make=TorchCodec,
        every="scanning the file's packets, decoding all frames and converting them to RGB; of the picked frames: "
        "resizing, centre crop",
        needed="scanning the file's packets, get_frames_at of the picked frames, in RGB; resizing, centre crop; "
        "decoded frames are computed from the key frames, not counted",
    ),
}
"""The libraries by name."""
