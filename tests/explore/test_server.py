"""The server of the page on a real socket."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("uvicorn")

from mgdali.explore import server as server_module
from mgdali.explore.access import HEADERS
from mgdali.explore.collection import Collection, open_collection
from mgdali.explore.server import ExploreServer, ServerOptions, open_browser, running
from mgdali.explore.video_data import VideoData
from tests.support.videos import moving_square, write_video


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("videos")
    for seed in range(4):
        write_video(folder / f"{seed}.mp4", moving_square(40, 48, 64, seed))
    return open_collection([str(folder)])


def fetch(url: str, method: str = "GET") -> tuple[int, Any, dict[str, str]]:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read(), {name.lower(): value for name, value in response.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {name.lower(): value for name, value in error.headers.items()}


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def test_the_link_works_during_the_block_only(collection: Collection) -> None:
    with running(collection) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        status, content, headers = fetch(f"{url}api/collection")
        assert (status, json.loads(content)["count"]) == (200, 4)
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert "server" not in headers
        assert fetch(f"{url}api/collection", "HEAD")[:2] == (200, b"")
        assert fetch(f"http://127.0.0.1:{port_of(url)}/")[0] == 404
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port_of(url)), timeout=5)


def test_two_servers_have_different_links(collection: Collection) -> None:
    with running(collection) as one, running(collection) as other:
        assert urlsplit(one).path != urlsplit(other).path
        assert fetch(other.replace(urlsplit(other).path, urlsplit(one).path))[0] == 404


def test_requests_that_are_no_http_or_too_long_do_not_end_the_server(collection: Collection) -> None:
    with running(collection) as url:
        for content in (b"\0\1\2\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port_of(url)), timeout=10) as client:
                client.sendall(content)
                assert client.recv(100).split()[1] in (b"400", b"403")
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * 50_000)
            assert client.recv(100).split()[1] == b"400"
        assert fetch(f"{url}api/collection")[0] == 200


def test_a_port_in_use_is_named_with_what_to_do(collection: Collection) -> None:
    with running(collection) as url:
        port = port_of(url)
        with pytest.raises(OSError, match=f"127.0.0.1, port {port}: .*Another program uses this port"):
            ExploreServer(collection, ServerOptions(port=port))
    with pytest.raises(OSError, match="cannot listen at 192.0.2.1"):
        ExploreServer(collection, ServerOptions("192.0.2.1"))


@pytest.mark.parametrize(("host", "port"), [("", 0), ("127.0.0.1", -1), ("127.0.0.1", 65536)])
def test_an_address_is_checked(host: str, port: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        ServerOptions(host, port)


def test_a_server_at_all_addresses_has_a_link_for_other_machines(collection: Collection) -> None:
    with_all = ExploreServer(collection, ServerOptions("0.0.0.0"))
    with_all.close()
    assert urlsplit(with_all.url).hostname == "127.0.0.1"
    assert with_all.url_elsewhere is not None
    assert socket.gethostname().lower() in with_all.url_elsewhere.lower()


def test_without_a_window_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    done = threading.Event()

    def opening(url: str) -> bool:
        opened.append(url)
        done.set()
        raise OSError("no browser")

    monkeypatch.setattr(server_module.webbrowser, "open", opening)
    monkeypatch.setattr(server_module.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not open_browser("http://127.0.0.1/")
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_browser("http://127.0.0.1/x/")
    assert done.wait(10)
    assert opened == ["http://127.0.0.1/x/"]


def test_lists_and_files_are_answered_while_all_decoders_work(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("page")
    release = threading.Event()

    class Busy(VideoData):
        def motion(self, *args: Any, **options: Any) -> Any:
            assert release.wait(30)
            return super().motion(*args, **options)

    monkeypatch.setattr(server_module, "VideoData", Busy)
    with running(collection, page=tmp_path) as url, ThreadPoolExecutor(16) as clients:
        try:
            waiting = [clients.submit(fetch, f"{url}api/videos/{number % 4}") for number in range(16)]
            for _ in range(5):
                assert fetch(f"{url}api/videos")[0] == 200
                assert fetch(url)[1] == b"page"
            assert not any(each.done() for each in waiting)
        finally:
            release.set()
        assert {each.result()[0] for each in waiting} <= {200, 202}


@pytest.mark.slow
def test_16_clients_at_once_get_the_same_answers_as_one(collection: Collection) -> None:
    def visit(url: str, client: int) -> list[Any]:
        answers: list[Any] = []
        for step in range(4):
            video = (client + step) % 4
            for path in (
                f"api/videos/{video}",
                f"api/videos/{video}/frames?at=0,{10 + step},39&height=32",
                f"api/videos/{video}/explanation?num_frames=6&seed=1",
                "api/videos?sort=name",
            ):
                while (answer := fetch(f"{url}{path}"))[0] == 202:
                    pass
                answers.append((path, answer[0], None if "sort" in path else answer[1]))
        return answers

    with running(collection) as url:
        alone = [visit(url, client) for client in range(4)]
    with running(collection) as url, ThreadPoolExecutor(16) as clients:
        together = list(clients.map(lambda client: visit(url, client), range(16)))
    assert all(status == 200 for answers in together for _, status, _ in answers)
    assert together == [alone[client % 4] for client in range(16)]
