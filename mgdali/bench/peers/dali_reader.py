"""DALI's plain ``fn.readers.video``.

It returns sequences of one length. To get whole videos, that length is the longest video's, and shorter videos are
padded. torch does the picking and all later steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from nvidia.dali import fn, pipeline_def
from torch.utils.dlpack import from_dlpack

from mgdali.bench.peers.cuda_clip import clip_of
from mgdali.bench.peers.task import Batch, Task


class ReadersVideo:
    """A pipeline that lives as long as the loader. It decodes up to two batches ahead, also of the next epoch."""

    def __init__(self, task: Task, paths: Sequence[str]) -> None:
        if not task.longest:
            raise ValueError("fn.readers.video needs the number of frames of the longest video")
        self._task, self._count = task, len(paths)
        graph = pipeline_def(batch_size=task.batch_size, num_threads=task.workers, device_id=0)(_graph)
        self._pipeline = graph(list(paths), task.longest)
        self._pipeline.build()

    def epoch(self) -> Iterator[Batch]:
        """All videos once, in order."""
        left = self._count
        while left > 0:
            videos, labels, numbers = self._pipeline.run()
            count = min(left, self._task.batch_size)
            expected = range(self._count - left, self._count - left + count)
            if [int(labels[i].as_cpu()) for i in range(count)] != list(expected):
                raise RuntimeError("fn.readers.video does not return one sequence per video, in order")
            clips = [clip_of(_whole(videos[i], numbers[i]), self._task) for i in range(count)]
            yield Batch(count, torch.stack([clip for clip, _ in clips]), torch.stack([picks for _, picks in clips]))
            left -= count

    def close(self) -> None:
        """Free the pipeline."""
        del self._pipeline


def _graph(paths: list[str], longest: int) -> Any:
    return fn.readers.video(
        device="gpu",
        filenames=paths,
        # With an empty list, the label of a file is its position in the list of files.
        labels=[],
        sequence_length=longest,
        pad_sequences=True,
        pad_last_batch=True,
        # Numbers of padded frames are -1.
        enable_frame_num="sequence",
        # Only the number of a frame matters here, not its time.
        skip_vfr_check=True,
        name="reader",
    )


def _whole(video: Any, numbers: Any) -> torch.Tensor:
    """Return the frames of a video without the padding, ``[T, 3, H, W]``."""
    frames = from_dlpack(video)
    own = int((from_dlpack(numbers) >= 0).sum())
    return frames[:own].permute(0, 3, 1, 2)
