"""The compiled loop computes the same bits on every processor, and is compiled once."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.filter_bank import separate
from mgdali.motion import LUMA_WEIGHTS
from mgdali.video import separable_loop
from mgdali.video.separable_motion import PlaneMotion, default_bank

PACKAGE = Path(separable_loop.__file__).parents[1]

# Prints S of random planes bit for bit, the folder of the cache, how many instructions of two kinds the loop has, and
# whether numba was imported before it was needed.
_PROGRAM = """
import json, re, sys
import numpy as np
from mgdali.samplers import Representation
from mgdali.video.meters import make_meter
from mgdali.video.record import filters_digest
from mgdali.video.separable_motion import PlaneMotion, default_bank
make_meter(Representation())
filters_digest(Representation(motion="feature"))
early = "numba" in sys.modules
measure, rng = PlaneMotion(default_bank()), np.random.default_rng(0)
from mgdali.video.separable_loop import compiled_loop
motion = [
    float(measure(*rng.integers(0, np.iinfo(dtype).max, (2, *size), dtype))).hex()
    for size in ((1, 1), (3, 200), (641, 3), (97, 259)) for dtype in (np.uint8, np.uint16)
]
stats, code = compiled_loop().stats, "".join(compiled_loop().inspect_asm().values())
print(json.dumps({
    "motion": motion,
    "early": early,
    "cache": stats.cache_path,
    "multiplications": len(re.findall("v?mul[ps]s|fmul", code)),
    "fused": len(re.findall("v?fn?m(?:add|sub)|fml[as]", code)),
}))
"""


def start(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], env={**os.environ, **environment}, cwd="/", stdout=subprocess.PIPE, text=True
    )


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(output)
    return result


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that imports a copy of the package in which no cache can be written."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(PACKAGE, folder / "mgdali", ignore=shutil.ignore_patterns("__pycache__"))
    # Root may write to a folder that is read-only for others, but nobody to a folder that is a file.
    (folder / "mgdali" / "video" / "__pycache__").touch()
    return {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": ""}


@pytest.fixture(scope="module")
def without_cache(read_only: dict[str, str]) -> dict[str, Any]:
    """The result of a process that can write no folder for numba's cache."""
    return result_of(start(**read_only, XDG_CACHE_HOME="/dev/null"))


# --- Bits -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_python(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The loop as NumPy computes it: one operation after the other, in IEEE 754."""
    separable_loop.compiled_loop()
    for name in ("_filter_evenly", "_filter_oddly", "_filter_values", "_take_differences", "_set_squares"):
        monkeypatch.setattr(separable_loop, name, getattr(separable_loop, name).py_func)
    return separable_loop.norm_sum


def general_bank() -> Any:
    """A bank whose filters have even and odd parts."""
    rng = np.random.default_rng(1)
    spatial = np.einsum("fy,fx->fyx", rng.normal(size=(2, 7)), rng.normal(size=(2, 7)))
    return separate(spatial[:, None] * (np.array(LUMA_WEIGHTS) / 256)[:, None, None])


@pytest.mark.parametrize("bank", [default_bank(), general_bank()], ids=["default", "general"])
@pytest.mark.parametrize(
    ("size", "dtype"),
    [((3, separable_loop.TILE_COLUMNS + 2), np.uint8), ((separable_loop.TILE_ROWS + 2, 2), np.uint16)],
)
def test_the_compiled_loop_computes_the_bits_of_single_operations(
    in_python: Any, bank: Any, size: tuple[int, int], dtype: type[Any]
) -> None:
    planes: NDArray[Any] = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (2, *size), dtype)
    measure = PlaneMotion(bank)
    compiled = measure(planes[1], planes[0])
    measure._loop = in_python
    assert measure(planes[1], planes[0]) == compiled > 0


@pytest.mark.slow
def test_the_compiled_loop_has_no_fused_multiplication_and_addition(without_cache: dict[str, Any]) -> None:
    assert without_cache["multiplications"] > 0
    assert without_cache["fused"] == 0


@pytest.fixture(scope="module")
def old_processor(read_only: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of code for the oldest processors of this architecture: on x86-64, SSE2 without AVX."""
    user = str(tmp_path_factory.mktemp("user"))
    result = result_of(start(**read_only, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", XDG_CACHE_HOME=user))
    return {**result, "user": user}


@pytest.mark.slow
def test_an_old_processor_computes_the_same_bits(without_cache: dict[str, Any], old_processor: dict[str, Any]) -> None:
    assert old_processor["motion"] == without_cache["motion"]


# --- The cache --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_that_can_write_no_folder_compiles_for_itself(without_cache: dict[str, Any]) -> None:
    assert without_cache["cache"] is None
    assert all(float.fromhex(value) > 0 for value in without_cache["motion"])


@pytest.mark.slow
def test_the_cache_is_in_the_users_folder_if_the_packages_cannot_be_written(old_processor: dict[str, Any]) -> None:
    assert Path(old_processor["cache"]).is_relative_to(old_processor["user"])
    assert [path for path in Path(old_processor["cache"]).iterdir() if path.suffix == ".nbc"]


def test_a_cache_that_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_loop(*, cache: bool) -> str:
        if cache:
            raise OSError("No space left on device")
        return "loop"

    monkeypatch.setattr(separable_loop, "compile_loop", compile_loop)
    assert separable_loop.compiled_loop.__wrapped__() == "loop"


@pytest.mark.slow
def test_processes_that_start_at_once_share_a_cache(
    without_cache: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [start(NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    for process in both:
        result = result_of(process)
        assert result["motion"] == without_cache["motion"]
        assert Path(result["cache"]).parent == tmp_path
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in files) == [".nbc", ".nbi"]
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    loaded = separable_loop.compile_loop(cache=True)
    assert sum(loaded.stats.cache_hits.values()) == 1
    # A damaged cache is an error, and compiled_loop compiles without it.
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(pickle.UnpicklingError):
        separable_loop.compile_loop(cache=True)


@pytest.mark.slow
def test_numba_is_imported_only_when_luma_planes_are_measured(without_cache: dict[str, Any]) -> None:
    assert without_cache["early"] is False


def test_the_name_in_the_cache_tells_kinds_of_processors_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for cpu in ("haswell", "skylake", "haswell"):
        monkeypatch.setattr(separable_loop.llvmlite.binding, "get_host_cpu_name", lambda cpu=cpu: cpu)
        names.append(separable_loop._processor())
    assert names[0] == names[2] != names[1]
