"""Finding this process's rank, when an epoch begins: a loader may be created before the ranks are known."""

from __future__ import annotations

import os
import warnings

import torch
import torch.distributed

from mgdali.loading.order import WHOLE, Share

__all__ = ["default_workers", "find_share", "given_share", "warn_if_ranks_are_unknown"]


def given_share(rank: int | None, world_size: int | None) -> Share | None:
    """Return the share that a loader's arguments specify; None if :func:`find_share` must find it later.

    Raises:
        ValueError: If only one of them is given, or one is out of range.
    """
    if (rank is None) != (world_size is None):
        raise ValueError(f"give both rank and world_size or neither, got rank={rank!r}, world_size={world_size!r}")
    return None if rank is None or world_size is None else Share(rank, world_size)


def find_share() -> Share:
    """Return this process's share according to ``torch.distributed``; all videos if it is not initialized."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Share(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return WHOLE


def warn_if_ranks_are_unknown() -> None:
    """Warn if a launcher started several ranks, but ``torch.distributed`` is not initialized when an epoch begins."""
    initialized = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not initialized and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        warnings.warn(
            "WORLD_SIZE is set, but torch.distributed is not initialized: every rank loads the whole data set. "
            "Call init_process_group before the first epoch, or pass rank= and world_size=.",
            RuntimeWarning,
            stacklevel=4,
        )


def default_workers() -> int:
    """Return the number of cores of this process, divided by the number of ranks on this machine.

    ``torchrun`` sets that number. With other launchers it is the number of all ranks, but at most the number of GPUs.
    """
    world_size, gpus = find_share().world_size, torch.cuda.device_count()
    most = min(world_size, gpus) if gpus else world_size
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", most))
    return max(1, len(os.sched_getaffinity(0)) // max(1, ranks))
