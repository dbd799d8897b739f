"""What the tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import mgdali.video.remote
from mgdali import VideoDataset
from tests.support.faulty_server import FaultyServer

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's sample videos and expected values, beside the checkout."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: it holds the sample videos and the expected values")
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
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(mgdali.video.remote, "_FIRST_WAIT", 0.001)
    server = FaultyServer(tmp_path)
    yield server
    server.close()
