"""CUDA kernels without a GPU: compiled to machine code by NVRTC, or run on the CPU under the sanitizers.

On the CPU, `tests/support/cuda_host/` provides what a kernel's source file expects from a GPU::

    VIDEO = np.dtype([("frames", np.uint64), ("count", np.int32)], align=True)
    with HostKernels(KERNELS / "example.cu", tmp_path) as host:
        [motion] = host.run(
            "example",
            grid=(4, len(videos)),
            block=256,
            args=[
                Structs(VIDEO, [(frames, len(frames)) for frames in videos]),  # The kernel gets each array's address
                np.float64(0.5),
                Out(np.zeros(10, np.uint64)),  # The kernel writes to it, and `run` returns it
            ],
            order=2,
        )
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from mgdali.gpu.cuda_kernels import compile_options, kernel_folder

KERNELS = kernel_folder()
CUDA_HOST = Path(__file__).parent / "cuda_host"
ORDERS = (0, 1, 2, 3)
"""Orders of threads and blocks worth trying: as numbered, reversed, and two shuffled."""

_SANITIZE = "address,undefined,float-cast-overflow"
_HOST_FLAGS = (
    *("-std=c++17", "-O1", "-g1", "-pthread", "-fno-omit-frame-pointer", "-Wno-unknown-pragmas"),
    *(f"-fsanitize={_SANITIZE}", "-fno-sanitize-recover=all"),
    "-ffp-contract=off",  # A multiplication and an addition are rounded as written
    "-fstack-clash-protection",  # A stack that overflows by a large amount also reaches the guard page
    "-fdata-sections",  # The linker script finds the shared variables by their section
    f"-Wl,-T,{CUDA_HOST / 'shared.ld'}",
)
_SANITIZER_OPTIONS = {
    # The margin beside each array; a wild read further away could still land in another array.
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:handle_abort=1:redzone=1024",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def _missing_compiler() -> str:
    """Return the reason why kernels cannot be built for this CPU; an empty string if they can."""
    if sys.platform != "linux" or shutil.which("g++") is None:
        return "kernels are run on the CPU with g++ on Linux, which is missing"
    for library in ("libasan.so", "libubsan.so"):
        found = subprocess.run(["g++", f"-print-file-name={library}"], capture_output=True, text=True).stdout.strip()
        if not Path(found).is_absolute():
            return f"g++ is here but its {library} is missing"
    return ""


_MISSING = _missing_compiler()
needs_compiler = [pytest.mark.compiler, pytest.mark.skipif(bool(_MISSING), reason=_MISSING or "g++ is available")]
"""Marks of tests that run kernels on the CPU, for ``pytestmark``."""


class KernelError(RuntimeError):
    """Error of a kernel; the text is the report of the sanitizer or of the launch."""


# --- Content of a source file -----------------------------------------------------------------------------------------

_KERNEL = re.compile(
    r'extern\s*"C"\s*__global__\s+(?:(?:void|__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\))\s*)+\b(\w+)\s*\('
)
_NEEDS = re.compile(r"^//\s*needs sm_(\d+)", re.MULTILINE)


def preprocess(source: Path) -> str:
    """Return the text with macros expanded, the project's headers included and comments removed."""
    command = ["g++", "-E", "-P", "-x", "c++", "-std=c++17", f"-I{source.parent}", f"-I{KERNELS}", str(source)]
    done = _compile(command)
    if done.returncode:
        raise KernelError(done.stderr)
    return done.stdout


def _compile(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})


def kernel_names(text: str) -> list[str]:
    """Return the names of the ``extern "C" __global__`` functions of a preprocessed source."""
    return list(dict.fromkeys(_KERNEL.findall(text)))


def needed_architecture(source: Path) -> int:
    """Return 80 if one of the first ten lines is ``// needs sm_80``; 0 if no line names an architecture."""
    found = _NEEDS.search("\n".join(source.read_text().splitlines()[:10]))
    return int(found[1]) if found else 0


# --- Machine code -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resources:
    """Resources of one kernel as ptxas reports them: sizes in bytes, and a number of registers."""

    name: str
    arch: str
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int

    def __str__(self) -> str:
        return (
            f"{self.name:<32} {self.arch:<7} {self.registers:>4} registers {self.shared:>6} B shared "
            f"{self.stack:>5} B stack {self.spill_stores:>5}/{self.spill_loads} B spilled"
        )


@cache
def compile_cubin(source: Path, arch: str) -> tuple[bytes, str]:
    """Return the machine code of a source, which must not change afterwards, and the compiler's log."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source.read_text(), source.name, [], [])
    try:
        options = (*compile_options(), f"--gpu-architecture={arch}", f"-I{source.parent}", "--ptxas-options=-v")
        nvrtc.compileProgram(program, options)
        # CuPy leaves out the last byte, as if the machine code were a string that ends with 0.
        return nvrtc.getCUBIN(program) + b"\0", nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError as error:
        raise KernelError(f"{source.name} for {arch}: {error}\n{nvrtc.getProgramLog(program)}") from None
    finally:
        nvrtc.destroyProgram(program)


def parse_resources(log: str) -> list[Resources]:
    """Return one entry for each kernel that the log of ``--ptxas-options=-v`` names."""

    def number(pattern: str, text: str) -> int:
        return sum(map(int, re.findall(pattern, text)))  # A report also contains the resources of called functions

    return [
        Resources(
            name=name,
            arch=arch,
            registers=number(r"Used (\d+) registers", report),
            shared=number(r"(\d+) bytes smem", report),
            stack=number(r"(\d+) bytes stack frame", report),
            spill_stores=number(r"(\d+) bytes spill stores", report),
            spill_loads=number(r"(\d+) bytes spill loads", report),
        )
        for name, arch, report in re.findall(
            r"Compiling entry function '(\w+)' for '(\w+)'(.*?)(?=Compiling entry function|\Z)", log, re.DOTALL
        )
    ]


# --- Arguments of a launch on the CPU ---------------------------------------------------------------------------------


@dataclass(eq=False)
class Buffer:
    """An array for the kernel: a copy that ends where its memory ends and starts ``offset`` bytes after a multiple of
    ``align``. A plain array means ``Buffer(array)``. The kernel must not write to it.
    """

    array: NDArray[Any]
    align: int = 256
    offset: int = 0


@dataclass(eq=False)
class Out(Buffer):
    """A buffer that the kernel may write to; `run` returns its content. Its initial content is ``array``."""


@dataclass(frozen=True)
class At:
    """The address at an offset in bytes into a buffer."""

    buffer: Buffer | NDArray[Any]
    byte: int


@dataclass(eq=False)
class Structs:
    """An array in memory whose uint64 elements or fields may be addresses.

    ``rows`` are tuples for a structured dtype (give ``align=True`` for the layout of C) and single values for
    ``np.uint64``. If a value is an array, a buffer, `At` or further `Structs`, the kernel gets its address.
    """

    dtype: DTypeLike
    rows: Sequence[Any]


Address = Buffer | At | Structs | np.ndarray
Scalar = np.generic
Argument = Address | Scalar


def unset(shape: int | tuple[int, ...], dtype: DTypeLike) -> Out:
    """Return an output filled with bytes 0xCD, so that an element that the kernel does not write is visible."""
    array = np.empty(shape, dtype)
    return Out(np.frombuffer(b"\xcd" * array.nbytes, dtype).reshape(shape))


def _number(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def _string(content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return _number(len(content)) + content


class _Memory:
    """The buffers of one launch. The same object passed twice is one buffer."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self._names: list[str] = []
        self._addresses: list[list[tuple[int, int, int]]] = []
        self._known: dict[int, int] = {}
        self._kept: list[Any] = []  # Keeps the objects alive, so that their ids stay unique

    def address(self, value: Address, name: str) -> tuple[int, int]:
        """Return the number of the buffer and the offset into it in bytes."""
        if isinstance(value, At):
            return self.address(value.buffer, name)[0], value.byte
        if id(value) not in self._known:
            self._known[id(value)] = len(self.buffers)
            self._kept.append(value)
            self._addresses.append([])
            self._names.append(name)
            if isinstance(value, Structs):
                self._add_structs(value, name)
            else:
                self.buffers.append(value if isinstance(value, Buffer) else Buffer(value))
        return self._known[id(value)], 0

    def _add_structs(self, structs: Structs, name: str) -> None:
        dtype = np.dtype(structs.dtype)
        table = np.zeros(len(structs.rows), dtype)
        addresses = self._addresses[-1]
        self.buffers.append(Buffer(table))
        # For each field: its name in a report, its position in the row, and a view of it in all rows
        fields = [(f".{field}", dtype.fields[field][1], table[field]) for field in dtype.names or ()]
        for i, row in enumerate(structs.rows):
            values = row if fields else (row,)
            for (field, place, column), value in zip(fields or [("", 0, table)], values, strict=True):
                label = f"{name}[{i}]{field}"
                if not isinstance(value, Address):
                    column[i] = value
                elif column.dtype != np.uint64:
                    raise TypeError(f"{label} is {column.dtype}: an address needs uint64")
                else:
                    addresses.append((i * dtype.itemsize + place, *self.address(value, label)))

    def message(self) -> bytes:
        parts = [_number(len(self.buffers))]
        for buffer, name, addresses in zip(self.buffers, self._names, self._addresses, strict=True):
            parts += [_string(name), _number(isinstance(buffer, Out), buffer.align, buffer.offset)]
            parts += [_string(buffer.array.tobytes()), _number(len(addresses))]
            parts += [_number(*address) for address in addresses]
        return b"".join(parts)


_KINDS = {"i": "integer", "u": "integer", "b": "integer", "f": "real", "V": "struct"}


# --- Kernels on the CPU -----------------------------------------------------------------------------------------------


class HostKernels:
    """Kernels built for the CPU with the sanitizers, and the process that runs them.

    Args:
        sources: A ``.cu`` file, or several whose kernels go into one program. Files are used unchanged.
        cache: Folder of built programs. A program is built again only if one of its inputs changes.
        flags: Further flags of g++.
        timeout: Seconds after which a launch is considered to hang.

    Raises:
        ValueError: If a source contains no kernel.
        KernelError: If a source does not compile.
    """

    def __init__(
        self, sources: Path | Sequence[Path], cache: Path, *, flags: Sequence[str] = (), timeout: float = 60
    ) -> None:
        sources = [sources] if isinstance(sources, Path) else list(sources)
        texts = [preprocess(source) for source in sources]
        kernels = [kernel_names(text) for text in texts]
        for source, names in zip(sources, kernels, strict=True):
            if not names:
                raise ValueError(f'{source} has no extern "C" __global__ function')
        self.names = [name for names in kernels for name in names]
        self._timeout = timeout
        self._program = _build(dict(zip(sources, kernels, strict=True)), texts, cache, (*_HOST_FLAGS, *flags))
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def run(
        self,
        kernel: str,
        *,
        grid: int | tuple[int, ...],
        block: int | tuple[int, ...],
        args: Iterable[Argument],
        order: int = 0,
    ) -> list[NDArray[Any]]:
        """Launch a kernel, wait for it, and return the content of each `Out`, in the order of the arguments.

        Args:
            kernel: Name of the kernel.
            grid, block: Up to three sizes, x first.
            args: Arrays and the other kinds above; NumPy scalars of the type and size of the parameter.
            order: Order of the threads between barriers and of the blocks: 0 by number, 1 reversed, above 1 shuffled.

        Raises:
            KernelError: If a sanitizer reports an error, the threads cannot continue, the kernel writes to an input or
                hangs, or the arguments do not match the kernel's types.
        """
        if kernel not in self.names:
            raise ValueError(f"no kernel {kernel!r}: there is {', '.join(self.names)}")
        memory = _Memory()
        arguments = []
        for i, value in enumerate(args):
            if isinstance(value, Address):
                arguments += [_string("address"), _string(_number(*memory.address(value, f"args[{i}]")))]
            elif isinstance(value, Scalar) and value.dtype.kind in _KINDS:
                arguments += [_string(_KINDS[value.dtype.kind]), _string(value.tobytes())]
            else:
                raise TypeError(f"args[{i}] is {type(value).__name__}: give an array or a NumPy scalar")
        request = [_string(kernel), _number(*_three(grid), *_three(block), order), memory.message()]
        request += [_number(len(arguments) // 2), *arguments]
        outputs = [buffer.array for buffer in memory.buffers if isinstance(buffer, Out)]
        error, contents = self._ask(kernel, b"".join(request), len(outputs))
        if error:
            raise KernelError(f"{kernel}: {error}")
        return [
            np.frombuffer(content, array.dtype).reshape(array.shape).copy()
            for content, array in zip(contents, outputs, strict=True)
        ]

    def close(self) -> None:
        """End the process. The next launch starts a new one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> HostKernels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, kernel: str, request: bytes, outputs: int) -> tuple[str, list[bytes]]:
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - until `close`
            self._process = subprocess.Popen(
                [self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, **_SANITIZER_OPTIONS},
            )
        process, errors = self._process, self._errors
        assert process.stdin is not None
        assert errors is not None
        watch = threading.Timer(self._timeout, process.send_signal, [signal.SIGKILL])
        watch.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            error = self._read_string().decode()
            return error, [self._read_string() for _ in range(outputs)]
        except (EOFError, BrokenPipeError):
            killed = process.wait() == -signal.SIGKILL
            errors.seek(0)
            report = errors.read().decode(errors="replace")
            self.close()
            if killed:
                report = f"did not end within {self._timeout:g} s\n{report}"
            raise KernelError(f"{kernel}: {report}") from None
        finally:
            watch.cancel()

    def _read_string(self) -> bytes:
        size = struct.unpack("<Q", self._read(8))[0]
        return self._read(size)

    def _read(self, size: int) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        content = self._process.stdout.read(size)
        if len(content) < size:
            raise EOFError
        return content


def _three(sizes: int | tuple[int, ...]) -> tuple[int, int, int]:
    x, y, z = (*((sizes,) if isinstance(sizes, int) else sizes), 1, 1)[:3]
    return x, y, z


def _build(kernels: dict[Path, list[str]], texts: list[str], cache: Path, flags: Sequence[str]) -> Path:
    folders = list(dict.fromkeys(source.parent.resolve() for source in kernels))
    # Sources have constants of the same names, so each gets a namespace. Headers are included once, before all of them.
    headers = [header for folder in folders for header in sorted(folder.glob("*.cuh"))] if len(kernels) > 1 else []
    # In an unnamed namespace, the shared variables of templates belong to this program alone. Only then does the
    # address sanitizer put margins around them.
    lines = ['#include "runner.h"', "namespace {", *(f'#include "{header}"' for header in headers)]
    entries = []
    for i, (source, names) in enumerate(kernels.items()):
        lines += [f"namespace source_{i} {{", f'#include "{source.resolve()}"', "}"]
        entries += [f'cuda_host::kernel("{name}", source_{i}::{name})' for name in names]
    lines += ["}", f"int main() {{ cuda_host::serve({{{', '.join(entries)}}}); }}", ""]
    main = "\n".join(lines)
    # The key contains the texts and no paths, because tests write some sources into temporary folders.
    anywhere = re.sub(r'(?<=#include ")/.*/', "", main)
    stem = next(iter(kernels)).stem if len(kernels) == 1 else "kernels"
    program, missing = _kept(cache, stem, [*texts, anywhere, *flags])
    if missing:
        objects = _runtime(cache, flags)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            (Path(folder) / "main.cpp").write_text(main)
            command = ["g++", *flags, *(f"-I{path}" for path in (CUDA_HOST, *folders, KERNELS))]
            command += [f"{folder}/main.cpp", *map(str, objects), "-o", f"{folder}/main"]
            done = _compile(command)
            if done.returncode:
                names = ", ".join(source.name for source in kernels)
                raise KernelError(f"{names} does not compile for the CPU:\n{done.stderr}")
            (Path(folder) / "main").rename(program)  # A rename is atomic: another process never finds half a program
    return program


def _runtime(cache: Path, flags: Sequence[str]) -> list[Path]:
    """Return the object files that all programs share; compiling them takes longer than a small kernel."""
    flags = [flag for flag in flags if not flag.startswith("-Wl,")]
    objects = []
    for source in sorted(CUDA_HOST.glob("*.cpp")):
        path, missing = _kept(cache, source.stem, flags)
        if missing:
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                done = _compile(["g++", *flags, "-c", str(source), "-o", f"{folder}/main.o"])
                if done.returncode:
                    raise KernelError(done.stderr)
                (Path(folder) / "main.o").rename(path)
        objects.append(path)
    return objects


def _kept(cache: Path, stem: str, inputs: Sequence[str]) -> tuple[Path, bool]:
    """Return the path in the cache of what is built from these inputs, and whether it is missing."""
    parts = [*inputs, *(path.read_text() for path in sorted(CUDA_HOST.iterdir()))]
    path = cache / f"{stem}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
    if path.exists():
        path.touch()  # The cache keeps what was used last
    return path, not path.exists()
