"""A peer's own process: it is asked, a line of JSON each way, to set the peer up and to run epochs.

Peers bring FFmpeg builds, threads and signal handlers that would meet in one process, and their memory could not be
told apart.
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

from peers.registry import PEERS, Peer
from peers.task import Batch, Loader, Task

Answer = dict[str, Any]

_KIND = re.compile(r"^[\w.]*(?:Error|Exception): ")
_LONGEST_REASON = 300


class Session:
    """One peer and one task; the loader is made when it is first asked for."""

    def __init__(self, peer: Peer, task: Task, paths: Sequence[str]) -> None:
        self._peer, self._task, self._paths = peer, task, paths
        self._make: Callable[[Task, Sequence[str]], Loader] | None = None
        self._loader: Loader | None = None

    def prepare(self) -> Answer:
        """Import what the peer needs."""
        versions = {name: _version(name) for name in self._peer.needs}
        module, name = self._peer.maker.split(":")
        self._make = getattr(importlib.import_module(f"peers.{module}"), name)
        return {"versions": versions}

    def first(self) -> Answer:
        """Make the loader and wait for its first batch."""
        start = time.perf_counter()
        batch = next(iter(self._opened().epoch()))
        _finish(batch)
        return {"seconds": time.perf_counter() - start, "clips": batch.size}

    def check(self) -> Answer:
        """The warm-up epoch: each clip's picks and means of its channels."""
        clips, picks, means = 0, [], []
        for batch in self._opened().epoch():
            clips += batch.size
            if batch.clips is None or batch.picks is None:
                continue
            _check_batch(batch, self._task)
            picks += batch.picks.tolist()
            means += batch.clips.mean((1, 3, 4)).tolist()
        return {"clips": clips, "picks": picks, "means": means}

    def epoch(self) -> Answer:
        """An epoch's seconds, to the last batch's last operation."""
        loader, clips, batch = self._opened(), 0, None
        start = time.perf_counter()
        for batch in loader.epoch():
            clips += batch.size
        _finish(batch)
        return {"seconds": time.perf_counter() - start, "clips": clips}

    def close(self) -> Answer:
        if self._loader is not None:
            self._loader.close()
        return {}

    def _opened(self) -> Loader:
        if self._loader is None:
            assert self._make is not None, "prepare comes first"
            self._loader = self._make(self._task, self._paths)
        return self._loader


def _reason(error: Exception) -> str:
    """In one line; errors of DataLoader's workers are tracebacks with the reason last."""
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
    """Wait for a GPU's last operation."""
    if batch is not None and batch.clips is not None and batch.clips.is_cuda:
        import torch

        torch.cuda.synchronize()


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until there is nothing more to be asked; the first request says what the session is of."""
    given = json.loads(requests.readline())
    session = Session(PEERS[given["peer"]], Task(**given["task"]), given["paths"])
    for line in requests:
        try:
            answer = getattr(session, json.loads(line))()
        except Exception as error:
            answer = {"error": _reason(error)}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    # What libraries print goes to standard error, and only answers to the pipe.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
