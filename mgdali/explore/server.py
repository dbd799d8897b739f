"""The HTTP server of ``mgdali explore``: its address, its limits, and its end."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mgdali.errors import check_integer
from mgdali.explore.collection import Collection
from mgdali.explore.video_data import VideoData

try:
    import uvicorn

    from mgdali.explore.access import AllowedHosts, is_wildcard, new_token
    from mgdali.explore.answers import Answers
    from mgdali.explore.app import PAGE, Workers, explore_app
except ImportError as error:
    raise ImportError(f"mgdali explore needs Starlette and uvicorn: pip install 'mgdali[explore]' ({error})") from error

__all__ = ["ExploreServer", "ServerOptions", "open_browser", "running"]

_HIGHEST_PORT = 65535
_HEADER_BYTES = 16 << 10
# A browser opens up to 6. Beyond this number, uvicorn answers 503.
_MOST_CONNECTIONS = 1024
_SECONDS_TO_END = 1
_BACKLOG = 256


@dataclass(frozen=True)
class ServerOptions:
    """Where the server listens.

    Args:
        host: Address or name of this machine. ``127.0.0.1`` is reached from this machine only, ``0.0.0.0`` and ``::``
            are all of its addresses.
        port: Port from 1 to 65535; 0 for one that is free.

    Raises:
        ValueError: If the host is empty or the port is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 0

    def __post_init__(self) -> None:
        check_integer("port", self.port, least=0)
        if self.port > _HIGHEST_PORT:
            raise ValueError(f"port must be from 0 to {_HIGHEST_PORT}, got {self.port}")
        if not self.host:
            raise ValueError("host must be an address or a name of this machine, got ''")


class ExploreServer:
    """The server of one collection. It listens from its construction on, and answers while :meth:`run` is running.

    Args:
        collection: The videos. They are not closed.
        options: Where to listen.
        page: Folder with the files of the page.

    Raises:
        OSError: If it cannot listen there. The message names the address and what to do.
    """

    def __init__(self, collection: Collection, options: ServerOptions | None = None, *, page: Path = PAGE) -> None:
        options = options or ServerOptions()
        self._socket = _listening(options)
        self._host, self._port = options.host, self._socket.getsockname()[1]
        self._token = new_token()
        self._data = VideoData()
        self._workers = Workers()
        hosts = AllowedHosts(options.host, self._port)
        app = explore_app(Answers(collection, self._data), self._workers, self._token, hosts, page=page)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                log_level="critical",
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_SECONDS_TO_END,
                h11_max_incomplete_event_size=_HEADER_BYTES,
            )
        )

    @property
    def url(self) -> str:
        """The link of the page on this machine, with the token. It ends with a slash."""
        return self._link("127.0.0.1" if is_wildcard(self._host) else self._host)

    @property
    def url_elsewhere(self) -> str | None:
        """The link with this machine's name, if the server listens at all of its addresses; otherwise None."""
        return self._link(socket.gethostname()) if is_wildcard(self._host) else None

    def run(self) -> None:
        """Answer requests until :meth:`stop`, or in the main thread until Ctrl-C.

        Raises:
            KeyboardInterrupt: After Ctrl-C. The connections are closed then.
        """
        try:
            self._server.run([self._socket])
        finally:
            self.close()

    def stop(self) -> None:
        """Let :meth:`run` return soon. It may be called in any thread."""
        self._server.should_exit = True

    def close(self) -> None:
        """Close the socket, and end decoding. It may be called several times."""
        self._socket.close()
        self._workers.close()
        self._data.close()

    def _link(self, host: str) -> str:
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self._port}/{self._token}/"


@contextlib.contextmanager
def running(collection: Collection, options: ServerOptions | None = None, *, page: Path = PAGE) -> Iterator[str]:
    """Serve a collection in a thread during the block, which gets the link of the page.

    Args:
        collection: The videos. They are not closed.
        options: Where to listen; by default at a free port that is reached from this machine only.
        page: Folder with the files of the page.

    Raises:
        OSError: If it cannot listen there.

    Example:
        >>> from mgdali.explore.collection import open_collection
        >>> with running(open_collection(["videos"])) as url:
        ...     print(url)  # doctest: +ELLIPSIS
        http://127.0.0.1:.../
    """
    server = ExploreServer(collection, options, page=page)
    thread = threading.Thread(target=server.run, name="explore-server", daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


def open_browser(url: str) -> bool:
    """Open a link in the user's browser, in the background; return False if there is no browser with a window.

    A browser in the terminal would take the place of what the command prints, so none is opened.
    """
    places = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform != "darwin" and not any(os.environ.get(name) for name in places):
        return False

    def opening() -> None:
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(url)

    # Some browsers return only when they are closed.
    threading.Thread(target=opening, name="explore-browser", daemon=True).start()
    return True


def _listening(options: ServerOptions) -> socket.socket:
    """Return a socket that listens; clients can connect to it from now on."""
    where = f"{options.host}, port {options.port}"
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise OSError(f"cannot listen at {where}: {error}. Name an address of this machine as --host") from error
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            advice = "Another program uses this port: choose another --port, or leave it out"
        elif error.errno == errno.EACCES:
            advice = "Choose a --port of 1024 or more, or leave it out"
        else:
            advice = "Name an address of this machine as --host"
        raise OSError(f"cannot listen at {where}: {error.strerror}. {advice}") from error
    return listening
