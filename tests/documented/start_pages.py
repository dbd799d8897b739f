"""What the start page of the site promises; README.md shows the output of its block."""

from __future__ import annotations

from tests.support.documented_case import Case, promise


@promise("README.md", "MGDali")
def the_videos_of_the_demo_are_loaded_in_two_epochs(case: Case) -> None:
    case.run()
    assert [line.split("]")[0] for line in case.printed.splitlines()] == [
        f"{epoch} [{count}, 8, 3, 224, 224" for epoch in range(2) for count in (16, 16, 4)
    ]
