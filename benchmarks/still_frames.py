"""Still frames with a video's own noise, and the order in which they extend it at the beginning and at the end.

A camera that rests records the same picture again and again, each time with other noise. Such frames are made here from
a video's first and last frame. Their noise comes from the video itself: differences between its frames, from blocks in
which nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.video.frames import read_frames

__all__ = ["START", "VARIANTS", "Frames", "noisy_copies", "order_of", "read_yuv", "with_copies", "write_lossless"]

VARIANTS = 8
"""Number of different still frames at each end. They are repeated in turn."""

START = 1 + VARIANTS
"""Index of the original's first frame among the frames of :func:`with_copies`. As many frames follow its last one."""

_BLOCK = 16
_CALM = 2.0
_MOST_NOISE = 5.0
_SEED = 0
_RATE = Fraction(30)


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of a video in YUV 4:2:0.

    Attributes:
        planes: Y, U and V, each uint8 ``[T, H, W]``; U and V have half the height and width.
        colour: Colour range, matrix, primaries and transfer function, as FFmpeg numbers them.
    """

    planes: tuple[NDArray[np.uint8], ...]
    colour: tuple[int, int, int, int]

    def __len__(self) -> int:
        return len(self.planes[0])


def read_yuv(path: str) -> Frames:
    """Return the frames of a video.

    Raises:
        ValueError: If the frames are not in YUV 4:2:0 of 8 bits, not of even height and width, or turned.
        VideoDecodeError: If the video cannot be decoded.
    """
    planes: tuple[list[NDArray[np.uint8]], ...] = ([], [], [])
    colour = (0, 0, 0, 0)
    for frame in read_frames(path):
        if frame.format.name != "yuv420p" or frame.width % 2 or frame.height % 2 or frame.rotation:
            raise ValueError(
                f"{path} has frames in {frame.format.name} of {frame.width}x{frame.height}, turned by {frame.rotation} "
                "degrees: still frames are made of yuv420p with even sides, not turned"
            )
        colour = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
        height, width = frame.height, frame.width
        flat: NDArray[np.uint8] = frame.to_ndarray().astype(np.uint8, copy=False).reshape(-1)
        parts: list[NDArray[np.uint8]] = np.split(flat, [height * width, height * width * 5 // 4])
        for own, part, half in zip(planes, parts, (1, 2, 2), strict=True):
            own.append(part.reshape(height // half, width // half))
    return Frames(tuple(map(np.stack, planes)), colour)


def write_lossless(path: Path, frames: Frames) -> None:
    """Write frames to a file that decodes to exactly these frames. It appears only when it is complete."""
    height, width = frames.planes[0].shape[1:]
    part = path.with_name(f"{path.name}.part")
    with av.open(str(part), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=_RATE, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = frames.colour
        context.thread_count = 1
        for own in zip(*frames.planes, strict=True):
            rows = np.concatenate([plane.reshape(-1) for plane in own]).reshape(-1, width)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rows, format="yuv420p")))
        container.mux(stream.encode(None))
    part.replace(path)


# --- Noise -----------------------------------------------------------------------------------------------------------


def with_copies(frames: Frames) -> Frames:
    """Return all frames that :func:`order_of` needs, ``[START + T + START]``.

    They are the copies of the first frame, the frames, and the copies of the last frame. The last copy of the first
    frame also stands before the first copy, and the first copy of the last frame also after the last one, so that the
    frames contain each step from one copy to the next.

    Args:
        frames: Frames of a video.

    Raises:
        ValueError: If there are fewer than two frames.
    """
    if len(frames) < 2:
        raise ValueError(f"the noise of a video shows in the differences of its frames, but it has {len(frames)} frame")
    rng = np.random.default_rng(_SEED)
    first, last = (noisy_copies(frames, place, VARIANTS, rng) for place in (0, len(frames) - 1))
    planes = tuple(
        np.concatenate([before[-1:], before, own, after, after[:1]])
        for before, own, after in zip(first, frames.planes, last, strict=True)
    )
    return Frames(planes, frames.colour)


def noisy_copies(frames: Frames, place: int, count: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Return copies of a frame with the video's noise, planes uint8 ``[count, H, W]``.

    For each block of 16x16 pixels of each copy, a step between two frames is drawn at random among those in which the
    block is calm. The difference in that step, divided by the square root of 2, is added. The difference of two copies
    then varies as much as that of two frames. A block is calm if its mean absolute difference of luma is at most twice
    the lower quartile of all blocks and steps, without those in which nothing changes, and at most 5 of 255. A block
    that never is has only its calmest step.

    Args:
        frames: Frames of the video, at least two.
        place: Index of the frame.
        count: Number of copies.
        rng: The source of random numbers.
    """
    calm = _calm_steps(frames.planes[0])
    copies: list[list[NDArray[np.uint8]]] = [[] for _ in frames.planes]
    for _ in range(count):
        chance = rng.random(calm.shape)
        steps = np.where(calm, chance, -1.0).argmax(0)
        for own, plane, block in zip(copies, frames.planes, (_BLOCK, _BLOCK // 2, _BLOCK // 2), strict=True):
            size = plane.shape[1:]
            at = steps.repeat(block, 0).repeat(block, 1)[None, : size[0], : size[1]]
            after, before = (np.take_along_axis(plane, at + shift, 0)[0].astype(np.float32) for shift in (1, 0))
            noise = np.floor((after - before) / np.sqrt(2) + rng.random(size))
            own.append((plane[place] + noise).clip(0, 255).astype(np.uint8))
    return [np.stack(own) for own in copies]


def _calm_steps(luma: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return whether each block is calm in each step, bool ``[T - 1, rows, columns]``."""
    steps = []
    rows, columns = (np.arange(0, size, _BLOCK) for size in luma.shape[1:])
    pixels = np.outer(*(np.diff([*edges, size]) for edges, size in zip((rows, columns), luma.shape[1:], strict=True)))
    for before, after in zip(luma[:-1], luma[1:], strict=True):
        difference = np.abs(after.astype(np.int16) - before).astype(np.int64)
        steps.append(np.add.reduceat(np.add.reduceat(difference, rows, 0), columns, 1) / pixels)
    motion = np.stack(steps)
    changed = motion[motion > 0]
    limit = min(_CALM * float(np.quantile(changed, 0.25)), _MOST_NOISE) if len(changed) else 0.0
    calm: NDArray[np.bool_] = motion <= np.maximum(limit, motion.min(0))
    return calm


# --- Order -----------------------------------------------------------------------------------------------------------


def order_of(num_frames: int, still_share: float, place: float) -> NDArray[np.int64]:
    """Return the extended video as indexes into the frames of :func:`with_copies`, int64 ``[T']``.

    In it, each frame except the first is one after its predecessor, or follows the same picture as there. Motion of the
    extended video is therefore the motion of those frames in this order.

    Args:
        num_frames: Number of frames of the original, T >= 1.
        still_share: Share of still frames in the extended video, in [0, 1).
        place: Share of the still frames that comes before the original, in [0, 1].
    """
    still = round(num_frames * still_share / (1 - still_share))
    before = round(still * place)
    # Copies of the first frame are 1 to VARIANTS; the last of them stands before the original.
    head = 1 + np.arange(-before, 0) % VARIANTS
    own = START + np.arange(num_frames)
    tail = np.arange(still - before)
    behind = START + num_frames
    # The first copy has two predecessors: the original's last frame, and later the last copy.
    tail = behind + np.where((tail > 0) & (tail % VARIANTS == 0), VARIANTS, tail % VARIANTS)
    return np.concatenate([head, own, tail]).astype(np.int64)
