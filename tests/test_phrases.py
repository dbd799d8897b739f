"""The check for phrases that the project's text avoids."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[1] / ".ci" / "check_phrases.py"


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(CHECK), *map(str, files)], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# One.\n# The file is made an" + "ew.\n", 2),
        ("A list of three videos, of\n    wh" + "ich one is broken.\n", 1),
        ('x = 1\n"""Th' + "ere is no" + 'ne."""\n', 2),
    ],
)
def test_a_planted_phrase_is_found_across_line_breaks(tmp_path: Path, text: str, line: int) -> None:
    file = tmp_path / "text.md"
    file.write_text(text)
    done = check(file)
    assert done.returncode == int(line > 0)
    assert done.stdout.startswith(f"{file}:{line}: " if line else "")


def test_plain_text_passes(tmp_path: Path) -> None:
    file = tmp_path / "text.md"
    file.write_text("The index is stored next to the videos.\n")
    assert check(file).returncode == 0
