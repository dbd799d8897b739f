"""Index files at URLs: one download per version of the file, errors that name the URL, and no left files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mgdali.index.remote_index
from mgdali import MotionIndex, VideoDataset, build_index
from mgdali.errors import DatasetError
from mgdali.index.inspect import check_index, failures, summarize_index
from mgdali.index.remote_index import downloaded
from mgdali.index.writer import IndexWriter
from mgdali.video.record import VideoRecord
from mgdali.video.remote import download, remote_info
from tests.support.faulty_server import FaultyServer
from tests.support.index_records import contents, make_record
from tests.support.loading import SCRIPT_ENVIRONMENT, digest, load

fsspec = pytest.importorskip("fsspec")

URL = "memory://bucket/videos.parquet"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own folder for mapped copies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mgdali" / "index"


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    """fsspec's file system in memory, empty."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An index of three videos, in the folder that the server serves."""
    path = tmp_path / "videos.parquet"
    write(path, make_record("/a.mp4", 20, 1), make_record("/b.mp4", 30, 2), VideoRecord(path="/c.mp4", error="broken"))
    return path


def write(path: Path, *records: VideoRecord) -> None:
    writer = IndexWriter(path)
    writer.add(*records)
    writer.commit()


def upload(path: Path, url: str = URL) -> None:
    fsspec.filesystem("memory").pipe(url, path.read_bytes())


def copies(cache: Path) -> dict[str, int]:
    """Return the files in the cache folder, with their modification times."""
    return {file.name: file.stat().st_mtime_ns for file in cache.iterdir()} if cache.exists() else {}


def downloads(server: FaultyServer) -> int:
    return sum(1 for method, span in server.requests if method == "GET" and span)


def test_an_index_at_a_url_has_the_records_of_the_file(path: Path, server: FaultyServer, cache: Path) -> None:
    url = f"{server.url}/videos.parquet"
    index = MotionIndex(url)
    record = index.find("/b.mp4")
    assert record is not None
    assert contents(record) == contents(make_record("/b.mp4", 30, 2))
    assert (index.path, repr(index), len(index)) == (url, f"MotionIndex({url!r}, 3 videos)", 3)
    assert index.find("/d.mp4") is None
    assert [name.endswith(".map") for name in copies(cache)] == [True]


def test_summary_failures_and_check_read_a_url(path: Path, cache: Path) -> None:
    upload(path)
    summary = summarize_index(URL)
    assert (summary.path, summary.size, summary.videos, summary.failed) == (URL, path.stat().st_size, 3, 1)
    assert summary.hours > 0
    assert list(failures(URL)) == [("/c.mp4", "broken")]
    found = check_index(URL)
    assert (found.path, found.videos, found.missing.count) == (URL, 3, 3)
    assert copies(cache) == {}


def test_an_unchanged_file_is_downloaded_once(path: Path, server: FaultyServer, cache: Path) -> None:
    MotionIndex(f"{server.url}/videos.parquet")
    before = copies(cache)
    MotionIndex(f"{server.url}/videos.parquet")
    assert copies(cache) == before
    assert downloads(server) == 1


@pytest.mark.parametrize("protocol", ["memory", "file", "http"])
def test_a_changed_file_is_downloaded_again_and_open_indices_stay_unchanged(
    protocol: str, path: Path, server: FaultyServer, cache: Path
) -> None:
    url = {"memory": URL, "file": f"file://{path}", "http": f"{server.url}/videos.parquet"}[protocol]
    upload(path)
    before = MotionIndex(url)
    # The size stays the same.
    content = path.read_bytes()
    path.unlink()
    write(path, make_record("/a.mp4", 20, 1), make_record("/x.mp4", 30, 2), VideoRecord(path="/c.mp4", error="broken"))
    assert (len(path.read_bytes()), path.read_bytes() == content) == (len(content), False)
    upload(path)
    after = MotionIndex(url)
    assert [index.find("/b.mp4") is not None for index in (before, after)] == [True, False]
    assert [index.find("/x.mp4") is not None for index in (before, after)] == [False, True]
    assert len(copies(cache)) == 1


def test_if_a_server_reports_only_the_size_a_change_of_the_size_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mgdali.index.remote_index, "remote_info", lambda url: {"size": remote_info(url)["size"]})
    upload(path)
    MotionIndex(URL)
    content = path.read_bytes()
    fsspec.filesystem("memory").pipe(URL, bytes(len(content)))
    # docs/remote.md describes this.
    assert len(MotionIndex(URL)) == 3
    write(path, make_record("/d.mp4"))
    upload(path)
    assert len(MotionIndex(URL)) == 4


def test_two_urls_share_no_copy(path: Path, cache: Path) -> None:
    upload(path)
    write(path, make_record("/d.mp4"))
    upload(path, "memory://other/videos.parquet")
    assert [len(MotionIndex(url)) for url in (URL, "memory://other/videos.parquet", URL)] == [3, 4, 3]
    assert len(copies(cache)) == 2


def test_threads_that_open_a_url_at_the_same_time_download_it_once(path: Path, server: FaultyServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert [len(index) for index in pool.map(MotionIndex, [f"{server.url}/videos.parquet"] * 4)] == [3] * 4
    assert downloads(server) == 1


@pytest.mark.slow
def test_processes_that_open_a_url_at_the_same_time_download_it_once(
    path: Path, server: FaultyServer, cache: Path
) -> None:
    script = "import sys; from mgdali import MotionIndex; print(len(MotionIndex(sys.argv[1])))"
    command = [sys.executable, "-c", script, f"{server.url}/videos.parquet"]
    environment = {**SCRIPT_ENVIRONMENT, "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["3\n"] * 3
    assert downloads(server) == 1
    assert len(copies(cache)) == 1


def test_failed_requests_are_repeated(path: Path, server: FaultyServer) -> None:
    server.faults = ["503", "drop", None, None, None, "cut", "503"]
    assert len(MotionIndex(f"{server.url}/videos.parquet")) == 3
    assert not server.faults


@pytest.mark.parametrize("replaced", [1, 100])
def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    replaced: int, path: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(path)
    calls = 0

    def replace_and_download(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls <= replaced:
            write(path, make_record(f"/new{calls}.mp4"))
            upload(path)
        download(*arguments)

    monkeypatch.setattr(mgdali.index.remote_index, "download", replace_and_download)
    if replaced == 1:
        assert MotionIndex(URL).find("/new1.mp4") is not None
        assert calls == 2
    else:
        with pytest.raises(DatasetError, match=f"{URL} has changed 3 times while it was read"):
            MotionIndex(URL)
        assert copies(cache) == {}


def test_the_downloaded_file_has_no_name_so_that_a_killed_process_leaves_nothing(path: Path, cache: Path) -> None:
    upload(path)
    with downloaded(URL) as (file, _):
        assert file.read_bytes() == path.read_bytes()
        assert copies(cache) == {}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://bucket/none.parquet", "cannot read the index {url}: FileNotFoundError.*Check the URL"),
        ("{server}/none.parquet", "cannot read the index {url}: .*404.*Check the URL"),
        ("http://127.0.0.1:9/i.parquet", r"cannot read the index {url}: .*\(tried 5 times\).*the network"),
        ("gopher://host/i.parquet", "cannot read the index {url}: .*Protocol not known: gopher"),
        ("{server}/notes.txt", "{url} is not a motion index"),
    ],
    ids=["missing", "missing on a server", "no server", "unknown protocol", "no index"],
)
@pytest.mark.parametrize("function", [MotionIndex, summarize_index, check_index])
def test_an_error_names_the_url_and_leaves_no_file(
    function: Any, url: str, words: str, server: FaultyServer, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    url = url.format(server=server.url)
    with pytest.raises(DatasetError, match=words.format(url=url)):
        function(url)
    assert copies(cache) == {}


def test_a_server_that_always_cuts_answers_is_an_error_and_leaves_no_file(
    path: Path, server: FaultyServer, cache: Path
) -> None:
    server.always = "cut"
    with pytest.raises(DatasetError, match=f"cannot read the index {server.url}/videos.parquet: .*tried 5 times"):
        MotionIndex(f"{server.url}/videos.parquet")
    assert copies(cache) == {}


@pytest.mark.parametrize(
    ("module", "url", "words"),
    [
        ("fsspec.core", "https://host/i.parquet", r"https://host/i\.parquet.*pip install 'mgdali\[remote\]'"),
        ("s3fs", "s3://bucket/i.parquet", r"s3://bucket/i\.parquet.*pip install s3fs"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    module: str, url: str, words: str, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=words):
        MotionIndex(url)
    assert copies(cache) == {}


def test_a_cache_folder_that_cannot_be_written_is_named(path: Path, tmp_path: Path) -> None:
    upload(path)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DatasetError, match=f"copy of the index {URL} in {tmp_path}/cache/.*XDG_CACHE_HOME"):
        MotionIndex(URL)


@pytest.mark.parametrize("allowed", [0.5, 1.1], ids=["for the download", "for the mapped copy"])
def test_a_full_disk_is_named_and_no_file_is_left(allowed: float, path: Path, cache: Path) -> None:
    write(path, *(make_record(f"/{i}.mp4", 2000, i, times=np.zeros(2000, np.int64)) for i in range(50)))
    upload(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(allowed * path.stat().st_size), limits[1]))
    try:
        with pytest.raises(DatasetError, match=f"copy of the index {URL}.*File too large"):
            MotionIndex(URL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert copies(cache) == {}


def test_a_path_that_was_made_from_a_url_is_an_error_that_tells_the_reason(path: Path) -> None:
    upload(path)
    with pytest.raises(DatasetError, match="memory:/bucket/videos.parquet is a URL without its second slash.*a str"):
        MotionIndex(Path(URL))


def test_batches_are_the_same_to_the_byte_with_an_index_at_a_url(dataset: VideoDataset, tmp_path: Path) -> None:
    def batches(**arguments: Any) -> list[str]:
        options = {"batch_size": 4, "num_workers": 0, "shuffle": True, "training": True, "return_meta": True}
        with load(dataset, **options, **arguments) as loader:
            found = [digest(batch) for batch in loader]
            assert loader.unindexed == {}
            return found

    build_index(dataset, tmp_path / "built.parquet", num_workers=0)
    upload(tmp_path / "built.parquet")
    assert batches(index=URL) == batches()
