"""The commands ``mgdali index build``, ``mgdali index show`` and ``mgdali index check``."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from mgdali.cli.console import INTERRUPTED, errors_as_messages
from mgdali.cli.options import Json, Level, ListLines, Root, Template, representations_of
from mgdali.interrupts import ctrl_c_held

__all__ = ["app"]

app = typer.Typer(help="Build, show and check motion indices.", no_args_is_help=True)

_DATA = (
    "a folder, a text file with one line 'path label' or 'folder frames label' per video, or tar shards "
    "(a file, a URL, or a pattern such as name{000..099}.tar)"
)
_File = Annotated[str, typer.Argument(metavar="FILE", help="Path or URL of the index file.")]


@app.command()
def build(
    data: Annotated[str, typer.Argument(metavar="DATA", help=f"Videos to measure: {_DATA}.")],
    out: Annotated[
        str, typer.Option(metavar="FILE.parquet", help="Path of the index file to create or update; no URL.")
    ],
    motion: Annotated[Level, typer.Option(help="Level at which motion is measured.")] = "image",
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Whether to measure on this machine or on a Ray cluster.")
    ] = "local",
    num_workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of measuring processes; 0 measures in the main process.",
            show_default="number of CPU cores",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Longest time to spend on a video; 0 means no limit.")
    ] = 0.0,
    root: Root = None,
    list_kind: ListLines = None,
    template: Template = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove rows of videos that are not in DATA.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Measure videos again that could not be decoded.")
    ] = False,
) -> None:
    """Measure videos that are new or have changed.

    If the build is interrupted, the same command resumes it.

    The exit code is 1 if any video cannot be decoded; such videos are listed.
    """
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli.build_progress import build_with_progress
            from mgdali.datasets.named_videos import videos_named

        try:
            report = build_with_progress(
                videos_named(data, root=root, kind=list_kind, template=template),
                out,
                Console(),
                representations=representations_of(motion),
                engine=engine,
                num_workers=num_workers,
                timeout=timeout,
                prune=prune,
                retry_failed=retry_failed,
            )
        except KeyboardInterrupt as error:
            print("interrupted: measured videos are kept; run the same command to resume", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from error
    if report.failed:
        raise typer.Exit(1)


@app.command()
def show(
    file: _File,
    json: Json = False,
    failed: Annotated[bool, typer.Option("--failed", help="List the videos that could not be decoded.")] = False,
) -> None:
    """Show the contents of an index."""
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli import index_report
            from mgdali.index import inspect

        if failed:
            if json:
                typer.echo(index_report.failures_to_json(inspect.failures(file)))
            else:
                index_report.print_failures(inspect.failures(file), Console())
            return
        summary = inspect.summarize_index(file)
        if json:
            typer.echo(index_report.to_json(summary))
        else:
            index_report.print_summary(summary, Console())


@app.command()
def check(
    file: _File,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help=f"Videos that should be in the index: {_DATA}.")
    ] = None,
    root: Root = None,
    list_kind: ListLines = None,
    template: Template = None,
    json: Json = False,
) -> None:
    """Compare an index with its videos, without decoding them.

    The exit code is 1 if a row is not current, or if a video of DATA has no row.
    """
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli import index_report
            from mgdali.datasets.named_videos import videos_named
            from mgdali.index import inspect

        if data is not None:
            media = videos_named(data, root=root, kind=list_kind, template=template)
        elif root is None and list_kind is None and template is None:
            media = None
        else:
            raise typer.BadParameter("--root, --list and --template apply to a list: name it as DATA")
        found = inspect.check_index(file, media)
        if json:
            typer.echo(index_report.to_json(found))
        else:
            index_report.print_check(found, Console())
    if not found.complete:
        raise typer.Exit(1)
