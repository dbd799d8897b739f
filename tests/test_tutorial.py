"""The Python blocks of docs/tutorial.md, and of the start page of the site, run as they are written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from mgdali.demo.synthetic import write_action_videos
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


def test_the_block_of_the_start_page_loads_the_videos_of_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_action_videos(tmp_path / "few", videos_per_class=1)
    for path in (tmp_path / "few").glob("*/*.mp4"):
        for copy in range(3):
            target = tmp_path / "mgdali-demo" / "videos" / path.parent.name / f"{copy}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    (block,) = blocks_of(DOCS / "README.md")
    run_block(block, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in lines] == [
        f"{epoch} [{count}, 8, 3, 224, 224" for epoch in range(2) for count in (16, 2)
    ]
