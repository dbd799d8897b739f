"""From a video to what enters the DALI graph: its clip, decoded here, or the file as it is, for the GPU to decode.

This is the work of one worker for one video; it knows nothing of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mgdali.decode import Decoder, decoder_words
from mgdali.errors import VideoDecodeError
from mgdali.order import Draw
from mgdali.probe import NvdecTable, nvdec_refusal, probe
from mgdali.samplers import Sampler
from mgdali.transforms import SpatialTransform, Window

__all__ = ["ClipConfig", "ClipJob", "ClipLoader", "ClipResult", "EncodedResult", "Result", "make_loader"]

Allocate = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Gives the memory for what a loader makes, uint8 of the shape asked for."""


@dataclass(frozen=True)
class ClipConfig:
    """What is the same for all clips of a loader; pickled once to each worker.

    Attributes:
        memory_budget: bytes of decoded frames to hold here.
        nvdec: what the GPU decodes; None where everything is decoded here.
        decoded_budget: bytes of decoded frames that the GPU has room for.
    """

    sampler: Sampler
    transform: SpatialTransform
    memory_budget: int
    nvdec: NvdecTable | None = None
    decoded_budget: float = math.inf


@dataclass(frozen=True)
class ClipJob:
    """One video to make a clip of, and the random choices for it."""

    path: str
    choices: Draw


@dataclass(frozen=True)
class ClipResult:
    """What is known of a clip beside its pixels.

    Attributes:
        shape: of the pixels, uint8 ``[N, H, W, 3]``: the crop window and the margin that resizing looks at.
        window: the crop window within these pixels: top, left, bottom, right.
        flip: whether the clip is to be mirrored.
        picks: int64 ``[N]``.
        num_frames: T, frames in the video.
        frames_decoded: frames the decoder put out for it.
    """

    shape: tuple[int, int, int, int]
    window: Window
    flip: bool
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int


@dataclass(frozen=True)
class EncodedResult:
    """What is known of a video whose file goes to the GPU as it is.

    Attributes:
        shape: of the file, uint8 ``[bytes]``.
        window: the crop window: top, left, bottom, right.
        flip: whether the clip is to be mirrored.
        offsets: where frames are to be picked, float64 ``[N]``.
        num_frames: T, as far as is known before decoding.
        decoded_bytes: what the decoded frames take, likewise.
    """

    shape: tuple[int]
    window: Window
    flip: bool
    offsets: NDArray[np.float64]
    num_frames: int
    decoded_bytes: int

    @property
    def frames_decoded(self) -> int:
        """Frames that the GPU's decoder will put out for it."""
        return self.num_frames


Result = ClipResult | EncodedResult


def make_loader(config: ClipConfig) -> ClipLoader | EncodedLoader:
    """The loader that a configuration asks for."""
    return ClipLoader(config) if config.nvdec is None else EncodedLoader(config, config.nvdec)


class ClipLoader:
    """Makes clips, one after another."""

    def __init__(self, config: ClipConfig) -> None:
        self._transform = config.transform
        self._decoder = Decoder(config.sampler, memory_budget=config.memory_budget)

    def load(self, job: ClipJob, allocate: Allocate) -> ClipResult:
        """Decode a video and write its clip.

        Raises:
            VideoDecodeError: the file cannot be decoded.
        """
        video = self._decoder.decode(job.path, job.choices.offsets)
        height, width, _ = next(iter(video.frames.values())).shape
        window = self._transform.window(height, width, job.choices)
        top, left, bottom, right = _with_margin(window, height, width, self._transform.crop_size)
        shape = (len(video.picks), bottom - top, right - left, 3)
        pixels = allocate(shape)
        for i, t in enumerate(video.picks.tolist()):
            pixels[i] = video.frames[t][top:bottom, left:right]
        return ClipResult(
            shape=shape,
            window=Window(window.top - top, window.left - left, window.bottom - top, window.right - left),
            flip=self._transform.flip(job.choices),
            picks=video.picks,
            num_frames=video.num_frames,
            frames_decoded=video.frames_decoded,
        )


class EncodedLoader:
    """Hands files over for the GPU to decode, and makes the clips of those that it cannot."""

    def __init__(self, config: ClipConfig, nvdec: NvdecTable) -> None:
        self._transform = config.transform
        self._nvdec = nvdec
        self._decoded_budget = config.decoded_budget
        self._clips = ClipLoader(config)

    def load(self, job: ClipJob, allocate: Allocate) -> Result:
        """Read a video and write its file, or its clip where NVDEC does not take it or it is too large.

        Raises:
            VideoDecodeError: the file cannot be read or decoded.
        """
        try:
            content = Path(job.path).read_bytes()
        except OSError as error:
            raise VideoDecodeError(job.path, 0, decoder_words(error)) from error
        facts = probe(content, job.path)
        if nvdec_refusal(facts, self._nvdec) is not None or facts.decoded_bytes > self._decoded_budget:
            return self._clips.load(job, allocate)
        shape = (len(content),)
        allocate(shape)[:] = np.frombuffer(content, np.uint8)
        return EncodedResult(
            shape=shape,
            window=self._transform.window(facts.height, facts.width, job.choices),
            flip=self._transform.flip(job.choices),
            offsets=job.choices.offsets,
            num_frames=facts.num_frames,
            decoded_bytes=facts.decoded_bytes,
        )


def _with_margin(window: Window, height: int, width: int, crop_size: int) -> tuple[int, int, int, int]:
    """Whole pixels that resizing the window reads: DALI's antialiasing filter reaches past the window's edge."""
    reach_high = math.ceil(max(1.0, (window.bottom - window.top) / crop_size)) + 1
    reach_wide = math.ceil(max(1.0, (window.right - window.left) / crop_size)) + 1
    return (
        max(0, math.floor(window.top) - reach_high),
        max(0, math.floor(window.left) - reach_wide),
        min(height, math.ceil(window.bottom) + reach_high),
        min(width, math.ceil(window.right) + reach_wide),
    )
