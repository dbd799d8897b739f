"""The command line: ``mgdali demo``, ``mgdali doctor``, ``mgdali data`` and ``mgdali index``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

import mgdali
from mgdali.cli import data, index
from mgdali.cli.console import errors_as_messages
from mgdali.interrupts import ctrl_c_held

__all__ = ["main"]

app = typer.Typer(
    help="A video dataloader on NVIDIA DALI that picks frames by motion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.add_typer(index.app, name="index")


class _Motion(str, Enum):
    IMAGE = "image"
    FEATURE = "feature"


class _OnError(str, Enum):
    RAISE = "raise"
    REPLACE = "replace"


def main() -> None:
    """Run the command line and end the process.

    Exit codes: 0 when done, 1 after an error with one message on stderr, 2 after wrong usage, 130 after Ctrl-C.
    """
    app(prog_name="mgdali")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(mgdali.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    videos: Annotated[
        Path | None,
        typer.Argument(
            metavar="VIDEOS",
            help="A folder of videos, <class>/<file> or only files. Without one the demo writes its own.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Where the demo's own videos are written, once.", show_default="mgdali-demo/videos"),
    ] = None,
    picture: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("mgdali-demo/picks.png"),
    num_frames: Annotated[int, typer.Option(min=1, help="Frames picked from each video.")] = 8,
    mu: Annotated[float, typer.Option(min=0, help="Exponent that smooths motion; 0 is an even spread.")] = 0.5,
    motion: Annotated[_Motion, typer.Option(help="How motion is measured.")] = _Motion.IMAGE,
    batch_size: Annotated[int, typer.Option(min=1, help="Videos a batch.")] = 8,
    num_workers: Annotated[
        int | None, typer.Option(min=0, help="Decoding processes; 0 decodes in this one.", show_default="CPU cores")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often to go through the videos.")] = 2,
    show: Annotated[int, typer.Option(min=1, help="Of how many videos to print the picks.")] = 3,
    on_error: Annotated[
        _OnError, typer.Option(help="End at a video that cannot be decoded, or load another in its place.")
    ] = _OnError.REPLACE,
    seed: Annotated[int, typer.Option(min=0, help="Of the order, the picks in training, crops and flips.")] = 0,
) -> None:
    """Load videos, print how fast that was, and show which frames motion-guided sampling picks."""
    if videos is not None and data is not None:
        raise typer.BadParameter("--data is for the demo's own videos: leave it out, or VIDEOS")
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.demo.run import DemoOptions, run_demo

        options = DemoOptions(
            videos=videos,
            data=data or DemoOptions.data,
            picture=picture,
            num_frames=num_frames,
            mu=mu,
            motion=motion.value,
            batch_size=batch_size,
            num_workers=num_workers,
            epochs=epochs,
            on_error=on_error.value,
            seed=seed,
            show=show,
        )
        run_demo(options, Console())


@app.command()
def doctor(json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False) -> None:
    """Tell what this machine has for loading videos, and what the loader would choose here."""
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli.doctor import examine, render, to_json

            # It imports the loader's packages, a few seconds' work in all.
            report = examine()
        if json:
            typer.echo(to_json(report))
        else:
            render(report, Console())
