"""The process of one peer: it receives requests to set the peer up and to run epochs, one line of JSON each way.

Each peer has a separate process because peers bring their own FFmpeg builds, threads and signal handlers, which would
conflict in one process, and because the memory of each must be measured separately.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, TextIO

from mgdali.bench.peers.registry import PEERS, Peer
from mgdali.bench.peers.task import Batch, Loader, Task

Answer = dict[str, Any]

_KIND = re.compile(r"^[\w.]*(?:Error|Exception): ")
_LONGEST_REASON = 300


class Session:
    """One peer with one task. The loader is created by the first request that needs it."""

    def __init__(self, peer: Peer, task: Task, paths: Sequence[str]) -> None:
        self._peer, self._task, self._paths = peer, task, paths
        self._make: Callable[[Task, Sequence[str]], Loader] | None = None
        self._loader: Loader | None = None

    def prepare(self) -> Answer:
        """Import the packages and the module of the peer, and return the packages' versions."""
        versions = {name: _version(name) for name in self._peer.needs}
        module, name = self._peer.maker.split(":")
        self._make = getattr(importlib.import_module(f"mgdali.bench.peers.{module}"), name)
        return {"versions": versions}

    def first(self) -> Answer:
        """Create the loader and wait for its first batch."""
        start = time.perf_counter()
        batch = next(iter(self._opened().epoch()))
        _finish(batch)
        return {"seconds": time.perf_counter() - start, "clips": batch.size}

    def check(self) -> Answer:
        """Run the warm-up epoch and return the picks, the channel means and the looks of each clip."""
        clips, picks, means, looks = 0, [], [], []
        for batch in self._opened().epoch():
            clips += batch.size
            if batch.clips is None or batch.picks is None:
                continue
            _check_batch(batch, self._task)
            picks += batch.picks.tolist()
            means += batch.clips.mean((1, 3, 4)).tolist()
            # Imported here, because a peer that only decodes needs no torch.
            from mgdali.bench.peers.looks import looks_of

            looks += looks_of(batch.clips).tolist()
        return {"clips": clips, "picks": picks, "means": means, "looks": looks}

    def epoch(self) -> Answer:
        """Run epochs for at least ``least_seconds``, one at least, and return their duration and number of clips.

        Each epoch is timed up to the last operation of its last batch.
        """
        loader, clips, epochs, seconds = self._opened(), 0, 0, 0.0
        start = time.perf_counter()
        while not epochs or seconds < self._task.least_seconds:
            batch = None
            for batch in loader.epoch():
                clips += batch.size
            _finish(batch)
            seconds = time.perf_counter() - start
            epochs += 1
        return {"seconds": seconds, "clips": clips, "epochs": epochs}

    def close(self) -> Answer:
        if self._loader is not None:
            self._loader.close()
        return {}

    def _opened(self) -> Loader:
        if self._loader is None:
            assert self._make is not None, "call prepare first"
            self._loader = self._make(self._task, self._paths)
        return self._loader


def _reason(error: Exception) -> str:
    """Return the reason in one line. Errors of DataLoader workers are tracebacks whose last line is the reason."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _KIND.sub("", lines[-1])[:_LONGEST_REASON]


def _version(package: str) -> str | None:
    module: Any = importlib.import_module(package)
    if hasattr(module, "__version__"):
        return str(module.__version__)
    try:
        return metadata.version(package.replace(".", "-"))
    except metadata.PackageNotFoundError:
        return None


def _check_batch(batch: Batch, task: Task) -> None:
    assert batch.clips is not None
    assert batch.picks is not None
    shape = (batch.size, task.num_frames, 3, task.crop_size, task.crop_size)
    if tuple(batch.clips.shape) != shape or str(batch.clips.dtype) != "torch.float32":
        raise RuntimeError(f"clips must be float32 {shape}, not {batch.clips.dtype} {tuple(batch.clips.shape)}")
    if tuple(batch.picks.shape) != shape[:2]:
        raise RuntimeError(f"picks must be {shape[:2]}, not {tuple(batch.picks.shape)}")


def _finish(batch: Batch | None) -> None:
    """Wait until the GPU has finished its last operation, if the batch is on a GPU."""
    if batch is not None and batch.clips is not None and batch.clips.is_cuda:
        import torch

        torch.cuda.synchronize()


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until the input ends. The first line contains the peer, the task and the paths."""
    given = json.loads(requests.readline())
    session = Session(PEERS[given["peer"]], Task(**given["task"]), given["paths"])
    for line in requests:
        try:
            answer = getattr(session, json.loads(line))()
        except Exception as error:
            answer = {"error": _reason(error)}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Answer the requests on standard input."""
    # Only answers go to the pipe. Output that libraries print is sent to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
