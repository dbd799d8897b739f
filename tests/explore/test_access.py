"""Which requests the server of the page answers, and the headers of its responses."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip("starlette")

from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from mgdali.explore.access import HEADERS, Access, AllowedHosts, is_loopback, new_token

TOKEN = "the-token"


async def shown_path(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(scope["path"])(scope, receive, send)


def client(*, host: str = "127.0.0.1", most_requests: int = 10) -> TestClient:
    app = Access(shown_path, TOKEN, AllowedHosts(host, 8000), most_requests=most_requests)
    return TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False)


def test_a_request_with_the_token_is_passed_on_without_it() -> None:
    assert client().get(f"/{TOKEN}/api/x").text == "/api/x"
    assert client().get(f"/{TOKEN}/").text == "/"
    # Relative addresses in the page need the slash.
    assert client().get(f"/{TOKEN}").headers["location"] == f"/{TOKEN}/"


@pytest.mark.parametrize(
    "path", ["/", "//", "/api/collection", "/the-toke/", "/the-tokenx/", "/THE-TOKEN/", "//the-token/", "/%ff/", "/é/"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_without_the_token_every_path_gets_the_same_404(path: str, method: str) -> None:
    response = client().request(method, path)
    assert (response.status_code, response.text) == (404, "Not found\n")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000"])
def test_names_of_this_machine_are_allowed(host: str) -> None:
    assert client().get(f"/{TOKEN}/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8000",
        "127.0.0.1",
        "127.0.0.1:8001",
        "127.0.0.1:8000.evil.example",
        "localhost.evil.example:8000",
        "localhost:8000:8000",
        "::1:8000",
        "[localhost]:8000",
        "192.0.2.1:8000",
        "user@localhost:8000",
        "",
        ":8000",
    ],
)
def test_other_hosts_get_403_even_with_the_token(host: str) -> None:
    assert client().get(f"/{TOKEN}/", headers={"host": host}).status_code == 403


def test_of_all_addresses_each_number_and_the_name_of_the_machine_are_allowed() -> None:
    hosts = AllowedHosts("0.0.0.0", 8000)
    for host in ("192.0.2.1:8000", "[2001:db8::1]:8000", f"{socket.gethostname()}:8000", "localhost:8000"):
        assert hosts.allows(host)
    assert not hosts.allows("evil.example:8000")
    assert AllowedHosts("box.example", 8000).allows("Box.Example:8000")
    assert not AllowedHosts("192.0.2.7", 8000).allows("192.0.2.8:8000")
    # Browsers leave out port 80.
    assert AllowedHosts("127.0.0.1", 80).allows("localhost")
    assert AllowedHosts("127.0.0.1", 80).allows("[::1]")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_only_get_and_head_are_possible(method: str) -> None:
    response = client().request(method, f"/{TOKEN}/")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert client().head(f"/{TOKEN}/").status_code == 200


def test_requests_beyond_the_limit_get_503() -> None:
    response = client(most_requests=0).get(f"/{TOKEN}/")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "try again" in response.json()["error"]


def test_every_response_has_the_headers_that_protect_the_page() -> None:
    responses = [
        client().get(f"/{TOKEN}/"),
        client().get(f"/{TOKEN}"),
        client().get("/"),
        client().get(f"/{TOKEN}/", headers={"host": "evil.example"}),
        client().post(f"/{TOKEN}/"),
        client().options(f"/{TOKEN}/", headers={"origin": "http://evil.example"}),
        client(most_requests=0).get(f"/{TOKEN}/"),
    ]
    assert [each.status_code for each in responses] == [200, 308, 404, 403, 405, 405, 503]
    for response in responses:
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert response.headers["cache-control"] == "no-store"
        assert not [name for name in response.headers if name.startswith("access-control")]
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;" in policy
    assert "unsafe" not in policy


def test_tokens_differ_and_need_no_escaping() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 32 and token.replace("-", "").replace("_", "").isalnum() for token in tokens)


@pytest.mark.parametrize(
    ("host", "only_here"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)]
)
def test_loopback_addresses_are_recognised(host: str, only_here: bool) -> None:
    assert is_loopback(host) == only_here
