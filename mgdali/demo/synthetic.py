"""A small synthetic data set with labels: short videos of a still scene with one short action.

The demo and tests use it, because the motion of every video is known.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import DatasetError, check_integer

__all__ = [
    "ACTIONS",
    "ActionVideo",
    "draw_shape",
    "draw_texture",
    "encode_video",
    "new_folder",
    "plan_action_videos",
    "random_shape",
    "write_action_videos",
]

ACTIONS = ("grow", "move_down", "move_left", "move_right", "move_up", "shrink")
"""The classes, in the order of their labels in ``VideoDataset.from_folder``."""

_SIZES = ((192, 144), (160, 120), (144, 176))
_DIRECTIONS = {"move_down": (0, 1), "move_left": (-1, 0), "move_right": (1, 0), "move_up": (0, -1)}
_COLOURS = ((250, 210, 40), (235, 70, 60), (60, 220, 230), (245, 245, 245))
_FRAME_RATE = 25


@dataclass(frozen=True, kw_only=True)
class ActionVideo:
    """One video of the data set.

    Attributes:
        name: Path within the folder of the data set, ``<class>/<number>.mp4``.
        action: Class of the video, one of :data:`ACTIONS`.
        width: Width in pixels, even.
        height: Height in pixels, even.
        num_frames: T, odd.
        burst: Frames that differ from the previous frame, within ``[1, T)``. In all other frames nothing moves.
        seed: Random seed of the background, the shape and its path.
    """

    name: str
    action: str
    width: int
    height: int
    num_frames: int
    burst: range
    seed: tuple[int, ...]


def plan_action_videos(*, videos_per_class: int = 6, seed: int = 0) -> list[ActionVideo]:
    """Return the videos that :func:`write_action_videos` writes for the same arguments, sorted by name.

    Raises:
        ValueError: If ``videos_per_class`` is not an integer >= 1, or if ``seed`` is not an integer >= 0.
    """
    check_integer("videos_per_class", videos_per_class, least=1)
    check_integer("seed", seed, least=0)
    videos = []
    for label, action in enumerate(ACTIONS):
        for number in range(videos_per_class):
            width, height = _SIZES[(label + number) % len(_SIZES)]
            rng = np.random.default_rng([seed, label, number])
            num_frames = int(rng.integers(20, 61)) * 2 + 1
            length = int(rng.integers(9, 20))
            # Nothing moves at the beginning and the end of a video.
            start = int(rng.integers(4, num_frames - length - 3))
            videos.append(
                ActionVideo(
                    name=f"{action}/{number:02}.mp4",
                    action=action,
                    width=width,
                    height=height,
                    num_frames=num_frames,
                    burst=range(start, start + length),
                    seed=(seed, label, number, 1),
                )
            )
    return videos


def write_action_videos(folder: str | os.PathLike[str], *, videos_per_class: int = 6, seed: int = 0) -> None:
    """Write a data set of ``folder/<class>/<number>.mp4``: by default 36 videos with about 2,700 frames.

    Each video shows a disc, a square or a diamond on a textured background. In one short burst, the shape moves left,
    right, up or down, grows or shrinks: slowly, then fast, then slowly again. These six classes are :data:`ACTIONS`.
    The videos have 41 to 121 frames (an odd number), 192x144, 160x120 or 144x176 pixels, and 25 frames per second. They
    are H.264 (yuv420p, B-frames) in MP4, about 7 KB each. The burst takes 9 to 19 frames and does not include the first
    and last four frames; :func:`plan_action_videos` returns its position.

    With the same version of PyAV, the same arguments give the same bytes. The folder is created only when all videos
    are written, so an existing folder is complete.

    Args:
        folder: Folder to write; it must be missing or empty.
        videos_per_class: Number of videos per class, >= 1.
        seed: Random seed, >= 0.

    Raises:
        DatasetError: If ``folder`` is a file or is not empty.
        OSError: If the folder cannot be written.
        ValueError: If an argument is out of range.
    """
    videos = plan_action_videos(videos_per_class=videos_per_class, seed=seed)
    with new_folder(folder) as made:
        for video in videos:
            encode_video(made / video.name, _draw(video), width=video.width, height=video.height)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to ``folder`` at the end, so that ``folder`` is always complete.

    Raises:
        DatasetError: If ``folder`` is a file or is not empty.
        OSError: If the folder cannot be written.
    """
    target = Path(folder)
    if target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None):
        raise DatasetError(f"{target} already exists: give a folder that does not exist or is empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as place:
        made = Path(place, "videos")
        made.mkdir()
        yield made
        made.rename(target)


def encode_video(
    path: Path, frames: Iterable[NDArray[np.uint8]], *, width: int, height: int, preset: str = "veryfast"
) -> None:
    """Encode frames, uint8 ``[height, width, 3]`` RGB, as H.264 with 25 frames per second; create the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FRAME_RATE, options={"crf": "24", "preset": preset})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # x264 otherwise divides its work by the number of cores, and the bytes would differ between machines.
        stream.thread_count = 1
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def _draw(video: ActionVideo) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video, uint8 ``[H, W, 3]``."""
    rng = np.random.default_rng(video.seed)
    background = draw_texture(rng, video.height, video.width)
    colour, outline = random_shape(rng)
    rest = (np.array([video.width, video.height]) * rng.uniform(0.45, 0.55, 2)).round()
    for t in range(video.num_frames):
        place, radius = _shape(video, rest, t)
        yield draw_shape(background, colour, outline, place, radius).round().astype(np.uint8)


def _shape(video: ActionVideo, rest: NDArray[np.float64], t: int) -> tuple[NDArray[np.float64], float]:
    """Return the centre (x, y) and the radius of the shape at frame t, in pixels."""
    done = np.clip((t - video.burst.start + 1) / len(video.burst), 0, 1)
    done = done * done * (3 - 2 * done)
    side = min(video.width, video.height)
    if video.action in _DIRECTIONS:
        reach = 0.28 * np.array([video.width, video.height]) * _DIRECTIONS[video.action]
        return rest + reach * (2 * done - 1), 0.13 * side
    size = done if video.action == "grow" else 1 - done
    return rest, (0.08 + 0.27 * size) * side


def random_shape(rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Draw a colour that is brighter than any background, and an outline: 0 for disc, 1 for square, 2 for diamond."""
    return np.array(_COLOURS[rng.integers(len(_COLOURS))]), int(rng.integers(3))


def draw_shape(
    background: NDArray[np.float64], colour: NDArray[np.int64], outline: int, place: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Draw a shape, centred on ``place`` (x, y) in pixels, on a background ``[H, W, 3]``."""
    y, x = np.mgrid[: background.shape[0], : background.shape[1]]
    across, down = np.abs(x - place[0]), np.abs(y - place[1])
    distance = (np.hypot(across, down), np.maximum(across, down), across + down)[outline]
    # The edge is soft by half a pixel, so that movements of less than a pixel are visible.
    cover = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    return np.asarray(background * (1 - cover) + colour * cover, np.float64)


def draw_texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw smooth random colours at two scales, float64 ``[height, width, 3]`` in [0, 255]."""
    total = np.full((height, width, 3), 95.0)
    for cell, strength in ((40, 45.0), (7, 22.0)):
        grid = rng.uniform(-strength, strength, (height // cell + 2, width // cell + 2, 3))
        total += _between(_between(grid, height, cell).swapaxes(0, 1), width, cell).swapaxes(0, 1)
    return total.clip(0, 255)


def _between(grid: NDArray[np.float64], size: int, cell: int) -> NDArray[np.float64]:
    """Return ``size`` rows, interpolated linearly from a grid that has one row per ``cell`` pixels."""
    whole, part = np.divmod(np.arange(size), cell)
    weight = (part / cell)[:, None, None]
    return np.asarray(grid[whole] * (1 - weight) + grid[whole + 1] * weight, np.float64)
