"""The compiled loop computes the same bits on every processor, and is compiled once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.filter_bank import separate
from mgdali.motion import LUMA_WEIGHTS
from mgdali.video import separable_loop
from mgdali.video.separable_motion import PlaneMotion, default_bank

# Prints S of random planes bit for bit, how the loop was obtained, and how many instructions of two kinds it has.
_PROGRAM = """
import json, re
import numpy as np
from mgdali.video.separable_loop import compiled_loop
from mgdali.video.separable_motion import PlaneMotion, default_bank
measure, rng = PlaneMotion(default_bank()), np.random.default_rng(0)
motion = [
    float(measure(*rng.integers(0, np.iinfo(dtype).max, (2, *size), dtype))).hex()
    for size in ((1, 1), (3, 200), (641, 3), (97, 259)) for dtype in (np.uint8, np.uint16)
]
stats, code = compiled_loop().stats, "".join(compiled_loop().inspect_asm().values())
print(json.dumps({
    "motion": motion,
    "cache": stats.cache_path,
    "from_cache": sum(stats.cache_hits.values()),
    "multiplications": len(re.findall("v?mul[ps]s|fmul", code)),
    "fused": len(re.findall("v?fn?m(?:add|sub)|fml[as]", code)),
}))
"""


def start(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(output)
    return result


@pytest.fixture(scope="module")
def without_cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of a process that can write no folder for numba's cache."""
    no_folder = tmp_path_factory.mktemp("cache") / "file"
    no_folder.touch()
    # Root may write the package's folder, and therefore it is left out.
    return result_of(start(NUMBA_CACHE_DIR=str(no_folder), NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator"))


# --- Bits -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_python(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The loop as NumPy computes it: one operation after the other, in IEEE 754."""
    for name in ("_filter_evenly", "_filter_oddly", "_take_difference"):
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


@pytest.mark.slow
def test_an_old_processor_computes_the_same_bits(without_cache: dict[str, Any], tmp_path: Path) -> None:
    # The baseline of the architecture: on x86-64, SSE2.
    old = result_of(start(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path)))
    assert old["motion"] == without_cache["motion"]


# --- The cache --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_that_can_write_no_folder_compiles_for_itself(without_cache: dict[str, Any]) -> None:
    assert without_cache["cache"] is None
    assert all(float.fromhex(value) > 0 for value in without_cache["motion"])


def test_a_cache_that_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_loop(*, cache: bool) -> str:
        if cache:
            raise OSError("No space left on device")
        return "loop"

    monkeypatch.setattr(separable_loop, "compile_loop", compile_loop)
    assert separable_loop.compiled_loop.__wrapped__() == "loop"


@pytest.mark.slow
def test_processes_that_start_at_once_share_a_cache_that_may_be_damaged(
    without_cache: dict[str, Any], tmp_path: Path
) -> None:
    expected = without_cache["motion"]
    both = [start(NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert [result_of(process)["motion"] for process in both] == [expected] * 2
    later = result_of(start(NUMBA_CACHE_DIR=str(tmp_path)))
    assert (later["motion"], later["from_cache"]) == (expected, 1)
    assert Path(later["cache"]).parent == tmp_path
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in files) == [".nbc", ".nbi"]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert result_of(start(NUMBA_CACHE_DIR=str(tmp_path)))["motion"] == expected


def test_the_name_in_the_cache_tells_kinds_of_processors_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for cpu in ("haswell", "skylake", "haswell"):
        monkeypatch.setattr(separable_loop.llvmlite.binding, "get_host_cpu_name", lambda cpu=cpu: cpu)
        names.append(separable_loop._processor())
    assert names[0] == names[2] != names[1]
