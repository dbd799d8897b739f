"""The options of ``mgdali evaluate``: their types, limits and help. Their defaults are those of the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from mgdali.cli.options import Level
from mgdali.datasets.tables.endings import TABLE_ENDINGS

__all__ = [
    "C",
    "Cache",
    "Components",
    "Data",
    "Even",
    "FoldColumn",
    "Folds",
    "Index",
    "InputSize",
    "Json",
    "MaxVideos",
    "Mean",
    "Motion",
    "Mu",
    "Network",
    "NumFrames",
    "NumWorkers",
    "Plot",
    "RandomFolds",
    "Seeds",
    "Std",
    "Stride",
    "TrainClips",
]

Data: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Labelled videos: a folder with one subfolder per class, a text file with one line 'path label' "
        f"per video, a table with columns 'path' and 'label' ({TABLE_ENDINGS}), tar shards, or a packed data set.",
    ),
]
NumFrames: TypeAlias = Annotated[
    list[int], typer.Option(min=1, metavar="N", help="Number of frames to pick per video; may be repeated.")
]
Motion: TypeAlias = Annotated[Level, typer.Option(help="Levels at which motion is measured.")]
Mu: TypeAlias = Annotated[list[float], typer.Option(help="Exponent that smooths motion, >= 0; may be repeated.")]
Even: TypeAlias = Annotated[
    list[float], typer.Option(help="Share that is spread evenly over time, 0 to 1; may be repeated.")
]
Stride: TypeAlias = Annotated[
    list[int], typer.Option(min=1, metavar="N", help="Distance of picks of stride sampling; may be repeated.")
]
Folds: TypeAlias = Annotated[int, typer.Option(min=2, help="Number of folds; each is tested once.")]
FoldColumn: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of the table, such as the person: videos with equal values stay in one fold.",
        show_default="blocks of neighbouring names within each class",
    ),
]
RandomFolds: TypeAlias = Annotated[
    bool, typer.Option("--random-folds", help="Put videos into folds at random, other ones with each seed.")
]
Seeds: TypeAlias = Annotated[int, typer.Option(min=1, help="Number of seeds of the random offsets in training.")]
TrainClips: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Number of clips per training video, with different offsets.")
]
Components: TypeAlias = Annotated[int, typer.Option(min=1, help="Number of principal components of a frame.")]
C: TypeAlias = Annotated[float, typer.Option("--c", help="Inverse strength of the regularization of heads, > 0.")]
Network: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Image network: efficientnet-lite0, or MODULE:FUNCTION, a function that returns a torch Module of "
        "[N, 3, H, W] to features.",
    ),
]
InputSize: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, metavar="PIXELS", help="Height and width of the network's input.", show_default="224"),
]
Mean: TypeAlias = Annotated[
    tuple[float, float, float] | None,
    typer.Option(
        metavar="R G B",
        help="Mean of the pixels, on the scale of 0 to 255.",
        show_default="127 each; for MODULE:FUNCTION, ImageNet's",
    ),
]
Std: TypeAlias = Annotated[
    tuple[float, float, float] | None,
    typer.Option(
        metavar="R G B",
        help="Standard deviation of the pixels.",
        show_default="128 each; for MODULE:FUNCTION, ImageNet's",
    ),
]
Index: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="FILE.parquet", help="Motion index of the videos.", show_default="built in the cache"),
]
Cache: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder for features and motion indexes.", show_default="~/.cache/mgdali/evaluate"
    ),
]
NumWorkers: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Number of processes or threads.", show_default="number of CPU cores")
]
MaxVideos: TypeAlias = Annotated[
    int, typer.Option(min=1, metavar="N", help="Largest number of videos; of more, a random sample is used.")
]
Json: TypeAlias = Annotated[Path | None, typer.Option(metavar="FILE", help="File to write the results to, as JSON.")]
Plot: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File to write the plot to, such as evaluate.png.")
]
