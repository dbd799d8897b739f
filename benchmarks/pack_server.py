"""HTTP server of a folder with range requests and an artificial latency: the store of ``pack_http.py``.

It runs in a separate process, ``python benchmarks/pack_server.py FOLDER --latency-ms 5``, and prints its port. For
each line on its standard input it prints what it has served since the line before, as JSON. It ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

__all__ = ["PackServer", "Served"]

_RANGE = re.compile(rb"^range:\s*bytes=(\d+)-(\d*)\s*$", re.IGNORECASE | re.MULTILINE)
_MOST_HEADER_BYTES = 64 << 10


@dataclass(frozen=True)
class Served:
    """What a server has served in some time.

    Attributes:
        shard_requests: Requests for shards (files that end with ``.tar``).
        shard_bytes: Bytes of shards that were sent, without headers.
        other_requests: Requests for other files, and requests without content (``HEAD``).
        connections: New connections.
    """

    shard_requests: int
    shard_bytes: int
    other_requests: int
    connections: int


class PackServer:
    """A server in a separate process.

    Args:
        folder: Folder with the files.
        latency_ms: Time in milliseconds that the server waits before it answers a request. Requests on other
            connections are answered meanwhile.

    Attributes:
        url: URL of the folder.
    """

    def __init__(self, folder: Path, latency_ms: float) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), str(folder), "--latency-ms", str(latency_ms)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self._line())}"

    def served(self) -> Served:
        """Return what was served since the last call."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return Served(**json.loads(self._line()))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("pack_server.py: the server ended")
        return line


class _Service:
    """Answers requests for the files of a folder."""

    def __init__(self, folder: Path, latency_s: float) -> None:
        self._folder = folder.resolve()
        self._latency_s = latency_s
        self._counts: Counter[str] = Counter()

    def take_counts(self) -> Served:
        """Return the counts since the last call."""
        counts, self._counts = self._counts, Counter()
        return Served(**{name: counts[name] for name in Served.__dataclass_fields__})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after another, until the client closes it."""
        self._counts["connections"] += 1
        try:
            while True:
                header = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(self._latency_s)
                head, content = self._answer(header)
                writer.write(head)
                if content:
                    writer.write(content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, header: bytes) -> tuple[bytes, bytes]:
        """Return the header and the content of the answer to a request."""
        method, target, _ = header.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        path = (self._folder / unquote(target.partition("?")[0]).lstrip("/")).resolve()
        counted = method == "GET" and path.suffix == ".tar"
        self._counts["shard_requests" if counted else "other_requests"] += 1
        if not path.is_relative_to(self._folder) or not path.is_file():
            return _head("404 Not Found", 0), b""
        size = path.stat().st_size
        first, last = _asked_range(header, size)
        if first >= size:
            return _head("416 Range Not Satisfiable", 0, f"Content-Range: bytes */{size}"), b""
        status, *extra = ("200 OK",)
        if last is not None:
            status, extra = "206 Partial Content", [f"Content-Range: bytes {first}-{last}/{size}"]
        length = (size if last is None else last + 1) - first
        content = b"" if method == "HEAD" else _read(path, first, length)
        self._counts["shard_bytes"] += len(content) if counted else 0
        return _head(status, length, *extra), content


def _asked_range(header: bytes, size: int) -> tuple[int, int | None]:
    """Return the first and the last byte that a request asks for; the last is None if it asks for the whole file."""
    match = _RANGE.search(header.replace(b"\r\n", b"\n"))
    if match is None:
        return 0, None
    return int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)


def _head(status: str, length: int, *extra: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Accept-Ranges: bytes", *extra, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _read(path: Path, offset: int, length: int) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(file, length, offset)
    finally:
        os.close(file)


async def _run(folder: Path, latency_s: float) -> None:
    service = _Service(folder, latency_s)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, limit=_MOST_HEADER_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        print(json.dumps(asdict(service.take_counts())), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder over HTTP with ranges and a latency.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="Folder to serve.")
    parser.add_argument("--latency-ms", type=float, default=5.0, help="Wait before an answer (default: %(default)s).")
    given = parser.parse_args()
    asyncio.run(_run(given.folder, given.latency_ms / 1000))


if __name__ == "__main__":
    main()
