"""Several views and repetitions of a video from one decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import MotionClip, MotionGuided, Segment, Stride, VideoDataset, Views, build_index
from tests.support.loading import SAMPLER, load
from tests.support.videos import moving_square, write_video


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    folder = tmp_path_factory.mktemp("views")
    shapes = [(48, 72), (72, 48), (56, 56)]
    paths = [
        write_video(folder / f"{i}.mp4", moving_square(20 + 7 * i, *shape, seed=i), options={"crf": "18", "g": "8"})
        for i, shape in enumerate(shapes)
    ]
    return VideoDataset(paths, [2, 0, 1], columns={"id": ["a", "b", "c"]})


def batches(dataset: VideoDataset, **arguments: Any) -> list[Any]:
    defaults = {"batch_size": 2, "return_meta": True, "num_workers": 0}
    with load(dataset, **{**defaults, **arguments}) as loader:
        return list(loader)


def same(found: list[Any], expected: list[Any]) -> bool:
    return len(found) == len(expected) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and torch.equal(a[2]["frames"], b[2]["frames"])
        for a, b in zip(found, expected, strict=True)
    )


def test_test_views_are_the_clips_of_loaders_with_other_offsets_and_crops(dataset: VideoDataset) -> None:
    found = batches(dataset, views=Views(clips=2, crops=3))
    for (clips, labels, meta), single in zip(found, batches(dataset), strict=True):
        assert clips.shape == (len(labels), 6, *single[0].shape[1:])
        assert torch.equal(labels, single[1])
        assert meta["path"] == single[2]["path"]
        assert meta["id"] == single[2]["id"]
        assert meta["frames"].shape == (len(labels), 6, 4)
        assert torch.equal(meta["num_frames"], single[2]["num_frames"])
    for crop, position in enumerate(("start", "center", "end")):
        for clip, offset in enumerate((0.25, 0.75)):
            single = batches(dataset, sampler=Shifted(offset), crop_position=position)
            for (clips, _, meta), (expected, _, expected_meta) in zip(found, single, strict=True):
                assert torch.equal(clips[:, 3 * clip + crop], expected)
                assert torch.equal(meta["frames"][:, 3 * clip + crop], expected_meta["frames"])


class Shifted:
    """The usual sampler, with another offset."""

    num_frames = 4
    representation = SAMPLER.representation

    def __init__(self, offset: float) -> None:
        self.offset = offset

    def pick(self, motion: Any, total: int, offsets: Any) -> Any:
        return SAMPLER.pick(motion, total, np.full(4, self.offset))


def test_one_view_is_the_clip_without_views(dataset: VideoDataset) -> None:
    for arguments in ({}, {"training": True, "shuffle": True}):
        for a, b in zip(batches(dataset, views=Views(), **arguments), batches(dataset, **arguments), strict=True):
            assert torch.equal(a[0][:, 0], b[0])


def test_ten_crops_are_the_corners_and_the_centre_and_the_same_mirrored(dataset: VideoDataset) -> None:
    (clips, *_), *_ = batches(dataset, views=Views(crops=10), dtype="uint8")
    (five, *_), *_ = batches(dataset, views=Views(crops=5), dtype="uint8")
    (single, *_), *_ = batches(dataset, dtype="uint8")
    assert torch.equal(clips[:, :5], five)
    assert torch.equal(clips[:, 5:], five.flip(-1))
    assert torch.equal(five[:, 4], single)
    assert len({five[0, i].numpy().tobytes() for i in range(5)}) == 5


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_random_views_and_repetitions_are_the_same_with_workers_an_index_and_after_a_resume(
    dataset: VideoDataset, tmp_path: Path, num_workers: int
) -> None:
    arguments: dict[str, Any] = {"views": Views(clips=2), "repeats": 2, "training": True, "shuffle": True}
    expected = batches(dataset, **arguments)
    assert expected[0][0].shape == (4, 2, 4, 3, 32, 32)
    build_index(dataset, tmp_path / "index.parquet", num_workers=0)
    assert same(batches(dataset, **arguments, num_workers=num_workers, index=tmp_path / "index.parquet"), expected)
    with load(dataset, batch_size=2, return_meta=True, num_workers=0, **arguments) as loader:
        next(iter(loader))
        state = loader.state_dict()
    with load(dataset, batch_size=2, return_meta=True, num_workers=num_workers, **arguments) as loader:
        loader.load_state_dict(state)
        assert same(list(loader), expected[1:])


def test_repetitions_follow_each_other_and_differ(dataset: VideoDataset) -> None:
    found = batches(dataset, repeats=3, training=True, batch_size=3, flip_prob=0.5)
    (clips, labels, meta) = found[0]
    assert labels.tolist() == [2, 2, 2, 0, 0, 0, 1, 1, 1]
    assert meta["id"] == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert len({clip.numpy().tobytes() for clip in clips}) == 9
    single = batches(dataset, training=True, batch_size=3)
    assert torch.equal(clips[::3], single[0][0])


def test_all_views_need_one_decoding(dataset: VideoDataset) -> None:
    with load(dataset, batch_size=3, num_workers=0, views=Views(clips=4, crops=3)) as loader:
        list(loader)
        assert loader.frames_decoded == 20 + 27 + 34


def test_each_view_has_its_own_seed_for_a_function(dataset: VideoDataset) -> None:
    def noise(clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(0, 256, clip.shape, dtype=torch.uint8, generator=generator)

    (clips, *_), *_ = batches(dataset, views=Views(clips=2), transform=noise, sampler=Segment(4))
    assert len({view.numpy().tobytes() for clip in clips for view in clip}) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"views": 3}, "views must be a Views"),
        ({"views": Views(crops=3), "training": True}, r"needs? training=False.*Views\(clips=3\)"),
        ({"repeats": 2}, "repeats=2 needs training=True"),
        ({"repeats": 0, "training": True}, "repeats must be .* got 0"),
        ({"views": Views(crops=3), "crop_position": "end"}, "crop_position='end' contradicts"),
    ],
)
def test_views_that_do_not_fit_are_refused(dataset: VideoDataset, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(dataset, **arguments)


@pytest.mark.parametrize("arguments", [{"clips": 0}, {"crops": 2}, {"clips": 1.5}])
def test_invalid_numbers_of_views_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be .* got (0|2|1.5)"):
        Views(**arguments)


def test_picks_of_a_view_are_those_of_its_offsets(dataset: VideoDataset) -> None:
    (_, _, meta), *_ = batches(dataset, views=Views(clips=3), sampler=MotionGuided(4, mu=0))
    total = int(meta["num_frames"][0])
    for c in range(3):
        assert meta["frames"][0, c].tolist() == [int((i + (c + 0.5) / 3) * total / 4) for i in range(4)]


@pytest.fixture(scope="module")
def real_dataset(sample_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    """The labelled sample videos, of 9 to 31 frames and one keyframe, and a video of 120 frames with keyframes."""
    folder = tmp_path_factory.mktemp("long")
    paths = [*sorted((sample_videos / "labelled").rglob("*.mp4"))]
    paths.append(write_video(folder / "long.mp4", moving_square(120, 64, 96, seed=1), options={"g": "12"}))
    return VideoDataset(paths, range(len(paths)))


VIDEOMAE_PRETRAINING: dict[str, Any] = {
    "sampler": Stride(16, stride=4),
    "training": True,
    "shuffle": True,
    "crop": "random_resized",
    "views": Views(clips=2),
    "repeats": 2,
}
SLOWFAST_TEST: dict[str, Any] = {"sampler": MotionClip(8, stride=8), "views": Views(clips=10, crops=3)}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [VIDEOMAE_PRETRAINING, SLOWFAST_TEST], ids=["VideoMAE", "SlowFast"])
def test_loaders_of_published_recipes_decode_each_video_once_and_with_an_index_in_part(
    real_dataset: VideoDataset, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    rows, views = arguments.get("repeats", 1), arguments["views"].count
    build_index(real_dataset, tmp_path / "index.parquet", num_workers=0)
    found, decoded = [], []
    for index in (None, tmp_path / "index.parquet"):
        with load(real_dataset, batch_size=4, return_meta=True, index=index, **arguments) as loader:
            found.append(list(loader))
            decoded.append(loader.frames_decoded)
    assert same(*found)
    total, picked = 0, 0
    for clips, labels, meta in found[0]:
        assert clips.shape[:3] == (len(labels), views, arguments["sampler"].num_frames)
        assert labels[::rows].repeat_interleave(rows).equal(labels)
        total += int(meta["num_frames"][::rows].sum())
        picked += sum(len(frames.unique()) for frames in meta["frames"].split(rows))
    assert decoded[0] == total
    assert picked <= decoded[1] < total
