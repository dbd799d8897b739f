"""What this machine can do for the loader, and what the loader would choose here: ``mgdali doctor``."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import mgdali
from mgdali.gpu import driver

__all__ = ["Report", "examine", "render", "to_json"]

T = TypeVar("T")

_PROC = Path("/proc")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")

_DALI_EXTRA = "pip install 'mgdali[cuda12]', or 'mgdali[cuda13]' beside a CUDA 13 driver"
# Video codecs that people meet, by FFmpeg's names.
_CODECS = ["h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "mjpeg", "mpeg1video", "vvc", "h263", "flv1"]
_CODECS += ["msmpeg4v3", "wmv2", "wmv3", "vc1", "theora", "prores", "ffv1"]
# FFmpeg's decoders for a codec, where not the one of its name: its own "av1" works with hardware only.
_DECODERS = {"av1": ("libdav1d", "libaom-av1"), "flv1": ("flv",), "msmpeg4v3": ("msmpeg4",)}
# NVDEC's codecs that have a profile of 10 bits.
_TEN_BIT = frozenset({"h264", "hevc", "vp9", "av1"})


@dataclass(frozen=True)
class Machine:
    """The computer, as this process sees it.

    Attributes:
        system: the operating system and processor.
        python, mgdali: versions.
        cpu_cores: cores that this process may run on, from which the loader takes its default of ``num_workers``.
        cpu_quota: cores' worth of time that the control group (a container's limit) grants; None for no limit.
        memory_bytes: physical memory, and what of it is free without swapping; None where the system does not tell.
        memory_limit_bytes: the control group's limit; None for none.
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
    """A package's version, as its module gives it; or None, the words that importing it raised, and what to type."""

    name: str
    version: str | None
    error: str | None
    install: str | None


@dataclass(frozen=True)
class Packages:
    """What the loader works with; OpenCV makes it faster, CuPy is for the GPU."""

    numpy: Package
    torch: Package
    dali: Package
    av: Package
    ffmpeg: Package
    opencv: Package
    cupy: Package


@dataclass(frozen=True)
class CPUCodec:
    """A codec, by FFmpeg's name, and the decoder for it that PyAV has; None where it has none."""

    codec: str
    decoder: str | None


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver and its libraries. An error is None where all is well, else the loader's or driver's words.

    Attributes:
        loaded: whether libcuda.so.1 can be loaded.
        cuda: the newest CUDA version it supports, such as ``"12.4"``.
        version: its own, such as ``"550.54.15"``.
        nvdec: whether libnvcuvid.so.1 can be loaded.
    """

    loaded: bool
    cuda: str | None
    cuda_error: str | None
    version: str | None
    version_error: str | None
    nvdec: bool
    nvdec_error: str | None


@dataclass(frozen=True)
class GPUCodec:
    """What a GPU's NVDEC takes of a codec in 4:2:0.

    Attributes:
        caps: the limits, for each of 8 and 10 bits that it does take.
        error: why that is not all known; else None.
    """

    codec: str
    caps: tuple[driver.DecoderCaps, ...]
    error: str | None


@dataclass(frozen=True)
class GPUReport:
    """A GPU and what it decodes.

    Attributes:
        device: its name, compute capability and memory.
        nvdec_engines: decoders on the chip; 0 where it takes none of the codecs or the driver is too old to tell.
        codecs: empty where NVDEC cannot be asked.
        error: why it cannot; else None.
    """

    device: driver.GPU
    nvdec_engines: int
    codecs: tuple[GPUCodec, ...]
    error: str | None


@dataclass(frozen=True)
class Choice:
    """What ``MGDaliIterator`` does with ``device=None``: both None where it cannot run. ``why`` is one line."""

    device: str | None
    decoding: str | None
    why: str


@dataclass(frozen=True)
class Report:
    """All that was found. Its JSON has the same names as keys, nested as the classes are.

    Attributes:
        cpu_codecs: empty where PyAV cannot be used.
        gpus: those that CUDA offers this process; ``CUDA_VISIBLE_DEVICES`` has been applied.
        gpus_error: why they are unknown; else None.
    """

    machine: Machine
    packages: Packages
    cpu_codecs: tuple[CPUCodec, ...]
    driver: Driver
    gpus: tuple[GPUReport, ...]
    gpus_error: str | None
    choice: Choice


def examine() -> Report:
    """Find out what this machine has. Raises nothing: what is missing or broken is told in the report.

    Imports what the loader would, and makes a CUDA context for a moment on each GPU in turn.
    """
    # Each package before the loader: importing a broken one again may raise words that say less.
    packages = _packages()
    _, loader_error = _attempt(lambda: importlib.import_module("mgdali.iterator"))
    nvidia = _driver()
    found, gpus_error = _attempt(driver.find_gpus)
    gpus = tuple(map(_gpu_report, found or ()))
    return Report(
        machine=_machine(),
        packages=packages,
        cpu_codecs=_attempt(_cpu_codecs)[0] or (),
        driver=nvidia,
        gpus=gpus,
        gpus_error=gpus_error,
        choice=_choose(loader_error, nvidia, gpus, gpus_error),
    )


def to_json(report: Report) -> str:
    """The report for machines: an object with the keys of :class:`Report`."""
    return json.dumps(asdict(report), indent=2)


def render(report: Report, console: Console) -> None:
    """Print the report for people."""
    machine, packages = report.machine, list(vars(report.packages).values())
    rows = [
        ("System", machine.system),
        ("CPU cores", _cores(machine)),
        ("Memory", _memory(machine)),
        ("Python", machine.python),
        ("mgdali", machine.mgdali),
    ]
    rows += [(package.name, package.version or f"cannot be imported: {package.error}") for package in packages]
    console.print(_table("This machine", ("", ""), rows))
    console.print(_table("NVIDIA", ("", ""), _nvidia_rows(report)))
    console.print(_codec_table(report))
    lines = [f"For {package.name}: {package.install}" for package in packages if package.install]
    if report.gpus and not report.driver.nvdec:
        lines.append("For NVDEC in a container: start it with NVIDIA_DRIVER_CAPABILITIES=compute,utility,video")
    choice = report.choice
    does = f"chooses {choice.device} and decodes with {choice.decoding}" if choice.device else "cannot run"
    for line in (*lines, f"MGDaliIterator {does}: {choice.why}"):
        # Lines to copy: the terminal wraps them, no line breaks are put in.
        console.print(Text(line), soft_wrap=True)


def _choose(loader_error: str | None, nvidia: Driver, gpus: tuple[GPUReport, ...], gpus_error: str | None) -> Choice:
    """The loader's choice, and what stands in the way of a better one."""
    if loader_error is not None:
        return Choice(None, None, " ".join(loader_error.split()))
    if not nvidia.loaded:
        return Choice("cpu", "PyAV", "no NVIDIA driver was found")
    if not gpus:
        return Choice("cpu", "PyAV", f"the NVIDIA driver offers no GPU ({gpus_error or 'it counts none'})")
    # Not above: it imports torch.
    route, error = _attempt(lambda: importlib.import_module("mgdali.loading.route").gpu_route())
    if route is None:
        return Choice("cpu", "PyAV", " ".join((error or "").split()))
    return Choice(str(route.device), "NVDEC", f"it decodes {', '.join(sorted(route.nvdec))}, and PyAV the rest")


def _attempt(ask: Callable[[], T]) -> tuple[T | None, str | None]:
    """An answer, or the words of what was raised instead, whatever it is: broken packages raise all sorts."""
    try:
        return ask(), None
    except driver.GPUError as error:
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
        opencv=_package("OpenCV (optional)", "cv2", "pip install opencv-python-headless"),
        cupy=_package("CuPy (for GPUs)", "cupy", _DALI_EXTRA),
    )


def _package(name: str, module: str, install: str, attribute: str = "__version__") -> Package:
    version, error = _attempt(lambda: str(getattr(importlib.import_module(module), attribute)))
    return Package(name, version, error, install if version is None else None)


def _cpu_codecs() -> tuple[CPUCodec, ...]:
    import av

    def has(decoder: str) -> bool:
        try:
            return bool(av.Codec(decoder, "r"))
        except ValueError:
            return False

    return tuple(CPUCodec(codec, next(filter(has, _DECODERS.get(codec, (codec,))), None)) for codec in _CODECS)


def _driver() -> Driver:
    _, cuda_missing = _attempt(lambda: driver.load_library(driver.CUDA))
    cuda, cuda_error = _attempt(driver.cuda_version)
    version, version_error = _attempt(driver.driver_version)
    _, nvdec_error = _attempt(lambda: driver.load_library(driver.NVDEC))
    return Driver(
        loaded=cuda_missing is None,
        cuda=f"{cuda[0]}.{cuda[1]}" if cuda else None,
        cuda_error=cuda_error,
        version=version,
        version_error=version_error,
        nvdec=nvdec_error is None,
        nvdec_error=nvdec_error,
    )


def _gpu_report(device: driver.GPU) -> GPUReport:
    def ask() -> tuple[GPUCodec, ...]:
        driver.load_library(driver.NVDEC)
        with driver.primary_context(device.index):
            return tuple(_gpu_codec(device.index, codec) for codec in _CODECS if codec in driver.NVDEC_CODECS)

    codecs, error = _attempt(ask)
    engines = max((caps.engines for codec in codecs or () for caps in codec.caps), default=0)
    return GPUReport(device, engines, codecs or (), error)


def _gpu_codec(device: int, codec: str) -> GPUCodec:
    caps: list[driver.DecoderCaps] = []
    errors: dict[str, None] = {}
    for bit_depth in (8, 10) if codec in _TEN_BIT else (8,):
        found, error = _attempt(partial(driver.decoder_caps, device, codec, bit_depth=bit_depth))
        caps += [found] if found else []
        errors |= {error: None} if error else {}
    return GPUCodec(codec, tuple(caps), "; ".join(errors) or None)


def _machine() -> Machine:
    memory = _meminfo("MemTotal")
    limits, _ = _attempt(lambda: [int(limit) for (limit,) in _group_limits("memory.max")])
    quotas, _ = _attempt(lambda: [int(quota) / int(period) for quota, period in _group_limits("cpu.max")])
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        mgdali=mgdali.__version__,
        cpu_cores=_attempt(lambda: len(os.sched_getaffinity(0)))[0] or os.cpu_count() or 1,
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
    """What a file of limits says in this process's control group (version 2) and those above, where it limits."""
    lines = (_PROC / "self/cgroup").read_text().splitlines()
    group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    for folder in (_CONTROL_GROUPS / group, *(_CONTROL_GROUPS / group).parents):
        with contextlib.suppress(OSError):
            words = (folder / file).read_text().split()
            if words[0] != "max":
                yield words


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=any(columns), pad_edge=False)
    for column in columns:
        # What is too long goes on in the next line: nothing is cut off.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _cores(machine: Machine) -> str:
    quota = machine.cpu_quota
    return f"{machine.cpu_cores}" + (f", limited to the time of {quota:g} by a control group" if quota else "")


def _memory(machine: Machine) -> str:
    facts = [
        (machine.memory_bytes, "{}"),
        (machine.memory_available_bytes, "{} of it free"),
        (machine.memory_limit_bytes, "limited to {} by a control group"),
    ]
    return ", ".join(words.format(_gib(size)) for size, words in facts if size is not None) or "unknown"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _nvidia_rows(report: Report) -> Iterator[tuple[str, str]]:
    nvidia = report.driver
    yield "Driver", nvidia.version or f"version unknown: {nvidia.version_error}"
    yield "CUDA", f"the driver supports up to {nvidia.cuda}" if nvidia.cuda else f"unknown: {nvidia.cuda_error}"
    yield "NVDEC's library", "loads" if nvidia.nvdec else f"cannot be loaded: {nvidia.nvdec_error}"
    if not report.gpus:
        yield "GPUs", f"none: {report.gpus_error}" if report.gpus_error and nvidia.loaded else "none"
    for found in report.gpus:
        device, engines = found.device, found.nvdec_engines
        capability = ".".join(map(str, device.compute_capability))
        facts = [device.name, f"compute capability {capability}", _gib(device.memory_bytes)]
        if found.error is None:
            facts.append(f"{engines} NVDEC engine{'s' if engines != 1 else ''}")
        elif nvidia.nvdec:
            facts.append(f"cannot be asked what it decodes: {found.error}")
        yield f"GPU {device.index}", ", ".join(facts)


def _codec_table(report: Report) -> Table:
    """A row a codec, a column a place of decoding; GPUs that decode the same share one."""
    on_cpu = {codec.codec: codec.decoder or "no" for codec in report.cpu_codecs}
    asked = [found for found in report.gpus if found.error is None]
    columns, on_gpus = ["Codec", "CPU: PyAV's decoder"], []
    for codecs, sharing in groupby(asked, key=lambda found: found.codecs):
        indices = [found.device.index for found in sharing]
        numbers = f"{indices[0]} to {indices[-1]}" if len(indices) > 1 else f"{indices[0]}"
        columns.append(f"GPU {numbers}: NVDEC, largest frame")
        on_gpus.append({codec.codec: _decodes(codec) for codec in codecs})
    rows = [(name, on_cpu.get(name, "no"), *(decoded.get(name, "no") for decoded in on_gpus)) for name in _CODECS]
    return _table("Video codecs", columns, rows)


def _decodes(codec: GPUCodec) -> str:
    lines = [f"{caps.bit_depth}-bit {caps.max_width} x {caps.max_height}" for caps in codec.caps]
    return "\n".join([*lines, *([codec.error] if codec.error else [])]) or "no"
