"""What a run writes down while it trains: a line of JSON a step, and TensorBoard's events."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

__all__ = ["RunLog"]


class RunLog:
    """Scalars of a run, in ``metrics.jsonl`` and, where the tensorboard package is there, in TensorBoard's events.

    Args:
        folder: where the files go.
        step: what is there of later steps is taken out: the run goes on from here.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "metrics.jsonl"
        _keep_up_to(self._path, step)
        self._file = self._path.open("a")
        self._board = _tensorboard(folder, step)
        self.notice = "" if self._board else "no TensorBoard events are written: pip install tensorboard"

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write down values after ``step`` steps. JSON keeps every digit."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _keep_up_to(path: Path, step: int) -> None:
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    # A line without an end was being written when the run was killed.
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text("".join(kept))
    unfinished.replace(path)


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        module = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        return None
    return module.SummaryWriter(str(folder), purge_step=step + 1)
