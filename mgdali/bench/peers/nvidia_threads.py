"""torchcodec and PyNvVideoCodec on NVIDIA GPUs, in threads.

A GPU has several hardware decoders. To use all of them, both packages advise one decoder per thread.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.utils.dlpack

from mgdali.bench.peers.cuda_clip import clip_of
from mgdali.bench.peers.task import Batch, Task

Decode = Callable[[str], torch.Tensor]
"""Function that returns all frames of a video, uint8 ``[T, 3, H, W]`` on the GPU."""

_LARGEST = 4096
"""Largest height and width of a video, so that a decoder can be reused for all videos."""
_own = threading.local()


def decode_torchcodec(path: str) -> torch.Tensor:
    """Decode with a new decoder for each file; the package keeps hardware decoders by itself."""
    from torchcodec.decoders import VideoDecoder

    frames: torch.Tensor = VideoDecoder(path, device="cuda").get_all_frames().data
    return frames


def decode_pynvvideocodec(path: str) -> torch.Tensor:
    """Decode with the thread's decoder, which is reconfigured for each file, as in NVIDIA's sample for many files."""
    import PyNvVideoCodec as nvc

    decoder: Any = getattr(_own, "decoder", None)
    if decoder is None:
        decoder = _own.decoder = nvc.SimpleDecoder(
            path,
            gpu_id=0,
            cuda_stream=torch.cuda.current_stream().cuda_stream,
            use_device_memory=True,
            max_width=_LARGEST,
            max_height=_LARGEST,
            output_color_type=nvc.OutputColorType.RGB,
        )
    else:
        # The decoder overwrites its frames, so earlier work on them must be finished.
        torch.cuda.current_stream().synchronize()
        decoder.reconfigure_decoder(path)
    frames = [torch.utils.dlpack.from_dlpack(frame) for frame in decoder[0 : len(decoder)]]
    return torch.stack(frames).permute(0, 3, 1, 2)


class ThreadedLoader:
    """Threads that decode videos and make clips, two batches ahead of the current one."""

    def __init__(self, task: Task, paths: Sequence[str], decode: Decode) -> None:
        self._task, self._paths, self._decode = task, paths, decode
        self._threads = ThreadPoolExecutor(task.workers)

    def epoch(self) -> Iterator[Batch]:
        """All videos once, in order."""
        paths = iter(self._paths)
        ahead = 3 * self._task.batch_size
        jobs: deque[Future[tuple[torch.Tensor, torch.Tensor]]] = deque()
        while True:
            jobs += [self._threads.submit(self._load, path) for path in itertools.islice(paths, ahead - len(jobs))]
            if not jobs:
                return
            done = [jobs.popleft().result() for _ in range(min(self._task.batch_size, len(jobs)))]
            yield Batch(len(done), torch.stack([clip for clip, _ in done]), torch.stack([picks for _, picks in done]))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _load(self, path: str) -> tuple[torch.Tensor, torch.Tensor]:
        # One CUDA stream per thread; on a shared stream, threads would wait for each other's work.
        if not hasattr(_own, "stream"):
            _own.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        try:
            with torch.cuda.stream(_own.stream):
                clip, picks = clip_of(self._decode(path), self._task)
            # Another thread uses the clip on another stream.
            _own.stream.synchronize()
        except Exception as error:
            raise RuntimeError(f"{Path(path).name}: {error}") from None
        return clip, picks


torchcodec = partial(ThreadedLoader, decode=decode_torchcodec)
pynvvideocodec = partial(ThreadedLoader, decode=decode_pynvvideocodec)
