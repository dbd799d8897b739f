"""The loader with a motion index: the same clips with less decoding, and an index that grows during training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import MotionGuided, MotionIndex, Segment, Stride, TopMotion, VideoDataset, VideoDecodeError, build_index
from mgdali.index.growing import GrowingIndex, automatic_path
from mgdali.samplers import Representation
from mgdali.video.record import VideoRecord
from tests.support.loading import SAMPLER, SCRIPT_ENVIRONMENT, digest, load, run_script
from tests.support.videos import moving_square, write_video

ALL = (Representation(), Representation(channels="rgb"), Representation(motion="feature"))


@pytest.fixture
def videos(tmp_path: Path) -> VideoDataset:
    """Eight videos that tests may change, with several key frames each; two of them are short."""
    folder = tmp_path / "videos"
    folder.mkdir()
    options = {"crf": "18", "preset": "veryfast", "g": "9", "bf": "2"}
    for i, length in enumerate((40, 1, 25, 33, 3, 28, 19, 52)):
        write_video(folder / f"{i}.mp4", moving_square(length, 48, 64, seed=i), options=options)
    return VideoDataset([folder / f"{i}.mp4" for i in range(8)], [i % 2 for i in range(8)])


@pytest.fixture
def index(videos: VideoDataset, tmp_path: Path) -> Path:
    path = tmp_path / "index.parquet"
    build_index(videos, path, representations=ALL, num_workers=0)
    return path


def epochs(dataset: VideoDataset, count: int = 2, **arguments: Any) -> tuple[list[str], Any]:
    """Return digests of all batches of some epochs, and the loader."""
    defaults = {"batch_size": 3, "shuffle": True, "training": True, "return_meta": True}
    with load(dataset, **{**defaults, **arguments}) as loader:
        return [digest(batch) for _ in range(count) for batch in loader], loader


def rewrite(path: str, seed: int) -> None:
    write_video(Path(path), moving_square(30, 48, 64, seed=seed))


# --- an index that was built -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampler",
    [
        SAMPLER,
        MotionGuided(num_frames=4, channels="rgb", inverse="nearest", even=0.5),
        pytest.param(MotionGuided(num_frames=4, motion="feature", mu=0.8), marks=pytest.mark.slow),
        TopMotion(num_frames=4),
        Segment(num_frames=4),
        Stride(num_frames=4, stride=2),
    ],
)
def test_clips_are_the_same_to_the_byte_with_an_index_and_less_is_decoded(
    videos: VideoDataset, index: Path, sampler: Any
) -> None:
    expected, without = epochs(videos, sampler=sampler)
    found, with_index = epochs(videos, sampler=sampler, index=index)
    assert found == expected
    assert with_index.unindexed == {}
    assert with_index.frames_decoded < 0.8 * without.frames_decoded


@pytest.mark.parametrize(
    ("real_videos", "num_workers"),
    [
        ("made", 0),
        pytest.param("made", 2, marks=pytest.mark.slow),
        # Larger files.
        pytest.param("shared", 2, marks=pytest.mark.slow),
    ],
    indirect=["real_videos"],
)
def test_real_clips_are_the_same_with_an_index(real_videos: Path, tmp_path: Path, num_workers: int) -> None:
    clips = real_videos
    paths = [*sorted((clips / "formats").iterdir()), *sorted((clips / "labelled").glob("*/*"))[:10]]
    dataset = VideoDataset([*paths, clips / "frames" / "00001"], [0] * (len(paths) + 1))
    build_index(dataset, tmp_path / "clips.parquet")
    expected, _ = epochs(dataset, 1)
    found, loader = epochs(dataset, 1, index=tmp_path / "clips.parquet", num_workers=num_workers)
    assert found == expected
    assert loader.unindexed == {}


def test_a_user_defined_sampler_gets_the_motion_of_the_index(videos: VideoDataset, index: Path) -> None:
    class Last:
        num_frames = 2
        representation = Representation()

        def pick(self, motion: Any, total: int, offsets: Any) -> Any:
            return np.array([motion.argmax(), total - 1])

    expected, _ = epochs(videos, sampler=Last())
    assert epochs(videos, sampler=Last(), index=index, num_workers=1)[0] == expected


def test_an_open_index_can_be_given_for_a_data_set_that_has_moved(
    videos: VideoDataset, index: Path, tmp_path: Path
) -> None:
    expected, _ = epochs(videos, 1)
    before, now = tmp_path / "videos", tmp_path / "elsewhere"
    before.rename(now)
    moved = VideoDataset([now / Path(path).name for path in videos.paths], [video.label for video in videos])
    found, loader = epochs(moved, 1, index=MotionIndex(index, moved=(before, now)))
    assert loader.unindexed == {}
    assert len(found) == len(expected)
    assert loader.frames_decoded < sum(record.num_frames for record in map(MotionIndex(index).__getitem__, range(8)))


def test_videos_missing_in_the_index_are_measured_while_loading_with_one_warning(
    videos: VideoDataset, index: Path
) -> None:
    for name, seed in ((videos.paths[2], 71), (videos.paths[5], 72)):
        rewrite(name, seed)
    folder = Path(videos.paths[0]).parent
    new = write_video(folder / "new.mp4", moving_square(22, 48, 64, seed=73))
    dataset = VideoDataset([*videos.paths, new], [0] * 9)
    expected, _ = epochs(dataset)
    with pytest.warns(RuntimeWarning, match="measuring it while loading") as caught:
        found, loader = epochs(dataset, index=index)
    assert found == expected
    assert len([warning for warning in caught if "measuring it while loading" in str(warning.message)]) == 1
    assert loader.unindexed == {
        videos.paths[2]: "has changed since it was measured",
        videos.paths[5]: "has changed since it was measured",
        str(new): "is not in the index",
    }


def test_a_copy_of_the_videos_with_new_file_times_matches_the_index(videos: VideoDataset, index: Path) -> None:
    for path in videos.paths:
        os.utime(path, (1_000_000, 1_000_000))
    assert epochs(videos, 1, index=index)[1].unindexed == {}


@pytest.mark.slow
def test_motion_of_another_representation_is_not_used(videos: VideoDataset, tmp_path: Path) -> None:
    # Few frames: the feature level takes most of the time.
    videos = videos.subset([1, 2, 4, 5])
    path = tmp_path / "index.parquet"
    build_index(videos, path, representations=[Representation(motion="feature")], num_workers=0)
    weights = np.random.default_rng(0).normal(size=(8, 3, 7, 7))
    for sampler in (SAMPLER, MotionGuided(num_frames=4, motion="feature", weights=weights)):
        expected, _ = epochs(videos, 1, sampler=sampler)
        with pytest.warns(RuntimeWarning, match="was not measured as motion="):
            found, loader = epochs(videos, 1, sampler=sampler, index=path)
        assert found == expected
        assert len(loader.unindexed) == len(videos)
    build_index(videos, path, representations=[Representation(motion="feature", weights=weights)], num_workers=0)
    assert epochs(videos, 1, sampler=sampler, index=path)[1].unindexed == {}


def test_a_missing_or_broken_video_raises_the_same_error_as_without_an_index(videos: VideoDataset, index: Path) -> None:
    os.remove(videos.paths[3])
    with pytest.raises(VideoDecodeError, match=r"3\.mp4: No such file"):
        epochs(videos, index=index)
    Path(videos.paths[3]).write_bytes(b"no video")
    with pytest.raises(VideoDecodeError, match=r"3\.mp4: Invalid data"):
        epochs(videos, index=index)


def test_a_run_with_an_index_resumes_from_any_batch(videos: VideoDataset, index: Path) -> None:
    expected, _ = epochs(videos, 1, index=index)
    with load(videos, batch_size=3, shuffle=True, training=True, return_meta=True, index=index) as loader:
        next(iter(loader))
        state = loader.state_dict()
    # An index changes no batch, so a state saved with an index can be loaded without one.
    with load(videos, batch_size=3, shuffle=True, training=True, return_meta=True) as loader:
        loader.load_state_dict(state)
        assert [digest(batch) for batch in loader] == expected[1:]


def test_wrong_arguments_are_echoed(videos: VideoDataset, index: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='cache_dir .*index="auto", got index=None'):
        load(videos, cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"none\.parquet does not exist.*mgdali index build DATA --out"):
        load(videos, index=tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="not a motion index"):
        load(videos, index=videos.paths[0])


# --- an index that grows ---------------------------------------------------------------------------------------------


def rows_of(path: Path) -> dict[str, dict[str, list[float]]]:
    index = MotionIndex(path)
    records = [index[row] for row in range(len(index))]
    return {record.path: {key: values.tolist() for key, values in record.motion.items()} for record in records}


def test_the_first_epoch_builds_the_index_and_later_ones_use_it(videos: VideoDataset, tmp_path: Path) -> None:
    expected, without = epochs(videos, 3)
    found, loader = epochs(videos, 3, index="auto", num_workers=2)
    assert found == expected
    assert loader.frames_decoded < 0.8 * without.frames_decoded
    path = tmp_path / "videos.index.parquet"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["videos", path.name, f"{path.name}.map"]
    built = tmp_path / "built.parquet"
    build_index(videos, built, num_workers=0)
    assert rows_of(path) == rows_of(built)
    again, later = epochs(videos, 3, index="auto")
    assert again == expected
    assert later.frames_decoded < loader.frames_decoded


def test_cache_dir_sets_the_folder_of_the_index(videos: VideoDataset, tmp_path: Path) -> None:
    epochs(videos, 1, index="auto", cache_dir=tmp_path / "cache" / "deep")
    assert [entry.suffix for entry in sorted((tmp_path / "cache" / "deep").iterdir())] == [".parquet", ".map"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "videos"]


def test_the_index_is_in_the_users_cache_if_the_data_sets_folder_is_read_only(
    videos: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.warns(RuntimeWarning, match=r"the index of .*videos is stored as .*home/mgdali/index/.*cache_dir="):
        epochs(videos, 1, index="auto")
    assert len(list((tmp_path / "home" / "mgdali" / "index").glob("videos-*.index.parquet"))) == 1


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["/no/such/place/a/b.mp4", "/no/such/place/c/d.mp4"], "place-"),
        (["https://host/data/a.mp4", "https://host/data/b.mp4"], "data-"),
    ],
)
def test_data_sets_in_different_folders_have_different_indices(tmp_path: Path, paths: list[str], name: str) -> None:
    one = automatic_path(paths, tmp_path)
    assert one.name.startswith(name)
    assert one != automatic_path([path.replace("/place", "/other").replace("host", "else") for path in paths], tmp_path)
    assert one == automatic_path(paths[::-1], tmp_path)


@pytest.mark.slow
def test_a_changed_video_is_measured_again_and_other_representations_are_kept(
    videos: VideoDataset, tmp_path: Path
) -> None:
    path = tmp_path / "videos.index.parquet"
    epochs(videos, 1, index="auto")
    epochs(videos, 1, index="auto", sampler=MotionGuided(num_frames=4, motion="feature"))
    assert all(set(motion) == {"image", "feature"} for motion in rows_of(path).values())
    before = rows_of(path)
    rewrite(videos.paths[0], 88)
    expected, _ = epochs(videos, 1)
    assert epochs(videos, 1, index="auto")[0] == expected
    after = rows_of(path)
    assert set(after[videos.paths[0]]) == {"image"}
    assert {name: after[name] for name in videos.paths[1:]} == {name: before[name] for name in videos.paths[1:]}


def test_an_unfinished_epoch_loses_no_measurement(videos: VideoDataset, tmp_path: Path) -> None:
    with load(videos, batch_size=2, index="auto", num_workers=0) as loader:
        for number, _ in enumerate(loader):
            if number == 2:
                break
    with load(videos, batch_size=2, index="auto", num_workers=0) as loader:
        assert len(MotionIndex(tmp_path / "videos.index.parquet")) >= 6


@pytest.mark.slow
def test_an_index_is_not_added_to_while_it_is_merged(videos: VideoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    adding = threading.Lock()
    add, refresh = GrowingIndex.add, GrowingIndex.refresh

    def slow_add(index: GrowingIndex, record: VideoRecord) -> None:
        with adding:
            time.sleep(0.1)
            add(index, record)

    def alone(index: GrowingIndex) -> None:
        assert adding.acquire(blocking=False)
        refresh(index)
        adding.release()

    monkeypatch.setattr(GrowingIndex, "add", slow_add)
    monkeypatch.setattr(GrowingIndex, "refresh", alone)
    with load(videos, index="auto", num_workers=2) as loader:
        for _ in range(3):
            loader.set_epoch(0)
            # Records of further videos arrive when this epoch is abandoned.
            next(iter(loader))
        assert len(list(loader)) == len(videos)


@pytest.mark.slow
def test_a_run_that_was_killed_loses_no_measurement(videos: VideoDataset, tmp_path: Path) -> None:
    script = f"""
        import os, signal
        from mgdali import MGDaliIterator, MotionGuided, VideoDataset
        loader = MGDaliIterator(VideoDataset({list(videos.paths)!r}, [0] * 8), sampler=MotionGuided(num_frames=4),
                                batch_size=2, device="cpu", num_workers=0, index="auto")
        for number, batch in enumerate(loader):
            if number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_script(tmp_path, script).returncode == -signal.SIGKILL
    with load(videos, index="auto"):
        assert len(MotionIndex(tmp_path / "videos.index.parquet")) >= 4


RANK = """
    import json, sys, time
    from pathlib import Path
    from mgdali import MGDaliIterator, MotionGuided, VideoDataset
    number = int(sys.argv[1])

    def meet(world_size, epoch):
        # As training steps keep ranks together: of another's epoch that is still to come nothing is known.
        Path(sys.argv[2], f"{{number}}.{{world_size}}.{{epoch}}").touch()
        while not Path(sys.argv[2], f"{{1 - number}}.{{world_size}}.{{epoch}}").exists():
            time.sleep(0.01)

    for world_size in (1, 2):
        loader = MGDaliIterator(VideoDataset({paths!r}, [0] * 8), sampler=MotionGuided(num_frames=4), batch_size=2,
                                device="cpu", num_workers=1, index="auto", shuffle=True, training=True, seed=3,
                                rank=number % world_size, world_size=world_size, cache_dir=str(world_size))
        decoded = []
        for epoch in range(3):
            meet(world_size, epoch)
            for batch in loader:
                pass
            decoded.append(loader.frames_decoded)
        loader.close()
        print(json.dumps(decoded))
"""


@pytest.mark.slow
def test_two_processes_at_once_build_one_complete_index(videos: VideoDataset, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(RANK).format(paths=list(videos.paths)))
    (tmp_path / "meeting").mkdir()
    runs = [
        subprocess.Popen(
            [sys.executable, str(script), str(number), str(tmp_path / "meeting")],
            cwd=tmp_path,
            env=SCRIPT_ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    for line in [line for output in outputs for line in output.splitlines()]:
        first, second, third = json.loads(line)
        assert third - second < first
    built = tmp_path / "built.parquet"
    build_index(videos, built, num_workers=0)
    # Two runs with the whole data set each, and two ranks of one run.
    for world_size in ("1", "2"):
        (index,) = (tmp_path / world_size).glob("*.parquet")
        assert rows_of(index) == rows_of(built)
        assert not list((tmp_path / world_size).glob("*.parts"))


def test_a_growing_index_gives_no_warning_about_missing_videos(videos: VideoDataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert epochs(videos, 1, index="auto")[1].unindexed == {}


def test_bad_videos_are_replaced_while_the_index_grows(videos: VideoDataset, tmp_path: Path) -> None:
    Path(videos.paths[4]).write_bytes(b"no video")
    with pytest.warns(RuntimeWarning, match="is replaced by another video"):
        expected, _ = epochs(videos, on_error="replace")
    with pytest.warns(RuntimeWarning, match="is replaced by another video"):
        found, loader = epochs(videos, on_error="replace", index="auto")
    assert found == expected
    assert list(loader.bad_videos) == [videos.paths[4]]
    assert videos.paths[4] not in rows_of(tmp_path / "videos.index.parquet")


# --- videos that are not files ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_of_frames_and_a_member_of_a_tar_load_like_files(videos: VideoDataset, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for i, path in enumerate(videos.paths):
            tar.add(path, f"{i}.mp4")
            (tmp_path / "label").write_text(str(videos[i].label))
            tar.add(tmp_path / "label", f"{i}.cls")
    sharded = VideoDataset.from_shards(tmp_path / "shard.tar")
    expected, _ = epochs(videos, return_meta=True)
    build_index(sharded, tmp_path / "shard.parquet", num_workers=2)
    for arguments in ({}, {"index": tmp_path / "shard.parquet"}, {"index": "auto"}):
        with load(sharded, batch_size=3, shuffle=True, training=True, num_workers=2, **arguments) as loader:
            clips = [batch[0] for _ in range(2) for batch in loader]
        with load(videos, batch_size=3, shuffle=True, training=True) as loader:
            assert all(torch.equal(one, batch[0]) for one, batch in zip(clips, [*loader, *loader], strict=True))
        assert loader.unindexed == {}
    assert len(expected) == len(clips)


def test_with_an_index_only_the_picked_files_of_a_folder_of_frames_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "frames" / "one"
    folder.mkdir(parents=True)
    for t, frame in enumerate(moving_square(30, 48, 64)):
        write_video(folder / f"{t:05}.jpg", frame[None], codec="mjpeg", pixel_format="yuvj420p")
    dataset = VideoDataset([folder], [0])
    path = tmp_path / "index.parquet"
    build_index(dataset, path, num_workers=0)
    arguments: dict[str, Any] = {"batch_size": 1, "num_workers": 0, "return_meta": True}
    with load(dataset, **arguments) as loader:
        ((expected, _, meta),) = loader
    picks = set(meta["frames"].flatten().tolist())
    record = MotionIndex(path)[0]
    times = {name: os.stat(folder / name) for name in os.listdir(folder)}
    for t in range(30):
        if t not in picks:
            # The file keeps its size and time, so that its record in the index remains valid.
            name = f"{t:05}.jpg"
            (folder / name).write_bytes(bytes(times[name].st_size) if t else (folder / name).read_bytes())
            os.utime(folder / name, ns=(times[name].st_atime_ns, times[name].st_mtime_ns))
    assert record.num_frames == 30
    with load(dataset, index=path, **arguments) as loader:
        ((found, _, _),) = loader
        assert loader.frames_decoded == len(picks) < 30
    assert torch.equal(found, expected)
