"""A real HTTP server that fails on demand, for tests of code that reads over a network."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class FaultyServer:
    """A server of a folder. Each request takes the next of ``faults``; without one, or with None, it succeeds.

    Args:
        folder: The folder.
        ranges: Whether it supports byte ranges.
        announced: Whether its answers tell this.
    """

    def __init__(self, folder: Path, *, ranges: bool = True, announced: bool = True) -> None:
        self.faults: list[str | None] = []
        self.always: str | None = None
        self.requests: list[tuple[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.command, self.headers.get("Range", "")))
                fault = outer.faults.pop(0) if outer.faults else outer.always
                file = folder / unquote(self.path[1:])
                if fault == "drop":
                    self.close_connection = True
                elif fault in ("503", "403"):
                    self.send_error(int(fault))
                elif not file.is_file():
                    self.send_error(404)
                else:
                    self._answer(file.read_bytes(), fault)

            do_HEAD = do_GET

            def _answer(self, content: bytes, fault: str | None) -> None:
                asked = self.headers.get("Range", "") if ranges else ""
                start, end = 0, len(content)
                if asked:
                    first, last = asked.removeprefix("bytes=").split("-")
                    start, end = int(first), min(int(last) + 1, end) if last else end
                body = content[start:end]
                kept = body[: len(body) // 2] if fault in ("cut", "short") else body
                self.send_response(206 if asked else 200)
                # "cut" sends fewer bytes than announced; "short" announces fewer bytes than requested.
                self.send_header("Content-Length", str(len(kept if fault == "short" else body)))
                if announced:
                    self.send_header("Accept-Ranges", "bytes" if ranges else "none")
                self.send_header("ETag", f'"{hash(content)}"')
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(kept)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
