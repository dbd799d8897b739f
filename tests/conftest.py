"""Fixtures for all tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import mgdali.video.remote
from mgdali import VideoDataset
from tests.support.faulty_server import FaultyServer
from tests.support.kernel_build import KERNELS, HostKernels
from tests.support.sample_videos import shared_folder, write_sample_videos

if TYPE_CHECKING:
    from tests.support.bursts import Bursts

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

# A run of all tests builds about 20 files, of 2 MB each.
_KEPT_PROGRAMS = 40
_MARK_OF_ALL = re.compile(r"^pytestmark = pytest\.mark\.(\w+)$", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a module if -m leaves out the mark of all of its tests.

    pytest would first import it: those of the training frameworks and of Ray take seconds.
    """
    if collection_path.suffix != ".py" or not config.option.markexpr.startswith("not "):
        return None
    mark = _MARK_OF_ALL.search(collection_path.read_text())
    unwanted = mark is not None and f"not {mark[1]}" in config.option.markexpr.split(" and ")
    return True if unwanted else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared samples and expected values. Skip the test if the folder is missing."""
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: it contains the expected values; MGDALI_SHARED sets another path")
    return folder


@pytest.fixture(scope="session")
def sample_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sample videos that the tests write: formats/, labelled/ and frames/."""
    return write_sample_videos(tmp_path_factory.mktemp("samples") / "clips")


@pytest.fixture(scope="session")
def bursts(tmp_path_factory: pytest.TempPathFactory) -> Bursts:
    """Labelled videos whose class only a burst of motion shows, and their index."""
    # The module imports torch, which not all tests need.
    from tests.support.bursts import Bursts

    return Bursts.write(tmp_path_factory.mktemp("bursts"))


_SETS = [pytest.param("made")]
if (shared_folder() / "clips").is_dir():
    # Large files: they are slow, and every line of the package is reached with the set that the tests write.
    _SETS.append(pytest.param("shared", marks=pytest.mark.slow))


@pytest.fixture(scope="session", params=_SETS)
def real_videos(request: pytest.FixtureRequest, sample_videos: Path) -> Path:
    """Each available folder of real videos: the one that the tests write, and the shared one if it exists."""
    if request.param == "made":
        return sample_videos
    folder = shared_folder() / "clips"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    """Eleven short videos of several lengths and sizes, upright and wide, in three classes."""
    from tests.support.videos import moving_square, write_video

    folder = tmp_path_factory.mktemp("videos")
    sizes = [(48, 64), (64, 48), (50, 50), (40, 90)]
    paths = [
        write_video(folder / f"video{i:02}.mp4", moving_square(3 + 4 * i % 29, *sizes[i % len(sizes)], seed=i))
        for i in range(11)
    ]
    return VideoDataset(paths, [i % 3 for i in range(11)], ["one", "two", "three"])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """An HTTP server of ``tmp_path``, and no long wait before a request is repeated."""
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(mgdali.video.remote, "_FIRST_WAIT", 0.001)
    server = FaultyServer(tmp_path)
    yield server
    server.close()


@pytest.fixture(scope="session")
def program_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of compiled kernel programs, below pytest's cache, so that later runs find them there."""
    cache = getattr(request.config, "cache", None)
    if cache is None:
        return tmp_path_factory.mktemp("programs")
    folder: Path = cache.mkdir("kernel-programs")
    programs = sorted(filter(Path.is_file, folder.iterdir()), key=lambda path: path.stat().st_mtime)
    for old in programs[:-_KEPT_PROGRAMS]:
        old.unlink()
    return folder


@pytest.fixture(scope="session")
def host_kernels(program_cache: Path) -> Iterator[HostKernels]:
    """All kernels of the package in one program for the CPU, built with the sanitizers."""
    with HostKernels(sorted(KERNELS.glob("*.cu")), program_cache) as kernels:
        yield kernels
