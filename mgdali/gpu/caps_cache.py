"""Faster decoding on a GPU: DALI's repeated queries for the limits of NVDEC are answered from memory.

Problem: DALI calls ``cuvidGetDecoderCaps`` at least once per video. The driver answers one call at a time, in the whole
process. A call took 9 ms on an H200 with driver 580, so DALI decoded at most 110 videos per second, however short they
were and however many threads and graphs it had (``benchmarks/results/gpu-2026-11-27/decode-only.json``).

Remedy: ``caps_cache.c``, a small library that asks the driver once per GPU and kind of stream. It has the name by which
DALI opens NVDEC's library, ``libnvcuvid.so``. All other functions come from the driver's library, to which it is
linked. It is compiled at the first use with the C compiler of the machine, and is kept in the user's cache folder.

Consequence without a C compiler: everything works, but slowly. A warning says so.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mgdali.cache import cache_folder
from mgdali.gpu import driver

__all__ = ["CapsCacheError", "Counts", "counts", "use_caps_cache", "use_caps_cache_if_possible"]

_SOURCE = Path(__file__).with_suffix(".c")
_NAME = "libnvcuvid.so"
"""Name by which DALI opens NVDEC's library."""
_COMPILERS = ("cc", "gcc", "clang")
_SECONDS = 60.0
"""Time limit of the compiler, in seconds."""


class CapsCacheError(RuntimeError):
    """The library cannot be compiled or loaded; the message says why and what to do."""


@dataclass(frozen=True)
class Counts:
    """Numbers of queries of this process.

    Attributes:
        asked: Queries that the driver has answered.
        remembered: Queries that were answered from memory.
    """

    asked: int
    remembered: int


def use_caps_cache() -> None:
    """Load the library, and compile it unless it is in the cache folder. Call it before DALI first decodes.

    Raises:
        LibraryError: If NVDEC's library cannot be loaded.
        CapsCacheError: If the machine has no C compiler, the compiler fails, or another library of this process has
            already loaded NVDEC's library by DALI's name for it.
    """
    _loaded()


@cache
def use_caps_cache_if_possible() -> None:
    """Load the library if possible. Otherwise a warning gives the reason and the remedy, once per process."""
    try:
        use_caps_cache()
    except (CapsCacheError, driver.LibraryError) as error:
        warnings.warn(f"NVDEC starts each video slowly: {error}", RuntimeWarning, stacklevel=2)


def counts() -> Counts:
    """Return how often the driver was asked in this process, and how often it was not necessary.

    Raises:
        LibraryError, CapsCacheError: As :func:`use_caps_cache`.
    """
    asked, remembered = ctypes.c_long(), ctypes.c_long()
    _loaded().mgdali_caps_counts(ctypes.byref(asked), ctypes.byref(remembered))
    return Counts(asked.value, remembered.value)


@cache
def _loaded() -> ctypes.CDLL:
    driver.load_library(driver.NVDEC)
    path = _compiled()
    try:
        library = ctypes.CDLL(str(path))
        named = ctypes.CDLL(_NAME, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError as error:
        raise CapsCacheError(f"{path} cannot be loaded: {error}; delete the file to have it compiled again") from error
    if named._handle != library._handle:
        raise CapsCacheError(
            f"another library of this process has already loaded {_NAME}: start the loader's first epoch before it"
        )
    return library


def _compiled() -> Path:
    """Return the path of the compiled library."""
    # Machines that share a home folder may have different processors and C libraries.
    machine = " ".join([platform.machine(), *platform.libc_ver()])
    key = hashlib.sha256(_SOURCE.read_bytes() + machine.encode()).hexdigest()[:16]
    path = cache_folder() / f"nvdec-caps-{key}.so"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
                made = Path(scratch) / path.name
                _compile(made)
                # In one step: other processes see no half-written file.
                os.replace(made, path)
        except OSError as error:
            raise CapsCacheError(
                f"{path} cannot be written ({error}): set the environment variable XDG_CACHE_HOME to another folder"
            ) from error
    return path


def _compile(path: Path) -> None:
    chosen = os.environ.get("CC") or next(filter(shutil.which, _COMPILERS), None)
    if chosen is None:
        raise CapsCacheError("this machine has no C compiler: install gcc, or name a compiler by the variable CC")
    real = driver.library_path(driver.NVDEC)
    options = ["-shared", "-fPIC", "-O2", "-pthread", f"-Wl,-soname,{_NAME}", "-Wl,--no-as-needed"]
    command = [*chosen.split(), *options, "-o", str(path), str(_SOURCE), real, "-ldl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CapsCacheError(f"the C compiler {chosen} failed: {error}") from error
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise CapsCacheError(f"the C compiler {chosen} failed with status {done.returncode}: {last}")
