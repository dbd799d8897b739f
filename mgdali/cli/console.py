"""Helpers that all commands use: printing text unchanged, and errors as one message with an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from mgdali.errors import VideoDecodeError, WorkerError
from mgdali.index.video_progress import in_notebook

if TYPE_CHECKING:
    from mgdali.datasets.check import Names

__all__ = ["INTERRUPTED", "end_at_once", "errors_as_messages", "examples", "live_console", "say"]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def end_at_once() -> NoReturn:
    """End the process after Ctrl-C, without waiting for the threads that decode."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def live_console() -> Console:
    """Return the console of a command that shows progress by rich.

    A cell of a notebook does not understand how rich replaces lines of a terminal: it gets the last state only.
    """
    return Console(force_terminal=False, force_jupyter=False) if in_notebook() else Console()


def say(console: Console, line: str) -> None:
    """Print a line unchanged: without reading markup in paths, and without inserting line breaks."""
    console.print(Text(line), soft_wrap=True)


def examples(title: str, names: Names) -> Iterator[str]:
    """Yield one line with the number of names and the first few of them; nothing if there are no names."""
    if names.count:
        more = ", …" if names.count > len(names.first) else ""
        yield f"{title} ({names.count}): {', '.join(names.first)}{more}"


@contextlib.contextmanager
def errors_as_messages() -> Iterator[None]:
    """Turn expected errors and Ctrl-C into one message on stderr and an exit code.

    Expected errors are bad input, missing packages, and files that cannot be read or written.

    Raises:
        typer.Exit: With code 1 after such an error, with code 130 after Ctrl-C.
    """
    try:
        yield
    except BrokenPipeError:
        # The reader of the output has closed it, such as `head`. Typer then ends without a message.
        raise
    except (ValueError, VideoDecodeError, WorkerError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from error
