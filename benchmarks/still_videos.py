"""Labelled videos that are extended by still frames, with the motion and the features of their frames."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from still_frames import START, order_of, read_yuv, with_copies, write_lossless

from mgdali import VideoDataset, VideoDecodeError
from mgdali.evaluate.features import FrameFeatures, compute_features
from mgdali.evaluate.network import open_network
from mgdali.evaluate.options import EvaluateOptions, Watch
from mgdali.evaluate.videos import MeasuredVideo, cache_of, find_videos, measure_videos

__all__ = ["OrderedFeatures", "Trimmed", "extended", "prepare"]

_SEED = 0


@dataclass(frozen=True, eq=False)
class Trimmed:
    """Labelled videos with the still frames that can extend them.

    Attributes:
        videos: The files of frames, with their motion.
        features: Features of the same frames.
        classes: Names of the classes.
        failed: Reasons of the videos that cannot be used, by path.
    """

    videos: list[MeasuredVideo]
    features: FrameFeatures
    classes: list[str]
    failed: dict[str, str]

    def num_frames(self, video: int) -> int:
        """Number of frames of the video without still frames."""
        return self.videos[video].num_frames - 2 * START


@dataclass(frozen=True, eq=False)
class OrderedFeatures(FrameFeatures):
    """Features of videos that are orders of the frames in files.

    Attributes:
        orders: Indexes into the frames of each file, int64 ``[T]`` each.
    """

    orders: list[NDArray[np.int64]]

    def of(self, video: int) -> NDArray[np.float32]:
        """Return the features of a video's frames, float32 ``[T, F]``."""
        return super().of(video)[self.orders[video]]


def prepare(options: EvaluateOptions, workers: int, watch: Watch) -> Trimmed:
    """Write the frames of all videos to the cache, and measure their motion and features, unless they exist."""
    dataset, _ = find_videos(options)
    folder = cache_of(options) / "still-frames" / Path(options.data).resolve().name
    files, labels, failed = [], [], {}
    for number, video in enumerate(dataset):
        watch("Writing frames", number, len(dataset))
        name = dataset.classes[int(video.label)]
        try:
            known = hashlib.blake2b(repr(video.media.fingerprint()).encode(), digest_size=8).hexdigest()
            path = folder / name / f"{Path(video.path).name}.{known}.mkv"
            if not path.exists():
                frames = read_yuv(video.path)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_lossless(path, with_copies(frames))
        except (VideoDecodeError, ValueError) as error:
            failed[video.path] = str(error)
            continue
        files.append(str(path))
        labels.append(int(video.label))
    framed = VideoDataset(files, labels, classes=dataset.classes)
    measured, unmeasured = measure_videos(framed, options, workers, watch)
    videos, features, undecoded = compute_features(measured, open_network(options), cache_of(options), workers, watch)
    return Trimmed(videos, features, list(dataset.classes), failed | unmeasured | undecoded)


def extended(trimmed: Trimmed, share: float) -> tuple[list[MeasuredVideo], OrderedFeatures]:
    """Return the videos with a share of still frames.

    The place of a video is drawn once, so that it is the same for all shares.
    """
    videos, orders = [], []
    for number, video in enumerate(trimmed.videos):
        place = np.random.default_rng([_SEED, number]).random()
        order = order_of(trimmed.num_frames(number), share, place)
        # The first frame of a video has no motion.
        motion = {level: np.concatenate([[0.0], own[order[1:]]]) for level, own in video.motion.items()}
        videos.append(replace(video, motion=motion))
        orders.append(order)
    lengths = np.array([len(order) for order in orders], np.int64)
    return videos, OrderedFeatures(trimmed.features.files, lengths, trimmed.features.computed, orders)
