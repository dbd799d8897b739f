"""The program of a baseline decoder's process: it decodes all videos in threads, and answers with times and counts."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from decoders import CROP, DECODERS, RESIZE, Baseline, Picked, Video

from mgdali.bench.peers.clip import cut
from mgdali.bench.peers.task import Task

Answer = dict[str, Any]


class SessionError(Exception):
    """Raised if a video cannot be decoded. The message contains the video and the reason in one line."""


class Session:
    """A baseline and the videos of an epoch.

    Args:
        baseline: The baseline.
        videos: The videos.
        device: torch's device, ``"cuda"``; ``"cpu"`` only in tests, with a decoder that returns frames on the CPU.
    """

    def __init__(self, baseline: Baseline, videos: Sequence[Video], device: str = "cuda") -> None:
        self._baseline, self._videos, self._device = baseline, videos, device
        sizes = max(video.width for video in videos), max(video.height for video in videos)
        # Coded frames consist of whole blocks, of at most 64 pixels.
        self._largest = tuple(-(-size // 64) * 64 for size in sizes)
        self._pools: dict[int, ThreadPoolExecutor] = {}
        self._own = threading.local()

    def prepare(self) -> Answer:
        """Import the library and return its version."""
        load_nvrtc()
        module: Any = importlib.import_module(self._baseline.module)
        return {"version": getattr(module, "__version__", None)}

    def check(self, *, threads: int, every: bool) -> Answer:
        """Run an epoch that is not timed, and compare the clips with the references.

        Returns:
            ``seconds`` and ``frames_decoded`` as of an epoch, and ``difference``: the mean absolute difference of a
            clip from its reference, in units of 255, as the median and the largest value over the videos, and the
            video with the largest.
        """
        start = time.perf_counter()
        differences: dict[str, float] = {}
        decoded: list[int | None] = []
        for video, (clip, count) in zip(self._videos, self._clips(threads, every), strict=True):
            decoded.append(count)
            if video.reference is not None and video.path not in differences:
                wanted = np.load(video.reference).astype(np.int16)
                differences[video.path] = float(np.abs(clip.cpu().numpy().astype(np.int16) - wanted).mean())
        seconds = time.perf_counter() - start
        answer: Answer = {"seconds": seconds, "frames_decoded": total(decoded), "difference": None}
        if differences:
            worst = max(differences, key=lambda path: differences[path])
            median = statistics.median(differences.values())
            answer["difference"] = {"median": median, "most": differences[worst], "of": Path(worst).name}
        return answer

    def epoch(self, *, threads: int, every: bool) -> Answer:
        """Run an epoch; return its duration up to the last operation of the GPU, and the number of decoded frames."""
        self._synchronize()
        start = time.perf_counter()
        decoded = [count for _, count in self._clips(threads, every)]
        self._synchronize()
        return {"seconds": time.perf_counter() - start, "frames_decoded": total(decoded)}

    def _clips(self, threads: int, every: bool) -> Iterator[Picked]:
        """Yield the clip of each video, uint8 ``[N, 3, 224, 224]``, with the number of decoded frames."""
        if threads not in self._pools:
            self._pools[threads] = ThreadPoolExecutor(threads)
        return self._pools[threads].map(lambda video: self._load(video, every), self._videos)

    def _load(self, video: Video, every: bool) -> Picked:
        try:
            with self._stream():
                if not hasattr(self._own, "decoder"):
                    self._own.decoder = self._baseline.make(*self._largest)
                decoder = self._own.decoder
                frames, decoded = (decoder.every if every else decoder.needed)(video)
                clip = clip_of(frames)
                # Another thread uses the clip on another stream.
                if self._device == "cuda":
                    self._own.stream.synchronize()
        except Exception as error:
            raise SessionError(f"{Path(video.path).name}: {type(error).__name__}: {error}") from error
        return Picked(clip, decoded)

    def _stream(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which this thread's CUDA stream is the current one."""
        if self._device == "cpu":
            return contextlib.nullcontext()
        if not hasattr(self._own, "stream"):
            torch.cuda.set_device(0)
            self._own.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        found: contextlib.AbstractContextManager[Any] = torch.cuda.stream(self._own.stream)
        return found

    def _synchronize(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def clip_of(frames: torch.Tensor) -> torch.Tensor:
    """Resize RGB frames uint8 ``[N, 3, H, W]`` and cut out their centre; return uint8 ``[N, 3, 224, 224]``."""
    # Antialiased resizing on CUDA needs floats.
    clip = cut(frames.to(torch.float32), Task(resize=RESIZE, crop_size=CROP))
    return clip.round().clamp(0, 255).to(torch.uint8)


def total(decoded: Sequence[int | None]) -> int | None:
    """Return the sum, or None if a number is not known."""
    known = [count for count in decoded if count is not None]
    return sum(known) if len(known) == len(decoded) else None


def load_nvrtc() -> None:
    """Load the NVRTC library that torch's packages contain: torchcodec needs it, and does not search there."""
    version = (torch.version.cuda or "").partition(".")[0]
    packages = Path(torch.__file__).parents[1] / "nvidia"
    for path in packages.glob(f"*/lib/libnvrtc.so.{version}*"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until the input ends. The first line contains the name of the baseline and the videos."""
    given = json.loads(requests.readline())
    videos = [Video(**{**video, "picks": tuple(video["picks"])}) for video in given["videos"]]
    session = Session(DECODERS[given["name"]], videos)
    for line in requests:
        asked = json.loads(line)
        try:
            answer = getattr(session, asked["request"])(**asked["arguments"])
        except Exception as error:
            words = " ".join(str(error).split())
            answer = {
                "error": words[:500] if isinstance(error, SessionError) else f"{type(error).__name__}: {words[:400]}"
            }
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    # Ctrl-C goes to the whole process group; the comparing process ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Only answers go to the pipe. Output that libraries print is sent to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)
    # Threads of the libraries may wait for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
