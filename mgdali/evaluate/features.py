"""Features of each frame of each video, computed once and kept in files."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av.error
import numpy as np
import torch
from numpy.typing import NDArray

from mgdali.datasets.video_dataset import Video
from mgdali.errors import VideoDecodeError
from mgdali.evaluate.network import FrameNetwork
from mgdali.evaluate.options import Watch
from mgdali.evaluate.threads import in_threads
from mgdali.evaluate.videos import MeasuredVideo
from mgdali.one_video.pictures import UprightRGB
from mgdali.one_video.source import opened
from mgdali.video.frames import read_frames
from mgdali.video.packets import StreamLog
from mgdali.video.part_bounds import PartBounds
from mgdali.video.record import index_name

__all__ = ["FrameFeatures", "compute_features"]

_BATCH = 8
_ENDING = ".npy"


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """Features of the frames of videos, in files that are mapped into memory when they are needed.

    Attributes:
        files: The file of each video, ``[V]``.
        lengths: Number of frames of each video, T, int64 ``[V]``.
        computed: Number of videos whose features were not in files before.
    """

    files: list[Path]
    lengths: NDArray[np.int64]
    computed: int

    def of(self, video: int) -> NDArray[np.float32]:
        """Return the features of a video's frames, float32 ``[T, F]``, a view of the file.

        Raises:
            OSError: If the file is gone.
        """
        found: NDArray[np.float32] = np.load(self.files[video], mmap_mode="r", allow_pickle=False)
        return found


def compute_features(
    videos: Sequence[MeasuredVideo],
    network: FrameNetwork,
    folder: Path,
    num_workers: int,
    watch: Watch,
) -> tuple[list[MeasuredVideo], FrameFeatures, dict[str, str]]:
    """Compute the features of the videos that have none in the cache.

    Each video is computed in one thread, so that the features do not depend on the number of threads. A video's file is
    written when all of its frames are done; after Ctrl-C, the next call computes only the other videos.

    Args:
        videos: The videos.
        network: The network.
        folder: Folder of the files. It is made if it does not exist.
        num_workers: Number of threads, >= 1.
        watch: Function that is told the progress.

    Returns:
        The videos that have features, their features, and the reasons of the other videos, by path.

    Raises:
        ValueError: If the network's output is not usable.
        OSError: If a file cannot be written.
    """
    place = folder / "features" / network.digest()
    place.mkdir(parents=True, exist_ok=True)
    extractor = _Extractor(network, place)
    found: dict[int, Path] = {}
    reasons: dict[int, str] = {}
    computed = 0
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        watch("Computing features", 0, len(videos))
        jobs = in_threads(lambda i, check: extractor.file_of(videos[i], check), range(len(videos)), num_workers)
        with closing(jobs):
            for number, (i, result) in enumerate(jobs, 1):
                if isinstance(result, VideoDecodeError):
                    reasons[i] = result.details
                else:
                    found[i] = result[0]
                    computed += result[1]
                watch("Computing features", number, len(videos))
    finally:
        torch.set_num_threads(before)
    kept = sorted(found)
    # Threads finish in any order; the report does not depend on it.
    failed = {videos[i].video.path: reasons[i] for i in sorted(reasons)}
    lengths = np.array([videos[i].num_frames for i in kept], np.int64)
    return [videos[i] for i in kept], FrameFeatures([found[i] for i in kept], lengths, computed), failed


class _Extractor:
    """Computes the features of one video at a time in each thread."""

    def __init__(self, network: FrameNetwork, folder: Path) -> None:
        self._network = network
        self._folder = folder
        self._own = threading.local()

    def file_of(self, video: MeasuredVideo, check: Callable[[], None]) -> tuple[Path, bool] | VideoDecodeError:
        """Return the file of a video's features and whether it is new, or the reason why it has none."""
        check()
        try:
            path = self._folder / (_key(video.video) + _ENDING)
            if _is_complete(path, video.num_frames):
                return path, False
            features = self._features(video.video, check)
        except VideoDecodeError as error:
            return error
        if len(features) != video.num_frames:
            reason = f"it has {len(features)} frames, but {video.num_frames} in the index"
            return VideoDecodeError(video.video.path, len(features), reason)
        _write(path, features)
        return path, True

    def _features(self, video: Video, check: Callable[[], None]) -> NDArray[np.float32]:
        module = getattr(self._own, "module", None)
        if module is None:
            # The number of threads that a thread uses is its own setting.
            torch.set_num_threads(1)
            module = self._own.module = copy.deepcopy(self._network.module)
        parts, batch = [], []
        for picture in _pictures(video, self._network.input_size):
            check()
            batch.append(picture)
            if len(batch) == _BATCH:
                parts.append(self._network.features(module, np.stack(batch)))
                batch = []
        if batch:
            parts.append(self._network.features(module, np.stack(batch)))
        return np.concatenate(parts)


def _pictures(video: Video, size: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video or segment, whole and resized, uint8 RGB ``[size, size, 3]``."""
    upright = UprightRGB()
    with opened(video) as media:
        log = None if video.time_range is None else StreamLog()
        bounds = PartBounds(video.time_range, log, media.path, note_times=False)
        with closing(read_frames(media, log=log)) as decoded:  # type: ignore[type-var]
            for frame in decoded:
                if bounds.contains(frame):
                    try:
                        yield upright(frame, size, size)
                    except (av.error.FFmpegError, OverflowError) as error:
                        raise VideoDecodeError(video.path, bounds.count, f"it cannot be resized: {error}") from error
                if bounds.passed:
                    break
        bounds.check()


def _key(video: Video) -> str:
    """Return the name of a video's file: a digest of its name, its part and its content."""
    known = repr((index_name(video.path), video.time_range, video.media.fingerprint()))
    return hashlib.blake2b(known.encode(), digest_size=16).hexdigest()


def _is_complete(path: Path, num_frames: int) -> bool:
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False)) == num_frames
    except (OSError, ValueError, EOFError):
        return False


def _write(path: Path, features: NDArray[np.float32]) -> None:
    """Write a file that appears under its name only when it is complete."""
    temporary = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "wb") as file:
            np.save(file, features, allow_pickle=False)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
