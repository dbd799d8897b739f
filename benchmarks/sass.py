"""Machine code of the CUDA kernels: ``python benchmarks/sass.py --out FILE.json [--before REVISION]``.

No GPU is needed: NVRTC compiles the kernels and nvdisasm disassembles them. For each kernel and architecture, the
report has the registers, the bytes of registers that are spilled to memory, the instructions per pixel and frame, and
whether the loads of the next frame are issued early. ``--before`` adds the same figures of an earlier revision.

Instructions are counted along the longest path through the loop over frames, in which inner loops are repeated as often
as the kernel repeats them. At the edges of frames it is the real path; elsewhere some instructions are skipped.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import write_report

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "kernels"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
RARE = 0.25
"""Instructions with fewer than this number per pixel are summed up as "other"."""


@dataclass(frozen=True)
class Shape:
    """How much a thread of a kernel does per frame.

    Attributes:
        pixels: Pixels per thread and frame.
        repeats: How often each inner loop is repeated, in the order of the code. Loops that are unrolled do not appear
            in the code.
        byte_loads: Whether loads of single bytes are counted. In some kernels they occur only at the ends of a video.
    """

    pixels: int
    repeats: tuple[int, ...] = ()
    byte_loads: bool = True


SHAPES: dict[str, Shape] = {
    "image_difference_luma": Shape(16, byte_loads=False),
    "image_difference_rgb": Shape(16, byte_loads=False),
    "image_difference_plane": Shape(48, byte_loads=False),
    "feature_difference": Shape(1, (7,)),
    "feature_difference_mma": Shape(4),
    "feature_difference_separable": Shape(32, (2,)),
    "feature_difference_separable_plane": Shape(32, (2,)),
}
"""Kernels with a loop over frames."""
BEFORE: dict[str, Shape] = {**SHAPES, "feature_difference_mma": Shape(2, (4,))}
"""The same before feature_difference_mma.cu computed four rows at once."""


# --- Disassembly ------------------------------------------------------------------------------------------------------


def disassembler() -> str | None:
    """Return the path of nvdisasm: that of the package nvidia-cuda-nvdisasm, or of a CUDA toolkit; None without one."""
    for folder in sys.path:
        for path in Path(folder or ".").glob("nvidia/*/bin/nvdisasm"):
            # The package does not mark it as executable on all systems.
            if not path.stat().st_mode & 0o100:
                path.chmod(0o755)
            return str(path)
    return shutil.which("nvdisasm")


def compile_cubin(source: str, name: str, arch: str, headers: Path) -> tuple[bytes, str]:
    """Return the machine code of a source and ptxas' log of its resources."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source, name, [], [])
    try:
        options = ("--std=c++17", f"-I{headers}", f"--gpu-architecture={arch}", "--ptxas-options=-v")
        nvrtc.compileProgram(program, options)
        # CuPy leaves out the last byte, as if the machine code were a string that ends with 0.
        return nvrtc.getCUBIN(program) + b"\0", nvrtc.getProgramLog(program)
    finally:
        nvrtc.destroyProgram(program)


def disassemble(cubin: bytes) -> str:
    """Return the assembly of machine code.

    Raises:
        FileNotFoundError: If nvdisasm is missing.
    """
    program = disassembler()
    if program is None:
        raise FileNotFoundError("nvdisasm is missing: install the package nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([program, "-c", file.name], capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Instruction:
    """An instruction: its name with modifiers, its operands, and whether a condition can skip it."""

    name: str
    operands: str
    conditional: bool

    @property
    def kind(self) -> str:
        """The name without modifiers, such as FFMA or LDS."""
        return self.name.split(".")[0]

    @property
    def target(self) -> str | None:
        """The label of a branch."""
        found = re.search(r"`\((\.L_\w+)\)", self.operands) if self.kind == "BRA" else None
        return found[1] if found else None

    @property
    def written(self) -> set[int]:
        """The registers of the first operand, which all instructions but stores write."""
        first = re.match(r"R(\d+)\b(?!\.)", self.operands)
        size = int(found[1]) // 32 if (found := re.search(r"\.(64|128)\b", self.name)) else 1
        return set(range(int(first[1]), int(first[1]) + size)) if first else set()

    @property
    def mentioned(self) -> set[int]:
        """The registers that any operand but the first names."""
        return {int(number) for number in re.findall(r"\bR(\d+)\b", self.operands.partition(",")[2])}


@dataclass
class Code:
    """The machine code of one kernel."""

    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def count(self, *kinds: str) -> int:
        """Return the number of instructions of some kinds."""
        return sum(instruction.kind in kinds for instruction in self.instructions)

    @cached_property
    def loops(self) -> list[tuple[int, int]]:
        """The first and last instruction of each loop: branches backwards. The jump to itself at the end is not one."""
        branches = ((self.labels.get(own.target or "", len(self.instructions)), i) for i, own in self._numbered())
        return sorted((start, end) for start, end in branches if start < end)

    def _numbered(self) -> list[tuple[int, Instruction]]:
        return list(enumerate(self.instructions))

    @cached_property
    def frame_loop(self) -> tuple[int, int]:
        """The longest loop with a barrier: the loop over frames."""
        barriers = [i for i, own in self._numbered() if own.kind == "BAR"]
        found = [loop for loop in self.loops if any(loop[0] <= i <= loop[1] for i in barriers)]
        return max(found, key=lambda loop: loop[1] - loop[0])

    def following(self, i: int) -> list[int]:
        """Return the instructions of the loop over frames that may run after instruction i, without jumps backwards."""
        own, end = self.instructions[i], self.frame_loop[1]
        target = self.labels[own.target] if own.target else -1
        stays = own.conditional or own.kind not in ("BRA", "EXIT") or (own.kind == "BRA" and target <= i)
        return [j for j in ([i + 1] if stays else []) + [target] if i < j <= end + 1]

    def longest_path(self, repeats: Sequence[int], *, byte_loads: bool = True) -> Counter[str]:
        """Return the instructions of one frame by kind, along the longest path, with inner loops repeated.

        Without ``byte_loads``, it is the longest path of those with the fewest loads of single bytes.
        """
        start, end = self.frame_loop
        inner = [loop for loop in self.loops if start <= loop[0] and loop[1] <= end and loop != (start, end)]
        starts = sorted({loop[0] for loop in inner})
        if len(starts) > len(repeats):
            raise ValueError(f"{len(starts)} inner loops, but the repetitions of {len(repeats)}")
        spans = [(first, max(last for begin, last in inner if begin == first)) for first in starts]
        # From each instruction to the loop's end.
        best: dict[int, tuple[tuple[int, int], Counter[str]]] = {end + 1: ((0, 0), Counter())}
        for i in range(end, start - 1, -1):
            times = 1
            for (first, last), count in zip(spans, repeats, strict=False):
                times *= count if first <= i <= last else 1
            ways = [best[j] for j in self.following(i) if j in best]
            if ways:
                (avoided, length), counts = max(ways, key=lambda way: way[0])
                own = self.instructions[i]
                avoided -= not byte_loads and own.kind == "LDG" and ".U8" in own.name
                best[i] = ((avoided, length + times), counts + Counter({own.kind: times}))
        return best[start][1]

    def loads_after_stores(self) -> int:
        """Return how many loads from global memory follow a frame's first store or addition to shared memory."""
        start, end = self.frame_loop
        kinds = [own.kind for own in self.instructions[start : end + 1]]
        first = next((i for i, kind in enumerate(kinds) if kind in ("STS", "ATOMS", "REDS")), len(kinds))
        return kinds[first:].count("LDG")

    def waits_between_loads(self) -> int:
        """Return how many instructions of a frame need a loaded value before the frame's last load is issued."""
        start, end = self.frame_loop
        # Whether a load follows; and the registers with values that were loaded in this frame.
        before_load = {end + 1: False}
        for i in range(end, start - 1, -1):
            before_load[i] = any(
                self.instructions[j].kind == "LDG" or before_load[j] for j in self.following(i) if j <= end
            )
        loaded: dict[int, set[int]] = {start: set()}
        waits = 0
        for i in range(start, end + 1):
            if i not in loaded:
                continue  # Another loop's code, or never reached
            own, now = self.instructions[i], loaded[i]
            waits += (before_load[i] or own.kind == "LDG") and bool(now & own.mentioned)
            # A load that may be skipped can leave the register's earlier value, which belongs to this frame too.
            after = now | own.written if own.kind == "LDG" else now - (set() if own.conditional else own.written)
            for j in self.following(i):
                loaded[j] = loaded.get(j, set()) | after
        return waits


def kernels_in(assembly: str) -> dict[str, Code]:
    """Return the code of each kernel by name."""
    found: dict[str, Code] = {}
    code = Code()
    for line in assembly.splitlines():
        if section := re.match(r"\.text\.(\w+):", line):
            code = found.setdefault(section[1], Code())
        elif label := re.match(r"(\.L_\w+):", line):
            code.labels[label[1]] = len(code.instructions)
        elif own := re.match(r"\s+/\*[0-9a-f]+\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?)\s*;", line):
            code.instructions.append(Instruction(own[2], own[3], bool(own[1])))
    return found


# --- The report -------------------------------------------------------------------------------------------------------


def figures(code: Code, log: str, name: str, shape: Shape | None) -> dict[str, Any]:
    """Return the figures of one kernel."""
    own_log = re.search(rf"function '{name}'.*?(?=Compiling entry|\Z)", log, re.DOTALL)
    registers = re.search(r"Used (\d+) registers", own_log[0]) if own_log else None
    result: dict[str, Any] = {
        "registers": int(registers[1]) if registers else None,
        "local_memory_instructions": code.count("STL", "LDL"),
        "spilled_bytes": sum(map(int, re.findall(r"(\d+) bytes spill", own_log[0]))) if own_log else None,
        "instructions": len(code.instructions),
    }
    if shape is None:
        return result
    counts = code.longest_path(shape.repeats, byte_loads=shape.byte_loads)
    per_pixel = {kind: count / shape.pixels for kind, count in counts.most_common()}
    common = {kind: round(value, 2) for kind, value in per_pixel.items() if value >= RARE}
    other = round(sum(value for value in per_pixel.values() if value < RARE), 2)
    return result | {
        "per_pixel": round(counts.total() / shape.pixels, 1),
        "per_pixel_by_kind": common | {"other": other},
        "loads_per_pixel": round(counts["LDG"] / shape.pixels, 2),
        "loads_after_stores": code.loads_after_stores(),
        "waits_between_loads": code.waits_between_loads(),
    }


def measure(folder: Path, shapes: Mapping[str, Shape]) -> dict[str, dict[str, Any]]:
    """Return the figures of all kernels in a folder, by kernel and architecture."""
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.cu")):
        for arch in ARCHITECTURES:
            cubin, log = compile_cubin(path.read_text(), path.name, arch, folder)
            for name, code in sorted(kernels_in(disassemble(cubin)).items()):
                rows.setdefault(name, {})[arch] = figures(code, log, name, shapes.get(name))
    return rows


def measure_revision(revision: str) -> dict[str, dict[str, Any]]:
    """Return the figures of the kernels of an earlier revision."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", revision, "kernels"], capture_output=True, check=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        return measure(Path(folder) / "kernels", BEFORE)


def compiler() -> str:
    """Return the version of NVRTC."""
    from cupy.cuda import nvrtc

    return ".".join(map(str, nvrtc.getVersion()))


def rendered(report: dict[str, Any]) -> str:
    """Return the report as a table."""
    lines = [
        f"{'kernel':<36} {'arch':<7} {'registers':>9} {'spills':>6} {'a pixel':>8} {'late':>5} {'waits':>5}  most",
    ]
    for when in ("before", "now"):
        for name, archs in report.get(when, {}).items():
            for arch, row in archs.items():
                label = f"{name} ({when})" if when == "before" else name
                line = f"{label:<36} {arch:<7} {row['registers']:>9} {row['spilled_bytes']:>6}"
                if "per_pixel" in row:
                    kinds = list(row["per_pixel_by_kind"].items())[:6]
                    line += f" {row['per_pixel']:>8} {row['loads_after_stores']:>5} {row['waits_between_loads']:>5}  "
                    line += ", ".join(f"{kind} {value}" for kind, value in kinds)
                lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Report on the machine code of the CUDA kernels.")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="File to write the report to.")
    parser.add_argument("--before", metavar="REVISION", help="Also report on the kernels of this git revision.")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"benchmark": "sass", "nvrtc": compiler(), "architectures": list(ARCHITECTURES)}
    if arguments.before:
        report |= {"before_revision": arguments.before, "before": measure_revision(arguments.before)}
    report["now"] = measure(KERNELS, SHAPES)
    write_report(report, arguments.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
