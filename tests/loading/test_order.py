from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from mgdali.loading.chosen_videos import ListedVideos
from mgdali.loading.order import WHOLE, EpochOrder, Share

SEEDS = st.integers(0, 2**64)
VIDEOS = st.integers(1, 60)
WORLDS = st.integers(1, 9)


def shares(world_size: int) -> list[Share]:
    return [Share(rank, world_size) for rank in range(world_size)]


@given(VIDEOS, WORLDS, SEEDS, st.booleans())
def test_ranks_divide_the_videos(num_videos: int, world_size: int, seed: int, shuffle: bool) -> None:
    order = EpochOrder(num_videos=num_videos, seed=seed, shuffle=shuffle)
    ranks = [order.indices(3, share).tolist() for share in shares(world_size)]
    assert len({len(rank) for rank in ranks}) == 1
    turns = [index for turn in zip(*ranks, strict=True) for index in turn]
    assert sorted(turns[:num_videos]) == list(range(num_videos))
    assert len(turns) - num_videos < world_size
    assert turns[num_videos:] == [turns[i % num_videos] for i in range(len(turns) - num_videos)]


@given(VIDEOS, WORLDS)
def test_ranks_divide_the_videos_as_torchs_distributed_sampler_does(num_videos: int, world_size: int) -> None:
    order = EpochOrder(num_videos=num_videos)
    for share in shares(world_size):
        expected = DistributedSampler(range(num_videos), world_size, share.rank, shuffle=False)
        assert order.num_batches(0, share) == len(expected)
        assert order.indices(0, share).tolist() == list(expected)


@given(VIDEOS, WORLDS, st.integers(1, 20))
def test_the_length_is_the_number_of_batches(num_videos: int, world_size: int, batch_size: int) -> None:
    for share in shares(world_size):
        order = EpochOrder(num_videos=num_videos, batch_size=batch_size)
        samples = len(order.indices(0, share))
        assert order.num_batches(0, share) == len(range(0, samples, batch_size))
        order = EpochOrder(num_videos=num_videos, batch_size=batch_size, drop_last=True)
        assert order.num_batches(0, share) == samples // batch_size


@given(VIDEOS, WORLDS, st.integers(1, 9), st.booleans(), st.data())
def test_the_rest_of_an_epoch_is_what_follows_the_batches_that_were_yielded(
    num_videos: int, world_size: int, batch_size: int, drop_last: bool, data: st.DataObject
) -> None:
    order = EpochOrder(num_videos=num_videos, batch_size=batch_size, shuffle=True, drop_last=drop_last)
    for share in shares(world_size):
        whole = order.indices(2, share).tolist()
        done = data.draw(st.integers(0, order.num_batches(0, share)))
        taken = order.taken_after(0, share, 0, done) if done else 0
        assert order.num_batches(0, share, taken) == order.num_batches(0, share) - done
        if done < order.num_batches(0, share):
            assert order.indices(2, share, taken).tolist() == whole[done * batch_size :]


@given(VIDEOS, WORLDS, WORLDS, st.integers(1, 9), st.data())
def test_other_ranks_load_each_remaining_video_once(
    num_videos: int, before: int, after: int, batch_size: int, data: st.DataObject
) -> None:
    order = EpochOrder(num_videos=num_videos, batch_size=batch_size, shuffle=True)
    done = data.draw(st.integers(0, order.num_batches(0, Share(0, before))))
    taken = order.taken_after(0, Share(0, before), 0, done) if done else 0
    everything = order.indices(5, WHOLE).tolist()
    turns = list(zip(*(order.indices(5, share, taken).tolist() for share in shares(after)), strict=True))
    loaded = [index for turn in turns for index in turn]
    assert loaded[: num_videos - taken] == everything[taken:]
    assert len(loaded) - (num_videos - taken) < after


def test_without_shuffling_every_epoch_is_in_the_data_sets_order() -> None:
    order = EpochOrder(num_videos=20)
    assert order.indices(0, WHOLE).dtype == np.int64
    assert order.indices(0, WHOLE).tolist() == order.indices(7, WHOLE).tolist() == list(range(20))


def test_shuffling_depends_only_on_seed_and_epoch() -> None:
    def shuffled(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(EpochOrder(num_videos=50, shuffle=True, seed=seed).indices(epoch, WHOLE).tolist())

    assert shuffled(4, 2) == shuffled(4, 2)
    orders = {shuffled(seed, epoch) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert tuple(range(50)) not in orders


def test_an_epochs_order_does_not_depend_on_earlier_calls() -> None:
    order = EpochOrder(num_videos=50, shuffle=True)
    later = order.indices(5, WHOLE).tolist()
    order.indices(0, WHOLE)
    assert order.indices(5, WHOLE).tolist() == later


def test_shuffling_moves_every_video_to_every_place() -> None:
    order = EpochOrder(num_videos=4, shuffle=True)
    places = {
        (place, video) for epoch in range(100) for place, video in enumerate(order.indices(epoch, WHOLE).tolist())
    }
    assert len(places) == 16


def test_the_usual_order_and_replacements_stay_as_they_are() -> None:
    order = EpochOrder(num_videos=12, shuffle=True, seed=3)
    assert order.indices(2, Share(1, 2)).tolist() == [6, 3, 11, 4, 5, 1]
    assert list(order.replacements(2, 7, WHOLE))[:6] == [5, 1, 3, 11, 0, 10]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), WORLDS, st.data())
def test_ranks_divide_chosen_videos_with_the_numbers_of_their_occurrences(
    listed: list[int], world_size: int, data: st.DataObject
) -> None:
    order = EpochOrder(num_videos=7, batch_size=2, chosen=ListedVideos(lambda epoch: listed, 7))
    taken = data.draw(st.integers(0, len(listed)))
    turns = [
        pair
        for turn in zip(
            *(zip(order.indices(4, s, taken), order.occurrences(4, s, taken), strict=True) for s in shares(world_size)),
            strict=True,
        )
        for pair in turn
    ]
    everything = [(index, listed[:place].count(index)) for place, index in enumerate(listed)]
    left = len(listed) - taken
    assert turns[:left] == everything[taken:]
    # Videos that fill up the last round repeat the first ones of the epoch, with their choices.
    assert turns[left:] == [everything[i % len(everything)] for i in range(len(turns) - left)]
    assert len(turns) - left < world_size


def test_a_video_that_occurs_twice_has_two_replacements() -> None:
    order = EpochOrder(num_videos=100)
    firsts = {next(order.replacements(0, 3, WHOLE, occurrence)) for occurrence in range(5)}
    assert len(firsts) > 2


@given(VIDEOS, WORLDS, SEEDS, st.integers(0, 100), st.data())
def test_replacements_are_this_ranks_other_videos_once_each(
    num_videos: int, world_size: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    order = EpochOrder(num_videos=num_videos, seed=seed, shuffle=True)
    share = data.draw(st.sampled_from(shares(world_size)))
    mine = order.indices(epoch, share).tolist()
    index = data.draw(st.sampled_from(mine))
    replacements = list(order.replacements(epoch, index, share))
    assert sorted(replacements) == sorted(set(mine) - {index})
    assert replacements == list(order.replacements(epoch, index, share))
    assert all(type(replacement) is int for replacement in replacements)


def test_replacements_differ_between_seeds_epochs_and_videos() -> None:
    def first_three(seed: int, epoch: int, index: int) -> tuple[int, ...]:
        return tuple(EpochOrder(num_videos=100, seed=seed).replacements(epoch, index, WHOLE))[:3]

    assert first_three(0, 0, 0) != first_three(1, 0, 0)
    assert first_three(0, 0, 0) != first_three(0, 1, 0)
    assert first_three(0, 0, 0) != first_three(0, 0, 1)


def test_failures_are_not_all_replaced_by_the_same_video() -> None:
    order = EpochOrder(num_videos=20)
    firsts = Counter(next(order.replacements(epoch, 3, WHOLE)) for epoch in range(200))
    assert len(firsts) == 19
    assert firsts.most_common(1)[0][1] < 40


def test_a_single_video_has_no_replacement() -> None:
    assert list(EpochOrder(num_videos=1).replacements(0, 0, WHOLE)) == []


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("num_videos", 0, 1),
        ("num_videos", 1.5, 1),
        ("batch_size", 0, 1),
        ("batch_size", None, 1),
        ("seed", -1, 0),
    ],
)
def test_a_bad_argument_is_named_with_its_value(name: str, value: Any, least: int) -> None:
    arguments = {"num_videos": 5, name: value}
    with pytest.raises(ValueError, match=f"{name} must be an integer >= {least}, got {value!r}"):
        EpochOrder(**arguments)


@pytest.mark.parametrize(
    ("rank", "world_size", "message"),
    [
        (-1, 2, "rank must be an integer >= 0, got -1"),
        (0, 0, "world_size must be an integer >= 1, got 0"),
        (0, "2", "world_size must be an integer >= 1, got '2'"),
        (2, 2, r"rank must be in \[0, 2\), got 2"),
    ],
)
def test_a_rank_outside_the_world_is_named(rank: int, world_size: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Share(rank, world_size)
