"""What a loader reports: numbers of its epochs, a line per epoch in the log, and its text."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from mgdali import MGDaliIterator, MotionGuided, TimeRange, VideoDataset, build_index
from tests.support.loading import load


def test_the_numbers_of_an_epoch_are_those_of_its_batches(
    dataset: VideoDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    videos = dataset.subset(range(5))
    build_index(videos.subset(range(3)), tmp_path / "index.parquet", num_workers=0)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [*videos.paths, tmp_path / "broken.mp4"]
    spoiled = VideoDataset(paths, [0] * 6)
    arguments = {"index": tmp_path / "index.parquet", "on_error": "replace", "batch_size": 2, "return_meta": True}
    with load(spoiled, **arguments) as loader, caplog.at_level(logging.INFO, "mgdali"):
        assert str(loader.stats()) == "No batch was yielded yet."
        with pytest.warns(RuntimeWarning, match="is replaced|is not in the index"):
            loaded = [path for _, _, meta in loader for path in meta["path"]]
        stats = loader.stats()
        assert (stats.epoch, stats.batches, stats.clips, stats.replaced) == (0, 3, 6, 1)
        known = sum(path in videos.paths[:3] for path in loaded)
        assert stats.by_route == {"PyAV, index": known, "PyAV, whole video": 6 - known}
        assert stats.frames_decoded == loader.frames_decoded
        assert 0 < stats.workers_busy <= stats.waiting <= 1
        assert {video.path for video in stats.slowest} == set(loaded)
        assert [record for record in caplog.messages if record.startswith("epoch")] == [stats.line]
        # An epoch that is left early has the numbers of the batches that were yielded.
        next(iter(loader))
        assert (loader.stats().epoch, loader.stats().clips, loader.stats().batches) == (1, 2, 1)
    assert loader.stats().clips == 2


@pytest.mark.slow
def test_workers_report_how_long_they_were_busy(dataset: VideoDataset) -> None:
    with load(dataset, num_workers=2, batch_size=4) as loader:
        assert len(list(loader)) == 3
    stats = loader.stats()
    assert (stats.clips, stats.num_workers) == (11, 2)
    assert 0 < stats.workers_busy < 1
    assert sum(video.seconds for video in stats.slowest) <= stats.workers_busy * stats.seconds * 2 * 1.001


def test_the_text_of_a_loader_says_what_it_will_do(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=4, training=True, shuffle=True, seed=3, num_workers=2) as loader:
        assert repr(loader) == (
            "MGDaliIterator(11 videos, 3 batches of 4, MotionGuided(4), training, shuffled, 32x32 float32 NTCHW on "
            "cpu, 2 workers, index=None, seed=3)"
        )
    assert repr(loader).endswith("seed=3, closed)")
    with load(dataset, weights=[1.0] * 11, samples_per_epoch=5) as loader:
        assert repr(loader).startswith(
            "MGDaliIterator(11 videos, 5 batches of 1, MotionGuided(4), testing, drawn by weights, 32x32"
        )
    with load(dataset, order=lambda epoch: [2, 0, 2]) as loader:
        assert ", 3 batches of 1, MotionGuided(4), testing, in the order of a function, " in repr(loader)
    parts = VideoDataset(list(dataset.paths[:1]), [0], time_ranges=[TimeRange(0, 2, unit="frames")])
    with load(parts, sampler=MotionGuided(2, mu=0.3), rank=1, world_size=4, dtype="uint8") as loader:
        assert repr(loader).startswith(
            "MGDaliIterator(1 segment, 1 batch of 1 on rank 1 of 4, MotionGuided(2, mu=0.3), testing, 32x32 uint8"
        )


def test_the_text_of_a_loader_never_raises(dataset: VideoDataset) -> None:
    class Own:
        num_frames = 2
        representation = None

        def pick(self, motion: object, total: int, offsets: object) -> object:
            return np.zeros(2, np.int64)

    with load(dataset, sampler=Own()) as loader:
        assert ", Own(2), " in repr(loader)
    del loader._settings
    assert repr(loader) == "<MGDaliIterator that cannot be described: AttributeError>"
    assert repr(MGDaliIterator.__new__(MGDaliIterator)) == repr(loader)
