"""Writing an index so that nothing is lost, whatever ends the process, and however many write at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mgdali.index.writer
from mgdali import VideoDataset, build_index
from mgdali.errors import DatasetError
from mgdali.index.schema import from_batch
from mgdali.index.writer import IndexWriter, open_parquet
from mgdali.video.record import VideoRecord
from tests.support.index_records import contents, make_record

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

# Each prints what it has been promised to keep.
START = """
import os, resource, signal, sys
from mgdali.errors import DatasetError
from mgdali.index.writer import IndexWriter
from tests.support.index_records import make_record
path = sys.argv[1]
def add(writer, name):
    writer.add(make_record(name))
    print(name, flush=True)
"""
KILLED_AT_EACH_STEP = """
import itertools, os, shutil, signal, sys
from mgdali.index.writer import IndexWriter
from tests.support.index_records import make_record

STEPS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock", "open"}

def write(path, promised, last):
    count = 0
    def at_event(name, arguments):
        nonlocal count
        if name in STEPS and (name != "open" or str(arguments[0]).startswith(path)):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(at_event)
    writer = IndexWriter(path)
    for name in ("new", "old", "newer"):
        writer.add(make_record(name))
        os.write(promised, f"{name} ".encode())
    writer.commit()
    writer.add(make_record("newest"))
    os.write(promised, b"newest")
    writer.close()

for step in itertools.count(1):
    path = f"{sys.argv[1]}.{step}"
    shutil.copy(sys.argv[1], path)
    receiving, sending = os.pipe()
    # Python and its packages are started once.
    process = os.fork()
    if not process:
        write(path, sending, step)
        os._exit(0)
    os.close(sending)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    print(step, code, os.read(receiving, 1000).decode(), flush=True)
    if code != -signal.SIGKILL:
        sys.exit(code)
"""
KILLED_AFTER = (
    START
    + """
writer = IndexWriter(path)
for i in range(int(sys.argv[2])):
    add(writer, str(i))
os.kill(os.getpid(), signal.SIGKILL)
"""
)
COMMITTING = (
    START
    + """
for i in range(10):
    writer = IndexWriter(path)
    add(writer, f"{sys.argv[2]} {i}")
    if i % 4 == 0:
        writer.close()
    else:
        writer.commit()
    list(writer.rows(["path"]))
"""
)
FULL_DISK = (
    START
    + """
writer = IndexWriter(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    for i in range(10_000):
        add(writer, str(i))
except DatasetError as error:
    print(error, file=sys.stderr)
os.kill(os.getpid(), signal.SIGKILL)
"""
)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    """Its exit code, the lines of its output, and what it said of errors."""
    with process:
        output, errors = process.communicate(timeout=60)
    return process.returncode, output.splitlines(), errors


def names(path: Path) -> list[str]:
    with open_parquet(path) as file:
        return sorted(file.read(["path"]).column("path").to_pylist())


def records(path: Path) -> dict[str, VideoRecord]:
    with open_parquet(path) as file:
        rows = [from_batch(batch, i) for batch in file.iter_batches() for i in range(batch.num_rows)]
    return {record.path: record for record in rows}


def parts(path: Path) -> Path:
    return Path(f"{path}.parts")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "index.parquet"


def write(path: Path, *added: VideoRecord) -> None:
    writer = IndexWriter(path)
    for record in added:
        writer.add(record)
    writer.commit()


def test_every_field_of_what_was_added_is_in_the_file_and_nothing_else_is_left(path: Path) -> None:
    failed = VideoRecord(path="c", error="broken")
    added = [make_record("a", 30, 1), make_record("b", 3, 2, times=None, packets=None), failed]
    writer = IndexWriter(path)
    for record in added:
        writer.add(record)
    assert writer.commit() == 3
    found = records(path)
    assert {name: contents(record) for name, record in found.items()} == {each.path: contents(each) for each in added}
    assert os.listdir(path.parent) == [path.name]


def test_rows_are_added_to_those_of_the_file_and_the_newest_of_a_path_stays(path: Path) -> None:
    write(path, make_record("a", seed=1), make_record("b", seed=1))
    write(path, make_record("b", seed=2), make_record("c", seed=1), make_record("c", seed=2))
    found = {name: record.fingerprint.size for name, record in records(path).items() if record.fingerprint}
    assert found == {"a": 1001, "b": 1002, "c": 1002}


def test_rows_that_are_not_to_be_kept_go(path: Path) -> None:
    write(path, make_record("a"), make_record("b"))
    writer = IndexWriter(path)
    writer.add(make_record("c"))
    assert writer.commit(keep=["b", "c"]) == 2
    assert names(path) == ["b", "c"]


def test_rows_are_read_newest_first_before_they_are_committed(path: Path) -> None:
    write(path, make_record("a", seed=1))
    writer = IndexWriter(path)
    writer.add(make_record("a", seed=2))
    rows = [size for batch in writer.rows(["path", "size"]) for size in batch.column("size").to_pylist()]
    assert rows == [1002, 1001]
    writer.close()


def test_more_rows_than_a_journal_takes_are_all_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mgdali.index.writer, "_PART_ROWS", 8)
    writer = IndexWriter(path)
    for i in range(50):
        writer.add(make_record(f"{i % 40:02}", seed=i))
    assert len(list(parts(path).glob("*.part.parquet"))) == 6
    assert writer.commit() == 40
    assert records(path)["05"].fingerprint == make_record("", seed=45).fingerprint


def test_without_anything_new_the_file_stays_as_it_is(path: Path) -> None:
    write(path, make_record("a"))
    before = path.stat()
    assert IndexWriter(path).commit() == 1
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir(path.parent) == [path.name]


def test_a_reader_that_has_the_old_file_open_keeps_reading_it(path: Path) -> None:
    old = [make_record(str(i), 100, i) for i in range(300)]
    write(path, *old)
    inode = path.stat().st_ino
    with open_parquet(path) as reader:
        write(path, *(make_record(str(i), 50, 1000 + i) for i in range(300)))
        assert path.stat().st_ino != inode
        rows = reader.read()
        assert sorted(rows.column("size").to_pylist()) == [1000 + i for i in range(300)]
        assert set(rows.column("num_frames").to_pylist()) == {100}
    assert {record.num_frames for record in records(path).values()} == {50}


@pytest.mark.parametrize("count", [0, 1, 7])
def test_what_a_killed_process_added_is_kept(path: Path, count: int) -> None:
    code, promised, _ = ended(start(KILLED_AFTER, path, count))
    assert (code, len(promised)) == (-signal.SIGKILL, count)
    writer = IndexWriter(path)
    assert writer.commit() == count
    assert names(path) == sorted(promised)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.slow
def test_a_process_killed_at_any_of_its_steps_loses_nothing_and_leaves_a_whole_file(path: Path) -> None:
    write(path, make_record("old", seed=9), make_record("other"))
    code, lines, errors = ended(start(KILLED_AT_EACH_STEP, path))
    assert (code, errors) == (0, "")
    assert len(lines) > 15
    for line in lines:
        step, _, *promised = line.split()
        copy = Path(f"{path}.{step}")
        # The file is there, whole, at every moment.
        assert {"old", "other"} <= set(names(copy))
        IndexWriter(copy).commit()
        # What was being added may be there too.
        assert names(copy) == sorted(set(names(copy)) | {*promised, "old", "other"})
        if "old" in promised:
            assert records(copy)["old"].fingerprint == make_record("", seed=0).fingerprint
        assert not parts(copy).exists()


def test_a_last_record_that_was_cut_off_is_dropped_and_those_before_it_are_kept(path: Path) -> None:
    writer = IndexWriter(path)
    sizes = []
    for name in "abc":
        writer.add(make_record(name))
        (journal,) = parts(path).glob("*.journal")
        sizes.append(journal.stat().st_size)
    content = journal.read_bytes()
    writer.close()
    first, second, third = sizes
    cuts = {0: 0, 7: 0, 100: 0, first - 1: 0, first: 1, second - 1: 1, second: 2, second + 1: 2, second + 9: 2}
    cuts |= {(second + third) // 2: 2, third - 1: 2, third: 3}
    for cut, whole in cuts.items():
        torn = path.with_name(f"{cut}.parquet")
        parts(torn).mkdir()
        (parts(torn) / "left.journal").write_bytes(content[:cut])
        assert IndexWriter(torn).commit() == whole
        assert names(torn) == list("abc"[:whole])


def test_on_a_full_disk_what_add_returned_from_is_kept(path: Path) -> None:
    # A limit on the size of files, which ends writing midway as a full disk does.
    code, promised, errors = ended(start(FULL_DISK, path))
    assert code == -signal.SIGKILL
    assert f"cannot write the index {path}" in errors
    assert 10 < len(promised) < 10_000
    IndexWriter(path).commit()
    assert names(path) == sorted(promised)


def test_the_journal_of_a_living_process_is_left_to_it(path: Path) -> None:
    one, other = IndexWriter(path), IndexWriter(path)
    one.add(make_record("one"))
    other.add(make_record("other"))
    assert other.commit() == 1
    assert names(path) == ["other"]
    one.add(make_record("one more"))
    assert one.commit() == 3
    assert names(path) == ["one", "one more", "other"]
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing_and_do_not_fail(path: Path) -> None:
    processes = [start(COMMITTING, path, number) for number in range(3)]
    promised = []
    for process in processes:
        code, lines, errors = ended(process)
        assert (code, errors) == (0, "")
        promised += lines
    IndexWriter(path).commit()
    assert len(promised) == 30
    assert names(path) == sorted(promised)
    assert os.listdir(path.parent) == [path.name]


def test_closing_keeps_what_was_added_for_the_next_commit(path: Path) -> None:
    writer = IndexWriter(path)
    writer.add(make_record("a"))
    writer.close()
    assert not path.exists()
    assert IndexWriter(path).pending
    assert IndexWriter(path).commit() == 1


def test_closing_without_a_row_leaves_nothing(path: Path) -> None:
    writer = IndexWriter(path)
    assert not writer.pending
    writer.close()
    assert os.listdir(path.parent) == []


def test_what_a_killed_commit_left_is_cleared_away(path: Path) -> None:
    write(path, make_record("a"))
    parts(path).mkdir()
    (parts(path) / "0123.merging").write_bytes(b"half")
    write(path, make_record("b"))
    assert os.listdir(path.parent) == [path.name]


def write_other_parquet(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def write_text(path: Path) -> None:
    path.write_text("no parquet at all")


@pytest.mark.parametrize(
    ("write_file", "words"),
    [
        (write_text, "not a motion index"),
        (write_other_parquet, "it has no column 'path'"),
        (Path.mkdir, "it is a folder; give the path of a file"),
        (os.mkfifo, "it is not a regular file"),
    ],
)
def test_a_file_that_is_no_index_is_refused_and_stays(
    path: Path, write_file: Callable[[Path], object], words: str
) -> None:
    path.parent.mkdir()
    write_file(path)
    before = path.stat()
    with pytest.raises(DatasetError, match=words):
        IndexWriter(path)
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("folder", ["file", "/proc/self", "/dev/null"], ids=["file", "proc", "null"])
def test_a_folder_that_cannot_be_written_to_is_named(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / folder / "index.parquet"
    with pytest.raises(DatasetError, match=f"{path}.*Nothing was measured.*writable folder"):
        IndexWriter(path)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("url", ["memory://bucket/a.parquet", "s3://bucket/a.parquet", "file:///tmp/a.parquet"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_url_is_refused_and_no_folder_is_named_like_its_protocol(
    url: str, kind: type[str] | type[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=f"URL {kind(url)}: build it to a local path, then upload the file"):
        IndexWriter(kind(url))
    assert os.listdir(tmp_path) == []


def fail(*arguments: object) -> NoReturn:
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


@pytest.mark.parametrize(
    ("module", "function", "replacement", "words"),
    [
        (fcntl, "flock", fail, "Operation not supported"),
        (fcntl, "flock", lambda *arguments: None, "does not keep locks"),
        (os, "replace", fail, "Operation not supported"),
    ],
    ids=["no locks", "locks that lock nothing", "no renames"],
)
@pytest.mark.parametrize("existing", ["", "folder", "folder/index.parquet.parts"])
def test_a_file_system_without_locks_or_renames_is_refused_at_once_and_left_as_it_was(
    module: object,
    function: str,
    replacement: Callable[..., None],
    words: str,
    existing: str,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / existing).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(module, function, replacement)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=f"{path}.*{words}.*supports locks"):
        IndexWriter(path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["memory://bucket/i.parquet", "", "file/i.parquet", "file"])
def test_nothing_is_measured_if_the_destination_is_refused(
    name: str, dataset: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    calls: list[object] = []
    with pytest.raises(DatasetError):
        build_index(dataset, name, on_start=lambda *counts: calls.append(counts), on_record=calls.append)
    assert calls == []
    assert os.listdir(tmp_path) == ["file"]


def test_rows_of_an_ended_process_survive_a_refusal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, promised, _ = ended(start(KILLED_AFTER, path, 3))
    assert (code, len(promised)) == (-signal.SIGKILL, 3)
    with monkeypatch.context() as changed:
        changed.setattr(os, "replace", fail)
        with pytest.raises(DatasetError, match="Operation not supported"):
            IndexWriter(path)
    IndexWriter(path).commit()
    assert names(path) == promised
