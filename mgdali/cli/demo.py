"""The command ``mgdali demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mgdali.cli.console import errors_as_messages
from mgdali.interrupts import ctrl_c_held

__all__ = ["demo"]


def demo(
    videos: Annotated[
        Path | None,
        typer.Argument(
            metavar="VIDEOS",
            help="Folder of videos, either <class>/<file> or files only. If omitted, synthetic videos are used.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder for the synthetic videos. They are written once.", show_default="mgdali-demo/videos"),
    ] = None,
    picture: Annotated[Path, typer.Option(help="Path of the PNG file to write.")] = Path("mgdali-demo/picks.png"),
    num_frames: Annotated[int, typer.Option(min=1, help="Number of frames to pick per video.")] = 8,
    mu: Annotated[float, typer.Option(min=0, help="Exponent that smooths motion; 0 spreads the frames evenly.")] = 0.5,
    motion: Annotated[Literal["image", "feature"], typer.Option(help="Level at which motion is measured.")] = "image",
    batch_size: Annotated[int, typer.Option(min=1, help="Number of videos per batch.")] = 8,
    num_workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of decoding processes; 0 decodes in the main process.",
            show_default="number of CPU cores",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs.")] = 2,
    show: Annotated[int, typer.Option(min=1, help="Number of videos whose picks are printed.")] = 3,
    on_error: Annotated[
        Literal["raise", "replace"],
        typer.Option(help="Whether to stop at a video that cannot be decoded, or to load another video instead."),
    ] = "replace",
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
) -> None:
    """Load videos, print the speed, and show which frames motion-guided sampling picks."""
    if videos is not None and data is not None:
        raise typer.BadParameter("--data is the folder for the synthetic videos: omit either --data or VIDEOS")
    with errors_as_messages():
        with ctrl_c_held():
            from mgdali.cli.console import live_console
            from mgdali.demo.run import DemoOptions, run_demo

        options = DemoOptions(
            videos=videos,
            data=data or DemoOptions.data,
            picture=picture,
            num_frames=num_frames,
            mu=mu,
            motion=motion,
            batch_size=batch_size,
            num_workers=num_workers,
            epochs=epochs,
            on_error=on_error,
            seed=seed,
            show=show,
        )
        run_demo(options, live_console())
