"""The commands ``mgdali index build``, ``show``, ``check`` and ``merge``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mgdali.cli.console import INTERRUPTED, errors_as_messages
from mgdali.cli.options import Json, Level, ListLines, Moved, Template, moved_pairs, representations_of, root_option
from mgdali.datasets.tables.endings import TABLE_ENDINGS
from mgdali.interrupts import ctrl_c_held

if TYPE_CHECKING:
    from mgdali.video.media import Media

__all__ = ["app"]

app = typer.Typer(help="Build, show, check and merge motion indices.", no_args_is_help=True)

_DATA = (
    "a folder, a text file with one line 'path label' or 'folder frames label' per video, a table with a column 'path' "
    f"({TABLE_ENDINGS}), or tar shards (a file, a URL, or a pattern such as name{{000..099}}.tar)"
)
_LISTED_PATHS = "Relative paths in a list or a table start from it too, without it from the working directory."
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
    root: Annotated[
        str | None,
        root_option(
            f"Folder or URL that names in the index are relative to. {_LISTED_PATHS}",
            "that of an existing index; else DATA if it is a folder, or the folder of all videos",
        ),
    ] = None,
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

        # The folder itself, not its videos, becomes the root of a new index.
        is_folder = os.path.isdir(data) and list_kind is None and template is None
        videos = data if is_folder else _videos(data, root, list_kind, template)
        try:
            report = build_with_progress(
                videos,
                out,
                Console(),
                representations=representations_of(motion),
                root=root,
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
    still: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="List the N videos with the least motion: mean of S per frame and pixel at the image level, which is "
            "the change of luma from frame to frame, 0 to 255; share of frames with S = 0; number of frames.",
        ),
    ] = None,
) -> None:
    """Show the contents of an index."""
    if failed and still is not None:
        raise typer.BadParameter("--failed and --still are two lists: ask for one of them")
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli import index_report
            from mgdali.index import inspect
            from mgdali.index.still import still_videos

        if still is not None:
            videos = still_videos(file, still)
            if json:
                typer.echo(index_report.still_to_json(videos))
            else:
                index_report.print_still(videos, Console())
            return
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
    root: Annotated[
        str | None, root_option(f"Folder or URL that contains the videos now. {_LISTED_PATHS}", "root in the index")
    ] = None,
    moved: Moved = None,
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
            from mgdali.index import inspect

        if data is not None:
            media = _videos(data, root, list_kind, template)
        elif list_kind is None and template is None:
            media = None
        else:
            raise typer.BadParameter("--list and --template apply to a list: name it as DATA")
        found = inspect.check_index(file, media, root=root, moved=moved_pairs(moved))
        if json:
            typer.echo(index_report.to_json(found))
        else:
            index_report.print_check(found, Console())
    if not found.complete:
        raise typer.Exit(1)


@app.command()
def merge(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Paths or URLs of the index files.")],
    out: Annotated[
        str,
        typer.Option(metavar="FILE.parquet", help="Path of the new index file; it may be one of the merged files."),
    ],
    root: Annotated[
        str | None,
        root_option("Folder or URL that names in the new index are relative to.", "the folder of all videos"),
    ] = None,
    moved: Moved = None,
) -> None:
    """Merge index files into one.

    Motion of several levels that was measured for the same content is united. If the contents differ, the row of the
    newer video file is kept.
    """
    with errors_as_messages():
        with ctrl_c_held():
            from rich.console import Console

            from mgdali.cli import index_report
            from mgdali.index.merge import merge_indices

        report = merge_indices(files, out, root=root, moved=moved_pairs(moved))
        index_report.print_merge(report, out, Console())


def _videos(
    data: str, root: str | None, list_kind: Literal["videos", "frames"] | None, template: str | None
) -> list[Media]:
    """Return the videos of ``DATA``. Only in a list or a table, paths start from ``--root``."""
    from mgdali.datasets.named_videos import is_table, videos_named

    has_paths = is_table(data) or (os.path.isfile(data) and not data.lower().endswith(".tar"))
    return videos_named(data, root=root if has_paths else None, kind=list_kind, template=template)
