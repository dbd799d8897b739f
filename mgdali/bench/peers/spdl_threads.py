"""SPDL: a pipeline of threads in one process, with RGB frames, as in the video example of its documentation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import spdl.io
import torch
from numpy.typing import NDArray
from spdl.pipeline import PipelineBuilder

from mgdali.bench.peers.clip import finish, grey, motion_of, pick
from mgdali.bench.peers.task import Batch, Task
from mgdali.video.media import Media

if TYPE_CHECKING:
    Item = tuple[torch.Tensor, NDArray[np.int64]]

_AT_ONCE = 16
"""Number of frames that are decoded into one buffer."""


class SpdlLoader:
    """A loader that builds one pipeline per epoch. An endless one would load ahead while other peers are measured."""

    def __init__(self, task: Task, paths: Sequence[str]) -> None:
        # Threads within an operation would compete with the pipeline's threads.
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        self._task, self._paths = task, paths
        self._errors: list[str] = []

    def epoch(self) -> Iterator[Batch]:
        """All videos once, in order."""
        task = self._task
        self._errors.clear()
        pipeline = (
            PipelineBuilder()
            .add_source(self._paths)
            .pipe(self._load, concurrency=task.workers, output_order="input")
            .aggregate(task.batch_size)
            .pipe(_collate)
            .add_sink(2)
            # One more thread than the loading threads, to assemble batches.
            .build(num_threads=task.workers + 1)
        )
        with pipeline.auto_stop():
            yield from pipeline
        # The pipeline skips items that failed.
        if self._errors:
            raise RuntimeError(self._errors[0])

    def close(self) -> None:
        """Do nothing: no thread outlives an epoch."""

    def _load(self, path: str) -> Item:
        try:
            frames = _read(path)
            picks = pick(motion_of(grey(frames)), self._task)
            return finish(np.stack([frames[i] for i in picks]), self._task), picks
        except Exception as error:
            self._errors.append(f"{Path(path).name}: {error}")
            raise


def _read(path: str) -> list[NDArray[np.uint8]]:
    if os.path.isdir(path):
        return [spdl.io.to_numpy(spdl.io.load_image(file)) for file in Media(path).frame_files() or []]
    # The documented way to stream long videos. It is faster than load_video for large videos and as fast for short.
    frames: list[NDArray[np.uint8]] = []
    with spdl.io.Demuxer(path) as demuxer:
        decoder = spdl.io.Decoder(demuxer.video_codec)
        decoder.set_buffer_size(_AT_ONCE)
        for packets in demuxer.streaming_demux(demuxer.video_stream_index, num_packets=_AT_ONCE):
            for some in decoder.streaming_decode_packets(packets):
                frames.extend(spdl.io.to_numpy(spdl.io.convert_frames(some)))
        for some in decoder.flush():
            frames.extend(spdl.io.to_numpy(spdl.io.convert_frames(some)))
    return frames


def _collate(items: list[Item]) -> Batch:
    clips, picks = zip(*items, strict=True)
    return Batch(len(clips), torch.stack(clips), torch.from_numpy(np.stack(picks)))
