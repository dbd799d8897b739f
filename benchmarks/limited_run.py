"""A command with a time limit: it is interrupted first (SIGINT, then SIGTERM), and killed only at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["TOLD", "Ended", "run_limited"]

TOLD = 0.85
"""Share of the time limit that a command is told, so that it stops by itself before it is interrupted."""
_SIGNALS = ((0.9, signal.SIGINT), (0.95, signal.SIGTERM), (1.0, signal.SIGKILL))
"""Share of the time limit after which each signal is sent."""
_PATIENCE = 3.0
"""Time between the signals if the user interrupts the run, and after the last signal, in seconds."""
_TAIL = 12_000
"""Number of characters of the output that are kept."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Its exit status, or the negative number of the signal that ended it; None if it did not end after it was
            killed, because it hangs in a driver.
        seconds: Its duration, in seconds.
        signals: Names of the signals that were sent to it, in order.
        printed: The end of its standard output and standard error together.
    """

    status: int | None
    seconds: float
    signals: tuple[str, ...]
    printed: str


def run_limited(
    command: Sequence[str],
    limit: float,
    *,
    folder: Path,
    environment: Mapping[str, str],
    look: Callable[[], None] = lambda: None,
    look_seconds: float = 1.0,
) -> Ended:
    """Run a command until it ends, or until its time limit is reached.

    Signals go to the command's process group, as Ctrl-C in a terminal does. Processes that it leaves behind in this
    group are killed. If this function itself is interrupted, it ends the command in the same way before it raises.

    Args:
        command: The program and its arguments.
        limit: Time after which the command is killed, in seconds. It is interrupted at nine tenths of this time.
        folder: Its working folder.
        environment: Its environment variables.
        look: Called about every ``look_seconds`` while the command runs.
        look_seconds: Time between two calls of ``look``, in seconds.
    """
    start = time.monotonic()
    sent: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            for share, number in _SIGNALS:
                if _wait(process, start + share * limit, look, look_seconds):
                    break
                _send(process, number, sent)
        except BaseException:
            _end(process, sent)
            raise
        finally:
            _kill_group(process)
        return Ended(process.returncode, round(time.monotonic() - start, 1), tuple(sent), _tail(printed))


def _wait(process: subprocess.Popen[bytes], until: float, look: Callable[[], None], pause: float) -> bool:
    """Return whether the process ended before a moment."""
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(left, pause))
            return True
        look()
    return process.poll() is not None


def _end(process: subprocess.Popen[bytes], sent: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if process.poll() is not None:
            return
        _send(process, number, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)


def _send(process: subprocess.Popen[bytes], number: signal.Signals, sent: list[str]) -> None:
    sent.append(number.name)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process group, and wait a few seconds for the command itself."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)


def _tail(printed: IO[str]) -> str:
    printed.seek(0)
    return printed.read()[-_TAIL:]
