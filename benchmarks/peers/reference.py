"""Expected picks and clips of a video, from the package's reference functions, and the comparison with a peer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.bench.peers.clip import finish, pick
from mgdali.bench.peers.looks import looks_of
from mgdali.bench.peers.registry import Peer
from mgdali.bench.peers.task import Task
from mgdali.motion import luma_from_rgb
from mgdali.samplers import Representation
from mgdali.video.frames import RGBConverter, read_frames
from mgdali.video.meters import make_meter

MEAN_TOLERANCE = 0.25
"""Largest accepted difference of the mean of a clip's channel, in standard deviations.

Another conversion matrix from luma and chroma to RGB changes the mean a little. A wrong order of channels or a wrong
normalization changes it much more.
"""

LOOK_TOLERANCE = 0.2
"""Largest accepted difference of the mean of a cell of a frame, in standard deviations, for copies of the videos.

Copies are scaled and encoded again: on the samples, the means change by 0.01 to 0.13. In another frame of a video, the
cells in which something moves change more, by 0.3 to 2.5 in the long samples.
"""


@dataclass(frozen=True)
class Expected:
    """Expected results of one video.

    Attributes:
        frames: Number of frames.
        plane: Picks by motion of the luma planes.
        rgb: Picks by motion of the luma of RGB frames.
        means: Means of R, G and B of the clip of ``rgb``.
        looks: Means of the cells of the frames of the clip of ``plane`` (:func:`mgdali.bench.peers.looks.looks_of`);
            None if not needed.
        feature: Picks by motion at the feature level; None if not needed.
        segment: Picks of segment sampling; None if not needed.
    """

    frames: int
    plane: list[int]
    rgb: list[int]
    means: list[float]
    looks: list[list[float]] | None = None
    feature: list[int] | None = None
    segment: list[int] | None = None


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


def expect(path: str, task: Task, *, feature: bool = False) -> Expected:
    """Return the expected results of a video, computed in the simplest way.

    Args:
        path: Path of the video.
        task: The task.
        feature: Whether to measure the motion at the feature level too.
    """
    meter, to_rgb = make_meter(Representation()), RGBConverter()
    feature_meter = make_meter(Representation(motion="feature")) if feature else None
    held, motion = [], [0.0]
    previous: NDArray[np.uint8] | None = None
    for frame in read_frames(path):
        meter.add(frame)
        if feature_meter is not None:
            feature_meter.add(frame)
        held.append(frame)
        luma = luma_from_rgb(to_rgb(frame))
        if previous is not None:
            motion.append(float(np.abs(luma.astype(np.int16) - previous).sum(dtype=np.int64)))
        previous = luma
    by_rgb, by_plane = pick(motion, task).tolist(), pick(meter.motion, task).tolist()
    clip, plane_clip = (finish(np.stack([to_rgb(held[i]) for i in picks]), task) for picks in (by_rgb, by_plane))
    return Expected(
        frames=len(held),
        plane=by_plane,
        rgb=by_rgb,
        means=clip.mean((0, 2, 3)).tolist(),
        looks=looks_of(plane_clip).tolist(),
        feature=None if feature_meter is None else pick(feature_meter.motion, task).tolist(),
        segment=pick(np.ones(len(held)).tolist(), task).tolist(),
    )


def compare(
    peer: Peer,
    expected: Sequence[Expected],
    picks: Sequence[Sequence[int]],
    means: Sequence[Sequence[float]],
    looks: Sequence[Sequence[Sequence[float]]] | None = None,
) -> Agreement:
    """Compare a peer's picks and channel means with the expected ones; for copies, also each frame.

    Args:
        peer: The peer.
        expected: Expected results of each clip.
        picks: Picks of each clip.
        means: Means of R, G and B of each clip.
        looks: Means of the cells of each clip's frames (:func:`mgdali.bench.peers.looks.looks_of`), compared if
            the peer loads a packed data set, because its frames, unlike its picks, do not come from the originals.

    Raises:
        ValueError: If a pick differs by more than the peer's tolerance, or if the clips look different.
    """
    assert peer.held_to is not None
    wanted = [getattr(own, peer.held_to) for own in expected]
    off = np.abs(np.array(picks) - np.array(wanted)).max(axis=1)
    if off.max() > peer.tolerance:
        raise ValueError(
            f"its picks differ by up to {off.max()} frames in {(off > peer.tolerance).sum()} of {len(off)} videos"
        )
    # The expected means are those of the picks by motion of RGB frames. Other picks of a video look different.
    if peer.held_to in ("plane", "rgb"):
        distance = np.abs(np.array(means) - np.array([own.means for own in expected])).max()
        if not distance <= MEAN_TOLERANCE:
            raise ValueError(f"its clips look different: the mean of a channel differs by {distance:.2f}")
    if peer.preset is not None:
        distance = np.abs(np.array(looks) - np.array([own.looks for own in expected])).max()
        if not distance <= LOOK_TOLERANCE:
            raise ValueError(f"its frames look different: the mean of a cell differs by {distance:.2f}")
    return Agreement(int((off == 0).sum()), len(off), int(off.max()))
