"""The log of a training run: JSON Lines, one line per step, and TensorBoard events."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

__all__ = ["RunLog"]


class RunLog:
    """Scalars of a run in ``metrics.jsonl`` and, if the package tensorboard is installed, in TensorBoard events.

    Args:
        folder: Folder for the files.
        step: Step from which the run continues. Entries of later steps are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "metrics.jsonl"
        _keep_up_to(self._path, step)
        self._file = self._path.open("a")
        self._board = _tensorboard(folder, step)
        self.notice = (
            ""
            if self._board
            else "TensorBoard events are not written, because tensorboard is missing: pip install tensorboard"
        )

    def add(self, step: int, values: dict[str, float]) -> None:
        """Log values after ``step`` steps. The JSON file contains every digit."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write remaining entries and close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _keep_up_to(path: Path, step: int) -> None:
    """Remove the entries of later steps from a metrics file."""
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    # A last line without a line end is incomplete: the run was killed while writing it.
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text("".join(kept))
    unfinished.replace(path)


def _tensorboard(folder: Path, step: int) -> Any:
    """Return a TensorBoard writer; None if tensorboard is not installed."""
    try:
        module = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        return None
    return module.SummaryWriter(str(folder), purge_step=step + 1)
