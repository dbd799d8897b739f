"""Measuring on a Ray cluster: the same rows as without, whatever happens to its nodes and workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mgdali import WorkerError, build_index
from mgdali.index.build import measure_locally
from mgdali.index.measure import MeasureJob
from mgdali.index.schema import to_batch
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord
from tests.support.videos import moving_square, write_video
from tests.video.test_media import write_frames

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
ray_engine = pytest.importorskip("mgdali.index.ray_engine")

pytestmark = pytest.mark.ray

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
BOTH_LEVELS = (Representation(), Representation(motion="feature", weights=np.full((8, 3, 7, 7), 0.25, np.float32)))
A_WHILE = 0.2
FOREVER = 600.0


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    """No cluster but the tests' own, whose files go when they end."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.delenv("RAY_TMPDIR", raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("TMPDIR", folder)
        # As Ray's test cluster has it; else Ray would leave a token in the home folder.
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture(scope="module")
def cluster(_environment: None) -> Iterator[Any]:
    """Two nodes with a worker each."""
    # A node that is gone is missed after seconds, not half a minute.
    missed = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    made = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE | {"_system_config": missed})
    made.add_node(**NODE)
    yield made
    made.shutdown()


@pytest.fixture
def connected(cluster: Any) -> Iterator[Any]:
    """The cluster, this process connected to it."""
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos of several lengths, one that is none, and one as JPEG frames."""
    root = tmp_path_factory.mktemp("videos")
    for i in range(7):
        write_video(root / f"video{i}.mp4", moving_square(1 + 3 * i, 48, 64, seed=i))
    (root / "broken.mp4").write_bytes(b"no video")
    write_frames(root / "frames", [f"{i:03}.jpg" for i in range(5)])
    return root


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, bytes]:
    """The folder's rows as the local engine has them."""
    return rows(each(measure_locally(jobs_of(folder), 1)))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where workers note what they begin: video, process, node, time."""
    path = tmp_path / "log"
    path.touch()
    return path


def jobs_of(folder: Path, make: Callable[[str], Media] = Media) -> list[MeasureJob]:
    return [MeasureJob(make(str(path)), path.name, BOTH_LEVELS) for path in sorted(folder.iterdir())]


def each(lists: Iterator[list[VideoRecord]]) -> Generator[VideoRecord]:
    """Records that come some at a time, one at a time."""
    for records in lists:
        yield from records


def measured(jobs: Sequence[MeasureJob], num_workers: int | None) -> Generator[VideoRecord]:
    """What Ray makes of jobs."""
    return each(ray_engine.measure_on_ray(jobs, num_workers))


def rows(records: Iterable[VideoRecord]) -> dict[str, bytes]:
    """What an index keeps of each video, to the byte; each may come only once."""
    found: dict[str, bytes] = {}
    for record in records:
        assert record.path not in found
        found[record.path] = to_batch([record]).serialize().to_pybytes()
    return found


def noted(log: Path, seconds: Callable[[str, str, list[str]], float]) -> Callable[[str], Media]:
    """Media that note when they are opened, then wait as long as ``seconds(video, node, nodes it was on)`` says."""

    class Noted(Media):
        def open(self) -> Any:
            name, node = os.path.basename(self.path), ray.get_runtime_context().get_node_id()
            with open(log, "a+") as file:
                file.seek(0)
                nodes = [note[2] for note in map(str.split, file) if note[0] == name]
                file.write(f"{name} {os.getpid()} {node} {time.time()}\n")
            time.sleep(seconds(name, node, nodes))
            return Media.open(self)

    return Noted


def notes(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()]


def when(noted: Callable[[], list[list[str]]], act: Callable[[list[str]], object]) -> threading.Thread:
    """Act on the first of what is noted, as soon as there is something."""

    def wait() -> None:
        while not noted():
            time.sleep(0.02)
        act(noted()[0])

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_two_nodes_rows_are_the_local_engines_to_the_byte(
    connected: Any, folder: Path, expected: dict[str, bytes], log: Path
) -> None:
    records = measured(jobs_of(folder, noted(log, lambda *_: A_WHILE)), None)
    assert rows(records) == expected
    assert len({node for _, _, node, _ in notes(log)}) == 2
    assert ray.is_initialized()


def test_a_killed_worker_and_a_lost_node_cost_no_rows(
    connected: Any, folder: Path, expected: dict[str, bytes], log: Path
) -> None:
    lost = connected.add_node(**NODE)
    doomed = lost.node_id

    def seconds(name: str, node: str, nodes: list[str]) -> float:
        first = not set(nodes) - {doomed}
        return FOREVER if node == doomed or (name == "video3.mp4" and first) else A_WHILE

    removing = when(
        lambda: [note for note in notes(log) if note[2] == doomed],
        lambda _: connected.remove_node(lost, allow_graceful=False),
    )
    killing = when(
        lambda: [note for note in notes(log) if note[0] == "video3.mp4" and note[2] != doomed],
        lambda note: os.kill(int(note[1]), signal.SIGKILL),
    )
    assert rows(measured(jobs_of(folder, noted(log, seconds)), None)) == expected
    # Each while a video was under way there that nothing else would have ended.
    assert not removing.is_alive()
    assert not killing.is_alive()


def test_a_video_that_ends_every_worker_gets_a_record_of_that_and_the_others_their_rows(
    connected: Any, folder: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(Media):
        def open(self) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    class Faulty(Media):
        def open(self) -> Any:
            raise MemoryError("too large")

    # So that they have neighbours in their block.
    monkeypatch.setattr(ray_engine, "_BLOCKS_PER_WORKER", 1)
    # Each takes a second.
    monkeypatch.setattr(ray_engine, "_RETRIES", 1)
    path = str(folder / "video0.mp4")
    jobs = jobs_of(folder)
    jobs[1:1] = [MeasureJob(Deadly(path), f"deadly{i}", BOTH_LEVELS) for i in range(2)]
    jobs[2:2] = [MeasureJob(Faulty(path), "faulty", BOTH_LEVELS)]
    records = list(measured(jobs, None))
    bad = {record.path: record for record in records if record.path not in expected}
    assert sorted(bad) == ["deadly0", "deadly1", "faulty"]
    for name in ("deadly0", "deadly1"):
        assert "its worker ended each time it was decoded" in (bad[name].error or "")
        assert bad[name].fingerprint == Media(path).fingerprint()
    assert "MemoryError: too large" in (bad["faulty"].error or "")
    assert rows(record for record in records if record.path in expected) == expected


def test_no_more_videos_than_asked_for_are_measured_at_a_time(connected: Any, folder: Path, log: Path) -> None:
    jobs = jobs_of(folder, noted(log, lambda *_: A_WHILE))[-4:]
    assert len(list(measured(jobs, 1))) == 4
    begun = sorted(float(at) for *_, at in notes(log))
    assert min(np.diff(begun)) >= A_WHILE


@pytest.mark.parametrize("number", [0, -1, 1.5])
def test_a_number_of_workers_that_cannot_be_is_refused(number: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match=f"num_workers must be an integer >= 1, got {number}"):
        measured(jobs_of(folder), number)


def test_who_stops_early_leaves_the_cluster_free(connected: Any, folder: Path, log: Path) -> None:
    jobs = jobs_of(folder, noted(log, lambda name, *_: 0 if name == "video0.mp4" else FOREVER))
    records = measured([job for job in jobs if job.name.startswith("video")], None)
    assert next(records).path == "video0.mp4"
    while len(notes(log)) < 3:
        time.sleep(0.02)
    records.close()
    until = time.monotonic() + 30
    while ray.available_resources().get("CPU", 0) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_what_the_nodes_lack_is_told_of_at_once(
    connected: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("from mgdali.video.media import Media\n\nclass OnlyHere(Media):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    with pytest.raises(WorkerError, match=r"(?s)must have mgdali installed.*No module named 'only_here'"):
        list(measured(jobs_of(folder, only_here.OnlyHere), None))


def test_a_build_on_the_cluster_of_ray_address_makes_the_local_engines_index(
    cluster: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    reports = [
        build_index(folder, tmp_path / engine, representations=BOTH_LEVELS, engine=engine, num_workers=2)
        for engine in ("ray", "local")
    ]
    assert reports[0] == reports[1]
    assert reports[0].rows == 9
    on_ray, local = (pq.read_table(tmp_path / engine).sort_by("path") for engine in ("ray", "local"))
    assert on_ray.equals(local)
    assert not ray.is_initialized()


def test_without_a_cluster_one_is_started_without_a_word_and_ended(
    folder: Path, expected: dict[str, bytes], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
    found = {}
    # Where Ray notes clusters of this machine, and finds none.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        monkeypatch.setenv("TMPDIR", temporary)
        for record in measured(jobs_of(folder), None):
            found |= rows([record])
            assert ray.is_initialized()
        assert not ray.is_initialized()
    assert found == expected
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
    assert tuple(capfd.readouterr()) == ("", "")


def test_without_videos_no_cluster_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "no address")
    assert list(measured([], None)) == []


def test_a_cluster_that_cannot_be_reached_is_told_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "no address")
    with pytest.raises(WorkerError, match="cannot reach or start a Ray cluster: .*no address"):
        list(measured(jobs_of(folder), None))


def test_without_ray_the_message_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None; from mgdali import build_index; "
        f"build_index({str(folder)!r}, {str(tmp_path / 'index')!r}, engine='ray')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "pip install 'mgdali[ray]'" in result.stderr
