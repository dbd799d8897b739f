"""A baseline decoder in a separate process, which answers requests to decode all videos with a number of threads.

The libraries bring or search for FFmpeg builds that conflict in one process, and a library that crashes must not end
the benchmark. Requests and answers are lines of JSON. ``decoder_session.py`` is the program of the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from decoders import Video

__all__ = ["DecoderError", "DecoderProcess", "link_driver_library"]

HERE = Path(__file__).resolve().parent

Answer = dict[str, Any]


class DecoderError(Exception):
    """Raised if a baseline cannot do a request. The message contains the reason in one line."""


class DecoderProcess:
    """A process with one baseline. It is idle between requests.

    Args:
        name: Name of the baseline in ``decoders.DECODERS``.
        videos: The videos of an epoch.
        libraries: Folder of links for the dynamic loader.
    """

    def __init__(self, name: str, videos: Sequence[Video], libraries: Path) -> None:
        self._messages: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "decoder_session.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            env=_environment(libraries),
        )
        with contextlib.suppress(BrokenPipeError):
            self._send({"name": name, "videos": [asdict(video) for video in videos]})

    def ask(self, request: str, limit: float, **arguments: Any) -> Answer:
        """Send a request and return the answer.

        Args:
            request: Name of a method of :class:`decoder_session.Session`.
            limit: Time after which the process is killed, in seconds.
            **arguments: Arguments of the method.

        Raises:
            DecoderError: If the request fails, the process ends, or the time limit is reached.
        """
        with contextlib.suppress(BrokenPipeError):
            self._send({"request": request, "arguments": arguments})
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            # An answer is one line, written in one piece.
            if not selector.select(max(0.0, limit)):
                self._process.kill()
                raise DecoderError(f"it did not answer within {limit:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise DecoderError(f"its process ended with status {self._process.wait()}: {self._last_message()}")
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise DecoderError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._messages.close()

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps(message), file=self._process.stdin, flush=True)

    def _last_message(self) -> str:
        self._messages.seek(0)
        lines = [line.strip() for line in self._messages if line.strip()]
        return lines[-1][:300] if lines else "it printed no message"


def link_driver_library(folder: Path, library: str | None) -> None:
    """Link NVDEC's library under the name without a version, for which SPDL searches.

    Args:
        folder: Folder for the link.
        library: Path of the library; None if it is missing.
    """
    if library is not None:
        (folder / "libnvcuvid.so").symlink_to(library)


def _environment(libraries: Path) -> dict[str, str]:
    def joined(name: str, *first: Path) -> str:
        return os.pathsep.join(filter(None, [*map(str, first), os.environ.get(name, "")]))

    found = {
        "PYTHONPATH": joined("PYTHONPATH", HERE, HERE.parent),
        "LD_LIBRARY_PATH": joined("LD_LIBRARY_PATH", libraries),
    }
    return os.environ | found
