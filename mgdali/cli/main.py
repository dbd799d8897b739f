"""The ``mgdali`` command: its subcommands put together."""

from __future__ import annotations

from typing import Annotated

import typer

import mgdali
from mgdali.cli import bench, data, demo, doctor, evaluate, explore, index, pack, pick

__all__ = ["main"]

app = typer.Typer(
    help="A video dataloader on NVIDIA DALI that picks frames by motion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(bench.bench)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(evaluate.evaluate)
app.command()(explore.explore)
app.command()(pick.pick)
app.add_typer(data.app, name="data")
app.add_typer(index.app, name="index")
app.add_typer(pack.app, name="pack")


def main() -> None:
    """Run the command line and end the process.

    Exit codes: 0 for success, 1 after an error with one message on stderr, 2 for wrong usage, 130 after Ctrl-C.
    """
    app(prog_name="mgdali")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(mgdali.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
