"""Queries for NVDEC's limits are answered from memory. Small libraries stand for those of the driver."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ENVIRONMENT

pytestmark = [pytest.mark.compiler, pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")]

_NVDEC = """
static int calls;
int cuvidGetDecoderCaps(unsigned *caps) { calls++; caps[6] = caps[0] * 100 + calls; return caps[0] == 77 ? 1 : 0; }
int cuvidDecodePicture(void) { return 42; }
int fake_calls(void) { return calls; }
"""
_CUDA = """
static int device;
void fake_set_device(int chosen) { device = chosen; }
int cuCtxGetDevice(int *found) { *found = device; return device < 0 ? 201 : 0; }
"""
# Does what DALI does: opens NVDEC's library by its short name, and asks for the limits before each video.
_DALI = """
import ctypes, json
from mgdali.gpu import caps_cache
cuda = ctypes.CDLL("libcuda.so.1")
caps_cache.use_caps_cache()
library = ctypes.CDLL("libnvcuvid.so")
def ask(codec, device=0):
    cuda.fake_set_device(device)
    caps = (ctypes.c_uint * 22)(codec)
    return library.cuvidGetDecoderCaps(caps), caps[6]
answers = [ask(4), ask(4), ask(8), ask(4, device=1), ask(4), ask(77), ask(77), ask(4, device=-1)]
counts = caps_cache.counts()
print(json.dumps([answers, library.cuvidDecodePicture(), library.fake_calls(), counts.asked, counts.remembered]))
"""


def built(folder: Path, name: str, source: str) -> None:
    (folder / "source.c").write_text(source)
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(folder / "source.c")]
    subprocess.run(command, check=True)


@pytest.fixture
def driver_libraries(tmp_path: Path) -> Path:
    built(tmp_path, "libnvcuvid.so.1", _NVDEC)
    built(tmp_path, "libcuda.so.1", _CUDA)
    return tmp_path


def run(program: str, libraries: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    own = {**ENVIRONMENT, "LD_LIBRARY_PATH": str(libraries), "XDG_CACHE_HOME": str(libraries / "cache"), **variables}
    return subprocess.run([sys.executable, "-c", program], env=own, capture_output=True, text=True, check=False)


def test_each_question_is_asked_once_per_gpu_and_failed_ones_again(driver_libraries: Path) -> None:
    for _ in range(2):  # The second time with the compiled library of the first one.
        done = run(_DALI, driver_libraries)
        assert done.stdout.strip() == (
            "[[[0, 401], [0, 401], [0, 802], [0, 403], [0, 401], [1, 7704], [1, 7705], [0, 406]], 42, 6, 6, 2]"
        ), done.stderr
    assert len(list((driver_libraries / "cache").rglob("*.so"))) == 1


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CC": "false"}, "the C compiler false failed with status 1"),
        ({"CC": "no-such-compiler"}, "the C compiler no-such-compiler failed"),
        ({"PATH": "/nowhere"}, "this machine has no C compiler: install gcc"),
        ({"XDG_CACHE_HOME": "/proc/nowhere"}, "set the environment variable XDG_CACHE_HOME"),
    ],
)
def test_a_warning_gives_the_reason_and_the_remedy_once(
    driver_libraries: Path, variables: dict[str, str], message: str
) -> None:
    program = "from mgdali.gpu import caps_cache\nfor _ in range(2): caps_cache.use_caps_cache_if_possible()"
    done = run(program, driver_libraries, **variables)
    assert done.returncode == 0
    assert done.stderr.count("NVDEC starts each video slowly") == 1
    assert message in done.stderr


def test_a_library_that_another_one_has_loaded_is_reported(driver_libraries: Path) -> None:
    (driver_libraries / "libnvcuvid.so").symlink_to("libnvcuvid.so.1")
    done = run('import ctypes\nctypes.CDLL("libnvcuvid.so")\n' + _DALI, driver_libraries)
    assert "another library of this process has already loaded libnvcuvid.so" in done.stderr


def test_the_short_name_finds_this_library_although_the_drivers_exists_too(driver_libraries: Path) -> None:
    (driver_libraries / "libnvcuvid.so").symlink_to("libnvcuvid.so.1")
    assert run(_DALI, driver_libraries).stdout.strip().endswith(", 42, 6, 6, 2]")
