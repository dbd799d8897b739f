"""Fixtures for the tests of decoding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.videos import moving_square, write_video


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short H.264 video of 23 frames, 46 by 54 pixels. The rows of the decoder's planes are padded."""
    return write_video(tmp_path_factory.mktemp("decode") / "square.mp4", moving_square(23, 46, 54))


@pytest.fixture(scope="session")
def golden_motion(shared: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Paths of shared clips, with the expected motion S and picks of each."""
    cases = json.loads((shared / "golden" / "motion.json").read_text())
    return [(shared / "clips" / name, case) for name, case in cases.items()]
