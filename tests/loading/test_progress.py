"""The place of a loader in a run: which epoch the next iteration yields, and where it begins."""

from __future__ import annotations

import warnings

import pytest

from mgdali.loading.order import EpochOrder, Share
from mgdali.loading.progress import Progress, Start

SHARE = Share(1, 2)
ORDER = EpochOrder(num_videos=10, batch_size=2)


def make() -> Progress:
    return Progress(ORDER, lambda: SHARE)


def run(progress: Progress, batches: int) -> Start:
    """Begin an iteration and yield some batches; three are all."""
    start = progress.next_start()
    progress.begin(start)
    for _ in range(batches):
        progress.count_batch()
    return start


def resumed(state: dict[str, object]) -> Progress:
    progress = make()
    progress.load(state)
    return progress


def test_an_iteration_that_is_left_early_is_followed_by_the_next_epoch() -> None:
    progress = make()
    for epoch, batches in enumerate((0, 1, 3)):
        assert run(progress, batches) == Start(epoch, SHARE, 0)
        assert progress.epoch == epoch


def test_looking_at_the_next_start_changes_nothing() -> None:
    progress = make()
    assert progress.next_start() == progress.next_start() == Start(0, SHARE, 0)
    run(progress, 1)
    assert progress.next_start() == progress.next_start() == Start(1, SHARE, 0)


def test_a_state_counts_the_videos_of_all_ranks() -> None:
    progress = make()
    for batches, videos in ((0, 0), (1, 4), (2, 8), (3, 10)):
        progress.set_epoch(5)
        run(progress, batches)
        assert (progress.state()["epoch"], progress.state()["videos"]) == (5, videos)


def test_a_loaded_state_continues_in_its_epoch_if_it_is_chosen_and_if_not() -> None:
    progress = make()
    run(progress, 2)
    state = progress.state()
    for choose in (False, True):
        progress = resumed(state)
        assert progress.epoch == 0
        if choose:
            progress.set_epoch(0)
        assert progress.next_start() == Start(0, SHARE, 8)
    progress.set_epoch(3)
    assert progress.next_start() == Start(3, SHARE, 0)


def test_a_complete_state_continues_with_the_next_epoch_and_is_empty_if_chosen() -> None:
    progress = make()
    run(progress, 3)
    state = progress.state()
    progress = resumed(state)
    assert progress.epoch == 1
    assert progress.next_start() == Start(1, SHARE, 0)
    progress = resumed(state)
    progress.set_epoch(0)
    assert progress.epoch == 0
    with pytest.warns(RuntimeWarning, match=r"set_epoch\(0\): all batches"):
        start = progress.next_start()
    assert ORDER.num_batches(start.epoch, start.share, start.taken) == 0
    progress.begin(start)
    progress.end()
    assert progress.epoch == 1


def test_choosing_an_epoch_twice_or_another_one_first_does_not_warn() -> None:
    progress = make()
    run(progress, 3)
    progress = resumed(progress.state())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Lightning chooses the complete epoch, requests nothing, and chooses the next one.
        progress.set_epoch(0)
        progress.set_epoch(1)
        assert progress.next_start() == Start(1, SHARE, 0)


def test_after_a_stop_the_old_token_is_no_longer_the_running_one() -> None:
    progress = make()
    token = progress.begin(progress.next_start())
    assert progress.running is token
    progress.stop()
    assert progress.running is None
    assert progress.next_start() == Start(1, SHARE, 0)


def test_skipped_batches_count_as_yielded() -> None:
    progress = make()
    progress.set_epoch(2)
    progress.skip(1)
    assert progress.next_start() == Start(2, SHARE, 4)
    progress.skip(2)
    assert progress.epoch == 3
    assert progress.next_start() == Start(3, SHARE, 0)
    with pytest.raises(ValueError, match="cannot skip 4 batches: epoch 3 has 3 batches left"):
        progress.skip(4)
