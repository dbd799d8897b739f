"""Packing on a Ray cluster: the same videos as on this machine."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgdali import VideoDataset, pack
from mgdali.packing.encoding import Encoding
from mgdali.packing.verify import check_pack
from mgdali.samplers import Representation
from mgdali.video.media import Media
from tests.support.packs import table

ray = pytest.importorskip("ray")
ray_jobs = pytest.importorskip("mgdali.packing.ray_jobs")

pytestmark = pytest.mark.ray


class Deadly(Media):
    """A video that ends the process that opens it."""

    def open(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster on this machine, to which this process is connected."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.delenv("RAY_TMPDIR", raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("TMPDIR", folder)
        memory = 80 << 20
        ray.init(num_cpus=2, object_store_memory=memory, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def test_a_cluster_packs_the_same_videos_as_this_machine(class_folders: Path, packed: Path, tmp_path: Path) -> None:
    data = VideoDataset.from_folder(class_folders)
    report = pack(data, tmp_path, engine="ray")
    assert (report.packed, report.frames, report.failed) == (7, 63, {})
    names = ("key", "length", "label", "origin", "digest", "columns")
    assert [[row[name] for name in names] for row in table(tmp_path)] == [
        [row[name] for name in names] for row in table(packed)
    ]
    assert check_pack(tmp_path).complete


def test_bad_and_deadly_videos_are_left_out(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mgdali.index.ray_engine._RETRIES", 1)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    good = sorted(class_folders.rglob("*.mp4"))[0]
    jobs = [
        ray_jobs.PackJob(media, Encoding(), (Representation(),))
        for media in (Media(str(tmp_path / "bad.mp4")), Media(str(good)), Deadly(str(good)))
    ]
    results = dict(ray_jobs.encode_on_ray(jobs, 1))
    assert results[0][0].details.startswith("Invalid data found")
    assert results[1][0].record.num_frames == 3
    assert "its worker ended each time it was decoded" in results[2][0].details
