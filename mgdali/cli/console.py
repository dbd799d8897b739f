"""How the command line tells of errors: one message on stderr, and a code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import typer

from mgdali.errors import VideoDecodeError, WorkerError

__all__ = ["errors_as_messages"]

_INTERRUPTED = 130


@contextlib.contextmanager
def errors_as_messages() -> Iterator[None]:
    """Turn errors that tell of bad input or a lacking package, and Ctrl-C, into one message on stderr and a code.

    Raises:
        typer.Exit: with code 1 after such an error, with 130 after Ctrl-C.
    """
    try:
        yield
    except BrokenPipeError:
        # Whoever read the output has had enough: typer ends quietly.
        raise
    except (ValueError, VideoDecodeError, WorkerError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from error
