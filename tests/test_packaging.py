"""Content of the wheel, and versions in the constraints."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("mgdali-*.whl")
    return zipfile.ZipFile(path)


def test_a_wheel_contains_the_package_and_every_kernel_source(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    modules = {file.relative_to(ROOT).as_posix() for file in (ROOT / "mgdali").rglob("*.py")}
    sources = {f"mgdali/gpu/sources/{file.name}" for file in (ROOT / "kernels").iterdir()}
    assert modules
    assert sources
    assert modules | sources | {"mgdali/py.typed"} <= names


def test_no_folder_of_a_wheel_shares_its_name_with_a_module(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    assert not folders & {name.removesuffix(".py") for name in names if name.endswith(".py")}


def test_a_wheel_has_the_command_and_both_cuda_extras(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA")]
    (scripts,) = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert "mgdali = mgdali.cli.main:main" in scripts
    for version in ("12", "13"):
        assert f"Provides-Extra: cuda{version}" in metadata
        assert f"nvidia-dali-cuda{version}0" in metadata
        assert f"cupy-cuda{version}x[ctk]" in metadata
    assert "License-Expression: Apache-2.0" in metadata


def test_the_versions_in_the_constraints_cover_every_dependency() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    constraints = (ROOT / "constraints.txt").read_text()
    section = pyproject[pyproject.index("dependencies = [") : pyproject.index("[project.scripts]")]
    for line in section.splitlines():
        for requirement in line.split('"')[1::2]:
            name = requirement.split(">=")[0].split("[")[0]
            assert f"\n{name}==" in constraints, name
