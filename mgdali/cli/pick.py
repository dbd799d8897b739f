"""The command ``mgdali pick``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeAlias

import typer

from mgdali.cli.console import end_at_once, errors_as_messages
from mgdali.interrupts import ctrl_c_held

if TYPE_CHECKING:
    from mgdali.one_video.clip import PickedClip
    from mgdali.samplers import Sampler

__all__ = ["pick"]

_Strategy: TypeAlias = Literal["motion", "segment", "stride", "top"]
_Level: TypeAlias = Literal["image", "feature"]


def pick(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO",
            help="Video files, URLs, folders of JPEG frames, and folders to search for videos.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder for the images: of a single video in DIR, of several in one folder per video in DIR.",
        ),
    ],
    num_frames: Annotated[
        int, typer.Option("--num-frames", "-n", min=1, max=100_000, help="Number of frames to pick.")
    ] = 8,
    format: Annotated[Literal["jpg", "png"], typer.Option(help="Format of the images.")] = "jpg",
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Scale images so that their shorter side has this length.",
            show_default="size of the video",
        ),
    ] = None,
    strategy: Annotated[
        _Strategy,
        typer.Option(
            help="motion: even steps of motion. segment: even steps of time. stride: a fixed distance. top: the "
            "frames of largest motion."
        ),
    ] = "motion",
    mu: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="For the strategy motion: exponent that smooths motion; 0 spreads the frames evenly.",
            show_default="0.5",
        ),
    ] = None,
    even: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="For the strategy motion: share of the distribution that is spread evenly over time.",
            show_default="0",
        ),
    ] = None,
    motion: Annotated[
        _Level | None,
        typer.Option(
            help="For the strategies motion and top: level at which motion is measured.", show_default="image"
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="For the strategy stride: distance between two picks in frames.", show_default="4"),
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Pick no frames before this time.", show_default="beginning"),
    ] = None,
    end: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Pick only frames before this time.", show_default="end"),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.parquet",
            help="Motion index of the videos: only the frames needed are decoded. It changes no result.",
        ),
    ] = None,
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="Do not write picks.png, which needs matplotlib.")
    ] = False,
    num_workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of videos that are decoded at the same time.",
            show_default="number of CPU cores",
        ),
    ] = None,
) -> None:
    """Pick frames of videos by motion, and write them as images.

    The images are 001.jpg, 002.jpg, ... in the order of time. picks.json has the index, seconds and motion of each.

    picks.png is a picture that explains why these frames were picked.

    Output of an earlier run in the same folder is replaced; other files never are.

    The exit code is 1 if the frames of any video cannot be picked; such videos are listed, and the others are finished.
    """
    given = {"mu": mu, "even": even, "motion": motion, "stride": stride}
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli.pick_progress import PickOptions, pick_with_progress
            from mgdali.index.reader import MotionIndex
            from mgdali.video.time_range import TimeRange

        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file: name a folder")
        errors = Console(stderr=True)
        sampler, settings = _sampler(strategy, num_frames, given)
        TimeRange(start or 0.0, end)
        options = PickOptions(
            sampler=sampler,
            start=start,
            end=end,
            size=size,
            index=None if index is None else MotionIndex(index),
            image_format=format,
            draw=None if no_picture else _drawing(),
            num_workers=num_workers or len(os.sched_getaffinity(0)),
            settings={**settings, "start": start, "end": end, "size": size},
        )
        try:
            complete = pick_with_progress(videos, out, options, Console(), errors)
        except KeyboardInterrupt:
            _interrupted()
    if not complete:
        raise typer.Exit(1)


def _sampler(strategy: _Strategy, num_frames: int, given: dict[str, Any]) -> tuple[Sampler, dict[str, Any]]:
    """Return the strategy and its settings.

    Args:
        strategy: Its name.
        num_frames: Number of frames to pick.
        given: The options of all strategies; None for an option that was not given.

    Raises:
        typer.BadParameter: If an option was given that the strategy does not have.
    """
    from mgdali.samplers import MotionGuided, Segment, Stride, TopMotion

    kind, own = {
        "motion": (MotionGuided, ("mu", "even", "motion")),
        "segment": (Segment, ()),
        "stride": (Stride, ("stride",)),
        "top": (TopMotion, ("motion",)),
    }[strategy]
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if name not in own:
            raise typer.BadParameter(f"--{name} does not apply to --strategy {strategy}: omit one of them")
    sampler = kind(num_frames, **chosen)
    return sampler, {"strategy": strategy, "num_frames": num_frames, **{name: getattr(sampler, name) for name in own}}


def _drawing() -> Callable[[PickedClip], bytes] | None:
    """Return a function that draws the picture; None, with a message, if matplotlib is not installed."""
    try:
        with ctrl_c_held():
            from mgdali.one_video.picture import picks_figure, png_of
    except ImportError as error:
        print(f"picks.png is not written: {error}", file=sys.stderr)
        return None
    return lambda clip: png_of(picks_figure(clip))


def _interrupted() -> NoReturn:
    """End the process after Ctrl-C, once the files that are being written are complete."""
    from mgdali.cli.pick_output import WRITING

    print("interrupted: the output of finished videos is kept", file=sys.stderr)
    with WRITING:
        end_at_once()
