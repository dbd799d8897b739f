"""The tutorial runs from its first block to its last, and the model learns what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.documented_blocks import DOCS, blocks_of, run_block

pytestmark = pytest.mark.slow


def test_the_tutorial_trains_a_model(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks_of(DOCS / "tutorial.md"):
        run_block(block, tmp_path, names)
    assert (tmp_path / "picks.png").stat().st_size > 10_000
    assert (len(names["train"]), len(names["val"])) == (54, 18)
    assert sum(names["losses"][-7:]) < 0.8 * sum(names["losses"][:7])
    assert names["right"] >= 7, "chance is 3"
