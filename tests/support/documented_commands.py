"""Shell blocks of documents: their commands, and checks that options, files and targets in them exist."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer.main

from tests.support.documented_blocks import DOCS

__all__ = ["check_command", "commands_of", "expanded", "is_run"]

ROOT = DOCS.parent
# Programs that are no part of this project. Nothing in their arguments can be checked.
_FOREIGN = {"apt", "aws", "cd", "conda", "cp", "curl", "export", "git", "mkdir", "ray", "rsync", "uvicorn"}
# Commands that take much longer than all other blocks together, or end only with Ctrl-C; other tests run them.
_LONG = {("bench",), ("demo",), ("evaluate",), ("explore",)}


def commands_of(code: str) -> list[list[str]]:
    """Return the commands of a shell block as lists of words, without comments."""
    lines = code.replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in re.split(r" && ", line)]
    return [words for words in (shlex.split(part, comments=True) for part in parts) if words]


def is_run(words: list[str]) -> bool:
    """Return whether a command is run: commands of ``mgdali`` are, except those that take long."""
    return words[0] == "mgdali" and (words[1],) not in _LONG


def expanded(words: list[str], folder: Path) -> list[str]:
    """Return the words with patterns replaced by the files of a folder that match, as a shell does."""
    return [
        file for word in words for file in (sorted(glob.glob(word, root_dir=folder)) if "*" in word else []) or [word]
    ]


def check_command(words: list[str]) -> None:
    """Check the form of a command.

    Raises:
        AssertionError: If an option, a subcommand, a file, a target of make or an extra does not exist, or if the
            program is not known.
    """
    program = Path(words[0]).name
    if program in ("python", "python3", "torchrun"):
        _check_script(words)
    elif program in _CHECKS:
        _CHECKS[program](words[1:])
    else:
        assert program in _FOREIGN, f"unknown program {program}: add a check of it to {__file__}"


def _check_mgdali(words: list[str]) -> None:
    from mgdali.cli.main import app

    # Typer has its own copy of click, which has no public name.
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="mgdali")
    rest = list(words)
    while hasattr(command, "resolve_command") and rest:
        hidden = [each for each in command.commands.values() if each.hidden]
        if rest[0] not in command.commands and hidden:
            # `mgdali pack DATA` runs the hidden command of its group.
            command = hidden[0]
            break
        name, command, rest = command.resolve_command(context, rest)
        context = command.context_class(command, info_name=name, parent=context)
    # The parser finds unknown options, missing arguments and wrong choices. Callbacks are not called.
    command.make_context(context.info_name, rest, parent=context.parent)


def _check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = {word for word in words if "=" not in word} - targets
    assert not missing, f"the Makefile has no target {missing}"


def _check_pip(words: list[str]) -> None:
    _, _, table = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")
    extras = set(re.findall(r"^([\w-]+) = \[", table.partition("\n[")[0], re.MULTILINE))
    for word in words:
        named = re.match(r"(?:mgdali|\.)\[([\w,-]+)\]", word)
        assert named is None or set(named[1].split(",")) <= extras, word
        assert not word.endswith("constraints.txt") or (ROOT / word).exists()


def _check_script(words: list[str]) -> None:
    """Check that a script of the checkout exists, and that its folder contains the options."""
    scripts = [word for word in words[1:] if re.match(r"(?:benchmarks|examples|\.ci)/", word) and word.endswith(".py")]
    for script in scripts:
        assert (ROOT / script).exists(), script
        code = "".join(file.read_text() for file in (ROOT / script).parent.glob("*.py"))
        after = words[words.index(script) :]
        for option in (word for word in after if word.startswith("--")):
            name = option[2:].partition("=")[0]
            assert f'"--{name}"' in code or re.search(rf"\b{name.replace('-', '_')}:", code), option


_CHECKS: dict[str, Callable[[list[str]], None]] = {"mgdali": _check_mgdali, "make": _check_make, "pip": _check_pip}
