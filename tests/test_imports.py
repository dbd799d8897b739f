"""Imports go one way: the contracts in pyproject.toml, checked by import-linter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    # The copy in the folder is checked, not the installed package.
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "mgdali", tmp_path / "mgdali", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_package_keeps_its_contracts(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("video/media.py", "from mgdali.loading import order", "video"),
        ("sampling.py", "import torch", "torch"),
        ("loading/order.py", "from mgdali.index import schema", "index"),
        ("video/crop.py", "import mgdali.dataset", "mgdali.dataset"),
    ],
)
def test_a_planted_upward_import_is_found(copy: Path, module: str, line: str, broken: str) -> None:
    with (copy / "mgdali" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1
    assert broken in done.stdout


def test_a_module_outside_the_layers_is_found(copy: Path) -> None:
    (copy / "mgdali" / "helpers.py").touch()
    done = lint_imports(copy)
    assert done.returncode == 1
    assert "helpers" in done.stdout
