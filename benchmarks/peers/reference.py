"""Expected picks and clips of a video, from the package's reference functions, and the comparison with a peer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.motion import luma_from_rgb
from mgdali.samplers import Representation
from mgdali.video.frames import RGBConverter, read_frames
from mgdali.video.meters import make_meter
from peers.clip import finish, pick
from peers.registry import Peer
from peers.task import Task

MEAN_TOLERANCE = 0.25
"""Largest accepted difference of the mean of a clip's channel, in standard deviations.

Another conversion matrix from luma and chroma to RGB changes the mean a little. A wrong order of channels or a wrong
normalization changes it much more.
"""


@dataclass(frozen=True)
class Expected:
    """Expected results of one video.

    Attributes:
        frames: Number of frames.
        plane: Picks by motion of the luma planes.
        rgb: Picks by motion of the luma of RGB frames.
        means: Means of R, G and B of the clip of ``rgb``.
    """

    frames: int
    plane: list[int]
    rgb: list[int]
    means: list[float]


@dataclass(frozen=True)
class Agreement:
    """Comparison of a peer's picks with the reference.

    Attributes:
        equal: Number of clips with equal picks.
        clips: Number of clips.
        most_off: Largest difference of a pick, in frames.
    """

    equal: int
    clips: int
    most_off: int


def expect(path: str, task: Task) -> Expected:
    """Return the expected results of a video, computed in the simplest way."""
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
    """Compare a peer's picks and channel means with the expected ones.

    Raises:
        ValueError: If a pick differs by more than the peer's tolerance, or if the clips look different.
    """
    wanted = [own.plane if peer.luma == "plane" else own.rgb for own in expected]
    off = np.abs(np.array(picks) - np.array(wanted)).max(axis=1)
    if off.max() > peer.tolerance:
        raise ValueError(
            f"its picks differ by up to {off.max()} frames in {(off > peer.tolerance).sum()} of {len(off)} videos"
        )
    distance = np.abs(np.array(means) - np.array([own.means for own in expected])).max()
    if not distance <= MEAN_TOLERANCE:
        raise ValueError(f"its clips look different: the mean of a channel differs by {distance:.2f}")
    return Agreement(int((off == 0).sum()), len(off), int(off.max()))
