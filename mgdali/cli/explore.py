"""The command ``mgdali explore``."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from mgdali.cli.console import end_at_once, errors_as_messages, say
from mgdali.interrupts import ctrl_c_held

if TYPE_CHECKING:
    from mgdali.explore.collection import Collection
    from mgdali.explore.server import ServerOptions

__all__ = ["explore"]


def explore(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEOS|INDEX|PACK...",
            help="Video files, URLs, folders of videos or of JPEG frames, lists, tables, tar shards, packs, and motion "
            "indexes.",
            show_default=False,
        ),
    ],
    index: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.parquet",
            help="Motion index of the videos: their motion is then not measured again. It changes no result. To show "
            "all videos of an index, pass the index as VIDEOS instead.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen at. 127.0.0.1 is reached from this machine only, 0.0.0.0 from everywhere.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the link only.")] = False,
) -> None:
    """Show in the browser how strategies pick frames of videos.

    The link contains a random key, so other programs cannot read the videos. It is valid until the command ends.

    To reach another machine, forward the port with the same number: ssh -L 8000:127.0.0.1:8000 HOST, where mgdali
    explore --port 8000 runs.
    """
    with errors_as_messages():
        with ctrl_c_held():
            from mgdali.explore.collection import open_collection
            from mgdali.explore.server import ServerOptions

        options = ServerOptions(host, port)
        collection = open_collection(sources, index=index)
        try:
            _serve(collection, options, browser=not no_browser)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            collection.close()
            end_at_once()


def _serve(collection: Collection, options: ServerOptions, *, browser: bool) -> None:
    from rich.console import Console

    from mgdali.explore.access import is_loopback
    from mgdali.explore.server import ExploreServer, open_browser

    console, errors = Console(), Console(stderr=True)
    server = ExploreServer(collection, options)
    if not is_loopback(options.host):
        who = f"everybody who can reach {options.host} and has the link can see these videos"
        say(errors, f"warning: {who}; the connection is not encrypted")
    if collection.warning is not None:
        say(errors, f"warning: {collection.warning}")
    count = len(collection)
    say(console, f"{count:,} videos: {server.url}" if count != 1 else f"1 video: {server.url}")
    if server.url_elsewhere is not None:
        say(console, f"From other machines: {server.url_elsewhere}")
    opened = browser and open_browser(server.url)
    say(console, "Ctrl-C ends it." if opened or not browser else "Open the link in a browser. Ctrl-C ends it.")
    # Python would print this warning if Ctrl-C came while the server starts.
    warnings.filterwarnings("ignore", "coroutine 'Server.serve' was never awaited", RuntimeWarning)
    server.run()
