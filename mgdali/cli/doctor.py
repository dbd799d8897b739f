"""The command ``mgdali doctor``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from mgdali.cli.console import errors_as_messages, say
from mgdali.cli.machine_report import CODECS, GPUCodec, Machine, Report, examine, to_json
from mgdali.index.report_lines import one_line
from mgdali.interrupts import ctrl_c_held
from mgdali.quantities import counted

__all__ = ["doctor", "print_report"]


def doctor(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Videos to examine instead of the machine: files, URLs, folders of JPEG frames, TAR::MEMBER, and "
            "folders and tars of videos.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Report the packages, the driver and the codecs of this machine, and the device that the loader chooses.

    With files, report how each is decoded where a GPU is used, and why:
    "as is" and "remuxed" by DALI on the GPU, "PyAV" by PyAV on the CPU.
    The exit code is then 1 if a file cannot be decoded.
    """
    if files:
        _examine_files(files, json)
        return
    with errors_as_messages():
        # It imports the loader's packages, which takes a few seconds.
        with ctrl_c_held():
            report = examine()
        if json:
            typer.echo(to_json(report))
        else:
            print_report(report, Console())


def _examine_files(files: list[str], json: bool) -> None:
    with errors_as_messages():
        # Both import PyAV, and the loader's packages.
        with ctrl_c_held():
            from mgdali.cli import file_report

            decoder = file_report.find_decoder()
        console, reports = Console(), []
        for report in file_report.examine_files(files, decoder.table):
            reports.append(report)
            if not json:
                words = [report.path, report.way or "cannot be decoded"]
                say(console, ": ".join([*words, one_line(report.reason)] if report.reason else words))
        if json:
            typer.echo(file_report.to_json(decoder, reports))
        else:
            say(console, decoder.note)
    if any(report.way is None for report in reports):
        raise typer.Exit(1)


def print_report(report: Report, console: Console) -> None:
    """Print the report as tables, then the commands that install missing packages, then the loader's choice."""
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
        say(console, line)


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=any(columns), pad_edge=False)
    for column in columns:
        # Long text continues in the next line; nothing is cut off.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _cores(machine: Machine) -> str:
    quota = machine.cpu_quota
    return f"{machine.cpu_cores}" + (f", CPU time limited to {quota:g} cores by the control group" if quota else "")


def _memory(machine: Machine) -> str:
    parts = [
        (machine.memory_bytes, "{}"),
        (machine.memory_available_bytes, "{} of it available"),
        (machine.memory_limit_bytes, "limited to {} by the control group"),
    ]
    return ", ".join(text.format(decimal(size)) for size, text in parts if size is not None) or "unknown"


def _nvidia_rows(report: Report) -> Iterator[tuple[str, str]]:
    nvidia = report.driver
    yield "Driver", nvidia.version or f"version unknown: {nvidia.version_error}"
    yield "CUDA", f"the driver supports up to {nvidia.cuda}" if nvidia.cuda else f"unknown: {nvidia.cuda_error}"
    yield "NVDEC library", "can be loaded" if nvidia.nvdec else f"cannot be loaded: {nvidia.nvdec_error}"
    if nvidia.caps_cache_error is not None:
        yield "NVDEC is slow", f"each video starts slowly: {nvidia.caps_cache_error}"
    if not report.gpus:
        yield "GPUs", f"none: {report.gpus_error}" if report.gpus_error and nvidia.loaded else "none"
    for found in report.gpus:
        device, engines = found.device, found.nvdec_engines
        capability = ".".join(map(str, device.compute_capability))
        properties = [device.name, f"compute capability {capability}", decimal(device.memory_bytes)]
        if found.error is None:
            properties.append(counted(engines, "NVDEC engine"))
        elif nvidia.nvdec:
            properties.append(f"the codecs of NVDEC are unknown: {found.error}")
        yield f"GPU {device.index}", ", ".join(properties)


def _codec_table(report: Report) -> Table:
    """Return a table with one row per codec, and one column for the CPU and per group of equal GPUs."""
    on_cpu = {codec.codec: codec.decoder or "no" for codec in report.cpu_codecs}
    queried = [found for found in report.gpus if found.error is None]
    columns, on_gpus = ["Codec", "CPU: PyAV's decoder"], []
    for codecs, equal_gpus in groupby(queried, key=lambda found: found.codecs):
        indices = [found.device.index for found in equal_gpus]
        numbers = f"{indices[0]} to {indices[-1]}" if len(indices) > 1 else f"{indices[0]}"
        columns.append(f"GPU {numbers}: NVDEC, largest frame")
        on_gpus.append({codec.codec: _largest_frames(codec) for codec in codecs})
    rows = [(name, on_cpu.get(name, "no"), *(decoded.get(name, "no") for decoded in on_gpus)) for name in CODECS]
    return _table("Video codecs", columns, rows)


def _largest_frames(codec: GPUCodec) -> str:
    lines = [f"{caps.bit_depth}-bit {caps.max_width} x {caps.max_height}" for caps in codec.caps]
    return "\n".join([*lines, *([codec.error] if codec.error else [])]) or "no"
