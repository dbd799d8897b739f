"""The ranks that ``torchrun`` starts: one process a GPU, or several on the CPU. Without it there is one."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["barrier", "from_every_rank", "join_ranks", "leave_ranks", "rank", "total_over_ranks", "world_size"]

# A rank that waits longer for the others gives up: one of them hangs. One that fails is noticed by torchrun at once.
_PATIENCE = datetime.timedelta(minutes=10)


def join_ranks(device: str | None) -> torch.device:
    """Join the other ranks, where there are any, before a loader is made; this rank's device.

    Args:
        device: ``"cpu"`` or ``"cuda"``; None takes a GPU where there is one.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    place = torch.device("cpu")
    if kind == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        # The other cores decode. Threads that compute wait for each other in a loop: on a core that they have to share
        # they would wait long.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    if kind != "cpu":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo" if kind == "cpu" else "nccl", timeout=_PATIENCE)
    return place


def leave_ranks() -> None:
    """Part from the other ranks, after a run that went well."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, 0 for the one that prints and writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait until all ranks are here."""
    if dist.is_initialized():
        dist.barrier()


def total_over_ranks(values: Sequence[float], device: torch.device) -> list[float]:
    """Each value's sum over all ranks."""
    if not dist.is_initialized():
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return [float(value) for value in sums.tolist()]


def from_every_rank(own: Any) -> list[Any]:
    """What each rank gives, in the order of ranks."""
    if not dist.is_initialized():
        return [own]
    everyones: list[Any] = [None] * world_size()
    dist.all_gather_object(everyones, own)
    return everyones
