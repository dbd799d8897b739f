"""The page about the command line: the help text of each command, as the command itself prints it."""

from __future__ import annotations

import os
import re
from unittest import mock

import typer.main
from typer.testing import CliRunner

from mgdali.cli.main import app

__all__ = ["command_line_reference"]

_WIDTH = 80
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def command_line_reference() -> str:
    """Return one section per command of ``mgdali``, in Markdown."""
    sections = [f"## `{' '.join(words)}`\n\n```text\n{_help(words[1:])}\n```\n" for words in _commands()]
    return "\n".join(sections)


def _commands() -> list[list[str]]:
    found = [["mgdali"]]
    group = typer.main.get_command(app)
    for name, command in sorted(getattr(group, "commands", {}).items()):
        found.append(["mgdali", name])
        found += [["mgdali", name, each] for each in getattr(command, "commands", {})]
    return found


def _help(words: list[str]) -> str:
    # Typer and Rich look up the width of the terminal here.
    environment = {"COLUMNS": str(_WIDTH), "TERMINAL_WIDTH": str(_WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    with mock.patch.dict(os.environ, environment):
        result = CliRunner().invoke(app, [*words, "--help"], prog_name="mgdali")
    if result.exit_code != 0:
        raise RuntimeError(f"mgdali {' '.join(words)} --help has exit code {result.exit_code}: {result.output}")
    return "\n".join(line.rstrip() for line in _COLOURS.sub("", result.output).strip("\n").splitlines())
