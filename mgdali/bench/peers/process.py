"""The comparing side of a peer's process: starts the process, sends requests, measures its time and memory."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mgdali.bench.peers.ffmpeg import link_libraries
from mgdali.bench.peers.registry import Peer
from mgdali.bench.peers.task import Task
from mgdali.bench.peers.usage import cpu_seconds, memory_bytes, tree, worker_cpu_seconds
from mgdali.interrupts import CTRL_C_SECONDS

_ROOT = Path(__file__).resolve().parents[3]
"""Folder that contains the package, which may be a checkout that is not installed."""
_SAMPLE_SECONDS = 0.05
_LIMIT_SECONDS = 900.0
"""Default maximum duration of a request. A peer that takes longer is refused."""

Look = Callable[[], None]
"""Function that is called repeatedly while an answer is awaited."""


class Refusal(Exception):
    """Raised if a peer cannot do a request. The message contains the reason in one line."""


class Missing(Refusal):
    """Raised if a package that a peer needs is not installed or cannot be imported."""


@dataclass(frozen=True)
class Epoch:
    """Duration of an epoch, and CPU time of the peer's processes during it.

    A fast peer runs several epochs, so that the time is long enough to be measured. These are then means.

    Attributes:
        seconds: Duration.
        cpu_seconds: CPU time of all processes.
        worker_cpu_seconds: CPU time of the worker processes, without the main process.
        count: Number of epochs.
    """

    seconds: float
    cpu_seconds: float
    worker_cpu_seconds: float = 0.0
    count: int = 1


class PeerProcess:
    """A peer in a separate process. It is idle while other peers are measured.

    Args:
        peer: The peer.
        task: The task.
        paths: Paths of the videos.
        limit: Longest duration of a request, in seconds. The process of a peer that takes longer is killed.
    """

    def __init__(self, peer: Peer, task: Task, paths: Sequence[str], *, limit: float = _LIMIT_SECONDS) -> None:
        self.peer = peer
        self._limit = limit
        self._clips = len(paths)
        self._open = ExitStack()
        self._messages = self._open.enter_context(tempfile.TemporaryFile("w+", errors="replace"))  # noqa: SIM115
        libraries = None
        if peer.borrows_ffmpeg:
            libraries = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
            link_libraries(libraries)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mgdali.bench.peers.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            env=_environment(libraries),
            # Ctrl-C in a terminal reaches this process only, which then ends the other.
            start_new_session=True,
        )
        with suppress(BrokenPipeError):
            self._send({"peer": peer.name, "task": asdict(task), "paths": list(paths)})

    def prepare(self) -> dict[str, str | None]:
        """Have the peer import its packages, and return their versions.

        Raises:
            Missing: If a package cannot be imported.
        """
        try:
            versions: dict[str, str | None] = self._ask("prepare")["versions"]
        except Refusal as error:
            raise Missing(str(error)) from None
        return versions

    def first(self) -> float:
        """Return the seconds from creating the loader to its first batch."""
        return float(self._ask("first")["seconds"])

    def check(self) -> tuple[list[list[int]], list[list[float]], list[list[list[float]]]]:
        """Run the warm-up epoch; return the picks, the means of R, G and B, and the looks of each clip.

        :func:`mgdali.bench.peers.looks.looks_of` describes the looks.
        """
        answer = self._counted("check")
        return answer["picks"], answer["means"], answer["looks"]

    def epoch(self) -> Epoch:
        """Run and measure an epoch, or several if it is shorter than the task's ``least_seconds``."""
        before = self._cpu_seconds()
        answer = self._counted("epoch")
        own, workers = (after - begin for after, begin in zip(self._cpu_seconds(), before, strict=True))
        count = answer["epochs"]
        return Epoch(answer["seconds"] / count, own / count, workers / count, count)

    def peak_memory(self) -> int:
        """Run an epoch and return the peak memory of all its processes together, in bytes.

        The memory is read so often that the epoch's time is not reported.
        """
        most = 0

        def look() -> None:
            nonlocal most
            most = max(most, memory_bytes(self._process.pid))

        self._counted("epoch", look)
        look()
        return most

    def memory(self) -> int:
        """Return the current memory of all its processes together, in bytes."""
        return memory_bytes(self._process.pid)

    def close(self, *, at_once: bool = False) -> None:
        """End the process and the processes that it started. Further calls do nothing.

        Args:
            at_once: Whether to kill them, which takes less time than letting the peer end its workers.
        """
        if self._process.stdout is None or self._process.stdout.closed:
            return
        if at_once:
            self._kill()
        else:
            with suppress(Refusal):
                self._ask("close", limit=10.0)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process.stdout.close()
        self._open.close()

    def _kill(self) -> None:
        """Kill the process and the processes that it started, which may not notice its end while they decode."""
        for pid in reversed(tree(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def _cpu_seconds(self) -> tuple[float, float]:
        return cpu_seconds(self._process.pid), worker_cpu_seconds(self._process.pid)

    def _counted(self, request: str, look: Look | None = None) -> dict[str, Any]:
        answer = self._ask(request, look)
        expected = self._clips * answer.get("epochs", 1)
        if answer["clips"] != expected:
            raise Refusal(f"it returned {answer['clips']} clips of {expected}")
        return answer

    def _ask(self, request: str, look: Look | None = None, limit: float | None = None) -> dict[str, Any]:
        with suppress(BrokenPipeError):
            self._send(request)
        line = self._read(look, self._limit if limit is None else limit)
        if not line:
            raise Refusal(f"its process ended: {self._last_message()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Refusal(answer["error"])
        return answer

    def _read(self, look: Look | None, limit: float) -> str:
        assert self._process.stdout is not None
        end = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            # An answer is one line, written in one piece.
            try:
                wait = _SAMPLE_SECONDS if look else CTRL_C_SECONDS
                while not selector.select(min(wait, max(0.0, end - time.monotonic()))):
                    if time.monotonic() >= end:
                        self._kill()
                        raise Refusal(f"it did not answer within {limit:g} s")
                    if look:
                        look()
            except KeyboardInterrupt:
                self._kill()
                raise
        return self._process.stdout.readline()

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps(message), file=self._process.stdin, flush=True)

    def _last_message(self) -> str:
        self._messages.seek(0)
        lines = [line.strip() for line in self._messages if line.strip()]
        return lines[-1] if lines else "it printed no message"


def _environment(libraries: Path | None) -> dict[str, str]:
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    found = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if libraries is not None:
        found["LD_LIBRARY_PATH"] = os.pathsep.join(
            filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH", "")])
        )
    return found
