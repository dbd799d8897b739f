"""Building an index, ended however, and bringing it up to date."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mgdali import VideoDataset
from mgdali.datasets.named_videos import media_of
from mgdali.errors import DatasetError
from mgdali.index.build import BuildReport, build_index, measure_locally
from mgdali.index.inspect import check_index
from mgdali.index.measure import MeasureJob, measure_video
from mgdali.index.reader import MotionIndex
from mgdali.index.schema import from_batch
from mgdali.index.writer import open_parquet
from mgdali.motion import default_filters
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord
from tests.support.index_records import contents
from tests.support.videos import moving_square, write_video

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
FEATURE = Representation(motion="feature")

# Builds, says what it finds to do, and, with a number, kills itself once so many records are written.
BUILD = """
import os, signal, sys
from mgdali.index.build import build_index
folder, path, workers, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
count = 0
def on_record(record):
    global count
    count += 1
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)
build_index(
    folder, path, num_workers=workers, on_record=on_record, on_start=lambda *numbers: print(*numbers, flush=True)
)
"""


class DeadlyMedia(Media):
    """A video that ends the process that opens it, as one may at which a decoder has a bug."""

    def open(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class OnceDeadlyMedia(Media):
    """A video that ends the first process that opens it, as one may that needs too much memory."""

    def open(self) -> Any:
        note = Path(f"{self.path}.opened")
        if not note.exists():
            note.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open()


def start(folder: Path, path: Path, *, num_workers: int = 0, last: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILD, *map(str, (folder, path, num_workers, last))]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[int]]:
    """Its exit code, and what it found: videos to measure, videos kept."""
    with process:
        output, _ = process.communicate(timeout=60)
    return process.returncode, [int(word) for word in output.split()]


def rows(path: Path) -> dict[str, dict[str, Any]]:
    """Everything in an index, by video; each must be there once."""
    with open_parquet(path) as file:
        found = [from_batch(batch, i) for batch in file.iter_batches() for i in range(batch.num_rows)]
    assert len({record.path for record in found}) == len(found)
    return {os.path.basename(record.path): contents(record) for record in found}


def assert_nothing_left(path: Path) -> None:
    assert not Path(f"{path}.parts").exists()


def build(data: Any, path: Path, **options: Any) -> tuple[BuildReport, list[str]]:
    """A build in this process; what it did, and the names of what it measured."""
    measured: list[str] = []
    report = build_index(
        data,
        path,
        num_workers=options.pop("num_workers", 0),
        on_record=lambda record: measured.append(os.path.basename(record.path)),
        **options,
    )
    assert_nothing_left(path)
    assert report.measured == len(measured)
    return report, sorted(measured)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve videos; not to be changed."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(12):
        write_video(folder / f"{i:02}.mp4", moving_square(4 + i, 48, 64, seed=i))
    return folder


@pytest.fixture(scope="session")
def unbroken(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What an index of the videos holds that was built at once."""
    path = tmp_path_factory.mktemp("unbroken") / "i.parquet"
    build_index(videos, path, num_workers=0)
    return rows(path)


@pytest.fixture
def folder(videos: Path, tmp_path: Path) -> Path:
    """A copy of four of the videos, for changing."""
    folder = tmp_path / "own"
    folder.mkdir()
    for i in range(4):
        shutil.copy(videos / f"{i:02}.mp4", folder)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "i.parquet"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_video_is_measured_and_found(num_workers: int, videos: Path, path: Path) -> None:
    started: list[tuple[int, int]] = []
    report = build_index(
        videos, path, num_workers=num_workers, on_start=lambda todo, kept: started.append((todo, kept))
    )
    assert report == BuildReport(measured=12, kept=0, frames=sum(range(4, 16)), failed={}, rows=12)
    assert started == [(12, 0)]
    index = MotionIndex(path)
    for file in videos.iterdir():
        record = index.find(str(file))
        assert record is not None
        expected = measure_video(Media(str(file)), str(file), (Representation(),))
        assert contents(record) == contents(expected)
    assert sorted(os.listdir(path.parent)) == ["i.parquet", "i.parquet.map"]


@pytest.mark.parametrize("last", [*(pytest.param(last, marks=pytest.mark.slow) for last in (1, 5)), 12])
def test_a_build_killed_after_any_record_goes_on_with_the_next(
    last: int, videos: Path, path: Path, unbroken: dict[str, Any]
) -> None:
    assert ended(start(videos, path, last=last)) == (-signal.SIGKILL, [12, 0])
    code, (todo, kept) = ended(start(videos, path))
    # Records that came with the last one were written with it.
    assert (code, todo + kept) == (0, 12)
    assert kept >= last
    assert rows(path) == unbroken
    assert_nothing_left(path)


@pytest.mark.slow
def test_a_build_killed_again_and_again_ends_as_an_unbroken_one(
    videos: Path, path: Path, unbroken: dict[str, Any]
) -> None:
    found = []
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        code, numbers = ended(start(videos, path, num_workers=2, last=4))
        found.append(numbers)
    # What two workers had in hand is measured again, not what was written.
    assert all(numbers[1] >= min(4 * i, 12) for i, numbers in enumerate(found))
    assert (code, found[-1][1] >= 9) == (0, True)
    assert rows(path) == unbroken


@pytest.mark.slow
def test_a_build_killed_at_many_moments_ends_as_an_unbroken_one(
    videos: Path, path: Path, unbroken: dict[str, Any]
) -> None:
    kept = 0
    # From before its first record to past the end, as a rule.
    for delay in (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0):
        process = start(videos, path, num_workers=1)
        time.sleep(delay)
        process.kill()
        code, numbers = ended(process)
        if numbers:
            assert sum(numbers) == 12
            assert numbers[1] >= kept
            kept = numbers[1]
        if path.exists():
            assert rows(path) == unbroken
    assert ended(start(videos, path))[0] == 0
    assert rows(path) == unbroken
    assert_nothing_left(path)


@pytest.mark.slow
def test_two_builds_at_once_do_not_harm_each_other(videos: Path, path: Path, unbroken: dict[str, Any]) -> None:
    processes = [start(videos, path, num_workers=workers) for workers in (0, 1, 0)]
    assert [ended(process)[0] for process in processes] == [0, 0, 0]
    assert rows(path) == unbroken
    assert_nothing_left(path)


def test_a_build_ended_by_ctrl_c_goes_on_in_the_same_process(videos: Path, path: Path) -> None:
    def interrupt(record: VideoRecord) -> None:
        if record.path.endswith("04.mp4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        build_index(videos, path, num_workers=0, on_record=interrupt)
    report, _ = build(videos, path)
    assert report.measured + report.kept == 12
    assert report.kept >= 5
    # As in a notebook, which keeps the last error.
    del caught


def test_a_file_whose_name_is_not_utf_8_is_measured_and_found(tmp_path: Path, path: Path) -> None:
    (tmp_path / "videos").mkdir()
    video = write_video(tmp_path / "videos" / "\udcff.mp4", moving_square(4, 32, 32))
    build_index(video.parent, path, num_workers=0)
    assert MotionIndex(path).find(str(video)) is not None
    assert check_index(path).complete
    assert build_index(video.parent, path, num_workers=0).kept == 1


def test_nothing_new_measures_nothing_and_leaves_the_file(folder: Path, path: Path) -> None:
    build(folder, path)
    before = path.stat()
    report, measured = build(folder, path)
    assert (report.kept, measured) == (4, [])
    assert path.stat() == before


def test_new_and_changed_videos_are_measured_and_the_rest_kept(folder: Path, path: Path) -> None:
    build(folder, path)
    write_video(folder / "01.mp4", moving_square(25, 48, 64, seed=77))
    write_video(folder / "new.mp4", moving_square(6, 48, 64))
    # The same content at another time, as of a copy.
    os.utime(folder / "02.mp4", ns=(1, 1))
    report, measured = build(folder, path)
    assert measured == ["01.mp4", "new.mp4"]
    assert (report.kept, report.rows) == (3, 5)
    assert rows(path)["01.mp4"]["num_frames"] == 25


def test_other_rows_stay_unless_they_are_to_be_pruned(folder: Path, path: Path) -> None:
    build(folder, path)
    (folder / "00.mp4").unlink()
    assert build(folder, path)[0].rows == 4
    assert sorted(rows(path)) == ["00.mp4", "01.mp4", "02.mp4", "03.mp4"]
    assert build(folder, path, prune=True)[0].rows == 3
    assert sorted(rows(path)) == ["01.mp4", "02.mp4", "03.mp4"]


def test_a_failed_video_is_told_each_time_and_measured_again_when_it_changes_or_is_asked_for(
    folder: Path, path: Path
) -> None:
    bad = folder / "00.mp4"
    good = bad.read_bytes()
    bad.write_bytes(b"no video")
    for options, measured in (({}, 4), ({}, 0), ({"retry_failed": True}, 1)):
        report, _ = build(folder, path, **options)
        assert (report.measured, report.rows) == (measured, 4)
        assert list(report.failed) == [str(bad)]
        assert report.failed[str(bad)].startswith("Invalid data found")
    bad.write_bytes(good)
    report, measured_names = build(folder, path)
    assert (measured_names, report.failed) == (["00.mp4"], {})


def test_a_listed_video_that_is_missing_is_a_failure_until_it_is_there(folder: Path, path: Path) -> None:
    media = [Media(str(folder / "00.mp4")), Media(str(folder / "late.mp4"))]
    report, _ = build(media, path)
    assert report.failed == {str(folder / "late.mp4"): "No such file or directory (before its first frame)"}
    shutil.copy(folder / "01.mp4", folder / "late.mp4")
    report, measured = build(media, path)
    assert (measured, report.failed) == (["late.mp4"], {})


def test_another_representation_is_added_and_none_is_lost(folder: Path, path: Path) -> None:
    build(folder, path)
    image = {name: row["motion"]["image"] for name, row in rows(path).items()}
    _, measured = build(folder, path, representations=[FEATURE])
    assert len(measured) == 4
    for name, row in rows(path).items():
        assert row["motion"].keys() == {"image", "feature"}
        assert row["motion"]["image"] == image[name]
    assert build(folder, path, representations=[Representation(), FEATURE])[1] == []
    # A changed video keeps every representation that it had.
    write_video(folder / "01.mp4", moving_square(9, 48, 64, seed=5))
    build(folder, path)
    assert rows(path)["01.mp4"]["motion"].keys() == {"image", "feature"}


def test_other_filters_are_another_measurement(folder: Path, path: Path) -> None:
    build(folder, path, representations=[FEATURE])
    before = rows(path)
    other = Representation(motion="feature", weights=default_filters()[::-1] * 2)
    assert len(build(folder, path, representations=[other])[1]) == 4
    assert all(row["filters"] != before[name]["filters"] for name, row in rows(path).items())
    assert build(folder, path, representations=[other])[1] == []


def test_feature_motion_that_version_0_1_measured_on_rgb_is_measured_again(folder: Path, path: Path) -> None:
    build(folder, path, representations=[Representation(), FEATURE])
    expected = rows(path)
    table = pq.read_table(path)
    digest = hashlib.blake2b(default_filters().tobytes(), digest_size=16).hexdigest()
    old = {
        "filters": pa.array([digest] * 4),
        "motion_feature": pa.array(
            [[0.0] * length for length in table["num_frames"].to_pylist()], pa.list_(pa.float32())
        ),
    }
    for name, values in old.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, path)
    # Only a build at the feature level concerns them.
    assert build(folder, path)[1] == []
    assert len(build(folder, path, representations=[FEATURE])[1]) == 4
    assert rows(path) == expected
    assert build(folder, path, representations=[FEATURE])[1] == []


def test_a_video_that_kills_its_worker_costs_only_itself(videos: Path, path: Path) -> None:
    files: Sequence[Path] = sorted(videos.iterdir())
    deadly = DeadlyMedia(str(files[3]))
    media = [deadly if i == 3 else Media(str(file)) for i, file in enumerate(files)]
    report, _ = build(media, path, num_workers=2)
    assert (report.measured, report.rows) == (12, 12)
    assert list(report.failed) == [str(files[3])]
    assert "was killed by signal 9" in report.failed[str(files[3])]
    # Its record tells whether it has changed: it is not tried again and again.
    assert build(media, path, num_workers=2)[0].measured == 0


def test_a_video_whose_worker_dies_once_is_measured_by_the_next(videos: Path, path: Path, tmp_path: Path) -> None:
    file = sorted(videos.iterdir())[3]
    report, measured = build([OnceDeadlyMedia(str(file)), Media(str(videos / "00.mp4"))], path, num_workers=1)
    assert report.failed == {}
    assert measured == ["00.mp4", "03.mp4"]


@pytest.mark.slow
def test_a_video_that_takes_too_long_is_tried_again_by_the_next_build(videos: Path, path: Path, tmp_path: Path) -> None:
    stuck = tmp_path / "stuck.mp4"
    os.mkfifo(stuck)
    media = [Media(str(stuck)), Media(str(videos / "00.mp4"))]
    report, _ = build(media, path, num_workers=2, timeout=0.5)
    assert report.rows == 2
    assert "each of two workers that decoded it took longer than timeout=0.5 seconds" in report.failed[str(stuck)]
    stuck.unlink()
    shutil.copy(videos / "01.mp4", stuck)
    report, measured = build(media, path, num_workers=2, timeout=5)
    assert (report.kept, measured, report.failed) == (1, ["stuck.mp4"], {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": -1.0}, "timeout must be a number of seconds >= 0"),
        ({"timeout": 1.0, "num_workers": 0}, "timeout=1.0 needs num_workers >= 1"),
        ({"timeout": 1.0, "engine": "ray"}, 'timeout=1.0 is not possible with engine="ray"'),
    ],
)
def test_a_timeout_that_cannot_be_kept_is_refused(
    videos: Path, path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_index(videos, path, **arguments)


@pytest.mark.slow
def test_every_video_may_kill_its_worker(videos: Path) -> None:
    jobs = [MeasureJob(DeadlyMedia(str(file)), file.name, ()) for file in sorted(videos.iterdir())[:3]]
    records = list(chain.from_iterable(measure_locally(jobs, 2)))
    assert sorted(record.path for record in records) == ["00.mp4", "01.mp4", "02.mp4"]
    assert all(record.error and record.fingerprint for record in records)


def test_a_data_set_and_folders_of_frames_are_indexed_each_video_once(
    folder: Path, path: Path, sample_videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = folder / "frames"
    shutil.copytree(sample_videos / "frames" / "00001", frames)
    monkeypatch.chdir(folder)
    # The same video by two paths.
    dataset = VideoDataset([folder / "00.mp4", frames, folder / "00.mp4", "00.mp4"], [0, 0, 0, 0])
    assert build(dataset, path)[1] == ["00.mp4", "frames"]
    report, measured = build(folder, path)
    assert (report.kept, measured) == (2, ["01.mp4", "02.mp4", "03.mp4"])


def test_a_folder_without_videos_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        media_of(tmp_path / "none")
    with pytest.raises(DatasetError, match="no videos"):
        media_of(tmp_path)
    with pytest.raises(DatasetError, match="no videos"):
        media_of([])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "cloud"}, "engine must be one of"),
        ({"num_workers": -1}, "num_workers must be an integer >= 0"),
        ({"representations": [Representation(), Representation()]}, "differ in kind"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_done(
    options: dict[str, Any], words: str, folder: Path, path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        build_index(folder, path, **options)
    assert sorted(os.listdir(path.parent)) == [folder.name]


def test_a_file_that_is_no_index_is_refused_and_stays(folder: Path, path: Path) -> None:
    path.write_text("notes")
    with pytest.raises(DatasetError, match="not a motion index"):
        build_index(folder, path)
    assert path.read_text() == "notes"
    assert sorted(os.listdir(path.parent)) == ["i.parquet", folder.name]
