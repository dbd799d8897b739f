"""Fixtures for tests with training frameworks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.framework_loading import write_numbered_videos


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten videos, each the only one of its class."""
    return write_numbered_videos(tmp_path_factory.mktemp("numbered") / "videos")
