"""The command ``mgdali evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mgdali.cli.console import INTERRUPTED, errors_as_messages
from mgdali.cli.options import Level
from mgdali.datasets.tables.endings import TABLE_ENDINGS
from mgdali.interrupts import ctrl_c_held

__all__ = ["evaluate"]


def evaluate(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Labelled videos: a folder with one subfolder per class, a text file with one line 'path label' "
            f"per video, a table with columns 'path' and 'label' ({TABLE_ENDINGS}), tar shards, or a packed data set.",
        ),
    ],
    num_frames: Annotated[
        list[int], typer.Option(min=1, metavar="N", help="Number of frames to pick per video; may be repeated.")
    ] = [2, 4, 8, 16],  # noqa: B006
    motion: Annotated[Level, typer.Option(help="Levels at which motion is measured.")] = "both",
    mu: Annotated[list[float], typer.Option(help="Exponent that smooths motion, >= 0; may be repeated.")] = [0.5],  # noqa: B006
    even: Annotated[
        list[float], typer.Option(help="Share that is spread evenly over time, 0 to 1; may be repeated.")
    ] = [0.0],  # noqa: B006
    stride: Annotated[
        list[int], typer.Option(min=1, metavar="N", help="Distance of picks of stride sampling; may be repeated.")
    ] = [4],  # noqa: B006
    folds: Annotated[int, typer.Option(min=2, help="Number of folds; each is tested once.")] = 5,
    fold_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the table, such as the person: videos with equal values stay in one fold.",
            show_default="blocks of neighbouring names within each class",
        ),
    ] = None,
    random_folds: Annotated[
        bool, typer.Option("--random-folds", help="Put videos into folds at random, other ones with each seed.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds of the random offsets in training.")] = 5,
    train_clips: Annotated[
        int, typer.Option(min=1, help="Number of clips per training video, with different offsets.")
    ] = 4,
    components: Annotated[int, typer.Option(min=1, help="Number of principal components of a frame.")] = 96,
    c: Annotated[float, typer.Option("--c", help="Inverse strength of the regularization of heads, > 0.")] = 10.0,
    network: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Image network: efficientnet-lite0, or MODULE:FUNCTION, a function that returns a torch Module of "
            "[N, 3, H, W] to features.",
        ),
    ] = "efficientnet-lite0",
    input_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="PIXELS", help="Height and width of the network's input.", show_default="224"),
    ] = None,
    mean: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            metavar="R G B",
            help="Mean of the pixels, on the scale of 0 to 255.",
            show_default="127 each; for MODULE:FUNCTION, ImageNet's",
        ),
    ] = None,
    std: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            metavar="R G B",
            help="Standard deviation of the pixels.",
            show_default="128 each; for MODULE:FUNCTION, ImageNet's",
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(metavar="FILE.parquet", help="Motion index of the videos.", show_default="built in the cache"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for features and motion indexes.", show_default="~/.cache/mgdali/evaluate"
        ),
    ] = None,
    num_workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes or threads.", show_default="number of CPU cores")
    ] = None,
    max_videos: Annotated[
        int, typer.Option(min=1, metavar="N", help="Largest number of videos; of more, a random sample is used.")
    ] = 1000,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write the results to, as JSON.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write the plot to, such as evaluate.png.")
    ] = None,
) -> None:
    """Find out on your own videos whether motion-guided sampling is worth it. No GPU is needed.

    An image network describes each frame once. Then each strategy picks frames, and a linear classifier of these frames
    in order is trained and tested in folds. The report compares each strategy with segment sampling.

    After Ctrl-C, the same command continues with the remaining videos.
    """
    with errors_as_messages():
        with ctrl_c_held():
            from mgdali.cli.console import live_console
            from mgdali.cli.evaluate_report import evaluate_with_progress, print_report
            from mgdali.cli.report_file import write_report
            from mgdali.evaluate.options import EvaluateOptions

            if plot is not None:
                from mgdali.evaluate.plot import check_plot, save_plot

        options = EvaluateOptions(
            data=data,
            num_frames=num_frames,
            motion=motion,
            mu=mu,
            even=even,
            stride=stride,
            folds=folds,
            fold_column=fold_column,
            random_folds=random_folds,
            seeds=seeds,
            train_clips=train_clips,
            components=components,
            c=c,
            network=network,
            input_size=input_size,
            mean=mean,
            std=std,
            index=index,
            cache=cache,
            num_workers=num_workers,
            max_videos=max_videos,
        )
        if plot is not None:
            check_plot(plot)
        if random_folds:
            typer.echo(
                "warning: with random folds, videos of the same person or scene are learned and tested; use "
                "--fold-column, or the default folds if neighbouring names belong together",
                err=True,
            )
        console = live_console()
        try:
            report = evaluate_with_progress(options, console)
        except KeyboardInterrupt:
            typer.echo("interrupted: the same command continues with the remaining videos", err=True)
            raise typer.Exit(INTERRUPTED) from None
        print_report(report, console)
        if json is not None:
            write_report(report, json)
        if plot is not None:
            save_plot(report, plot)
