"""Reading parts of files as files: members of tars, and URLs block by block."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mgdali.video import part_files
from mgdali.video.part_files import open_member, open_remote
from tests.support.faulty_server import FaultyServer

CONTENT = bytes(random.Random(0).randbytes(50_000))
SPAN = (1000, 40_000)


@pytest.fixture
def tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(part_files, "_FIRST_BLOCK", 1000)
    monkeypatch.setattr(part_files, "_LARGEST_BLOCK", 8000)
    path = tmp_path / "a.tar"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("remote", [False, True])
def test_a_part_is_read_like_a_file(tar: Path, server: FaultyServer, remote: bool) -> None:
    expected = CONTENT[SPAN[0] :][: SPAN[1]]
    with open_remote(f"{server.url}/a.tar", SPAN) if remote else open_member(str(tar), SPAN) as file:
        assert file.read() == expected
        assert file.read(5) == b""
        assert file.seek(-7, 2) == SPAN[1] - 7
        assert file.read(100) == expected[-7:]
        rng = random.Random(1)
        for _ in range(50):
            position, size = rng.randrange(SPAN[1]), rng.randrange(1, 3000)
            file.seek(position)
            content = b""
            while len(content) < size and (more := file.read(size - len(content))):
                content += more
            assert content == expected[position : position + size]
            assert file.tell() == min(position + size, SPAN[1])
        with pytest.raises(ValueError, match="cannot seek to offset -1"):
            file.seek(-1)


def test_blocks_become_larger_and_few_are_kept(tar: Path, server: FaultyServer) -> None:
    with open_remote(f"{server.url}/a.tar", SPAN) as file:
        # Two places in turns, as with sound and pictures that are far apart.
        for step in range(0, 10_000, 100):
            for place in (0, 25_000):
                file.seek(place + step)
                assert file.read(100) == CONTENT[SPAN[0] + place + step :][:100]
    requests = [tuple(map(int, span.removeprefix("bytes=").split("-"))) for _, span in server.requests]
    lengths = [last - first + 1 for first, last in requests]
    assert lengths == [1000, 1000, 2000, 2000, 4000, 4000, 8000, 8000]


def test_a_server_without_parts_sends_the_file_once(tar: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    for announced in (True, False):
        server = FaultyServer(tmp_path, ranges=False, announced=announced)
        try:
            with open_remote(f"{server.url}/a.tar") as file:
                assert file.read() == CONTENT
            with pytest.raises(OSError, match="does not support range requests"):
                open_remote(f"{server.url}/a.tar", SPAN)
        finally:
            server.close()


def test_a_missing_file_is_an_error(tmp_path: Path, server: FaultyServer) -> None:
    with pytest.raises(OSError, match="missing"):
        open_remote(f"{server.url}/missing.mp4")
    with pytest.raises(FileNotFoundError):
        open_member(str(tmp_path / "missing.tar"), SPAN)
