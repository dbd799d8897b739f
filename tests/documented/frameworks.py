"""The scripts of ``docs/frameworks.md`` train with ten videos."""

from __future__ import annotations

import shutil

from tests.support.documented_case import Case, promise
from tests.support.framework_loading import run_ranks, write_numbered_videos

PAGE = "frameworks.md"


@promise(PAGE, "torchrun")
def two_ranks_train_and_a_complete_run_ends_at_once(case: Case) -> None:
    write_ten_videos(case)
    result = run_ranks(case.folder, case.block.code, ranks=2, torchrun=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("epoch") == 4
    again = run_ranks(case.folder, case.block.code, ranks=1)
    assert (again.returncode, again.stdout) == (0, ""), "the checkpoint says that both epochs are complete"


@promise(PAGE, "Lightning")
@promise(PAGE, "Accelerate")
@promise(PAGE, "Hugging Face Trainer")
def the_script_trains(case: Case) -> None:
    write_ten_videos(case)
    result = run_ranks(case.folder, case.block.code)
    assert result.returncode == 0, result.stderr


def write_ten_videos(case: Case) -> None:
    shutil.rmtree(case.folder / "videos")
    write_numbered_videos(case.folder / "videos" / "train")
