"""The loader with the rows of tables: labels of every kind and columns come out with their clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import VideoDataset
from tests.support.loading import digest, load
from tests.support.videos import moving_square, write_video

LABELS: dict[str, list[Any]] = {
    "names": ["run", "sit", None, "run"],
    "numbers": [0.5, 1.25, -3.0, 1e-3],
    "sets": [["run"], [], ["sit", "run"], ["fly"]],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for name in ("a", "b"):
        write_video(folder / f"{name}.mp4", moving_square(24, 48, 64))
    (folder / "t.csv").write_text(
        "id,video,start,end,action\n7,a,0,0.4,run\n11,a,00:00:00.25,00:00:00.8,sit\n13,b,0.1,0.6,\n2,b,0.4,,run\n"
    )
    return folder


def table(folder: Path, kind: str) -> VideoDataset:
    dataset = VideoDataset.from_table(folder / "t.csv", path="{video}.mp4", root=folder, label="action", columns=["id"])
    if kind == "names":
        return dataset
    parts = [video.time_range for video in dataset]
    return VideoDataset(dataset.paths, LABELS[kind], columns=dataset.columns, time_ranges=parts)


def batches(dataset: VideoDataset, **arguments: Any) -> list[Any]:
    with load(dataset, batch_size=2, shuffle=True, training=True, return_meta=True, **arguments) as loader:
        return list(loader)


@pytest.mark.parametrize("kind", LABELS)
def test_labels_and_columns_come_with_their_segments(folder: Path, kind: str) -> None:
    dataset = table(folder, kind)
    seen = []
    for clips, labels, meta in batches(dataset, num_workers=0):
        assert clips.shape[0] == 2
        rows = [dataset.columns["id"].index(each) for each in meta["id"].tolist()]
        np.testing.assert_array_equal(labels.numpy(), dataset.labels[rows])
        assert labels.numpy().dtype == dataset.labels.dtype
        assert meta["path"] == [dataset.paths[row] for row in rows]
        seen += rows
    assert sorted(seen) == [0, 1, 2, 3]


@pytest.mark.slow
def test_workers_change_nothing(folder: Path) -> None:
    for kind in LABELS:
        dataset = table(folder, kind)
        expected = batches(dataset, num_workers=0)
        found = batches(dataset, num_workers=1)
        assert [digest(batch) for batch in found] == [digest(batch) for batch in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours[2]["id"], theirs[2]["id"])
