"""The Python blocks of docs/tutorial.md run as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.documented_blocks import DOCS, blocks_of, run_block

pytestmark = pytest.mark.slow


def test_the_blocks_of_the_tutorial_train_a_model_one_after_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for block in blocks_of(DOCS / "tutorial.md"):
        run_block(block, tmp_path, names)
    assert (tmp_path / "picks.png").stat().st_size > 10_000
    assert (tmp_path / "motion.parquet").exists()
    assert (len(names["train"]), len(names["val"])) == (54, 18)
    right = [int(count) for count in re.findall(r"(\d+) of 18 validation videos right", capsys.readouterr().out)]
    assert len(right) == 12
    # Chance is 3 of 18.
    assert right[-1] > 6
    assert sum(names["losses"][-6:]) < 0.7 * sum(names["losses"][:6])
