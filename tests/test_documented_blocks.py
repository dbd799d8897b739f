"""Every code block of README.md and of ``docs/`` runs, or a comment before it says why it is only compiled.

Blocks of a page run one by one, each in a new folder with the files of :mod:`tests.support.documented_folder`. A block
that uses a name of an earlier block of its page runs after that block. The modules of ``ELSEWHERE`` run the pages that
need more preparation, and check what these pages promise.
"""

from __future__ import annotations

import ast
import builtins
import csv
import io
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

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
from tests.support.documented_commands import check_command, commands_of, expanded, is_run
from tests.support.documented_folder import names_of, prepare_command, write_documented_folder

TESTS = Path(__file__).parent
ELSEWHERE = {
    "README.md": "test_documents.py",
    "arguments.md": "test_documented_arguments.py",
    "frameworks.md": "frameworks/test_documented_scripts.py",
    "recipes.md": "test_recipes.py",
    "strategies.md": "test_documented_arguments.py",
    "tables.md": "datasets/tables/test_documented_tables.py",
    "transforms.md": "test_documented_transforms.py",
    "tutorial.md": "test_tutorial.py",
}
"""Pages whose Python blocks another module runs. It fails if the page has a block that it does not know."""
QUICK = {"datasets.md", "mmaction2.md", "motion-index.md"}
"""Pages whose Python blocks take less than 0.3 s each."""
NEEDS = {"packs.md: Reading with other tools": "webdataset", "motion-index.md: Other tools": "pandas"}

BLOCKS = [block for page in all_pages() for block in all_blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python" and block.page.name not in ELSEWHERE]
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


def parameters() -> list[Any]:
    return [
        pytest.param(block, id=str(block), marks=[] if block.reason or block.page.name in QUICK else [pytest.mark.slow])
        for block in PYTHON
    ]


@pytest.mark.parametrize("block", parameters())
def test_each_python_block_runs_or_is_compiled(
    block: Block, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile(block.code, str(block.page), "exec")
    if block.reason is not None:
        return
    needed = NEEDS.get(str(block))
    if needed is not None and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    # Starting workers takes longer than the blocks.
    monkeypatch.setattr("mgdali.iterator.default_workers", lambda: 0)
    folder = request.getfixturevalue("folder")
    names = names_of(block, folder)
    try:
        for earlier in (*before(block, set(names)), block):
            run_block(earlier, folder, names)
    finally:
        for value in names.values():
            if type(value).__name__ == "MGDaliIterator":
                value.close()


def before(block: Block, known: set[str]) -> list[Block]:
    """Return the earlier blocks of the page that define names which a block uses, in the order of the page."""
    earlier = [each for each in blocks_of(block.page) if each.line < block.line and each.reason is None]
    wanted = used(block) - known
    found: list[Block] = []
    for each in reversed(earlier):
        if defined(each) & wanted:
            found.insert(0, each)
            wanted = (wanted - defined(each)) | (used(each) - known)
    return found


def used(block: Block) -> set[str]:
    """Return the names that a block takes from elsewhere."""
    return _names(compile(block.code, "", "exec")) - defined(block) - set(dir(builtins))


def defined(block: Block) -> set[str]:
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


def _names(code: CodeType) -> set[str]:
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


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
    assert set(ELSEWHERE) <= {page.name for page in all_pages()}
    for page, module in ELSEWHERE.items():
        assert page in (TESTS / module).read_text() or page == "recipes.md"
    assert not [
        block for block in BLOCKS if block.language == "python" and block.reason and block.page.name in ELSEWHERE
    ]
    assert (DOCS / "recipes.md").exists()


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("mgdali index show a --no-such-option", "No such option"),
        ("mgdali no-such-command", "No such command"),
        ("make no-such", ""),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, error: str) -> None:
    with pytest.raises(Exception, match=error):
        check_command(command.split())


def test_a_block_runs_after_the_blocks_whose_names_it_uses(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("".join(f"```python\n{code}\n```\n" for code in ("a = 1", "b = a", "c = 2", "print(b, len)")))
    blocks = blocks_of(page)
    assert before(blocks[3], set()) == blocks[:2]
    assert before(blocks[3], {"b"}) == []
