"""The commands ``mgdali pack``, ``mgdali pack check`` and ``mgdali pack show``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import typer.core

from mgdali.cli.console import INTERRUPTED, errors_as_messages
from mgdali.cli.options import Json, Level, ListLines, Root, Template, representations_of
from mgdali.datasets.tables.endings import TABLE_ENDINGS
from mgdali.interrupts import ctrl_c_held

__all__ = ["app"]

_DEFAULT = "pack"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class _PackGroup(typer.core.TyperGroup):
    """A group of commands that packs unless the first argument is the name of another command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] not in (["check"], ["show"]):
            args = [_DEFAULT, *(args or ["--help"])]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        # The name of the default command is not typed, so it is not in the usage line either.
        return ("" if name == _DEFAULT else name), command, rest


app = typer.Typer(cls=_PackGroup, help="Pack a data set into tar shards whose videos are cheap to decode in parts.")

_Pack = Annotated[str, typer.Argument(metavar="DIR", help="Folder or URL of the pack.")]


def _bytes(text: str) -> int:
    """Return a size such as ``256MB`` or ``1GiB`` in bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size: write it like 256MB, 1GB or 512MiB")
    unit: int = (1024 if match[3] else 1000) ** _POWERS[match[2].lower()]
    return round(float(match[1]) * unit)


@app.command(_DEFAULT, hidden=True)
def pack(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help=(
                "Videos to pack: a folder with one subfolder per class, a text file with one line 'path label' or "
                f"'folder frames label' per video, a table ({TABLE_ENDINGS}) with the columns path and label, "
                "and for segments of files start and end in seconds, or tar shards (a file, a URL, or a pattern such "
                "as name{000..099}.tar)."
            ),
        ),
    ],
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder or URL to write the pack to.")],
    preset: Annotated[
        Literal["small", "fast", "archive"],
        typer.Option(help="small: few bytes, 3 decoded frames a pick. fast: key frames only. archive: fewest bytes."),
    ] = "small",
    codec: Annotated[
        Literal["h264", "hevc", "av1"] | None, typer.Option(help="Codec of the copies.", show_default="h264")
    ] = None,
    gop: Annotated[
        int | None,
        typer.Option(min=1, help="Frames from one key frame to the next.", show_default="the preset's"),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(min=0, help="The encoder's CRF, from 1; smaller is better.", show_default="the preset's"),
    ] = None,
    short_side: Annotated[
        int, typer.Option(min=2, metavar="PIXELS", help="Scale larger frames down to this short side.")
    ] = 256,
    shard_size: Annotated[str, typer.Option(metavar="SIZE", help="Largest size of a shard.")] = "256MiB",
    motion: Annotated[Level, typer.Option(help="Level at which the originals' motion is measured.")] = "image",
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Whether to encode on this machine or on a Ray cluster.")
    ] = "local",
    num_workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of encoding processes; 0 encodes in the main process.",
            show_default="number of CPU cores",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Longest time to spend on a video; 0 means no limit.")
    ] = 0.0,
    root: Root = None,
    list_kind: ListLines = None,
    template: Template = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try videos again that could not be decoded.")
    ] = False,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Local folder for unfinished shards, if the pack is written to a URL.",
            show_default="the user's cache folder",
        ),
    ] = None,
) -> None:
    """Write videos to tar shards that are cheap to decode in parts, with a motion index.

    If packing is interrupted, the same command resumes it. If the pack is complete, the command adds new videos.

    The exit code is 1 if any video cannot be decoded; such videos are listed and left out.

    Two commands examine a pack: mgdali pack check DIR and mgdali pack show DIR.
    """
    size = _bytes(shard_size)
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli.pack_progress import pack_with_progress
            from mgdali.packing.encoding import Encoding
            from mgdali.packing.sources import check_outside, labelled_videos

        check_outside(data, out)
        try:
            report = pack_with_progress(
                labelled_videos(data, root=root, kind=list_kind, template=template),
                out,
                Console(),
                encoding=Encoding(preset=preset, codec=codec, gop=gop, quality=quality, short_side=short_side),
                representations=representations_of(motion),
                engine=engine,
                num_workers=num_workers,
                timeout=timeout,
                shard_size=size,
                retry_failed=retry_failed,
                work_dir=work_dir,
            )
        except KeyboardInterrupt as error:
            print("interrupted: packed videos are kept; run the same command to resume", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from error
    if report.failed:
        raise typer.Exit(1)


@app.command()
def check(path: _Pack, json: Json = False) -> None:
    """Compare the shards of a pack with its table and index. Every byte is read.

    The exit code is 1 if something is wrong; it is named.
    """
    with errors_as_messages():
        with ctrl_c_held():
            from mgdali.cli import pack_report
            from mgdali.cli.console import live_console
            from mgdali.packing.verify import check_pack

        if json:
            found = check_pack(path)
            typer.echo(pack_report.to_json(found))
        else:
            console = live_console()
            with console.status("Checking") as status:
                found = check_pack(
                    path, on_shard=lambda done, total: status.update(f"{done} of {total} shards checked")
                )
            pack_report.print_check(found, console)
    if not found.complete:
        raise typer.Exit(1)


@app.command()
def show(
    path: _Pack,
    json: Json = False,
    sample: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of videos to compare with their originals.")
    ] = 8,
    failed: Annotated[bool, typer.Option("--failed", help="List the videos that could not be decoded.")] = False,
) -> None:
    """Show the settings of a pack, its bytes against the originals, its quality, and what a clip costs."""
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli import pack_report
            from mgdali.packing.report import summarize_pack

        summary = summarize_pack(path, sample=0 if failed else sample)
        if json:
            typer.echo(pack_report.to_json(summary))
        elif failed:
            pack_report.print_left_out(summary, Console())
        else:
            pack_report.print_summary(summary, Console())
