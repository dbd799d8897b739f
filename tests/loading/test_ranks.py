"""Ranks and the default number of workers, from the arguments, torch.distributed and the launcher."""

from __future__ import annotations

import os

import pytest
import torch

from mgdali.loading import ranks
from mgdali.loading.order import WHOLE, Share


def test_given_ranks_are_used_and_others_are_found_later() -> None:
    assert ranks.given_share(1, 3) == Share(1, 3)
    assert ranks.given_share(None, None) is None
    with pytest.raises(ValueError, match="both rank and world_size or neither, got rank=None, world_size=2"):
        ranks.given_share(None, 2)


def test_without_torch_distributed_this_process_loads_all_videos() -> None:
    assert ranks.find_share() == WHOLE


@pytest.mark.parametrize(
    ("launcher", "world_size", "gpus", "expected"),
    [
        (None, 1, 0, 16),
        ("4", 8, 0, 4),
        # Without torchrun: all ranks may be on this machine, unless each has a GPU here.
        (None, 8, 0, 2),
        (None, 8, 4, 4),
        ("99", 99, 0, 1),
    ],
)
def test_ranks_on_this_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, launcher: str | None, world_size: int, gpus: int, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(ranks, "find_share", lambda: Share(0, world_size))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if launcher is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", launcher)
    assert ranks.default_workers() == expected
