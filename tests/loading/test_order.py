from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from mgdali.loading.order import EpochOrder

SEEDS = st.integers(0, 2**64)
VIDEOS = st.integers(1, 60)
WORLDS = st.integers(1, 9)


def ranks(num_videos: int, world_size: int, **more: Any) -> list[EpochOrder]:
    return [EpochOrder(num_videos=num_videos, rank=r, world_size=world_size, **more) for r in range(world_size)]


@given(VIDEOS, WORLDS, SEEDS, st.booleans())
def test_ranks_divide_the_videos(num_videos: int, world_size: int, seed: int, shuffle: bool) -> None:
    shares = [order.indices(3).tolist() for order in ranks(num_videos, world_size, seed=seed, shuffle=shuffle)]
    assert len({len(share) for share in shares}) == 1
    turns = [index for turn in zip(*shares, strict=True) for index in turn]
    assert sorted(turns[:num_videos]) == list(range(num_videos))
    assert len(turns) - num_videos < world_size
    assert turns[num_videos:] == [turns[i % num_videos] for i in range(len(turns) - num_videos)]


@given(VIDEOS, WORLDS)
def test_ranks_divide_the_videos_as_torchs_distributed_sampler_does(num_videos: int, world_size: int) -> None:
    for order in ranks(num_videos, world_size):
        expected = DistributedSampler(range(num_videos), world_size, order.rank, shuffle=False)
        assert order.num_samples == len(expected)
        assert order.indices(0).tolist() == list(expected)


@given(VIDEOS, WORLDS, st.integers(1, 20))
def test_the_length_is_the_number_of_batches(num_videos: int, world_size: int, batch_size: int) -> None:
    for order in ranks(num_videos, world_size, batch_size=batch_size):
        batches = [batch_size] * (order.num_samples // batch_size)
        rest = order.num_samples % batch_size
        assert len(order) == len(batches) + (rest > 0)
    for order in ranks(num_videos, world_size, batch_size=batch_size, drop_last=True):
        assert len(order) == len(batches)


def test_without_shuffling_every_epoch_is_in_the_data_sets_order() -> None:
    order = EpochOrder(num_videos=20)
    assert order.indices(0).dtype == np.int64
    assert order.indices(0).tolist() == order.indices(7).tolist() == list(range(20))


def test_shuffling_depends_only_on_seed_and_epoch() -> None:
    def shuffled(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(EpochOrder(num_videos=50, shuffle=True, seed=seed).indices(epoch).tolist())

    assert shuffled(4, 2) == shuffled(4, 2)
    orders = {shuffled(seed, epoch) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert tuple(range(50)) not in orders


def test_an_epochs_order_does_not_depend_on_earlier_calls() -> None:
    order = EpochOrder(num_videos=50, shuffle=True)
    later = order.indices(5).tolist()
    order.indices(0)
    assert order.indices(5).tolist() == later


def test_shuffling_moves_every_video_to_every_place() -> None:
    order = EpochOrder(num_videos=4, shuffle=True)
    places = {(place, video) for epoch in range(100) for place, video in enumerate(order.indices(epoch).tolist())}
    assert len(places) == 16


@given(VIDEOS, WORLDS, SEEDS, st.integers(0, 100), st.data())
def test_replacements_are_this_ranks_other_videos_once_each(
    num_videos: int, world_size: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    order = data.draw(st.sampled_from(ranks(num_videos, world_size, seed=seed, shuffle=True)))
    mine = order.indices(epoch).tolist()
    index = data.draw(st.sampled_from(mine))
    replacements = list(order.replacements(epoch, index))
    assert sorted(replacements) == sorted(set(mine) - {index})
    assert replacements == list(order.replacements(epoch, index))
    assert all(type(replacement) is int for replacement in replacements)


def test_replacements_differ_between_seeds_epochs_and_videos() -> None:
    def first_three(seed: int, epoch: int, index: int) -> tuple[int, ...]:
        return tuple(EpochOrder(num_videos=100, seed=seed).replacements(epoch, index))[:3]

    assert first_three(0, 0, 0) != first_three(1, 0, 0)
    assert first_three(0, 0, 0) != first_three(0, 1, 0)
    assert first_three(0, 0, 0) != first_three(0, 0, 1)


def test_failures_are_not_all_replaced_by_the_same_video() -> None:
    order = EpochOrder(num_videos=20)
    firsts = Counter(next(order.replacements(epoch, 3)) for epoch in range(200))
    assert len(firsts) == 19
    assert firsts.most_common(1)[0][1] < 40


def test_a_single_video_has_no_replacement() -> None:
    assert list(EpochOrder(num_videos=1).replacements(0, 0)) == []


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("num_videos", 0, 1),
        ("num_videos", 1.5, 1),
        ("batch_size", 0, 1),
        ("batch_size", None, 1),
        ("seed", -1, 0),
        ("rank", -1, 0),
        ("world_size", 0, 1),
        ("world_size", "2", 1),
    ],
)
def test_a_bad_argument_is_named_with_its_value(name: str, value: Any, least: int) -> None:
    arguments = {"num_videos": 5, name: value}
    with pytest.raises(ValueError, match=f"{name} must be an integer >= {least}, got {value!r}"):
        EpochOrder(**arguments)


def test_a_rank_outside_the_world_is_named() -> None:
    with pytest.raises(ValueError, match=r"rank must be in \[0, 2\), got 2"):
        EpochOrder(num_videos=5, rank=2, world_size=2)
