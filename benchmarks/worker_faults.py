"""Try the faults of worker processes many times under load: crashes, kills at random moments, and timeouts.

Run ``python benchmarks/worker_faults.py``. Each try compares the batches with those of a run without workers. Hangs and
leftover processes are counted. The exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mgdali import MGDaliIterator, VideoDataset, build_index

_LENGTHS = range(40, 64)
_CRASHING = 49
_HANG_SECONDS = 120.0


@dataclass(frozen=True)
class CrashingSampler:
    """Evenly spread picks. A video with ``length`` frames ends the worker by ``signal``; 0 for no video."""

    length: int = 0
    signal: int = signal.SIGSEGV
    num_frames: int = 4

    @property
    def representation(self) -> None:
        return None

    def pick(self, motion: Any, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        """Pick frames, or end the process."""
        if total == self.length:
            os.kill(os.getpid(), self.signal)
        return np.arange(self.num_frames) * total // self.num_frames


def main() -> None:
    parser = argparse.ArgumentParser(description="Try the faults of worker processes many times under load.")
    parser.add_argument("--times", type=int, default=50, help="Number of tries of each fault.")
    parser.add_argument("--load", type=int, default=os.cpu_count(), help="Number of busy processes.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the random moments.")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.load)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            wrong = _try_all(Path(folder), options.times, random.Random(options.seed), busy)
    finally:
        for process in busy:
            process.kill()
    sys.exit(wrong > 0)


def _try_all(folder: Path, times: int, rng: random.Random, busy: list[subprocess.Popen[bytes]]) -> int:
    videos = _write_videos(folder)
    faults: dict[str, Callable[[], bool]] = {
        "a video that crashes two workers": _crashes(videos),
        "a worker killed while it decodes": _kills(videos, rng),
        "all workers killed while they wait": _idle_kills(videos),
        "a video that never answers, timeout": _timeouts(videos, folder),
        "a worker of an index build killed": _build_kills(videos, folder, rng),
    }
    wrong = 0
    own = {process.pid for process in busy}
    for name, fault in faults.items():
        bad, left, longest = 0, 0, 0.0
        for _ in range(times):
            started = time.monotonic()
            watch = threading.Timer(_HANG_SECONDS, _hung, [name])
            watch.daemon = True
            watch.start()
            bad += not fault()
            watch.cancel()
            longest = max(longest, time.monotonic() - started)
            left += len(_children() - own)
        print(f"{name}: {times} tries, {bad} wrong, {left} leftover processes, longest {longest:.1f} s", flush=True)
        wrong += bad + left
    return wrong


def _crashes(videos: VideoDataset) -> Callable[[], bool]:
    path = Path(videos.paths[_LENGTHS.index(_CRASHING)])
    content = path.read_bytes()
    path.write_bytes(b"unreadable")
    expected = _digests(videos, num_workers=0)
    path.write_bytes(content)
    return lambda: _digests(videos, sampler=CrashingSampler(_CRASHING)) == expected


def _kills(videos: VideoDataset, rng: random.Random) -> Callable[[], bool]:
    expected = _digests(videos, num_workers=0, epochs=3)

    def fault() -> bool:
        with _Killing(videos, rng) as killing:
            return _digests(videos, epochs=3) == expected and killing.done

    return fault


def _idle_kills(videos: VideoDataset) -> Callable[[], bool]:
    expected = _digests(videos, num_workers=0)

    def fault() -> bool:
        before = _children()
        with _loader(videos) as loader:
            first = [_digest(batch) for batch in loader]
            for process in _children() - before:
                os.kill(process, signal.SIGKILL)
            return first + [_digest(batch) for batch in loader] == expected

    return fault


def _timeouts(videos: VideoDataset, folder: Path) -> Callable[[], bool]:
    stuck = folder / "stuck.mp4"
    paths = [*videos.paths[:5], str(stuck), *videos.paths[5:]]
    dataset = VideoDataset(paths, [0] * len(paths))
    expected = _digests(dataset, num_workers=0)
    os.mkfifo(stuck)
    return lambda: _digests(dataset, timeout=1.5) == expected


def _build_kills(videos: VideoDataset, folder: Path, rng: random.Random) -> Callable[[], bool]:
    def fault() -> bool:
        with _Killing(videos, rng) as killing:
            report = build_index(videos, folder / f"{rng.random()}.parquet", num_workers=2)
        return not report.failed and report.rows == len(videos) and killing.done

    return fault


class _Killing:
    """A thread that kills one process that has a certain video open, during a ``with`` block."""

    def __init__(self, videos: VideoDataset, rng: random.Random) -> None:
        self._path = rng.choice(videos.paths)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.done = False

    def __enter__(self) -> _Killing:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.done and not self._end.is_set():
            for process in _children():
                if self._path in _open_files(process):
                    os.kill(process, signal.SIGKILL)
                    self.done = True
                    return


def _open_files(process: int) -> set[str]:
    files = set()
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                files.add(os.readlink(file))
    return files


def _loader(videos: VideoDataset, **arguments: Any) -> MGDaliIterator:
    defaults: dict[str, Any] = {
        "sampler": CrashingSampler(), "num_workers": 2, "batch_size": 4, "shuffle": True, "training": True,
        "crop_size": 32, "return_meta": True, "device": "cpu", "on_error": "replace",
    }  # fmt: skip
    return MGDaliIterator(videos, **{**defaults, **arguments})


def _digests(videos: VideoDataset, *, epochs: int = 2, **arguments: Any) -> list[str]:
    with _loader(videos, **arguments) as loader:
        return [_digest(batch) for _ in range(epochs) for batch in loader]


def _digest(batch: Any) -> str:
    clips, labels, meta = batch
    content = clips.numpy().tobytes() + labels.numpy().tobytes() + "\n".join(meta["path"]).encode()
    return hashlib.sha256(content).hexdigest()


def _write_videos(folder: Path) -> VideoDataset:
    paths = []
    rng = np.random.default_rng(0)
    for length in _LENGTHS:
        paths.append(folder / f"{length}.mp4")
        with av.open(str(paths[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            for _ in range(length):
                frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (120, 160, 3), np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return VideoDataset(paths, [0] * len(paths))


def _children() -> set[int]:
    """Return the running child processes."""
    found: set[int] = set()
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        # The thread may have ended.
        with contextlib.suppress(OSError):
            found |= {int(process) for process in path.read_text().split()}
    return found


def _hung(name: str) -> None:
    print(f"{name}: no end within {_HANG_SECONDS:g} s", flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
