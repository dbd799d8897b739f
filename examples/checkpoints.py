"""Checkpoints for ``train_tsm.py``: everything needed to resume a run exactly, in one atomically written file."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

__all__ = ["load_checkpoint", "random_state", "restore_random_state", "save_checkpoint"]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path``.

    The file is written under another name and then renamed, so that a process that is killed while writing leaves the
    previous checkpoint intact.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state that :func:`save_checkpoint` wrote, on the CPU. No code from the file is executed.

    Raises:
        ValueError: If the file is not a checkpoint.
        OSError: If it cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged and cannot be read: remove it to start this run again") from error
    return state


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's random generators, which dropout uses.

    The loader needs no random state: its random choices are functions of its state.
    """
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Set torch's random generators to the result of :func:`random_state`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
