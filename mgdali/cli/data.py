"""The command line's part for data sets: ``mgdali data check``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from mgdali.cli.console import errors_as_messages

__all__ = ["app"]

app = typer.Typer(help="Data sets on disk.", no_args_is_help=True)


class _Name(str, Enum):
    SOMETHING_SOMETHING_V1 = "something-something-v1"
    SOMETHING_SOMETHING_V2 = "something-something-v2"
    JESTER = "jester"
    DIVING48 = "diving48"
    UCF101 = "ucf101"
    HMDB51 = "hmdb51"
    KINETICS = "kinetics"


@app.command()
def check(
    name: Annotated[_Name, typer.Argument(metavar="NAME", help=f"One of {', '.join(name.value for name in _Name)}.")],
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="The folder that holds the lists and the videos.")],
    split: Annotated[
        list[str] | None, typer.Option(help="A split to look at; may be given again.", show_default="all of them")
    ] = None,
    annotations: Annotated[Path | None, typer.Option(help="Where the lists are, if not in ROOT.")] = None,
    videos: Annotated[Path | None, typer.Option(help="Where the videos are, if not in ROOT.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Compare a data set's official lists with the videos on disk. Ends with 1 where something is missing."""
    with errors_as_messages():
        from rich.console import Console

        from mgdali.datasets.check import check_data, render, to_json

        found = check_data(name.value, root, splits=split, annotations=annotations, videos=videos)
        if json:
            typer.echo(to_json(found))
        else:
            render(found, Console())
    if not found.complete:
        raise typer.Exit(1)
