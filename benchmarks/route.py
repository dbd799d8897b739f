"""Speed of the GPU route relative to other ways to decode the same picks: ``python benchmarks/route.py --lines FILE``.

Groups of variants are compared, each group on the same files, with the same picks and the same size of clips:

- ``loader``: the loader with motion-guided sampling at the image and the feature level and with segment sampling, and a
  plain DALI graph that decodes the same files and discards the frames;
- ``index``: the loader with known picks, from a motion index;
- ``graphs``: the loader with several numbers of DALI graphs and of decoder threads;
- ``peers``: SPDL, PyNvVideoCodec and torchcodec on the GPU, which decode all frames;
- ``peers-index``: the same libraries, which are asked for the picked frames only.

The variants of a group take turns, one epoch per round, so that other activity on the machine affects all of them. Each
epoch is written as a JSON line when it ends.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import clips_folder, say
from deadline import Deadline
from decoder_process import link_driver_library
from figures import in_turn
from gpu_doctor import nvdec_library
from lines import Lines
from route_report import rendered, summarized, targets
from route_variants import BATCH_SIZE, GROUPS, Context, Epoch, Timing, Variant, group_variants
from route_videos import Workload, find_workloads, with_references
from utilization import DecoderUtilization

from mgdali.bench import machine
from mgdali.bench.peers.ffmpeg import link_libraries
from mgdali.gpu import driver

ROUNDS, QUICK_ROUNDS = 9, 5
_PEERS = ("peers", "peers-index")
_ANSWER_SECONDS = 300.0
"""Time that a request to another process may take if the command has no time limit, in seconds."""


def measure_group(
    group: str,
    load: Workload,
    variants: Sequence[Variant],
    lines: Lines,
    *,
    rounds: int,
    deadline: Deadline,
    decoder_percent: Callable[[float, float], float | None],
) -> None:
    """Prepare the variants of a group, and time their epochs in turn until the time limit.

    A variant that fails is left out, and the others are measured.

    Args:
        group: Name of the group.
        load: The videos.
        variants: The variants; the first one is the reference of the ratios.
        lines: File for the results.
        rounds: Largest number of rounds.
        deadline: Time limit. After the first round, no epoch begins that would probably exceed it.
        decoder_percent: Returns NVDEC's utilization between two moments.
    """
    where = {"workload": load.name, "group": group}
    with ExitStack() as stack:
        epochs: dict[str, Epoch] = {}
        expected: dict[str, float] = {}
        for number, variant in enumerate(variants):
            # The variants so far need time for a round.
            if deadline.left <= sum(expected.values()):
                lines.write("stopped", **where, left=[own.name for own in variants[number:]], why=_LATE)
                break
            start = time.perf_counter()
            try:
                # The first epoch is not timed: it starts workers, compiles kernels and fills memory pools.
                epochs[variant.name], first = variant.prepare(stack)
            except Exception as error:
                lines.write("skipped", **where, variant=variant.name, reason=_reason(error))
                continue
            seconds = time.perf_counter() - start
            expected[variant.name] = first.seconds
            _write_variant(lines, where, number, variant, first, seconds, load)
        for number in range(rounds):
            for name in in_turn(list(epochs), number):
                # Each variant is measured once, even if its first epoch, which includes its start, took long.
                if deadline.left < (expected[name] if number else 0.0):
                    say(f"{load.name}, {group}: {number} complete rounds")
                    return
                if name in epochs:
                    expected[name] = _run(name, epochs, number, lines, where, decoder_percent)


_LATE = "the time limit is reached"


def _write_variant(
    lines: Lines, where: dict[str, str], number: int, variant: Variant, first: Timing, seconds: float, load: Workload
) -> None:
    """Write what the first epoch of a variant showed."""
    every = where["group"] in ("loader", "graphs", "peers") or (where["group"] == "index" and number == 0)
    lines.write(
        "variant",
        **where,
        variant=variant.name,
        number=number,
        timed=variant.timed,
        first_seconds=seconds,
        frames_decoded=first.frames_decoded,
        # A decoder that leaves out frames, or decodes some twice, is not comparable with the others.
        frames_expected=load.frames if every else None,
        facts=dict(first.facts),
    )


def _run(
    name: str,
    epochs: dict[str, Epoch],
    number: int,
    lines: Lines,
    where: dict[str, str],
    decoder_percent: Callable[[float, float], float | None],
) -> float:
    """Run an epoch, write its line and return its seconds. A variant that fails is removed from ``epochs``."""
    start = time.perf_counter()
    try:
        timing = epochs[name]()
    except Exception as error:
        del epochs[name]
        lines.write("skipped", **where, variant=name, reason=_reason(error))
        return 0.0
    lines.write(
        "epoch",
        **where,
        variant=name,
        round=number,
        seconds=timing.seconds,
        frames_decoded=timing.frames_decoded,
        decoder_percent=decoder_percent(start, time.perf_counter()),
        facts=dict(timing.facts),
    )
    return timing.seconds


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


# --- The command -----------------------------------------------------------------------------------------------------


def find_engines() -> int:
    """Return the number of NVDEC engines; end the command with one line if a GPU or a required package is missing."""
    from mgdali.loading.route import nvdec_table

    try:
        if not driver.find_gpus():
            raise driver.GPUError("CUDA finds none")
    except driver.GPUError as error:
        raise SystemExit(f"route.py: no GPU: {error}") from None
    try:
        for name in ("cupy", "nvidia.dali"):
            importlib.import_module(name)
        table = nvdec_table(0)
    except (driver.GPUError, ImportError) as error:
        raise SystemExit(f"route.py: the GPU route cannot be used: {error}") from None
    return max(1, *(caps.engines for caps in table.values()))


def measure(folder: Path, groups: Sequence[str], lines: Lines, deadline: Deadline, *, quick: bool) -> None:
    """Measure all workloads and groups, and write the lines."""
    engines = find_engines()
    lines.write("machine", machine=machine.facts(), nvdec_engines=engines, batch_size=BATCH_SIZE, quick=quick)
    with tempfile.TemporaryDirectory() as name, DecoderUtilization() as utilization:
        scratch = Path(name)
        libraries, references = scratch / "libraries", scratch / "references"
        for new in (libraries, references):
            new.mkdir()
        link_libraries(libraries)
        link_driver_library(libraries, nvdec_library()["path"])
        loads = find_workloads(folder, scratch / "clips.parquet", quick=quick)
        if not loads:
            raise SystemExit(f"route.py: {folder} contains no suitable H.264 video: pass another folder with --clips")
        for load in loads:
            lines.write("workload", workload=load.name, **load.facts())
        if set(groups) & set(_PEERS):
            loads = [with_references(load, references) for load in loads]
        plan = [(load, group) for load in loads for group in groups]
        for number, (load, group) in enumerate(plan):
            if deadline.passed:
                left = [f"{own.name} videos, {other}" for own, other in plan[number:]]
                lines.write("stopped", left=left, why=_LATE)
                break
            own = deadline.share(1 / (len(plan) - number))
            context = Context(
                engines=engines,
                libraries=libraries,
                answer_seconds=lambda: min(_ANSWER_SECONDS, deadline.left),
                quick=quick,
            )
            measure_group(
                group,
                load,
                group_variants(group, load, context),
                lines,
                rounds=QUICK_ROUNDS if quick else ROUNDS,
                deadline=own,
                decoder_percent=utilization.during,
            )
        lines.write("utilization", note=utilization.note)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the speed of the GPU route relative to other decoders.")
    add = parser.add_argument
    add("--lines", type=Path, metavar="FILE.jsonl", help="File to append the results to, one JSON object per line.")
    add("--clips", type=Path, metavar="DIR", help="Folder of MP4 files, which may be in subfolders.")
    add("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), help="What to compare (default: everything).")
    add("--quick", action="store_true", help="Use only long videos, fewer of them, fewer variants and fewer rounds.")
    add("--seconds", type=float, help="Time limit, which is divided among the groups (default: no limit).")
    arguments = parser.parse_args(given)
    deadline = Deadline.of_process(arguments.seconds)
    lines = Lines(arguments.lines)
    try:
        measure(clips_folder(arguments.clips), arguments.groups, lines, deadline, quick=arguments.quick)
    finally:
        # Also after Ctrl-C: what was measured is summarized.
        rows: list[dict[str, Any]] = summarized(lines.written)
        if rows:
            lines.write("summary", rows=rows)
            lines.write("targets", targets=targets(rows))
            print(rendered(lines.written))


if __name__ == "__main__":
    main()
