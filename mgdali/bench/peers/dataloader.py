"""A torch ``DataLoader`` with each of the decoders that are commonly used in one. Its workers do the whole job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from mgdali.bench.peers.clip import finish, grey, motion_of, pick
from mgdali.bench.peers.task import Batch, Task
from mgdali.video.media import Media

if TYPE_CHECKING:
    Item = tuple[torch.Tensor, NDArray[np.int64]]
    Read = Callable[[str, Task], Item]


# --- Reading one video -----------------------------------------------------------------------------------------------


def read_pyav(path: str, task: Task) -> Item:
    """Convert all frames to RGB. Workers run in parallel, so threads within PyAV's conversion would only cost time."""
    with av.open(_source(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        frames = [frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(stream)]
    picks = pick(motion_of(grey(frames)), task)
    return finish(np.stack([frames[i] for i in picks]), task), picks


def read_pyav_luma(path: str, task: Task) -> Item:
    """Read luma from the decoder's memory and convert only picked frames to RGB: the best code to write by hand."""
    with av.open(_source(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        frames = list(container.decode(stream))
    picks = pick(motion_of(map(_luma_plane, frames)), task)
    rgb = {i: frames[i].to_ndarray(format="rgb24", threads=1) for i in set(picks.tolist())}
    return finish(np.stack([rgb[i] for i in picks.tolist()]), task), picks


def read_opencv(path: str, task: Task) -> Item:
    """Convert all frames to BGR, OpenCV's order of channels, and picked frames to RGB."""
    frames = _read_images(path) if os.path.isdir(path) else _read_capture(path)
    picks = pick(motion_of(grey(frames, cv2.COLOR_BGR2GRAY)), task)
    return finish(np.stack([cv2.cvtColor(frames[i], cv2.COLOR_BGR2RGB) for i in picks]), task), picks


def read_decord(path: str, task: Task) -> Item:
    """Read all frames with one ``get_batch``, which decord's documentation prefers to reading them one by one."""
    from decord import VideoReader

    _only_files(path)
    # The default is one thread per core in each worker.
    reader = VideoReader(path, num_threads=1)
    frames = reader.get_batch(range(len(reader))).asnumpy()
    picks = pick(motion_of(grey(frames)), task)
    return finish(frames[picks], task), picks


def read_torchcodec(path: str, task: Task) -> Item:
    """Read all frames in one call. ``exact``, the default, is the documented mode if frame numbers matter."""
    from torchcodec.decoders import VideoDecoder

    _only_files(path)
    # It decodes with channels last. Its documentation advises one FFmpeg thread if decoders run in parallel.
    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact", device="cpu")
    frames: NDArray[np.uint8] = decoder.get_all_frames().data.numpy()
    picks = pick(motion_of(grey(frames)), task)
    return finish(frames[picks], task), picks


def _read_capture(path: str) -> list[NDArray[Any]]:
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    frames = []
    while True:
        good, frame = capture.read()
        if not good:
            break
        frames.append(frame)
    capture.release()
    if not frames:
        raise OSError("cv2.VideoCapture cannot read any frame")
    return frames


def _read_images(folder: str) -> list[NDArray[Any]]:
    frames = []
    for file in Media(folder).frame_files() or []:
        frame = cv2.imread(file, cv2.IMREAD_COLOR)
        if frame is None:
            raise OSError(f"cv2.imread cannot read {Path(file).name}")
        frames.append(frame)
    return frames


def _luma_plane(frame: av.VideoFrame) -> NDArray[Any]:
    kind = frame.format.name
    if not kind.startswith(("yuv4", "yuvj4")):
        raise OSError(f"the pixel format {kind} is not supported by this loader")
    samples = np.frombuffer(memoryview(frame.planes[0]), np.uint16 if kind.endswith("le") else np.uint8)
    return samples.reshape(-1, frame.planes[0].line_size // samples.itemsize)[: frame.height, : frame.width]


def _source(path: str) -> str:
    """Return the name to open with FFmpeg, which takes a folder of numbered JPEG files as a pattern."""
    if not os.path.isdir(path):
        return path
    first = (Media(path).frame_files() or [""])[0]
    digits = len(Path(first).stem)
    if not Path(first).stem.isdigit() or int(Path(first).stem) > 4:
        raise OSError("FFmpeg reads a folder of JPEG files only if their names are numbers that start at 0 or 1")
    return os.path.join(path, f"%0{digits}d{Path(first).suffix}")


def _only_files(path: str) -> None:
    if os.path.isdir(path):
        raise OSError("folders of JPEG files are not supported by this loader")


# --- The loader ------------------------------------------------------------------------------------------------------


class Clips(Dataset["Item"]):
    """The map-style data set of clips for the ``DataLoader``."""

    def __init__(self, paths: Sequence[str], task: Task, read: Read) -> None:
        self._paths, self._task, self._read = paths, task, read

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> Item:
        path = self._paths[i]
        try:
            return self._read(path, self._task)
        except Exception as error:
            # DataLoader creates the error again from its message, which fails for most errors of C++ libraries.
            raise RuntimeError(f"{Path(path).name}: {error}") from None


class TorchLoader:
    """A ``DataLoader`` with persistent workers, which PyTorch advises, that load two batches ahead, the default."""

    def __init__(self, task: Task, paths: Sequence[str], read: Read) -> None:
        self._loader = DataLoader(
            Clips(paths, task, read),
            batch_size=task.batch_size,
            num_workers=task.workers,
            persistent_workers=True,
            prefetch_factor=2,
            worker_init_fn=_begin,
        )

    def epoch(self) -> Iterator[Batch]:
        """All videos once, in order."""
        for clips, picks in self._loader:
            yield Batch(len(clips), clips, picks)

    def close(self) -> None:
        """End the workers by deleting the loader, which owns them."""
        del self._loader


def _begin(worker: int) -> None:
    # PyTorch uses one thread in workers. OpenCV would use one per core.
    cv2.setNumThreads(0)


pyav = partial(TorchLoader, read=read_pyav)
pyav_luma = partial(TorchLoader, read=read_pyav_luma)
opencv = partial(TorchLoader, read=read_opencv)
decord = partial(TorchLoader, read=read_decord)
torchcodec = partial(TorchLoader, read=read_torchcodec)
