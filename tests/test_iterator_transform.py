"""The loader's ``transform=``, and its crops of other kinds than squares of resized frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import VideoDataset, VideoDecodeError, build_index
from mgdali.choices import transform_seed
from mgdali.errors import TransformError
from mgdali.gpu.driver import DecoderCaps
from mgdali.loading.route import Route, usable_route
from mgdali.workers.clip_function import ClipFunction
from tests.support.loading import digest, load
from tests.support.videos import moving_square, write_video

PIXELS: dict[str, Any] = {"dtype": "uint8", "batch_size": 4, "return_meta": True}


def shrink_and_add_noise(clip: torch.Tensor) -> torch.Tensor:
    return (clip + torch.randint(0, 256, clip.shape, dtype=torch.uint8))[..., ::2]


def test_a_function_changes_each_clip_after_the_crop_by_random_numbers_of_seed_epoch_and_video(
    dataset: VideoDataset,
) -> None:
    call = ClipFunction(shrink_and_add_noise)
    with load(dataset, **PIXELS) as plain, load(dataset, seed=3, transform=shrink_and_add_noise, **PIXELS) as loader:
        for epoch in (0, 1):
            index = 0
            loader.set_epoch(epoch)
            for (clips, *_), (before, *_) in zip(loader, plain, strict=True):
                assert clips.shape[2:] == (3, 32, 16)
                for clip, original in zip(clips, before, strict=True):
                    expected = call(original.numpy().copy(), transform_seed(3, epoch, index), "")
                    assert (clip.numpy() == expected).all()
                    index += 1


def test_clips_are_mirrored_and_normalized_after_the_function(dataset: VideoDataset) -> None:
    def mark(clip: torch.Tensor) -> torch.Tensor:
        clip[..., 0] = 255
        return clip

    arguments: dict[str, Any] = {"training": True, "flip_prob": 1.0, "mean": (0.0,) * 3, "std": (0.5,) * 3}
    with load(dataset[:2], transform=mark, **arguments) as loader:
        for clips, _ in loader:
            assert (clips[..., -1] == 2).all()
            assert clips.mean() < 1.9


@pytest.mark.slow
def test_the_same_bytes_for_any_number_of_workers_with_an_index_and_after_a_resume(
    dataset: VideoDataset, tmp_path: Path
) -> None:
    def own(clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return clip.roll(int(torch.randint(0, 32, (), generator=generator)), 3)

    index = tmp_path / "index.parquet"
    build_index(dataset, index)
    sizes: dict[str, Any] = {"crop": "random_resized", "crop_size": (24, 40), "resize": "auto"}
    arguments = {**PIXELS, **sizes, "batch_size": 3, "training": True, "shuffle": True, "transform": own}

    with load(dataset, **arguments) as loader:
        expected = [digest(batch) for batch in loader]
    with load(dataset, num_workers=2, **arguments) as loader:
        assert [digest(batch) for batch in loader] == expected
    with load(dataset, num_workers=1, index=index, **arguments) as loader:
        found = [digest(next(loader))]
        state = loader.state_dict()
    with load(dataset, **arguments) as loader:
        loader.load_state_dict(state)
        assert found + [digest(batch) for batch in loader] == expected


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_of_the_function_names_the_video_after_all_batches_before_it(
    dataset: VideoDataset, tmp_path: Path, num_workers: int
) -> None:
    path = write_video(tmp_path / "white.mp4", np.full((8, 48, 64, 3), 255, np.uint8))
    videos = VideoDataset([*(video.path for video in dataset[:4]), path], [0] * 5)

    def fails(clip: torch.Tensor) -> torch.Tensor:
        if clip.float().mean() > 240:
            raise KeyError("my mistake")
        return clip

    with load(videos, batch_size=2, num_workers=num_workers, transform=fails, on_error="replace") as loader:
        assert len([next(loader), next(loader)]) == 2
        with pytest.raises(TransformError, match=r"(?s)fails on the clip of .*white\.mp4: .*KeyError: 'my mistake'"):
            next(loader)


def test_clips_of_two_sizes_are_an_error_that_names_both_videos(dataset: VideoDataset) -> None:
    sizes = iter((32, 32, 20, 20))
    names = [Path(video.path).name for video in dataset[:4]]
    with load(dataset[:4], batch_size=2, transform=lambda clip: clip[..., : next(sizes)]) as loader:
        next(loader)
        message = f"{names[2]}: it returned 32 by 20 pixels, but 32 by 32 for .*{names[0]}"
        with pytest.raises(TransformError, match=message):
            next(loader)


def test_nvdec_decodes_for_functions_that_take_a_generator_only() -> None:
    table = {"h264": DecoderCaps("h264", "4:2:0", 8, 7, 16, 16, 4096, 4096, 65536)}
    route, function = Route(torch.device("cuda", 0), table), ClipFunction(shrink_and_add_noise)
    assert usable_route(route, "auto", function) == Route(torch.device("cuda", 0))
    assert usable_route(route, "nvdec", None) == route
    assert usable_route(route, "nvdec", ClipFunction(lambda clip, generator: clip)) == route
    with pytest.raises(ValueError, match="transform=shrink_and_add_noise has no parameter generator.*decode='nvdec'"):
        usable_route(route, "nvdec", function)


def test_a_video_that_is_too_small_for_a_clip_without_resizing_is_replaced_or_named(
    dataset: VideoDataset, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "small.mp4", moving_square(8, 32, 32))
    videos = VideoDataset([dataset[0].path, path], [0, 1])
    with load(videos, crop_size=(32, 40), resize=None) as loader, pytest.raises(VideoDecodeError, match=r"small\.mp4"):
        list(loader)
    with load(videos, crop_size=(32, 40), resize=None, on_error="replace") as loader:
        with pytest.warns(RuntimeWarning, match="smaller than the clip"):
            assert [list(clips.shape[2:]) for clips, _ in loader] == [[3, 32, 40]] * 2
        assert list(loader.bad_videos) == [str(path)]
