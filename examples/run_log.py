"""The log of a training run: JSON Lines, one line per step, and TensorBoard events."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from mgdali import MGDaliIterator

__all__ = ["RunLog", "loader_values"]

_MISSING = "tensorboard is missing: pip install tensorboard"


class RunLog:
    """Scalars of a run in ``metrics.jsonl`` and, if the package tensorboard is installed, in TensorBoard events.

    Args:
        folder: Folder for the files.
        step: Step from which the run continues. Entries of later steps are removed.
        events: Folder for the TensorBoard events, which then must be written. By default it is ``folder``, and events
            are left out if tensorboard is missing (:attr:`notice`).

    Raises:
        ImportError: If ``events`` is given and tensorboard is missing.
        ValueError: If ``metrics.jsonl`` contains lines that are not such entries.
    """

    def __init__(self, folder: Path, step: int, events: Path | None = None) -> None:
        self._board = _tensorboard(events or folder, step)
        if events is not None and self._board is None:
            raise ImportError(f"events cannot be written to {events}, because {_MISSING}")
        self._path = folder / "metrics.jsonl"
        _keep_up_to(self._path, step)
        self._file = self._path.open("a")
        self.notice = "" if self._board else f"TensorBoard events are not written, because {_MISSING}"

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


def loader_values(loader: MGDaliIterator) -> dict[str, float]:
    """Return the speed of a loader's last epoch on this rank, as values for a :class:`RunLog`.

    Without an epoch, as in a run that was resumed before a test, there are no values.
    """
    stats = loader.stats()
    if not stats.clips:
        return {}
    return {
        "loader/clips_per_second": stats.clips_per_second,
        "loader/waiting": stats.waiting,
        "loader/workers_busy": stats.workers_busy,
    }


def _keep_up_to(path: Path, step: int) -> None:
    """Remove the entries of later steps from a metrics file.

    Raises:
        ValueError: If a line is not an entry.
    """
    if not path.exists():
        return
    lines = path.read_text().splitlines(keepends=True)
    try:
        # A last line without a line end is incomplete: the run was killed while writing it.
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: remove the folder {path.parent} to start this run again") from error
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
