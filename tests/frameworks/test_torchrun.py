"""The loader in processes that ``torchrun`` starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.framework_loading import VIDEOS, read_results, run_ranks, seen_in_epochs, training_loader

pytestmark = pytest.mark.slow

SCRIPT = """
    import sys
    import torch.distributed as dist
    from tests.support.framework_loading import seen, training_loader, write_result

    # The loader exists before the ranks are known.
    loader = training_loader(sys.argv[1], num_workers=None)
    dist.init_process_group("gloo")
    batches = []
    state = None
    for epoch in range(2):
        loader.set_epoch(epoch)
        for number, (clips, labels) in enumerate(loader):
            batches.append(seen(clips, labels))
            if (epoch, number) == (1, 0):
                state = loader.state_dict()
    write_result(dist.get_rank(), {"batches": batches, "state": state, "workers": loader.num_workers})
    loader.close()
    dist.destroy_process_group()
"""


def test_a_loader_made_before_the_ranks_are_known_is_shared_and_resumes_on_one_process(
    videos: Path, tmp_path: Path
) -> None:
    result = run_ranks(tmp_path, SCRIPT, str(videos), ranks=2, torchrun=True)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr, result.stderr
    first, second = read_results(tmp_path, 2)
    for rank, own in enumerate((first, second)):
        assert own["batches"] == seen_in_epochs(videos, range(2), rank=rank, world_size=2)
    assert first["state"] == second["state"]
    assert first["workers"] == second["workers"] == max(1, len(os.sched_getaffinity(0)) // 2), "they share the cores"

    steps = len(first["batches"]) // 2
    loaded = [label for own in (first, second) for labels, _ in own["batches"][steps : steps + 1] for label in labels]
    with training_loader(videos) as loader:
        loader.load_state_dict(first["state"])
        assert loader.epoch == 1
        rest = [label for _, labels in loader for label in labels.tolist()]
    assert len(rest) == VIDEOS - 4
    assert sorted(loaded + rest) == list(range(VIDEOS)), "each remaining video is loaded once"
