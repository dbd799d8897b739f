"""The command line's part for motion indices: ``mgdali index build``, ``show`` and ``check``."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from mgdali.cli.console import errors_as_messages
from mgdali.interrupts import ctrl_c_held

__all__ = ["app"]

app = typer.Typer(help="Motion indices: S and the facts of a data set's videos, measured once.", no_args_is_help=True)

_INTERRUPTED = 130

_DATA = "a folder of videos, a list of them (lines of path and label), or tar shards (file, URL, name{000..099}.tar)"
_File = Annotated[Path, typer.Argument(metavar="FILE", help="The index.")]
_Json = Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")]


class _Motion(str, Enum):
    IMAGE = "image"
    FEATURE = "feature"
    BOTH = "both"


class _Engine(str, Enum):
    LOCAL = "local"
    RAY = "ray"


@app.command()
def build(
    data: Annotated[str, typer.Argument(metavar="DATA", help=f"What is to be measured: {_DATA}.")],
    out: Annotated[Path, typer.Option(metavar="FILE.parquet", help="The index, made or brought up to date.")],
    motion: Annotated[_Motion, typer.Option(help="How motion is measured.")] = _Motion.IMAGE,
    engine: Annotated[_Engine, typer.Option(help="Where: on this machine, or on a Ray cluster.")] = _Engine.LOCAL,
    num_workers: Annotated[
        int | None, typer.Option(min=0, help="Measuring processes; 0 measures in this one.", show_default="CPU cores")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Drop rows of videos that are not in DATA.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Measure videos again that could not be decoded.")
    ] = False,
) -> None:
    """Measure the videos that are new or have changed. Started again, it goes on where it was ended.

    Ends with 1 where videos cannot be decoded, which are listed.
    """
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli.build_progress import build_with_progress
            from mgdali.datasets.named_videos import videos_named
            from mgdali.samplers import Representation

        kinds = [Representation(), Representation(motion="feature")]
        wanted = {_Motion.IMAGE: kinds[:1], _Motion.FEATURE: kinds[1:], _Motion.BOTH: kinds}[motion]
        try:
            report = build_with_progress(
                videos_named(data),
                out,
                Console(),
                representations=wanted,
                engine=engine.value,
                num_workers=num_workers,
                prune=prune,
                retry_failed=retry_failed,
            )
        except KeyboardInterrupt as error:
            print("interrupted: what was measured is kept; the same command goes on from there", file=sys.stderr)
            raise typer.Exit(_INTERRUPTED) from error
    if report.failed:
        raise typer.Exit(1)


@app.command()
def show(
    file: _File,
    json: _Json = False,
    failed: Annotated[bool, typer.Option("--failed", help="List the videos that could not be decoded.")] = False,
) -> None:
    """Tell what an index holds."""
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.index import inspect

        if failed:
            if json:
                typer.echo(inspect.failures_to_json(file))
            else:
                inspect.render_failures(file, Console())
            return
        summary = inspect.summarize_index(file)
        if json:
            typer.echo(inspect.to_json(summary))
        else:
            inspect.render_summary(summary, Console())


@app.command()
def check(
    file: _File,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help=f"Videos that ought to be in it: {_DATA}.")
    ] = None,
    json: _Json = False,
) -> None:
    """Compare an index with the videos as they are; nothing is decoded. Ends with 1 where not all is current."""
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.datasets.named_videos import videos_named
            from mgdali.index import inspect

        found = inspect.check_index(file, None if data is None else videos_named(data))
        if json:
            typer.echo(inspect.to_json(found))
        else:
            inspect.render_check(found, Console())
    if not found.complete:
        raise typer.Exit(1)
