"""Who may ask the server: the token of the link, the Host header, GET only; headers that protect the page."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass, field

from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Access", "AllowedHosts", "is_loopback", "is_wildcard", "new_token"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of every response. There are no CORS headers, so a page of another origin cannot read a response."""

_TOKEN_BYTES = 24
_METHODS = ("GET", "HEAD")
_HTTP_PORT = 80


def new_token() -> str:
    """Return a random token for the path of the link: 32 characters that need no escaping in a URL."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach an address."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_wildcard(host: str) -> bool:
    """Return whether an address means all addresses of the machine: ``0.0.0.0`` or ``::``."""
    address = _address(host)
    return address is not None and address.is_unspecified


@dataclass(frozen=True)
class AllowedHosts:
    """The values of the Host header that the server answers.

    A page of another site can make its own name point to 127.0.0.1 (DNS rebinding). The browser then sends that name in
    the Host header, so other names are refused. Allowed are ``127.0.0.1``, ``localhost``, ``[::1]`` and the host that
    the server listens at. If it listens at all addresses of the machine, these are also allowed: each IP address, which
    no DNS server can redirect, and the machine's name, short and in full.

    Args:
        host: Address or name that the server listens at.
        port: Port that the server listens at. The header must have it too, unless it is 80, which browsers leave out.
    """

    host: str
    port: int
    _names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = {"127.0.0.1", "localhost", "::1", self.host.lower()}
        if is_wildcard(self.host):
            names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        object.__setattr__(self, "_names", frozenset(names))

    def allows(self, header: str) -> bool:
        """Return whether a Host header is allowed."""
        name, separator, port = header.rpartition(":")
        # The last colon of an IPv6 address without a port is within its brackets.
        if not separator or port.endswith("]"):
            name, port = header, str(_HTTP_PORT)
        if port != str(self.port):
            return False
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
            if ":" not in name:
                return False
        elif ":" in name:
            return False
        return name.lower() in self._names or (is_wildcard(self.host) and _address(name) is not None)


class Access:
    """ASGI application that passes the permitted requests on to another one, without the token in their paths.

    A request is answered with 403 if its Host header is not allowed, with 404 if its path does not begin with the
    token, with 405 if it is neither GET nor HEAD, and with 503 if too many others are being answered.

    Args:
        app: The application that answers permitted requests. Its paths begin after the token.
        token: First segment of the path.
        hosts: The permitted Host headers.
        most_requests: Number of requests that are answered at the same time.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: AllowedHosts, *, most_requests: int = 256) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts
        self._most_requests = most_requests
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        protected = _with_headers(send)
        refusal, path = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, protected)
            return
        self._requests += 1
        try:
            await self._app({**scope, "path": path, "raw_path": None, "root_path": ""}, receive, protected)
        finally:
            self._requests -= 1

    def _refusal(self, scope: Scope) -> tuple[Response | None, str]:
        """Return the response to a request that is refused, or None and the path after the token."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._hosts.allows(hosts[0]):
            return PlainTextResponse("Open the link that mgdali explore has printed, with the same port.\n", 403), ""
        token, slash, path = scope["path"].removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode("utf-8", "surrogatepass"), self._token.encode()):
            return PlainTextResponse("Not found\n", 404), ""
        if scope["method"] not in _METHODS:
            allow = {"allow": ", ".join(_METHODS)}
            return JSONResponse({"error": f"{scope['method']} is not possible, only GET"}, 405, allow), ""
        if not slash:
            # Relative addresses in the page need it.
            return RedirectResponse(f"/{self._token}/", 308), ""
        if self._requests >= self._most_requests:
            text = f"{self._requests} other requests are being answered: try again in a second"
            return JSONResponse({"error": text}, 503, {"retry-after": "1"}), ""
        return None, f"/{path}"


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            # Without its own rule, a response must not be kept by the browser.
            added = {**HEADERS, "cache-control": "no-store"}
            more = [(name.encode(), value.encode()) for name, value in added.items() if name.encode() not in given]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
