"""The scripts of ``docs/frameworks.md`` run as they are, with ten videos."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.framework_loading import run_ranks

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
SECTIONS = {
    "torchrun": "torch",
    "Lightning": "lightning",
    "Accelerate": "accelerate",
    "Hugging Face Trainer": "transformers",
}


def script_of(section: str) -> str:
    """Return the only script of a section."""
    _, _, text = PAGE.read_text().partition(f"\n## {section}\n")
    (script,) = re.findall(r"^```python\n(.*?)^```", text.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    assert isinstance(script, str)
    return script


@pytest.mark.parametrize("section", SECTIONS)
def test_each_script_trains(section: str, videos: Path, tmp_path: Path) -> None:
    if find_spec(SECTIONS[section]) is None:
        pytest.skip(f"{SECTIONS[section]} is not installed")
    shutil.copytree(videos, tmp_path / "videos" / "train")
    torchrun = section == "torchrun"
    result = run_ranks(tmp_path, script_of(section), ranks=2 if torchrun else 0, torchrun=torchrun)
    assert result.returncode == 0, result.stderr
    if torchrun:
        assert result.stdout.count("epoch") == 4
        again = run_ranks(tmp_path, script_of(section), ranks=1)
        assert (again.returncode, again.stdout) == (0, ""), "the checkpoint says that both epochs are complete"
