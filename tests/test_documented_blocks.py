"""Every code block of README.md and of ``docs/`` runs, or a comment before it says why it is only compiled.

Blocks of a page run one by one, each in a new folder with the files of :mod:`tests.support.documented_folder`. A block
that uses a name of an earlier block of its page runs after that block. The modules of ``tests/documented/`` check what
the pages promise about their blocks.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests import documented
from tests.support.commands import run_here
from tests.support.documented_blocks import (
    DOCS,
    LANGUAGES,
    REASONS,
    Block,
    all_blocks_of,
    all_pages,
    blocks_of,
    run_block,
)
from tests.support.documented_case import PROMISES, Case, before, modules_of, promise, run_and_check
from tests.support.documented_commands import check_command, commands_of, expanded, is_run
from tests.support.documented_folder import prepare_command, write_documented_folder

for module in documented.MODULES:
    importlib.import_module(f"{documented.__name__}.{module}")

ELSEWHERE = {"tutorial.md": "test_tutorial.py"}
"""The tutorial is one program: another module runs all of its blocks, one after another."""
OPTIONAL = {"accelerate", "lightning", "pandas", "starlette", "torchcodec", "transformers", "webdataset"}
"""Packages that blocks may import. A block whose package is not installed is skipped."""
QUICK = {
    *("arguments.md", "datasets.md", "mmaction2.md", "motion-index.md", "recipes.md"),
    *("strategies.md", "tables.md", "transforms.md"),
}
"""Pages whose blocks take less than 0.3 s each, except those that import a package of ``SLOW``."""
SLOW = {"accelerate", "lightning", "torchcodec", "transformers"}

BLOCKS = [block for page in all_pages() for block in all_blocks_of(page)]
RUN = [block for block in BLOCKS if block.language in ("python", "sql") and block.page.name not in ELSEWHERE]
COMMANDS = [
    pytest.param(block, words, id=f"{block}: {' '.join(words)}", marks=[pytest.mark.slow])
    for block in BLOCKS
    if block.language == "bash" and block.reason is None
    for words in commands_of(block.code)
    if is_run(words)
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared folder, which is copied for each block."""
    return write_documented_folder(tmp_path_factory.mktemp("documented"))


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of the prepared folder."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def imported(block: Block) -> set[str]:
    return modules_of(block) if block.language == "python" else set()


def parameters() -> list[Any]:
    quick = [block for block in RUN if block.reason or (block.page.name in QUICK and not imported(block) & SLOW)]
    return [pytest.param(block, id=str(block), marks=[] if block in quick else [pytest.mark.slow]) for block in RUN]


@pytest.mark.parametrize("block", parameters())
def test_each_block_runs_or_is_compiled(
    block: Block, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if block.language == "python":
        compile(block.code, str(block.page), "exec")
    if block.reason is not None:
        return
    for name in sorted(imported(block) & OPTIONAL):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    # Starting workers takes longer than the blocks.
    monkeypatch.setattr("mgdali.iterator.default_workers", lambda: 0)
    run_and_check(block, request.getfixturevalue("folder"))


def test_each_promise_belongs_to_a_block_that_runs() -> None:
    names = [str(block) for block in RUN if block.reason is None]
    assert len(set(names)) == len(names), "two blocks with equal headings"
    assert set(PROMISES) - set(names) == set()


@pytest.mark.parametrize(
    "page", ["arguments.md", "frameworks.md", "recipes.md", "strategies.md", "tables.md", "transforms.md"]
)
def test_each_block_of_these_pages_has_a_promise(page: str) -> None:
    names = {str(block) for block in blocks_of(DOCS / page) if block.reason is None}
    assert names
    assert names - set(PROMISES) == set(), "write a promise in tests/documented/"


@pytest.mark.parametrize(("block", "words"), COMMANDS)
def test_each_command_of_mgdali_runs(block: Block, words: list[str], folder: Path) -> None:
    prepare_command(words, folder)
    result = run_here(*expanded(words[1:], folder), folder=folder)
    # Files of the folder that no index contains are reported with the exit code 1.
    accepted = (0, 1) if "check" in words else (0,)
    assert result.returncode in accepted, result.stderr + result.stdout


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "bash"], ids=str)
def test_commands_have_options_files_and_targets_that_exist(block: Block) -> None:
    commands = commands_of(block.code)
    assert commands
    for words in commands:
        check_command(words)


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.name)
def test_each_block_has_a_language_and_a_known_reason(page: Path) -> None:
    for block in all_blocks_of(page):
        assert block.language in LANGUAGES, f"line {block.line}: name one of {LANGUAGES}"
        assert block.reason is None or block.reason in REASONS, f"line {block.line}: {block.reason}"
    assert page.read_text().count("<!-- compiled only") == sum(
        block.reason is not None for block in all_blocks_of(page)
    )


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in ("json", "csv")], ids=str)
def test_data_in_blocks_can_be_parsed(block: Block) -> None:
    if block.language == "json":
        assert json.loads(block.code)
    else:
        header, *rows = csv.reader(io.StringIO(block.code))
        assert {len(row) for row in rows} == {len(header)}


def test_pages_that_run_elsewhere_are_named_there() -> None:
    for page, module in ELSEWHERE.items():
        assert page in (Path(__file__).parent / module).read_text()
        assert not [block for block in blocks_of(DOCS / page) if block.reason]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("mgdali index show a --no-such-option", "No such option"),
        ("mgdali no-such-command", "No such command"),
        ("make no-such", "no-such"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, error: str) -> None:
    with pytest.raises(Exception, match=error):
        check_command(command.split())


def test_blocks_are_found_with_their_headings_lines_and_outputs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n## One\n\n```\n# no heading\n```\n\n```python\na = 1\n```\n\n- item:\n\n"
        "  ```python\n  b = a + 1\n  ```\n\nIt prints:\n\n```text\n2\n```\n\n"
        "## Two\n\n```python\nraise ValueError\n```\n\n## Three\n\n```text\nnot the output of Two\n```\n"
    )
    one, again, two = blocks_of(page)
    assert [(block.name, block.line) for block in (one, again, two)] == [("One", 10), ("One (2)", 16), ("Two", 28)]
    assert [block.output for block in (one, again, two)] == [None, "2\n", None]
    assert run_block(again, tmp_path, run_block(one, tmp_path))["b"] == 2
    with pytest.raises(ValueError, match=r"^$") as raised:
        run_block(two, tmp_path)
    assert (str(raised.traceback[-1].path), raised.traceback[-1].lineno) == (str(page), 27)


def test_a_block_runs_after_the_blocks_whose_names_it_uses(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("".join(f"```python\n{code}\n```\n" for code in ("a = 1", "b = a", "c = 2", "print(b, len)")))
    blocks = blocks_of(page)
    assert before(blocks[3], set()) == blocks[:2]
    assert before(blocks[3], {"b"}) == []


@pytest.mark.parametrize(
    ("code", "holds"),
    [
        ("print(1)", True),
        ("for _ in range(2): print(1)", True),
        ("pass", False),
        ("print(2)", False),
        ("print(1); print(2)", False),
    ],
)
def test_the_output_that_a_page_shows_is_compared(code: str, holds: bool, folder: Path) -> None:
    page = folder / "page.md"
    page.write_text(f"```python\n{code}\n```\n\nIt prints:\n\n```text\n1\n```\n")
    (block,) = blocks_of(page)
    if holds:
        Case(block, folder).run()
    else:
        with pytest.raises(AssertionError):
            Case(block, folder).run()


def test_a_promise_that_is_not_kept_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = folder / "page.md"
    page.write_text("# One\n\n```python\na = 1\n```\n")
    monkeypatch.setattr("tests.support.documented_case.PROMISES", {})

    @promise("page.md", "One")
    def a_is_2(case: Case) -> None:
        assert case.run()["a"] == 2

    with pytest.raises(AssertionError):
        run_and_check(blocks_of(page)[0], folder)
