"""Every kernel compiles to machine code for every architecture without register spills."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support.kernel_build import (
    KERNELS,
    KernelError,
    Resources,
    compile_cubin,
    kernel_names,
    needed_architecture,
    needs_compiler,
    parse_resources,
    preprocess,
)

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is missing: it brings NVRTC"),
    *needs_compiler,  # For the kernels' names
]

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
SOURCES = sorted(KERNELS.glob("*.cu"))


def compile_for(source: Path, arch: str) -> list[Resources]:
    """Compile a source; print and return the resources of each kernel, and the warnings."""
    cubin, log = compile_cubin(source, arch)
    assert cubin.startswith(b"\x7fELF")
    resources = parse_resources(log)
    for line in [*resources, *(line for line in log.splitlines() if "warning" in line.lower())]:
        print(line)
    return resources


def check(source: Path, resources: list[Resources]) -> None:
    assert sorted(kernel.name for kernel in resources) == sorted(kernel_names(preprocess(source)))
    spilled = [str(kernel) for kernel in resources if kernel.spill_stores or kernel.spill_loads]
    assert not spilled, "registers are spilled to memory:\n" + "\n".join(spilled)


def supports(arch: str, source: Path) -> bool:
    return int(arch.removeprefix("sm_")) >= needed_architecture(source)


@pytest.mark.parametrize(
    ("source", "arch"),
    [
        pytest.param(source, arch, id=f"{source.stem}-{arch}")
        for source in SOURCES
        for arch in ARCHITECTURES
        if supports(arch, source)
    ],
)
def test_every_kernel_compiles_without_spills(source: Path, arch: str) -> None:
    check(source, compile_for(source, arch))


SPILLING = r"""
// More values at once than the registers that 1024 threads leave each
extern "C" __global__ void __launch_bounds__(1024) spilling(const float* in, float* out, int times) {
    float values[96];
    for (int i = 0; i < 96; ++i) values[i] = in[threadIdx.x + i * 1024];
    for (int k = 0; k < times; ++k) {
        for (int i = 0; i < 96; ++i) values[i] = values[i] * values[(i + 1) % 96] + values[(7 * i + 3) % 96];
    }
    float sum = 0;
    for (int i = 0; i < 96; ++i) sum += values[i] * i;
    out[threadIdx.x] = sum;
}

extern "C" __global__ void frugal(const int* in, int* out) {
    __shared__ int values[1000];
    values[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = values[999 - threadIdx.x];
}
"""


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_register_spills_are_reported(tmp_path: Path, arch: str) -> None:
    source = tmp_path / "spilling.cu"
    source.write_text(SPILLING)
    resources = compile_for(source, arch)
    spilling = next(kernel for kernel in resources if kernel.name == "spilling")
    frugal = next(kernel for kernel in resources if kernel.name == "frugal")
    assert spilling.arch == frugal.arch == arch
    assert spilling.registers <= 64
    assert spilling.spill_stores > 0
    assert spilling.spill_loads > 0
    assert spilling.stack > 0
    assert frugal.shared == 4000
    assert 0 < frugal.registers < 32
    assert frugal.stack == frugal.spill_stores == frugal.spill_loads == 0
    with pytest.raises(AssertionError, match=r"spilled to memory:\s+spilling .* B spilled"):
        check(source, resources)


def test_a_kernel_that_is_not_compiled_is_reported(tmp_path: Path) -> None:
    source = tmp_path / "missing.cu"
    source.write_text(
        'extern "C" __global__ void one() {}\n#ifndef __CUDA_ARCH__\nextern "C" __global__ void two() {}\n#endif\n'
    )
    with pytest.raises(AssertionError, match="two"):
        check(source, compile_for(source, "sm_80"))


def test_an_error_names_the_line(tmp_path: Path) -> None:
    source = tmp_path / "wrong.cu"
    source.write_text('extern "C" __global__ void one(int* out) {\n    *out = missing;\n}\n')
    with pytest.raises(KernelError, match=r'(?s)wrong.cu for sm_90: .*wrong.cu\(2\): error: identifier "missing"'):
        compile_cubin(source, "sm_90")


def test_headers_of_the_kernels_are_found(tmp_path: Path) -> None:
    (tmp_path / "beside.cuh").write_text("constexpr int kValue = 3;\n")
    source = tmp_path / "including.cu"
    source.write_text('#include "beside.cuh"\nextern "C" __global__ void one(int* out) { *out = kValue; }\n')
    check(source, compile_for(source, "sm_75"))


def test_needed_architecture(tmp_path: Path) -> None:
    source = tmp_path / "needs.cu"
    source.write_text("// A kernel.\n// needs sm_80: mma.m16n8k16\n")
    assert needed_architecture(source) == 80
    source.write_text("// A kernel that needs sm_80 in no way.\n" + "//\n" * 10 + "// needs sm_90\n")
    assert needed_architecture(source) == 0
