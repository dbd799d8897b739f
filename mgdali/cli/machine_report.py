"""Examination of this machine for ``mgdali doctor``: packages, driver, GPUs, and the route the loader chooses."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import mgdali
from mgdali.gpu import caps_cache, driver

__all__ = [
    "CODECS",
    "CPUCodec",
    "Choice",
    "Driver",
    "GPUCodec",
    "GPUReport",
    "Machine",
    "Package",
    "Packages",
    "Report",
    "examine",
    "to_json",
]

T = TypeVar("T")

_PROC = Path("/proc")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")

_DALI_EXTRA = "pip install 'mgdali[cuda12]', or 'mgdali[cuda13]' with a CUDA 13 driver"
CODECS = ["h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "mjpeg", "mpeg1video", "vvc", "h263", "flv1"]
CODECS += ["msmpeg4v3", "wmv2", "wmv3", "vc1", "theora", "prores", "ffv1"]
"""The video codecs in the report, by FFmpeg's names."""
# FFmpeg's decoders of codecs that have no software decoder of the same name. Its decoder "av1" needs hardware.
_DECODERS = {"av1": ("libdav1d", "libaom-av1"), "flv1": ("flv",), "msmpeg4v3": ("msmpeg4",)}
# Codecs for which NVDEC has a 10-bit profile.
_TEN_BIT = frozenset({"h264", "hevc", "vp9", "av1"})


@dataclass(frozen=True)
class Machine:
    """The computer, as this process sees it.

    Attributes:
        system: Name of the operating system and the processor.
        python: Version of Python.
        mgdali: Version of mgdali.
        cpu_cores: Number of cores that this process may run on; the loader's default of ``num_workers``.
        cpu_quota: CPU time limit of the control group (such as a container), in cores; None without a limit.
        memory_bytes: Physical memory; None if unknown.
        memory_available_bytes: Memory available without swapping; None if unknown.
        memory_limit_bytes: Memory limit of the control group; None without a limit.
    """

    system: str
    python: str
    mgdali: str
    cpu_cores: int
    cpu_quota: float | None
    memory_bytes: int | None
    memory_available_bytes: int | None
    memory_limit_bytes: int | None


@dataclass(frozen=True)
class Package:
    """A package that the loader uses.

    Attributes:
        name: Name to display.
        version: Version according to its module; None if it cannot be imported.
        error: Error raised by the import; None if it can be imported.
        install: Command that installs it; None if it can be imported.
    """

    name: str
    version: str | None
    error: str | None
    install: str | None


@dataclass(frozen=True)
class Packages:
    """Packages that the loader uses. CuPy is needed only on a GPU; all others are required."""

    numpy: Package
    torch: Package
    dali: Package
    av: Package
    ffmpeg: Package
    opencv: Package
    cupy: Package


@dataclass(frozen=True)
class CPUCodec:
    """A codec, by FFmpeg's name, and the name of PyAV's decoder for it; None if PyAV has no decoder."""

    codec: str
    decoder: str | None


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver and its libraries.

    Attributes:
        loaded: Whether libcuda.so.1 can be loaded.
        cuda: Newest CUDA version that the driver supports, such as ``"12.4"``; None if unknown.
        cuda_error: Reason that ``cuda`` is unknown; otherwise None.
        version: Version of the driver, such as ``"550.54.15"``; None if unknown.
        version_error: Reason that ``version`` is unknown; otherwise None.
        nvdec: Whether libnvcuvid.so.1 can be loaded.
        nvdec_error: Reason that it cannot be loaded; otherwise None.
        caps_cache_error: Reason that NVDEC starts each video slowly; None if it does not, or cannot be loaded.
    """

    loaded: bool
    cuda: str | None
    cuda_error: str | None
    version: str | None
    version_error: str | None
    nvdec: bool
    nvdec_error: str | None
    caps_cache_error: str | None


@dataclass(frozen=True)
class GPUCodec:
    """Support for a codec by a GPU's NVDEC, in 4:2:0.

    Attributes:
        codec: FFmpeg's name of the codec.
        caps: Limits for 8 and 10 bits; a bit depth that NVDEC does not support is left out.
        error: Reason that some limits are unknown; otherwise None.
    """

    codec: str
    caps: tuple[driver.DecoderCaps, ...]
    error: str | None


@dataclass(frozen=True)
class GPUReport:
    """A GPU and the codecs that it decodes.

    Attributes:
        device: Index, name, compute capability and memory of the GPU.
        nvdec_engines: Number of decoders on the chip; 0 if it supports none of the codecs or the driver is too old to
            report it.
        codecs: Support for each codec; empty if NVDEC cannot be queried.
        error: Reason that NVDEC cannot be queried; otherwise None.
    """

    device: driver.GPU
    nvdec_engines: int
    codecs: tuple[GPUCodec, ...]
    error: str | None


@dataclass(frozen=True)
class Choice:
    """The route that ``MGDaliIterator`` chooses with ``device=None``.

    Attributes:
        device: Device of the batches, such as ``"cuda:0"``; None if the loader cannot run.
        decoding: Decoder, ``"NVDEC"`` or ``"PyAV"``; None if the loader cannot run.
        why: Reason for the choice, in one line.
    """

    device: str | None
    decoding: str | None
    why: str


@dataclass(frozen=True)
class Report:
    """Result of the examination. The attributes are also the keys of its JSON, nested like the classes.

    Attributes:
        machine: The computer.
        packages: The packages that the loader uses.
        cpu_codecs: PyAV's decoders; empty if PyAV cannot be imported.
        driver: NVIDIA's driver.
        gpus: The GPUs that CUDA offers to this process, which ``CUDA_VISIBLE_DEVICES`` may restrict.
        gpus_error: Reason that the GPUs are unknown; otherwise None.
        choice: The route that the loader chooses.
    """

    machine: Machine
    packages: Packages
    cpu_codecs: tuple[CPUCodec, ...]
    driver: Driver
    gpus: tuple[GPUReport, ...]
    gpus_error: str | None
    choice: Choice


def examine() -> Report:
    """Examine this machine. Raises nothing: the report contains the errors of missing and broken parts.

    It imports the packages that the loader imports, and creates a CUDA context for a short time on each GPU in turn.
    """
    # Importing a broken package a second time may raise a less specific error. So the packages are imported first,
    # then the loader, which imports them too.
    packages = _packages()
    _, loader_error = _result_or_error(lambda: importlib.import_module("mgdali.iterator"))
    nvidia = _driver()
    found, gpus_error = _result_or_error(driver.find_gpus)
    gpus = tuple(map(_gpu_report, found or ()))
    return Report(
        machine=_machine(),
        packages=packages,
        cpu_codecs=_result_or_error(_cpu_codecs)[0] or (),
        driver=nvidia,
        gpus=gpus,
        gpus_error=gpus_error,
        choice=_choose(loader_error, nvidia, gpus, gpus_error),
    )


def to_json(report: Report) -> str:
    """Return the report as a JSON object with the keys of :class:`Report`."""
    return json.dumps(asdict(report), indent=2)


def _choose(loader_error: str | None, nvidia: Driver, gpus: tuple[GPUReport, ...], gpus_error: str | None) -> Choice:
    """Return the route that the loader chooses, with the reason if it is not the GPU."""
    if loader_error is not None:
        return Choice(None, None, " ".join(loader_error.split()))
    if not nvidia.loaded:
        return Choice("cpu", "PyAV", "no NVIDIA driver was found")
    if not gpus:
        return Choice("cpu", "PyAV", f"the NVIDIA driver offers no GPU ({gpus_error or 'it reports 0 GPUs'})")
    # Imported late because it imports torch.
    route, error = _result_or_error(lambda: importlib.import_module("mgdali.loading.route").gpu_route())
    if route is None:
        return Choice("cpu", "PyAV", " ".join((error or "").split()))
    return Choice(str(route.device), "NVDEC", f"it decodes {', '.join(sorted(route.nvdec))}, and PyAV the rest")


def _result_or_error(call: Callable[[], T]) -> tuple[T | None, str | None]:
    """Return the result of a call and None, or None and the error. Broken packages raise errors of any type."""
    try:
        return call(), None
    except (driver.GPUError, caps_cache.CapsCacheError) as error:
        return None, str(error)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}".strip()


def _packages() -> Packages:
    return Packages(
        numpy=_package("NumPy", "numpy", "pip install numpy"),
        torch=_package("torch", "torch", "pip install torch"),
        dali=_package("NVIDIA DALI", "nvidia.dali", _DALI_EXTRA),
        av=_package("PyAV", "av", "pip install av"),
        ffmpeg=_package("FFmpeg (PyAV's)", "av", "pip install av", "ffmpeg_version_info"),
        opencv=_package("OpenCV", "cv2", "pip install opencv-python-headless"),
        cupy=_package("CuPy (for GPUs)", "cupy", _DALI_EXTRA),
    )


def _package(name: str, module: str, install: str, attribute: str = "__version__") -> Package:
    version, error = _result_or_error(lambda: str(getattr(importlib.import_module(module), attribute)))
    return Package(name, version, error, install if version is None else None)


def _cpu_codecs() -> tuple[CPUCodec, ...]:
    import av

    def has(decoder: str) -> bool:
        try:
            return bool(av.Codec(decoder, "r"))
        except ValueError:
            return False

    return tuple(CPUCodec(codec, next(filter(has, _DECODERS.get(codec, (codec,))), None)) for codec in CODECS)


def _driver() -> Driver:
    _, cuda_missing = _result_or_error(lambda: driver.load_library(driver.CUDA))
    cuda, cuda_error = _result_or_error(driver.cuda_version)
    version, version_error = _result_or_error(driver.driver_version)
    _, nvdec_error = _result_or_error(lambda: driver.load_library(driver.NVDEC))
    return Driver(
        loaded=cuda_missing is None,
        cuda=f"{cuda[0]}.{cuda[1]}" if cuda else None,
        cuda_error=cuda_error,
        version=version,
        version_error=version_error,
        nvdec=nvdec_error is None,
        nvdec_error=nvdec_error,
        caps_cache_error=None if nvdec_error else _result_or_error(caps_cache.use_caps_cache)[1],
    )


def _gpu_report(device: driver.GPU) -> GPUReport:
    def query_codecs() -> tuple[GPUCodec, ...]:
        driver.load_library(driver.NVDEC)
        with driver.primary_context(device.index):
            return tuple(_gpu_codec(device.index, codec) for codec in CODECS if codec in driver.NVDEC_CODECS)

    codecs, error = _result_or_error(query_codecs)
    engines = max((caps.engines for codec in codecs or () for caps in codec.caps), default=0)
    return GPUReport(device, engines, codecs or (), error)


def _gpu_codec(device: int, codec: str) -> GPUCodec:
    caps: list[driver.DecoderCaps] = []
    errors: dict[str, None] = {}
    for bit_depth in (8, 10) if codec in _TEN_BIT else (8,):
        found, error = _result_or_error(partial(driver.decoder_caps, device, codec, bit_depth=bit_depth))
        caps += [found] if found else []
        errors |= {error: None} if error else {}
    return GPUCodec(codec, tuple(caps), "; ".join(errors) or None)


def _machine() -> Machine:
    memory = _meminfo("MemTotal")
    limits, _ = _result_or_error(lambda: [int(limit) for (limit,) in _group_limits("memory.max")])
    quotas, _ = _result_or_error(lambda: [int(quota) / int(period) for quota, period in _group_limits("cpu.max")])
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        mgdali=mgdali.__version__,
        cpu_cores=_result_or_error(lambda: len(os.sched_getaffinity(0)))[0] or os.cpu_count() or 1,
        cpu_quota=min(quotas or (), default=None),
        memory_bytes=memory,
        memory_available_bytes=_meminfo("MemAvailable"),
        memory_limit_bytes=min(limits or (), default=None),
    )


def _meminfo(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError), open(_PROC / "meminfo") as lines:
        for line in lines:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return None


def _group_limits(file: str) -> Iterator[list[str]]:
    """Yield the values in a limit file of this process's control group (version 2) and of its parents.

    Groups without a limit are skipped.
    """
    lines = (_PROC / "self/cgroup").read_text().splitlines()
    group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    for folder in (_CONTROL_GROUPS / group, *(_CONTROL_GROUPS / group).parents):
        with contextlib.suppress(OSError):
            words = (folder / file).read_text().split()
            if words[0] != "max":
                yield words
