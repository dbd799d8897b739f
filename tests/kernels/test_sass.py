"""The machine code of the kernels: no spilled registers, and loads that nothing waits for."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mgdali.gpu.cuda_kernels import kernel_folder
from tests.support.benchmark_modules import script
from tests.support.kernel_build import compile_cubin

sass = script("sass")

_MISSING = [
    name
    for name, found in (
        ("CuPy, which brings NVRTC", importlib.util.find_spec("cupy")),
        ("nvdisasm (package nvidia-cuda-nvdisasm)", sass.disassembler()),
    )
    if not found
]
pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(bool(_MISSING), reason=f"missing: {', '.join(_MISSING)}"),
]

SOURCES = sorted(kernel_folder().glob("*.cu"))
FEATURE_KERNELS = [name for name in sass.SHAPES if name.startswith("feature")]
every_architecture = pytest.mark.parametrize("arch", sass.ARCHITECTURES)


@cache
def compiled(path: Path, arch: str) -> tuple[dict[str, Any], str]:
    """Return the code of a source's kernels by name, and ptxas' log."""
    cubin, log = compile_cubin(path, arch)
    return sass.kernels_in(sass.disassemble(cubin)), log


def figures_of(name: str, arch: str) -> dict[str, Any]:
    for path in SOURCES:
        if f" {name}(" in path.read_text():
            codes, log = compiled(path, arch)
            return sass.figures(codes[name], log, name, sass.SHAPES[name])  # type: ignore[no-any-return]
    raise AssertionError(f"no source has {name}")


@every_architecture
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_kernel_spills_registers(source: Path, arch: str) -> None:
    codes, log = compiled(source, arch)
    assert codes
    for name, code in codes.items():
        assert sass.figures(code, log, name, None)["spilled_bytes"] == 0, name


@every_architecture
@pytest.mark.parametrize("name", sass.SHAPES)
def test_loads_of_the_next_frame_come_before_the_first_store_to_shared_memory(name: str, arch: str) -> None:
    figures = figures_of(name, arch)
    assert figures["loads_per_pixel"] > 0
    assert figures["loads_after_stores"] == 0
    assert figures["local_memory_instructions"] == 0


@every_architecture
@pytest.mark.parametrize("name", FEATURE_KERNELS)
def test_nothing_waits_for_a_loaded_value_before_the_last_load_of_the_frame(name: str, arch: str) -> None:
    assert figures_of(name, arch)["waits_between_loads"] == 0


@every_architecture
def test_the_kernels_take_few_instructions_per_pixel(arch: str) -> None:
    # The separable kernel: 56 taps, with fewer multiplications where filters are symmetric, and about 30 more. The
    # tensor cores: 22 HMMA per pixel and lane, and everything else.
    assert figures_of("feature_difference_separable", arch)["per_pixel"] < 95
    assert figures_of("feature_difference_mma", arch)["per_pixel"] < 150


# --- The analysis itself ----------------------------------------------------------------------------------------------

LATE = r"""
extern "C" __global__ void late(const int* values, int frames, int* out) {
    __shared__ int shared[128];
    int sum = 0;
#pragma unroll 1
    for (int t = 0; t < frames; ++t) {
        shared[threadIdx.x] = values[t * 256 + threadIdx.x];
        __threadfence_block();
        shared[threadIdx.x ^ 64] += values[t * 256 + 128 + threadIdx.x];
        __syncthreads();
        sum += shared[127 - threadIdx.x];
        __syncthreads();
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void chained(const int* next, int frames, int* out) {
    __shared__ int shared[128];
    int at = threadIdx.x;
#pragma unroll 1
    for (int t = 0; t < frames; ++t) {
        at = next[next[next[at]]];
        shared[threadIdx.x] = at;
        __syncthreads();
        at += shared[127 - threadIdx.x];
        __syncthreads();
    }
    out[threadIdx.x] = at;
}
"""


@every_architecture
def test_late_loads_and_waits_are_found(arch: str) -> None:
    cubin, _ = sass.compile_cubin(LATE, "late.cu", arch, kernel_folder())
    codes = sass.kernels_in(sass.disassemble(cubin))
    assert set(codes) == {"late", "chained"}
    assert codes["late"].loads_after_stores() > 0
    assert codes["chained"].loads_after_stores() == 0
    assert codes["chained"].waits_between_loads() >= 2


ASSEMBLY = """\
.text.small:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   ISETP.NE.AND P0, PT, R2, RZ, PT ;
        /*0020*/              @!P0 BRA `(.L_x_1) ;
        /*0030*/                   LDG.E R4, desc[UR4][R6.64] ;
        /*0040*/                   LDG.E.64 R8, desc[UR4][R6.64+0x8] ;
        /*0050*/                   FADD R4, R4, R9 ;
        /*0060*/                   BRA `(.L_x_2) ;
.L_x_1:
        /*0070*/                   LDG.E.U8 R4, desc[UR4][R6.64] ;
        /*0080*/                   FADD R4, R4, 1 ;
        /*0090*/                   FADD R4, R4, 2 ;
        /*00a0*/                   FADD R4, R4, 3 ;
        /*00b0*/                   FADD R4, R4, 4 ;
.L_x_2:
        /*00c0*/                   FFMA R5, R4, R4, R5 ;
        /*00d0*/                @P1 BRA `(.L_x_2) ;
        /*00e0*/                   STS [R3], R4 ;
        /*00f0*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0100*/                @P2 BRA `(.L_x_0) ;
        /*0110*/                   EXIT ;
.L_x_3:
        /*0120*/                   BRA `(.L_x_3);
"""


def test_instructions_are_counted_along_the_longest_path() -> None:
    code = sass.kernels_in(ASSEMBLY)["small"]
    counts = code.longest_path((10,))
    assert counts == {"ISETP": 1, "BRA": 1 + 10 + 1, "LDG": 1, "FADD": 4, "FFMA": 10, "STS": 1, "BAR": 1}
    counts = code.longest_path((10,), byte_loads=False)
    assert counts == {"ISETP": 1, "BRA": 2 + 10 + 1, "LDG": 2, "FADD": 1, "FFMA": 10, "STS": 1, "BAR": 1}
    with pytest.raises(ValueError, match="1 inner loops"):
        code.longest_path(())


def test_a_value_is_waited_for_on_paths_with_later_loads_only() -> None:
    code = sass.kernels_in(ASSEMBLY)["small"]
    assert code.waits_between_loads() == 0
    early = ASSEMBLY.replace("LDG.E.64 R8, desc[UR4][R6.64+0x8]", "LDG.E.64 R8, desc[UR4][R4.64]")
    assert sass.kernels_in(early)["small"].waits_between_loads() == 1
