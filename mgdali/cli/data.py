"""The command ``mgdali data check`` and its report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mgdali.cli.console import errors_as_messages, examples, say
from mgdali.datasets.registry import published_data_sets

if TYPE_CHECKING:
    from rich.console import Console

    from mgdali.datasets.check import DataCheck

__all__ = ["app", "render"]

app = typer.Typer(help="Check data sets on disk.", no_args_is_help=True)

_NAMES = list(published_data_sets())


def _known_name(name: str) -> str:
    if name not in _NAMES:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(_NAMES)}")
    return name


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help=f"Name of the data set: {', '.join(_NAMES)}.", callback=_known_name),
    ],
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder that contains the lists and the videos.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Split to check; can be used several times.", show_default="all splits")
    ] = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of the lists, if not in ROOT.")] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos, if not in ROOT.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare the official lists of a data set with the videos on disk.

    The exit code is 1 if anything is missing.
    """
    with errors_as_messages():
        from rich.console import Console

        from mgdali.datasets.check import check_data, to_json

        found = check_data(name, root, splits=split, annotations=annotations, videos=videos)
        if json:
            typer.echo(to_json(found))
        else:
            render(found, Console())
    if not found.complete:
        raise typer.Exit(1)


def render(check: DataCheck, console: Console) -> None:
    """Print the result of a check as a table and lists of names."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = ("Split", "Listed", "Missing", "Empty", "Listed twice", "Classes without videos")
    table = Table(title=f"{check.name} in {check.root}", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for part in check.parts:
        found = (part.missing, part.empty, part.repeated, part.idle_classes)
        counts = ["-"] * 5 if part.error else [f"{part.listed}", *(f"{names.count}" for names in found)]
        if not part.labelled:
            counts[-1] = "-"
        table.add_row(*map(Text, (_title(part.split, part.fold), *counts)))
    console.print(table)
    for line in _lines(check):
        say(console, line)


def _title(split: str, fold: int | None) -> str:
    return split if fold is None else f"{split}, fold {fold}"


def _lines(check: DataCheck) -> Iterator[str]:
    """Yield the lines below the table: names, and the reasons why lists cannot be used."""
    for part in check.parts:
        title = _title(part.split, part.fold)
        if part.error:
            yield f"{title}: {part.error}"
        yield from examples(f"{title}: missing", part.missing)
        yield from examples(f"{title}: empty", part.empty)
        yield from examples(f"{title}: listed more than once", part.repeated)
        yield from examples(f"{title}: classes without videos", part.idle_classes)
    for overlap in check.overlaps:
        one, other = overlap.splits
        yield from examples(f"{_title(one, overlap.fold)}: shared with {other}", overlap.videos)
    if check.unlisted is None:
        yield "Videos that are in no list were not searched for, because not all lists were read."
    else:
        yield from examples("On disk, but in no list", check.unlisted)
    yield "Complete." if check.complete else "Not complete."
