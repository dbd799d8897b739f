"""The examples in the docstrings of public modules run and print what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import mgdali
from mgdali import VideoDataset, build_index
from tests.support.videos import moving_square, write_video

MODULES = [
    "mgdali.sampling",
    "mgdali.published_rules",
    "mgdali.published_samplers",
    "mgdali.samplers",
    "mgdali.datasets.constructors",
    "mgdali.datasets.mixing",
    "mgdali.datasets.video_dataset",
    "mgdali.explore.server",
    "mgdali.index.reader",
    "mgdali.iterator",
    "mgdali.loading.chosen_videos",
    "mgdali.one_video.pick",
]


def examples_of(module: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    return [test for test in found if test.examples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name: videos/run/a.mp4 of 48 frames, and its index clips.parquet."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "videos" / "run").mkdir(parents=True)
    write_video(folder / "videos" / "run" / "a.mp4", moving_square(48, 48, 64))
    build_index(folder / "videos", folder / "clips.parquet", num_workers=0)
    return folder


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_print_what_they_show(
    module: str, folder: Path, dataset: VideoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names = {name: getattr(mgdali, name) for name in mgdali.__all__}
    runner = doctest.DocTestRunner(verbose=False)
    tests = examples_of(module)
    assert tests, f"{module} has no examples"
    for test in tests:
        test.globs.update(names, np=np, dataset=dataset[:6])
        runner.run(test)
    assert runner.failures == 0


def test_every_module_with_examples_is_run() -> None:
    root = Path(mgdali.__file__).parents[1]
    with_examples = [
        ".".join(file.relative_to(root).with_suffix("").parts)
        for file in (root / "mgdali").rglob("*.py")
        if ">>>" in file.read_text()
    ]
    assert sorted(with_examples) == sorted(MODULES)
