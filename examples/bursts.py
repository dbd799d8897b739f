"""A synthetic labelled data set in which only a short burst of motion shows the class.

``train_tsm.py --synthetic``, ``train_demo.py`` and ``benchmarks/ablation.py`` train on it. It needs no download, and
a sampler that misses the burst cannot recognize the class. To write the videos yourself:

    from bursts import write_burst_videos
    write_burst_videos("videos")        # videos/{train,val}/<class>/<number>.mp4
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.demo.synthetic import draw_shape, draw_texture, encode_video, new_folder, random_shape
from mgdali.errors import check_integer

__all__ = ["BURSTS", "SIDE", "BurstVideo", "plan_burst_videos", "write_burst_videos"]

BURSTS = {
    "clockwise": ("right", "down", "left", "up"),
    "counterclockwise": ("down", "right", "up", "left"),
    "down_up": ("down", "up"),
    "down_up_twice": ("down", "up", "down", "up"),
    "left_right": ("left", "right"),
    "right_left": ("right", "left"),
    "right_left_twice": ("right", "left", "right", "left"),
    "up_down": ("up", "down"),
}
"""The classes, in the order of their labels in ``VideoDataset.from_folder``, and the moves of each class."""

SIDE = 64
"""Height and width of the videos, in pixels."""

_DIRECTIONS = {"down": (0, 1), "left": (-1, 0), "right": (1, 0), "up": (0, -1)}
_SPLITS = ("train", "val")
# For pictures this small, slower presets read uninitialized memory, so that the bytes would differ from run to run.
_PRESET = "ultrafast"
# Margin around the picture that a shaken camera sees, in pixels.
_MARGIN = 3
_FLASH_FRAMES, _SHAKE_FRAMES = 2, 3
# Smallest number of still frames before, between and after burst, flash and shake.
_STILL = 3


@dataclass(frozen=True, kw_only=True)
class BurstVideo:
    """The plan of one video of the data set.

    Attributes:
        name: Path within the data set's folder, ``<split>/<class>/<number>.mp4``.
        action: Class, one of :data:`BURSTS`.
        num_frames: Number of frames T.
        moves: Number of frames of each of the class's moves.
        burst: Frames in which the shape has moved, within ``[1, T)``.
        flash: Frames in which the light changes: on, then off.
        shake: Frames in which the camera has moved.
        seed: Seed of the background, the shape and the path.
    """

    name: str
    action: str
    num_frames: int
    moves: tuple[int, ...]
    burst: range
    flash: range
    shake: range
    seed: tuple[int, ...]


def plan_burst_videos(*, train_per_class: int = 50, val_per_class: int = 25, seed: int = 0) -> list[BurstVideo]:
    """Return the plans of the videos that :func:`write_burst_videos` writes for the same arguments.

    Raises:
        ValueError: If a count is not an integer >= 1, or ``seed`` is not an integer >= 0.
    """
    check_integer("train_per_class", train_per_class, least=1)
    check_integer("val_per_class", val_per_class, least=1)
    check_integer("seed", seed, least=0)
    return [
        _plan(split, label, action, number, seed)
        for split, count in enumerate((train_per_class, val_per_class))
        for label, action in enumerate(BURSTS)
        for number in range(count)
    ]


def write_burst_videos(
    folder: str | os.PathLike[str], *, train_per_class: int = 50, val_per_class: int = 25, seed: int = 0
) -> None:
    """Write ``folder/train/<class>/<number>.mp4`` and ``folder/val/<class>/<number>.mp4``.

    A disc, a square or a diamond rests on a textured background. In one short burst it makes two or four moves, one
    after the other, and returns to its place. The eight classes (:data:`BURSTS`) differ in the direction, the order and
    the number of the moves. Frames outside the burst do not show the class, because the resting shape looks the same in
    all classes. If two classes visit the same places, such as the two ways around a square, only the order of the
    frames shows the class.

    Everything else is random: background, colour, outline, size and place of the shape, the distance of the moves, the
    length of the video (56 to 160 frames), the burst's share of it (16 to 25 %) and place in it, and the duration of
    each move within the burst.

    Three distractions also change the pictures: the light wavers slowly all the time, it flashes on and off in two
    frames, and the camera shakes in three. Flash and shake are outside the burst, and their frames differ more from the
    previous ones than the frames of the burst. A red shape is hardly brighter than the background, so its burst is
    hardly visible if motion is measured on luma.

    Videos are 64x64 pixels, 25 frames per second, H.264 (yuv420p) in MP4. Each video has its own random numbers, so
    that train and val share none. The same arguments give the same bytes with the same PyAV. The folder appears under
    its name only when all videos are written.

    Args:
        folder: Folder to write to. It must not exist yet, or be empty.
        train_per_class, val_per_class: Number of videos of each of the eight classes, >= 1.
        seed: Seed of all random choices, >= 0.

    Raises:
        DatasetError: If ``folder`` is a file or is not empty.
        OSError: If it cannot be written.
        ValueError: If an argument is out of range.
    """
    videos = plan_burst_videos(train_per_class=train_per_class, val_per_class=val_per_class, seed=seed)
    with new_folder(folder) as made:
        for video in videos:
            encode_video(made / video.name, _draw(video), width=SIDE, height=SIDE, preset=_PRESET)


def _plan(split: int, label: int, action: str, number: int, seed: int) -> BurstVideo:
    rng = np.random.default_rng([seed, split, label, number])
    num_frames = int(rng.integers(56, 161))
    moves = _split_randomly(rng, round(num_frames * rng.uniform(0.16, 0.25)), len(BURSTS[action]))
    lengths = np.array([sum(moves), _FLASH_FRAMES, _SHAKE_FRAMES])
    order = rng.permutation(3)
    # The remaining frames are distributed at random before, between and after burst, flash and shake.
    spare = num_frames - 1 - int(lengths.sum()) - 4 * _STILL
    before = np.sort(rng.integers(0, spare + 1, 3))
    ends = np.cumsum(lengths[order]) + before + np.arange(1, 4) * _STILL + 1
    spans = {int(which): range(int(end - lengths[which]), int(end)) for which, end in zip(order, ends, strict=True)}
    return BurstVideo(
        name=f"{_SPLITS[split]}/{action}/{number:03}.mp4",
        action=action,
        num_frames=num_frames,
        moves=moves,
        burst=spans[0],
        flash=spans[1],
        shake=spans[2],
        seed=(seed, split, label, number, 1),
    )


def _split_randomly(rng: np.random.Generator, total: int, count: int) -> tuple[int, ...]:
    """Return ``count`` random numbers, each >= 2, with the sum ``total``."""
    parts = rng.uniform(0.6, 1.4, count)
    ends = np.round(np.cumsum(parts) / parts.sum() * (total - 2 * count)).astype(int)
    return tuple(int(length) + 2 for length in np.diff(ends, prepend=0))


def _draw(video: BurstVideo) -> Iterator[NDArray[np.uint8]]:
    """Yield the video's frames, uint8 ``[SIDE, SIDE, 3]``."""
    rng = np.random.default_rng(video.seed)
    background = draw_texture(rng, SIDE + 2 * _MARGIN, SIDE + 2 * _MARGIN)
    colour, outline = random_shape(rng)
    radius, reach = rng.uniform(5.5, 7.5), rng.uniform(13, 16)
    # The range of the resting place is the same for all classes: from it, every move stays within the picture.
    home = background.shape[0] / 2 + rng.uniform(-8, 8, 2)
    light = 2 * np.sin(2 * np.pi * (np.arange(video.num_frames) / rng.uniform(30, 60) + rng.uniform()))
    light[video.flash[:-1]] += 25
    camera = np.full((video.num_frames, 2), _MARGIN)
    camera[video.shake[:-1]] += _jolts(rng, len(video.shake) - 1)
    for t in range(video.num_frames):
        scene = draw_shape(background, colour, outline, home + reach * _moved(video, t), radius)
        left, top = camera[t]
        yield (scene[top : top + SIDE, left : left + SIDE] + light[t]).round().clip(0, 255).astype(np.uint8)


def _moved(video: BurstVideo, t: int) -> NDArray[np.float64]:
    """Return the shape's displacement (x, y) at frame t, in units of moves. Each move begins and ends slowly."""
    place = np.zeros(2)
    begin = video.burst.start - 1
    for move, length in zip(BURSTS[video.action], video.moves, strict=True):
        done = np.clip((t - begin) / length, 0, 1)
        place += done * done * (3 - 2 * done) * np.array(_DIRECTIONS[move])
        begin += length
    return place


def _jolts(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Return the offsets of a shaken camera, ``[count, 2]``: back and forth, at most by the margin."""
    away = rng.integers(2, _MARGIN + 1, (count, 2)) * rng.choice([-1, 1], 2)
    away[1::2] *= -1
    return np.asarray(away, np.int64)
