"""The sample of the user's videos that is measured."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from mgdali import MotionIndex
from mgdali.bench.sample import choose, prepare
from mgdali.errors import DatasetError
from tests.support.videos import moving_square, write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four videos of 5 to 8 frames and a file that cannot be decoded."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(4):
        write_video(folder / f"{i}.mp4", moving_square(5 + i, 48, 64, seed=i))
    (folder / "bad.mp4").write_text("no video")
    return folder


def test_the_sample_is_random_and_the_same_each_time(videos: Path) -> None:
    media, places = choose(str(videos), 3)
    assert len(media) == 5
    assert len(set(places)) == 3
    assert choose(str(videos), 3)[1] == places
    assert sorted(choose(str(videos), 9)[1]) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_videos_that_can_be_decoded_are_measured_and_the_others_named(videos: Path, tmp_path: Path) -> None:
    sample = prepare(str(videos), tmp_path, max_videos=9, num_workers=1, seconds=60, limit=60)
    assert sorted(sample.paths) == [str(videos / f"{i}.mp4") for i in range(4)]
    assert list(sample.failed) == [str(videos / "bad.mp4")]
    assert (sample.found, sample.copied) == (5, 0)
    assert sample.total_bytes == sum(Path(path).stat().st_size for path in sample.paths)
    media, _ = choose(str(videos), 9)
    assert [media[place].path for place in sample.places] == sample.paths
    index = MotionIndex(sample.index)
    frames = {path: record.num_frames for path in sample.paths if (record := index.find(path))}
    assert frames == {str(videos / f"{i}.mp4"): 5 + i for i in range(4)}


@pytest.mark.slow
def test_members_of_a_tar_are_copied_and_measuring_ends_after_the_time(videos: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for i in range(4):
            tar.add(videos / f"{i}.mp4", f"{i}.mp4")
    (tmp_path / "scratch").mkdir()
    # Two are read at a time, and measured in two processes.
    sample = prepare(
        str(tmp_path / "shard.tar"), tmp_path / "scratch", max_videos=4, num_workers=2, seconds=1e-9, limit=60
    )
    assert sample.copied == len(sample.paths) == len(MotionIndex(sample.index)) == 2
    assert all(Path(path).parent == tmp_path / "scratch" / "videos" for path in sample.paths)
    assert not sample.failed


@pytest.mark.slow
def test_without_any_video_that_can_be_decoded_an_error_names_one(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{videos / 'bad.mp4'} 0\n")
    (tmp_path / "scratch").mkdir()
    with pytest.raises(DatasetError, match=r"none of 1 videos of .*list.txt can be decoded, for example .*bad.mp4"):
        prepare(str(tmp_path / "list.txt"), tmp_path / "scratch", max_videos=1, num_workers=1, seconds=1, limit=60)
