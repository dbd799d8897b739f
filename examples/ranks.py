"""The ranks of a distributed run started with ``torchrun``: one process per GPU, or several on the CPU.

Without ``torchrun`` there is one rank.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["barrier", "from_every_rank", "join_ranks", "leave_ranks", "rank", "total_over_ranks", "world_size"]

# Maximum time that a rank waits for the others; after that one of them hangs. If a rank fails, torchrun ends the run at
# once.
_TIMEOUT = datetime.timedelta(minutes=10)


def join_ranks(device: str | None) -> torch.device:
    """Connect to the other ranks, if there are any, and return this rank's device.

    Call it before you create a loader.

    Args:
        device: ``"cpu"`` or ``"cuda"``; None uses a GPU if there is one.

    Raises:
        ValueError: If this rank has no GPU.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    place = torch.device("cpu")
    if kind == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        # Half of the cores are left for decoding. torch's threads wait for each other in a busy loop, which takes long
        # if they share a core with other processes.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    if kind != "cpu":
        number, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= found:
            raise ValueError(
                f"this rank needs GPU {number}, but torch finds {found} GPUs on this machine: start at most {found} "
                "ranks, or train on the CPU with --device cpu"
            )
        place = torch.device("cuda", number)
        torch.cuda.set_device(place)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo" if kind == "cpu" else "nccl", timeout=_TIMEOUT)
    return place


def leave_ranks() -> None:
    """Disconnect from the other ranks at the end of a successful run."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process. Rank 0 prints and writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait until all ranks have called this function."""
    if dist.is_initialized():
        dist.barrier()


def total_over_ranks(values: Sequence[float], device: torch.device) -> list[float]:
    """Return the sum of each value over all ranks."""
    if not dist.is_initialized():
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return [float(value) for value in sums.tolist()]


def from_every_rank(own: Any) -> list[Any]:
    """Return the value of each rank, in the order of ranks."""
    if not dist.is_initialized():
        return [own]
    everyones: list[Any] = [None] * world_size()
    dist.all_gather_object(everyones, own)
    return everyones
