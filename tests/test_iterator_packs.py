"""The loader with packed data sets: the picks of the originals, from the bytes that they need."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import (
    DatasetError,
    MotionGuided,
    MotionIndex,
    Segment,
    Stride,
    TopMotion,
    VideoDataset,
    VideoDecodeError,
    build_index,
)
from mgdali.datasets.pack_format import INDEX
from mgdali.samplers import Representation
from mgdali.video import media as media_module
from mgdali.video.packet_bytes import parts_of_runs
from mgdali.video.picked_frames import frames_needed, needed_packets
from tests.support.faulty_server import FaultyServer
from tests.support.loading import SAMPLER, digest, load
from tests.support.packed import LENGTHS, write_originals, write_pack

BOTH = (Representation(), Representation(motion="feature"))
TRAINING = {"training": True, "shuffle": True, "batch_size": 3, "return_meta": True, "num_workers": 0}
STRATEGIES = [SAMPLER, MotionGuided(num_frames=4, motion="feature"), TopMotion(num_frames=4), Segment(), Stride()]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoDataset, Path]:
    """The originals, and the folder of their packed data set with S at both levels."""
    folder = tmp_path_factory.mktemp("packs")
    originals = write_originals(folder / "videos")
    return originals, write_pack(originals, folder / "pack", representations=BOTH)


@pytest.fixture
def copied(packed: tuple[VideoDataset, Path], tmp_path: Path) -> Path:
    """A copy of the packed data set, which tests may change."""
    return Path(shutil.copytree(packed[1], tmp_path / "copied"))


def picks(dataset: VideoDataset, **arguments: Any) -> list[Any]:
    with load(dataset, **{**TRAINING, **arguments}) as loader:
        batches = [(labels.tolist(), meta["frames"].tolist()) for _ in range(2) for _, labels, meta in loader]
        assert not loader.unindexed
        assert dataset.pack is None or set(loader.stats().by_route) == {"PyAV, pack"}
    return batches


def digests(dataset: VideoDataset, **arguments: Any) -> list[str]:
    with load(dataset, **{**TRAINING, **arguments}) as loader:
        return [digest(batch) for batch in loader]


@pytest.mark.parametrize("sampler", STRATEGIES, ids=lambda sampler: type(sampler).__name__)
def test_a_seed_gives_the_order_and_picks_of_the_originals(packed: tuple[VideoDataset, Path], sampler: Any) -> None:
    originals, folder = packed
    wanted = picks(originals, sampler=sampler)
    assert picks(VideoDataset.from_pack(folder), sampler=sampler) == wanted


def test_clips_are_those_of_the_originals_but_for_the_encoding(packed: tuple[VideoDataset, Path]) -> None:
    originals, folder = packed
    arguments = {"dtype": "uint8", "num_workers": 0, "batch_size": 8, "training": True, "resize": 48}
    with load(originals, **arguments) as one, load(VideoDataset.from_pack(folder), **arguments) as other:
        (clips, _), (copies, _) = next(one), next(other)
    difference = (clips.to(torch.int16) - copies).abs().float()
    assert 0 < difference.mean() < 4


def test_only_the_frames_and_bytes_that_picks_need_are_decoded_and_read(
    packed: tuple[VideoDataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = VideoDataset.from_pack(packed[1])
    assert dataset.pack is not None
    index = MotionIndex(dataset.pack.index, root=dataset.pack.root)
    read: list[list[tuple[int, int]]] = []
    read_parts = media_module.read_parts

    def noted(file: str, spans: list[tuple[int, int]]) -> list[bytes]:
        read.append(list(spans))
        return read_parts(file, spans)

    def refused(*_: object) -> bytes:
        raise AssertionError("a whole file was read")

    monkeypatch.setattr(media_module, "read_parts", noted)
    monkeypatch.setattr(media_module, "read_part", refused)
    expected, frames = [], 0
    with load(dataset, num_workers=0, batch_size=1, return_meta=True) as loader:
        for video, (_, _, meta) in zip(dataset, loader, strict=True):
            record = index.find(video.path)
            assert record is not None
            assert video.span is not None
            chosen = np.unique(meta["frames"]).tolist()
            frames += frames_needed(record, chosen)
            parts = parts_of_runs(record, needed_packets(record, chosen))
            expected.append([(video.span[0] + offset, length) for (offset, length), _ in parts])
        assert loader.frames_decoded == frames
    assert read == expected
    assert frames <= 3 * SAMPLER.num_frames * len(LENGTHS)


def test_the_bytes_are_the_same_for_any_number_of_workers(packed: tuple[VideoDataset, Path]) -> None:
    dataset = VideoDataset.from_pack(packed[1])
    assert digests(dataset, num_workers=0) == digests(dataset, num_workers=2)


def test_two_ranks_share_a_pack_and_resume_exactly(packed: tuple[VideoDataset, Path]) -> None:
    dataset = VideoDataset.from_pack(packed[1])
    for rank in range(2):
        share = {**TRAINING, "rank": rank, "world_size": 2, "batch_size": 1}
        whole = digests(dataset, **share)
        with load(dataset, **share) as loader:
            begun = [digest(next(loader))]
            state = loader.state_dict()
        with load(dataset, **share) as loader:
            loader.load_state_dict(state)
            assert begun + [digest(batch) for batch in loader] == whole


def test_a_pack_at_a_server_gives_the_bytes_of_the_local_one(
    packed: tuple[VideoDataset, Path], copied: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(copied.parent / "cache"))
    remote = VideoDataset.from_pack(f"{server.url}/copied")
    local = VideoDataset.from_pack(copied)
    with load(remote, num_workers=0, batch_size=3) as one, load(local, num_workers=0, batch_size=3) as other:
        assert all(torch.equal(clips, others) for (clips, _), (others, _) in zip(one, other, strict=True))


@pytest.mark.parametrize("index", ["videos.parquet", Path("videos.parquet")])
def test_another_index_is_refused(packed: tuple[VideoDataset, Path], index: Any) -> None:
    with pytest.raises(ValueError, match="has its own index, with the motion of the original videos"):
        load(VideoDataset.from_pack(packed[1]), index=index)


def test_index_auto_uses_the_index_of_the_pack(packed: tuple[VideoDataset, Path]) -> None:
    dataset = VideoDataset.from_pack(packed[1])
    before = sorted(packed[1].parent.iterdir())
    assert digests(dataset, index="auto") == digests(dataset)
    assert sorted(packed[1].parent.iterdir()) == before


def test_a_strategy_whose_motion_is_missing_is_refused(packed: tuple[VideoDataset, Path], tmp_path: Path) -> None:
    folder = write_pack(packed[0].subset([0]), tmp_path / "image")
    sampler = MotionGuided(num_frames=4, motion="feature")
    with pytest.raises(DatasetError, match="contains no motion 'feature'"):
        load(VideoDataset.from_pack(folder), sampler=sampler)
    weights = np.ones((8, 3, 7, 7), np.float32)
    with pytest.raises(DatasetError, match="contains no motion 'feature' with these filters"):
        load(VideoDataset.from_pack(packed[1]), sampler=MotionGuided(num_frames=4, motion="feature", weights=weights))


def test_an_index_with_other_rows_is_refused(packed: tuple[VideoDataset, Path], copied: Path, tmp_path: Path) -> None:
    shutil.copy(write_pack(packed[0].subset([0]), tmp_path / "one") / INDEX, copied / INDEX)
    with pytest.raises(DatasetError, match="has 1 rows for 8 videos"):
        load(VideoDataset.from_pack(copied))


def test_a_damaged_video_is_an_error_and_never_measured(copied: Path) -> None:
    dataset = VideoDataset.from_pack(copied)
    span = dataset[0].span
    assert span is not None
    with (copied / "shard-000000.tar").open("rb+") as shard:
        shard.seek(span[0])
        shard.write(bytes(span[1]))
    with (
        load(dataset, num_workers=0, on_error="raise") as loader,
        pytest.raises(VideoDecodeError, match=r"shard-000000.tar::0.mp4"),
    ):
        next(loader)
    with load(dataset, num_workers=0, on_error="replace", batch_size=8) as loader, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        next(loader)
        assert list(loader.bad_videos) == [dataset.paths[0]]


def test_an_index_for_packed_videos_gets_their_rows_by_copying(
    packed: tuple[VideoDataset, Path], copied: Path, tmp_path: Path
) -> None:
    shards = VideoDataset.from_shards(copied / "shard-*.tar", label="json:label")
    path = tmp_path / "videos.parquet"
    for data in (shards, VideoDataset.from_pack(copied), copied):
        path.unlink(missing_ok=True)
        report = build_index(data, path, representations=BOTH, num_workers=0)
        assert (report.measured, report.copied, report.rows) == (0, len(LENGTHS), len(LENGTHS))
    assert build_index(shards, path, representations=BOTH, num_workers=0).kept == len(LENGTHS)
    assert picks(shards, index=path) == picks(packed[0])


def test_an_index_for_packed_videos_needs_motion_that_the_pack_contains(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="contains no motion 'image_rgb'"):
        build_index(copied, tmp_path / "a.parquet", representations=[Representation(channels="rgb")], num_workers=0)
