"""Blocks of arguments.md and strategies.md run as they are written, and do what the pages promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgdali import VideoDataset, pick_frames
from tests.support.documented_blocks import DOCS, blocks_of, run_block
from tests.support.loading import load
from tests.support.videos import moving_square, write_video

PAGES = ("arguments.md", "strategies.md")
BLOCKS = {block.name: block for page in PAGES for block in blocks_of(DOCS / page)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    folder = tmp_path_factory.mktemp("arguments")
    paths = [write_video(folder / f"{i}.mp4", moving_square(12, 48, 64, seed=i)) for i in range(3)]
    return VideoDataset(paths, ["run", "jump", "run"])


def run(name: str, folder: Path, **names: Any) -> dict[str, Any]:
    found = run_block(BLOCKS[name], folder, names)
    if "loader" in found:
        found["loader"].close()
    return found


def test_weights_of_the_page_give_each_class_the_same_number_of_draws(dataset: VideoDataset, tmp_path: Path) -> None:
    names = run("Order, weights, mixing", tmp_path, dataset=dataset)
    assert len(names["loader"]) == 10_000
    shares = [names["weights"][dataset.labels == label].sum() for label in range(2)]
    assert shares[0] == pytest.approx(shares[1])


def test_mixing_of_the_page_gives_each_data_set_its_share(dataset: VideoDataset, tmp_path: Path) -> None:
    names = run("Order, weights, mixing (2)", tmp_path, kinetics=dataset, ucf101=dataset[:1])
    weights = np.asarray(names["weights"])
    assert weights[3:].sum() / weights.sum() == pytest.approx(0.3)


def test_order_of_the_page_grows_with_the_epoch(dataset: VideoDataset, tmp_path: Path) -> None:
    names = run("Order, weights, mixing (3)", tmp_path, dataset=dataset, by_difficulty=[1, 2, 0])
    assert len(names["loader"]) == 3


@pytest.mark.parametrize(
    ("block", "made", "expected"),
    [("Three members", "Ends", [0, 1, 2, 3, 8, 9, 10, 11]), ("Times", "Keystrokes", [0, 3, 7])],
)
def test_own_strategies_of_the_page_load(
    dataset: VideoDataset, tmp_path: Path, block: str, made: str, expected: list[int]
) -> None:
    sampler = run(block, tmp_path)[made]()
    with load(dataset, sampler=sampler, num_workers=0, return_meta=True, batch_size=3) as loader:
        (batch,) = loader
    assert batch[2]["frames"].tolist() == [expected] * 3


def test_the_strategy_that_leaves_out_the_beginning_picks_by_motion_after_it(
    dataset: VideoDataset, tmp_path: Path
) -> None:
    sampler = run("Motion", tmp_path)["WithoutIntro"]()
    motion = np.r_[np.full(5, 9.0), np.zeros(10), np.ones(10)]
    assert min(sampler.pick(motion, 25, np.full(4, 0.5))) >= 15
    clip = pick_frames(dataset[0].path, sampler=sampler)
    assert len(clip) == 4
    assert min(clip.indices) >= 2


def test_strategies_of_the_page_pick_what_it_says(tmp_path: Path) -> None:
    names = run("Strategies that exist", tmp_path)
    seconds = np.arange(240) / 24
    picks = names["fps"].pick(None, 240, np.zeros(16), seconds=seconds)
    assert picks.tolist() == [3 * i for i in range(16)]
    assert set(np.diff(names["run"].pick(np.ones(240), 240, np.full(8, 0.3)))) == {8}


def test_each_block_of_these_pages_has_a_test() -> None:
    assert len(BLOCKS) == sum(len(blocks_of(DOCS / page)) for page in PAGES) == 7
