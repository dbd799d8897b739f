"""What picks and clips of a video should be, by the package's own reference functions, and whether a peer's are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.motion import luma_from_rgb
from mgdali.samplers import Representation
from mgdali.video.meters import make_meter
from mgdali.video.frames import RGBConverter, read_frames
from peers.clip import finish, pick
from peers.registry import Peer
from peers.task import Task

MEAN_TOLERANCE = 0.25
"""How far the mean of a clip's channel may lie off, in units of standard deviations: another matrix from luma and
chroma to RGB moves it a little, a mistaken order of channels or normalization far.
"""


@dataclass(frozen=True)
class Expected:
    """Of one video: its frames' number, picks by luma planes and by luma of RGB, and the latter's means of R, G, B."""

    frames: int
    plane: list[int]
    rgb: list[int]
    means: list[float]


@dataclass(frozen=True)
class Agreement:
    """How a peer's picks compare: clips whose picks are the reference's, and the most that any pick is off."""

    equal: int
    clips: int
    most_off: int


def expect(path: str, task: Task) -> Expected:
    """Decode a video and do the job in the plainest way."""
    meter, to_rgb = make_meter(Representation()), RGBConverter()
    held, motion = [], [0.0]
    previous: NDArray[np.uint8] | None = None
    for frame in read_frames(path):
        meter.add(frame)
        held.append(frame)
        luma = luma_from_rgb(to_rgb(frame))
        if previous is not None:
            motion.append(float(np.abs(luma.astype(np.int16) - previous).sum(dtype=np.int64)))
        previous = luma
    by_rgb = pick(motion, task).tolist()
    clip = finish(np.stack([to_rgb(held[i]) for i in by_rgb]), task)
    return Expected(len(held), pick(meter.motion, task).tolist(), by_rgb, clip.mean((0, 2, 3)).tolist())


def compare(
    peer: Peer, expected: Sequence[Expected], picks: Sequence[Sequence[int]], means: Sequence[Sequence[float]]
) -> Agreement:
    """How the peer's picks compare.

    Raises:
        ValueError: picks are further off than the peer's may be, or clips look different.
    """
    wanted = [own.plane if peer.luma == "plane" else own.rgb for own in expected]
    off = np.abs(np.array(picks) - np.array(wanted)).max(axis=1)
    if off.max() > peer.tolerance:
        raise ValueError(f"its picks are up to {off.max()} frames off, of {(off > peer.tolerance).sum()} videos")
    distance = np.abs(np.array(means) - np.array([own.means for own in expected])).max()
    if not distance <= MEAN_TOLERANCE:
        raise ValueError(f"its clips look different: the mean of a channel is {distance:.2f} off")
    return Agreement(int((off == 0).sum()), len(off), int(off.max()))
