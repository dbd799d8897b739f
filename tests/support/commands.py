"""Commands of the command line, run in this process or in a separate one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import typer.testing

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "100"}
MGDALI = [sys.executable, "-m", "mgdali"]


def run(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does, in a separate process. It takes about a second to import the package again."""
    command = [*MGDALI, *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, cwd=folder, capture_output=True, text=True)


def run_here(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which takes little time.

    An exception that would be a stack trace is raised. What C libraries print is not captured.
    """
    from mgdali.cli.main import app

    command = [*map(str, arguments)]
    before = Path.cwd()
    os.chdir(folder or before)
    try:
        result = typer.testing.CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke(
            app, command, prog_name="mgdali", catch_exceptions=False
        )
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(command, result.exit_code, result.stdout, result.stderr)
