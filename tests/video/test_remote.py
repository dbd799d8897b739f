"""Reading URLs: requests that fail for a while are repeated, and permanent errors are named."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest

import mgdali.video.remote
from mgdali.errors import VideoDecodeError
from mgdali.video.media import Media
from mgdali.video.remote import download, read_part, remote_info
from tests.support.faulty_server import FaultyServer
from tests.support.videos import moving_square, write_video


@pytest.mark.parametrize("faults", [[], ["503"], ["drop", "503"], ["cut"], ["503", "drop", "cut", "503"]], ids=str)
def test_a_url_is_requested_again_until_it_is_complete(tmp_path: Path, server: FaultyServer, faults: list[str]) -> None:
    content = write_video(tmp_path / "a.mp4", moving_square(5, 48, 64)).read_bytes()
    server.faults = list(faults)
    assert Media(f"{server.url}/a.mp4").read() == content
    assert len(server.requests) == len(faults) + 1


@pytest.mark.parametrize("faults", [[], ["503", "drop"], ["cut", "short", "short"]], ids=str)
def test_a_part_of_a_url_is_requested_again_until_it_is_complete(
    tmp_path: Path, server: FaultyServer, faults: list[str]
) -> None:
    content = bytes(range(256)) * 10
    (tmp_path / "shard.tar").write_bytes(content)
    server.faults = list(faults)
    assert Media(f"{server.url}/shard.tar::a.mp4", (700, 1300)).read() == content[700:2000]
    assert server.requests == [("GET", "bytes=700-1999")] * (len(faults) + 1)


@pytest.mark.parametrize("fault", ["503", "drop", "cut"])
@pytest.mark.parametrize("action", ["read", "fingerprint"])
def test_a_server_that_always_fails_is_named_with_the_number_of_tries(
    tmp_path: Path, server: FaultyServer, fault: str, action: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(1000))
    server.always = fault
    with pytest.raises(VideoDecodeError, match=r"\(tried 5 times\)") as caught:
        getattr(Media(f"{server.url}/a.mp4"), action)()
    assert caught.value.path == f"{server.url}/a.mp4"
    if fault == "503":
        assert "503" in caught.value.reason


@pytest.mark.parametrize(("name", "fault"), [("nowhere.mp4", None), ("a.mp4", "403")], ids=["missing", "forbidden"])
def test_a_permanent_error_is_not_tried_again(
    tmp_path: Path, server: FaultyServer, name: str, fault: str | None
) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(1000))
    server.always = fault
    with pytest.raises(VideoDecodeError, match=name) as caught:
        Media(f"{server.url}/{name}").read()
    assert len(server.requests) == 1
    assert "tried" not in str(caught.value)


def test_a_failed_request_for_the_size_is_repeated(tmp_path: Path, server: FaultyServer) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(1000))
    # fsspec tries HEAD, then GET, and then raises FileNotFoundError.
    server.faults = ["503", "drop", "503", "503"]
    assert remote_info(f"{server.url}/a.mp4")["size"] == 1000
    assert not server.faults


def downloaded(url: str, size: int) -> bytes:
    with TemporaryFile() as file:
        download(url, file, {**remote_info(url), "size": size})
        file.seek(0)
        return file.read()


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mgdali.video.remote, "_BLOCK", 400)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(
    "faults", [[], [None, "503", "drop", "503"], [None, None, None, "cut", "short", "drop"]], ids=str
)
def test_a_file_is_downloaded_in_blocks_and_each_is_requested_again_until_it_is_complete(
    tmp_path: Path, server: FaultyServer, faults: list[str]
) -> None:
    content = random.Random(1).randbytes(1000)
    (tmp_path / "a.parquet").write_bytes(content)
    server.faults = list(faults)
    assert downloaded(f"{server.url}/a.parquet", 1000) == content
    assert not server.faults
    assert {span for _, span in server.requests} >= {"bytes=0-399", "bytes=400-799", "bytes=800-999"}


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("announced", [True, False], ids=["none", "silent"])
def test_a_server_without_range_requests_sends_a_whole_file(
    tmp_path: Path, server: FaultyServer, announced: bool
) -> None:
    content = random.Random(2).randbytes(1000)
    (tmp_path / "a.parquet").write_bytes(content)
    plain = FaultyServer(tmp_path, ranges=False, announced=announced)
    try:
        assert downloaded(f"{plain.url}/a.parquet", 1000) == content
        plain.faults = [None, None, "cut", "503", "drop"]
        assert downloaded(f"{plain.url}/a.parquet", 1000) == content
        with pytest.raises(OSError, match=r"sends 1000 bytes, but reports 1001 \(tried 5 times\)"):
            downloaded(f"{plain.url}/a.parquet", 1001)
    finally:
        plain.close()


def test_trying_again_leaves_the_users_random_numbers_alone(tmp_path: Path, server: FaultyServer) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(1000))
    server.faults = ["503", "503"]
    before = random.getstate()
    read_part(f"{server.url}/a.mp4")
    assert random.getstate() == before


def test_a_server_without_range_requests_is_an_error(tmp_path: Path, server: FaultyServer) -> None:
    (tmp_path / "shard.tar").write_bytes(bytes(1000))
    plain = FaultyServer(tmp_path, ranges=False)
    try:
        with pytest.raises(VideoDecodeError, match="range requests: copy"):
            Media(f"{plain.url}/shard.tar::a.mp4", (100, 200)).read()
    finally:
        plain.close()


def test_any_store_of_fsspec_can_be_read() -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://bucket/a.mp4", "wb") as file:
        file.write(b"0123456789")
    assert Media("memory://bucket/a.mp4").read() == b"0123456789"
    assert Media("memory://bucket/a.mp4::b.mp4", (2, 3)).read() == b"234"
    with pytest.raises(VideoDecodeError, match="memory://bucket/b.mp4"):
        Media("memory://bucket/b.mp4").read()


def test_an_unknown_kind_of_url_is_named() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(VideoDecodeError, match="gopher://a/b.mp4: .*gopher"):
        Media("gopher://a/b.mp4").read()


def test_a_url_without_fsspec_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ImportError, match=r"https://host/a\.mp4.*pip install 'mgdali\[remote\]'"):
        Media("https://host/a.mp4").read()
