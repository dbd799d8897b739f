"""Running one block of a document in a prepared folder, and the promises of the documents about their blocks.

A promise is a function that runs a block by :meth:`Case.run` and checks what the page says about it. It is registered
by the page and the heading above the block::

    @promise("recipes.md", "One video")
    def one_video(case: Case) -> None:
        names = case.run()
        assert len(names["clip"]) == 8
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from mgdali import MGDaliIterator
from tests.support.documented_blocks import Block, blocks_of, run_block, working_directory
from tests.support.documented_folder import names_of

__all__ = ["PROMISES", "Case", "before", "modules_of", "promise", "run_and_check"]


@dataclass
class Case:
    """One block, and the folder in which it runs.

    Attributes:
        block: The block.
        folder: A folder with the files of :mod:`tests.support.documented_folder`.
        printed: What the block has printed.
    """

    block: Block
    folder: Path
    printed: str = ""

    def run(self, **names: Any) -> dict[str, Any]:
        """Run the block after the earlier blocks of its page that define names which it uses; close its loaders.

        If a block ``text`` shows its output, the output is compared. It may occur several times, as in each epoch.

        Args:
            names: Names that the page takes for granted, besides those of ``names_of``.

        Returns:
            The names after the block. Those of an SQL block are ``tables``, the rows of each statement.
        """
        if self.block.language == "sql":
            return {"tables": _run_sql(self.block.code, self.folder)}
        found = names_of(self.block, self.folder) | names
        try:
            for earlier in before(self.block, set(found)):
                run_block(earlier, self.folder, found)
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                run_block(self.block, self.folder, found)
        finally:
            for value in found.values():
                if isinstance(value, MGDaliIterator):
                    value.close()
        self.printed = printed.getvalue()
        if self.block.output is not None:
            assert self.block.output in self.printed
            assert self.printed.replace(self.block.output, "") == ""
        return found


Promise = Callable[[Case], None]
PROMISES: dict[str, Promise] = {}
"""The promises by the names of their blocks, ``str(block)``."""


def promise(page: str, name: str) -> Callable[[Promise], Promise]:
    """Return a decorator that registers the promise of a page about its block with this name."""

    def register(check: Promise) -> Promise:
        PROMISES[f"{page}: {name}"] = check
        return check

    return register


def run_and_check(block: Block, folder: Path) -> None:
    """Run a block and check the promise about it, if there is one."""
    case = Case(block, folder)
    check = PROMISES.get(str(block))
    if check is None:
        case.run()
    else:
        check(case)


def _run_sql(code: str, folder: Path) -> list[list[tuple[Any, ...]]]:
    """Return the rows of each statement in DuckDB, which finds files below the folder."""
    duckdb = pytest.importorskip("duckdb")
    with working_directory(folder), duckdb.connect() as connection:
        return [connection.execute(statement).fetchall() for statement in connection.extract_statements(code)]


def before(block: Block, known: set[str]) -> list[Block]:
    """Return the earlier blocks of the page that define names which a block uses, in the order of the page."""
    earlier = [each for each in blocks_of(block.page) if each.line < block.line and each.reason is None]
    wanted = _used(block) - known
    found: list[Block] = []
    for each in reversed(earlier):
        if _defined(each) & wanted:
            found.insert(0, each)
            wanted = (wanted - _defined(each)) | (_used(each) - known)
    return found


def modules_of(block: Block) -> set[str]:
    """Return the top-level names of the modules that a Python block imports."""
    nodes = list(ast.walk(ast.parse(block.code)))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in named}


def _used(block: Block) -> set[str]:
    """Return the names that a block takes from elsewhere."""
    return _global_names(compile(block.code, "", "exec")) - _defined(block) - set(dir(builtins))


def _defined(block: Block) -> set[str]:
    """Return the names that a block defines at its top level."""
    nodes = list(ast.walk(ast.parse(block.code)))
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    return stored | imported | {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def _global_names(code: CodeType) -> set[str]:
    """Return the names that code reads, without those of attributes and of variables of functions."""
    inner = [_global_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    read = {each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_NAME", "LOAD_GLOBAL")}
    return read.union(*inner)
