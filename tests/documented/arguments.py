"""What ``docs/arguments.md`` and ``docs/strategies.md`` promise."""

from __future__ import annotations

import numpy as np
import pytest

from mgdali import VideoDataset, pick_frames
from mgdali.samplers import Sampler
from tests.support.documented_case import Case, promise
from tests.support.loading import load
from tests.support.videos import moving_square, write_video

ORDER = "Order, weights, mixing"


def three_videos(case: Case) -> VideoDataset:
    """Return a data set of three videos with 12 frames each."""
    (case.folder / "three").mkdir()
    paths = [write_video(case.folder / "three" / f"{i}.mp4", moving_square(12, 48, 64, seed=i)) for i in range(3)]
    return VideoDataset(paths, ["run", "jump", "run"])


@promise("arguments.md", ORDER)
def weights_give_each_class_the_same_number_of_draws(case: Case) -> None:
    dataset = three_videos(case)
    names = case.run(dataset=dataset)
    assert len(names["loader"]) == 10_000
    shares = [names["weights"][dataset.labels == label].sum() for label in range(2)]
    assert shares[0] == pytest.approx(shares[1])


@promise("arguments.md", f"{ORDER} (2)")
def mixing_gives_each_data_set_its_share(case: Case) -> None:
    dataset = three_videos(case)
    weights = np.asarray(case.run(kinetics=dataset, ucf101=dataset[:1])["weights"])
    assert weights[3:].sum() / weights.sum() == pytest.approx(0.3)


@promise("arguments.md", f"{ORDER} (3)")
def order_grows_with_the_epoch(case: Case) -> None:
    names = case.run(dataset=three_videos(case), by_difficulty=[1, 2, 0])
    assert len(names["loader"]) == 3


def picks_in_a_loader(case: Case, sampler: Sampler) -> list[list[int]]:
    """Return the picks of a strategy for three videos with 12 frames each."""
    with load(three_videos(case), sampler=sampler, return_meta=True, batch_size=3) as loader:
        (batch,) = loader
    picks: list[list[int]] = batch[2]["frames"].tolist()
    return picks


@promise("strategies.md", "Three members")
def ends_are_picked(case: Case) -> None:
    assert picks_in_a_loader(case, case.run()["Ends"]()) == [[0, 1, 2, 3, 8, 9, 10, 11]] * 3


@promise("strategies.md", "Times")
def times_are_those_of_the_frames(case: Case) -> None:
    assert picks_in_a_loader(case, case.run()["Keystrokes"]()) == [[0, 3, 7]] * 3


@promise("strategies.md", "Motion")
def the_beginning_is_left_out(case: Case) -> None:
    sampler = case.run()["WithoutIntro"]()
    motion = np.r_[np.full(5, 9.0), np.zeros(10), np.ones(10)]
    assert min(sampler.pick(motion, 25, np.full(4, 0.5))) >= 15
    clip = pick_frames(three_videos(case)[0].path, sampler=sampler)
    assert len(clip) == 4
    assert min(clip.indices) >= 2


@promise("strategies.md", "Strategies that exist")
def strategies_pick_what_the_page_says(case: Case) -> None:
    names = case.run()
    seconds = np.arange(240) / 24
    picks = names["fps"].pick(None, 240, np.zeros(16), seconds=seconds)
    assert picks.tolist() == [3 * i for i in range(16)]
    assert set(np.diff(names["run"].pick(np.ones(240), 240, np.full(8, 0.3)))) == {8}
