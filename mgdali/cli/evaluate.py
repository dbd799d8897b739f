"""The command ``mgdali evaluate``."""

from __future__ import annotations

import typer

from mgdali.cli import evaluate_options as options
from mgdali.cli.console import INTERRUPTED, errors_as_messages
from mgdali.interrupts import ctrl_c_held

__all__ = ["evaluate"]


def evaluate(
    data: options.Data,
    num_frames: options.NumFrames = [2, 4, 8, 16],  # noqa: B006
    motion: options.Motion = "both",
    mu: options.Mu = [0.5],  # noqa: B006
    even: options.Even = [0.0],  # noqa: B006
    stride: options.Stride = [4],  # noqa: B006
    folds: options.Folds = 5,
    fold_column: options.FoldColumn = None,
    random_folds: options.RandomFolds = False,
    seeds: options.Seeds = 5,
    train_clips: options.TrainClips = 4,
    components: options.Components = 96,
    c: options.C = 10.0,
    network: options.Network = "efficientnet-lite0",
    input_size: options.InputSize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    index: options.Index = None,
    cache: options.Cache = None,
    num_workers: options.NumWorkers = None,
    max_videos: options.MaxVideos = 1000,
    json: options.Json = None,
    plot: options.Plot = None,
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

        chosen = EvaluateOptions(
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
            report = evaluate_with_progress(chosen, console)
        except KeyboardInterrupt:
            typer.echo("interrupted: the same command continues with the remaining videos", err=True)
            raise typer.Exit(INTERRUPTED) from None
        print_report(report, console)
        if json is not None:
            write_report(report, json)
        if plot is not None:
            save_plot(report, plot)
