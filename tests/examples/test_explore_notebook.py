"""The notebook of the examples: clean in the repository, and without errors when a kernel executes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgdali import pick_frames
from mgdali.demo.synthetic import write_action_videos

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "explore.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The outputs of the executed notebook, by the ids of its cells."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from jupyter_client.manager import AsyncKernelManager

    folder = tmp_path_factory.mktemp("notebook")
    kernels = folder / "kernels" / "this-python"
    kernels.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "this Python", "language": "python"}
    # The folders are those of this test: no setting of the user, and no installed kernel, changes the result.
    paths = {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "IPYTHONDIR": str(folder), "MPLCONFIGDIR": str(folder)}
    (kernels / "kernel.json").write_text(json.dumps({**spec, "env": paths}))
    manager = AsyncKernelManager(kernel_name="this-python")
    manager.kernel_spec_manager.kernel_dirs = [str(kernels.parent)]
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, km=manager, timeout=120, resources=resources).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def shown(outputs: list[Any], kind: str) -> list[str]:
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def text(outputs: list[Any]) -> str:
    return "".join(output.get("text", "") for output in outputs)


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        # Not a random id, so that a changed cell keeps it.
        assert re.fullmatch(r"[a-z-]{2,20}", cell["id"])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.slow
def test_the_code_of_the_notebook_has_the_style_of_the_others() -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, NOTEBOOK], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_no_cell_warns_or_prints_control_characters(cells: dict[str, list[Any]]) -> None:
    for name, outputs in cells.items():
        assert not [each for each in outputs if each.output_type == "error" or each.get("name") == "stderr"], name
        assert re.search(r"[^\n -\uffff]", text(outputs)) is None, name
        assert "Warning" not in str(outputs), name


@pytest.mark.slow
def test_the_picks_shown_are_those_of_pick_frames(cells: dict[str, list[Any]], tmp_path: Path) -> None:
    write_action_videos(tmp_path / "videos", videos_per_class=2)
    picks = pick_frames(tmp_path / "videos" / "grow" / "00.mp4", 8).indices.tolist()
    (html,) = shown(cells["pick"], "text/html")
    assert list(map(int, re.findall(r'center">(\d+)', html))) == picks
    assert html.count("data:image/jpeg") == 8
    for name, row in (("mu", "mu=0.5"), ("even", "even=0"), ("number", "N=8"), ("draws", "testing")):
        (line,) = re.findall(rf"^{row} +([\d ]+)$", text(cells[name]), re.MULTILINE)
        assert list(map(int, line.split())) == picks
    draws = [line.split()[-8:] for line in text(cells["draws"]).splitlines()]
    assert len(np.unique(draws, axis=0)) == 4


@pytest.mark.slow
def test_figures_and_tables_are_shown(cells: dict[str, list[Any]]) -> None:
    for name in ("plot", "mu", "even", "number", "draws", "strategies", "levels", "batch"):
        assert len(shown(cells[name], "image/png")) == 1, name
    (table,) = shown(cells["videos"], "text/html")
    assert "12 videos, 6 classes" in table
    (loader,) = shown(cells["loader"], "text/plain")
    assert loader.startswith("MGDaliIterator(12 videos, 3 batches of 4, MotionGuided(8), training, shuffled")
    (stats,) = shown(cells["stats"], "text/plain")
    assert stats.startswith("epoch 0: 12 clips in ")
    assert len(stats.splitlines()) > 3
    assert shown(cells["index-open"], "text/plain")[0].endswith("12 videos)")


@pytest.mark.slow
def test_the_progress_of_the_index_is_one_line_at_100_percent(cells: dict[str, list[Any]]) -> None:
    progress, report = cells["index"]
    assert progress["data"]["text/plain"].startswith(f"Measured {'█' * 20} 100 %, 12/12 videos in ")
    assert "\n" not in progress["data"]["text/plain"]
    assert '<progress max="1" value="1.000"' in progress["data"]["text/html"]
    assert report["data"]["text/plain"].startswith("BuildReport(measured=12")
