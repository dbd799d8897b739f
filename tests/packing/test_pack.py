"""Packing a data set: its files, resuming however it ended, adding videos, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import mgdali
from mgdali import VideoDataset, pack
from mgdali.datasets.pack_format import INDEX, MANIFEST, TABLE, LeftOut, member_name, read_manifest
from mgdali.errors import DatasetError
from mgdali.index.schema import from_batch
from mgdali.packing import pack as pack_module
from mgdali.packing import shard_writer
from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Encoding
from mgdali.packing.pack import PackReport, PackStart
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord
from tests.support.packs import contents, encode_once, members, table
from tests.support.videos import moving_square, write_video

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

# Packs, says what is kept, and kills itself after a number of videos.
PACK = """
import os, signal, sys
from mgdali import VideoDataset, pack
folder, out, workers, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
count = 0
def on_record(record):
    global count
    count += 1
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)
pack(
    VideoDataset.from_folder(folder), out, num_workers=workers, shard_size=1 << 20, on_record=on_record,
    on_start=lambda start: print(start.todo, start.kept, flush=True),
)
"""


class Deadly(Media):
    """A video that ends the process that opens it."""

    def open(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Ended(BaseException):
    """The end of a process: no error of the package's own is caught with it."""


def run(data: Any, out: Path, **options: Any) -> PackReport:
    return pack(data, out, num_workers=options.pop("num_workers", 0), **options)


@pytest.fixture
def data(class_folders: Path) -> VideoDataset:
    return VideoDataset.from_folder(class_folders)


@pytest.fixture(autouse=True)
def _copies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    encode_once(monkeypatch)


@pytest.fixture
def tiny_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow shards of two or three of the videos."""
    monkeypatch.setattr(pack_module, "_SMALLEST_SHARD", 1)


def start(folder: Path, out: Path, *, num_workers: int = 0, last: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PACK, *map(str, (folder, out, num_workers, last))]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[int]]:
    """Its exit code, and what it found: videos to pack, videos kept."""
    with process:
        output, _ = process.communicate(timeout=60)
    return process.returncode, [int(word) for word in output.split()]


def test_a_pack_has_shards_an_index_a_table_and_a_manifest(data: VideoDataset, packed: Path) -> None:
    assert sorted(os.listdir(packed)) == [INDEX, MANIFEST, "shard-000000.tar", TABLE]
    rows = table(packed)
    assert [row["key"] for row in rows] == [
        *("jump_clip0", "jump_clip3", "jump_clip6", "run_clip1", "run_clip4", "sit_clip2", "sit_clip5")
    ]
    assert members(packed) == [f"{row['key']}.{ending}" for row in rows for ending in ("mp4", "json")]
    assert [row["label"] for row in rows] == [video.label for video in data]
    assert [row["origin"] for row in rows] == [video.path for video in data]
    manifest = read_manifest(packed)
    assert (manifest.videos, manifest.frames, manifest.classes) == (7, 63, ("jump", "run", "sit"))
    assert (manifest.preset, manifest.codec, manifest.gop, manifest.short_side) == ("small", "h264", 8, 256)
    assert (manifest.motion, manifest.filters, manifest.left_out) == (("image",), None, ())
    assert manifest.origin_bytes == sum(os.path.getsize(video.path) for video in data)
    assert manifest.total_bytes == os.path.getsize(packed / "shard-000000.tar")


def test_the_shard_contains_the_copies_and_the_index_their_records(data: VideoDataset, packed: Path) -> None:
    shard = (packed / "shard-000000.tar").read_bytes()
    batches = pq.read_table(packed / INDEX).to_batches()
    records = [from_batch(batch, row) for batch in batches for row in range(batch.num_rows)]
    for video, row, record in zip(data, table(packed), records, strict=True):
        expected = encode_video(video.media, Encoding(), (Representation(),))
        assert shard[row["offset"] : row["offset"] + row["length"]] == expected.content
        assert (row["origin_size"], row["origin_head"]) == (expected.origin.size, expected.origin.head)
        assert record.path == member_name("shard-000000.tar", row["key"])
        assert (record.origin, record.fingerprint) == (video.path, expected.record.fingerprint)
        assert record.motion["image"].tolist() == expected.record.motion["image"].tolist()
        assert record.packet_offsets is not None
        assert record.packet_offsets.tolist() == expected.record.packet_offsets.tolist()


@pytest.mark.parametrize("num_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_bytes(
    num_workers: int, data: VideoDataset, packed: Path, tmp_path: Path
) -> None:
    records: list[VideoRecord] = []
    report = run(data, tmp_path / "pack", num_workers=num_workers, on_record=records.append)
    assert (report.packed, report.kept, report.frames, report.failed) == (7, 0, 63, {})
    assert [record.num_frames for record in records] == [3, 9, 15, 5, 11, 7, 13]
    assert contents(tmp_path / "pack") == contents(packed)


def test_the_size_of_shards_is_kept(data: VideoDataset, tmp_path: Path, tiny_shards: None) -> None:
    report = run(data, tmp_path, shard_size=9000)
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("shard-*.tar"))]
    assert len(sizes) == report.shards > 2
    assert max(sizes) <= 9000
    assert sum(sizes) == report.bytes
    manifest = read_manifest(tmp_path)
    rows = table(tmp_path)
    assert [sum(row["shard"] == number for row in rows) for number in range(len(sizes))] == [
        shard.videos for shard in manifest.shards
    ]


@pytest.mark.parametrize("stride", [53, pytest.param(9, marks=pytest.mark.slow)])
def test_a_process_that_ends_at_any_step_is_resumed_to_the_same_bytes(
    stride: int, data: VideoDataset, tmp_path: Path, tiny_shards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path / "whole", shard_size=9000)
    whole = contents(tmp_path / "whole")
    steps = 0
    last = 10**9

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps >= last:
                raise Ended
            return function(*arguments, **options)

        return step

    # Waiting for the disk changes nothing that can be seen here.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for module, name in ((os, "write"), (os, "replace"), (os, "fsync"), (Path, "unlink"), (shutil, "rmtree")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    run(data, tmp_path / "counted", shard_size=9000)
    total, kept = steps, 0
    for number in range(1, total + 1, stride):
        out = tmp_path / f"pack{number}"
        steps, last = 0, number
        with pytest.raises(Ended):
            run(data, out, shard_size=9000)
        last = 10**9
        report = run(data, out, shard_size=9000)
        assert report.packed + report.kept == 7
        assert report.kept >= kept
        kept = report.kept
        assert contents(out) == whole
        shutil.rmtree(out)
    assert kept >= (7 if stride < 10 else 1)


@pytest.mark.slow
def test_a_pack_killed_again_and_again_ends_as_an_unbroken_one(
    class_folders: Path, packed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pack"
    code, found = ended(start(class_folders, out, num_workers=1, last=2))
    assert (code, found) == (-signal.SIGKILL, [7, 0])
    # From outside, at a moment that nobody chose.
    process = start(class_folders, out, num_workers=1)
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["5", "2"]
    time.sleep(0.05)
    process.kill()
    ended(process)
    code, (todo, kept) = ended(start(class_folders, out, num_workers=1, last=1))
    assert (todo + kept, kept >= 2) == (7, True)
    if code:
        assert ended(start(class_folders, out)) == (0, [todo - 1, kept + 1])
    assert contents(out) == contents(packed)


def test_ctrl_c_keeps_what_is_packed(data: VideoDataset, packed: Path, tmp_path: Path) -> None:
    def interrupt(record: VideoRecord) -> None:
        if record.num_frames == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, on_record=interrupt)
    report = run(data, tmp_path)
    assert (report.packed, report.kept) == (4, 3)
    assert contents(tmp_path) == contents(packed)


def test_two_processes_do_not_write_one_pack(data: VideoDataset, tmp_path: Path) -> None:
    errors: list[str] = []

    def other(found: PackStart) -> None:
        with pytest.raises(DatasetError, match="another process is packing into") as caught:
            run(data, tmp_path)
        errors.append(str(caught.value))

    thread = threading.Thread(target=lambda: run(data, tmp_path, on_start=other))
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert read_manifest(tmp_path).videos == 7


def test_a_full_disk_says_what_to_do_and_loses_nothing(
    data: VideoDataset, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 6000
    write = os.write

    def limited(file: int, content: Any) -> int:
        nonlocal left
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(file, memoryview(content)[:left])
        left -= done
        return done

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer.os, "write", limited)
        with pytest.raises(DatasetError, match=r"No space left on device.*free space.*run the same command again"):
            run(data, tmp_path)
    report = run(data, tmp_path)
    assert report.kept >= 1
    assert contents(tmp_path) == contents(packed)


def test_nothing_new_changes_no_file(data: VideoDataset, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "pack")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pack").iterdir()}
    started: list[PackStart] = []
    report = run(data, tmp_path / "pack", on_start=started.append)
    assert (report.packed, report.kept, report.videos) == (0, 7, 7)
    assert (started[0].todo, started[0].kept, started[0].estimated_bytes) == (0, 7, None)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pack").iterdir()} == before


def test_new_videos_are_added_in_further_shards_and_the_table_has_the_order_of_the_data_set(
    class_folders: Path, packed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(class_folders, folder)
    out = tmp_path / "pack"
    run(VideoDataset.from_folder(folder), out)
    shard = (out / "shard-000000.tar").read_bytes()
    write_video(folder / "run" / "a.mp4", moving_square(20, 48, 64))
    write_video(folder / "sit" / "z.mp4", moving_square(21, 48, 64))
    report = run(VideoDataset.from_folder(folder), out)
    assert (report.packed, report.kept, report.shards, report.changed) == (2, 7, 2, ())
    assert (out / "shard-000000.tar").read_bytes() == shard
    keys = [row["key"] for row in table(out)]
    assert keys[3:5] == ["run_a", "run_clip1"]
    assert keys[-1] == "sit_z"
    names = pq.read_table(out / INDEX).column("path").to_pylist()
    assert names == [member_name(f"shard-00000{row['shard']}.tar", row["key"]) for row in table(out)]
    assert read_manifest(out).frames == 63 + 41
    # A data set without the earlier videos: these come first.
    other = VideoDataset([folder / "run" / "a.mp4", class_folders / "jump" / "clip0.mp4"], [1, 0], ["jump", "run"])
    run(other, out)
    rows = table(out)
    assert [row["key"] for row in rows[:-1]] == [*(key for key in keys if key != "run_a"), "run_a"]
    assert rows[-1]["origin"] == str(class_folders / "jump" / "clip0.mp4")


def test_changed_originals_are_named_and_their_copies_kept(class_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(class_folders, folder)
    out = tmp_path / "pack"
    run(VideoDataset.from_folder(folder), out)
    before = contents(out)
    write_video(folder / "jump" / "clip0.mp4", moving_square(25, 48, 64, seed=77))
    # The same content at another time.
    os.utime(folder / "jump" / "clip3.mp4", ns=(1, 1))
    assert run(VideoDataset.from_folder(folder), out).changed == (str(folder / "jump" / "clip0.mp4"),)
    # An original may be removed: its copy is there.
    (folder / "jump" / "clip3.mp4").unlink()
    paths = [str(folder / "jump" / "clip3.mp4"), str(folder / "jump" / "clip6.mp4")]
    assert run(VideoDataset(paths, [0, 1], ["jump", "run", "sit"]), out).changed == (paths[1],)
    assert contents(out) == before


def test_classes_may_be_added_and_not_renumbered(class_folders: Path, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    shutil.copytree(packed, out)
    more = VideoDataset.from_folder(class_folders, classes=["jump", "run", "sit", "swim"])
    assert run(more, out).packed == 0
    assert read_manifest(out).classes == ("jump", "run", "sit", "swim")
    assert run(VideoDataset.from_folder(class_folders), out).packed == 0
    assert read_manifest(out).classes == ("jump", "run", "sit", "swim")
    with pytest.raises(DatasetError, match="class 0 is 'jump' in .* and 'dive' in the data set"):
        run(VideoDataset.from_folder(class_folders, classes=["dive", "jump", "run", "sit"]), out)


def test_videos_that_cannot_be_decoded_are_left_out_and_tried_again_on_request(
    class_folders: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(class_folders, folder)
    bad = folder / "run" / "bad.mp4"
    bad.write_bytes(b"no video")
    out = tmp_path / "pack"
    data = VideoDataset.from_folder(folder)
    report = run(data, out)
    assert (report.packed, report.videos, list(report.failed)) == (7, 7, [str(bad)])
    assert read_manifest(out).left_out == (LeftOut(str(bad), report.failed[str(bad)]),)
    again = run(data, out)
    assert (again.packed, again.kept, again.failed) == (0, 8, report.failed)
    shutil.copy(folder / "run" / "clip1.mp4", bad)
    assert list(run(data, out).failed) == [str(bad)]
    found = run(data, out, retry_failed=True)
    assert (found.packed, found.videos, found.failed) == (1, 8, {})
    assert read_manifest(out).left_out == ()
    assert table(out)[3]["key"] == "run_bad"


def test_a_failure_before_an_interruption_is_not_tried_again(class_folders: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    files = [bad, *sorted(class_folders.rglob("*.mp4"))]
    data = VideoDataset(files, [0] * 8)

    def interrupt(record: VideoRecord) -> None:
        if record.error is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "pack", on_record=interrupt)
    records: list[VideoRecord] = []
    report = run(data, tmp_path / "pack", on_record=records.append)
    assert (len(records), report.kept, list(report.failed)) == (6, 2, [str(bad)])
    assert len(read_manifest(tmp_path / "pack").left_out) == 1


def test_a_data_set_without_a_good_video_gives_an_empty_pack(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    data = VideoDataset([tmp_path / "bad.mp4", tmp_path / "none.mp4"], [0, 0])
    report = run(data, tmp_path / "pack")
    assert (report.videos, report.shards, len(report.failed)) == (0, 0, 2)
    assert len(read_manifest(tmp_path / "pack").left_out) == 2
    assert run(data, tmp_path / "pack").kept == 2


@pytest.mark.slow
def test_a_video_that_ends_its_workers_or_takes_too_long_costs_only_itself(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "stuck.mp4"
    os.mkfifo(stuck)
    files = [*sorted(class_folders.rglob("*.mp4")), tmp_path / "deadly.mp4", stuck]
    shutil.copy(files[0], tmp_path / "deadly.mp4")
    data = VideoDataset(files, [0] * 9)
    video = type(data[0])
    media = video.media.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(
        video, "media", property(lambda self: Deadly(self.path) if "deadly" in self.path else media(self))
    )
    report = run(data, tmp_path / "pack", num_workers=2, timeout=1.5)
    assert (report.packed, report.videos) == (7, 7)
    assert "was killed by signal 9" in report.failed[str(tmp_path / "deadly.mp4")]
    assert "took longer than timeout=1.5 seconds" in report.failed[str(stuck)]


def test_a_repeated_video_has_a_copy_for_each_row(class_folders: Path, tmp_path: Path) -> None:
    path = class_folders / "jump" / "clip0.mp4"
    data = VideoDataset([path, path, path], [0, 1, 0])
    report = run(data, tmp_path)
    assert (report.packed, report.videos) == (3, 3)
    assert [row["label"] for row in table(tmp_path)] == [0, 1, 0]
    assert len({row["key"] for row in table(tmp_path)}) == 3
    assert run(data, tmp_path).packed == 0


def test_columns_of_the_data_set_are_in_the_table_and_in_the_shard(data: VideoDataset, tmp_path: Path) -> None:
    def with_persons(second: str) -> VideoDataset:
        persons = ["p0", second, *(f"p{i}" for i in range(2, 7))]
        columns = {"person": persons, "label": list("abcdefg")}
        return VideoDataset(data.paths, [video.label for video in data], data.classes, columns=columns)

    run(with_persons("p1"), tmp_path)
    assert json.loads(table(tmp_path)[2]["columns"]) == {"person": "p2", "label": "c"}
    shard = (tmp_path / "shard-000000.tar").read_bytes()
    assert b'{"person": "p2", "label": 0, "class": "jump", "path": ' in shard
    assert run(with_persons("p1"), tmp_path).changed == ()
    assert run(with_persons("other"), tmp_path).changed == (data[1].path,)
    assert VideoDataset.from_pack(tmp_path).columns["person"][1] == "p1"


@pytest.mark.slow
def test_both_levels_of_motion_are_measured_in_one_pass(class_folders: Path, tmp_path: Path) -> None:
    both = (Representation(), Representation(motion="feature"))
    run(class_folders / "jump", tmp_path, representations=both)
    manifest = read_manifest(tmp_path)
    assert manifest.motion == ("image", "feature")
    assert manifest.filters is not None
    assert pq.read_table(tmp_path / INDEX).column("motion_feature").null_count == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": Encoding(preset="fast")}, "preset small, not fast"),
        ({"encoding": Encoding(short_side=128)}, "short_side 256, not 128"),
        ({"representations": [Representation(motion="feature")]}, r"motion \['image'\], not \['feature'\]"),
        ({"shard_size": 2 << 20}, "shard_size 268435456, not 2097152"),
    ],
)
def test_other_settings_do_not_resume_a_run(
    options: dict[str, Any], message: str, data: VideoDataset, tmp_path: Path
) -> None:
    def interrupt(record: VideoRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, on_record=interrupt)
    with pytest.raises(DatasetError, match=f"was begun with {message}: use the same settings"):
        run(data, tmp_path, **options)


def test_another_version_does_not_resume_a_run(
    data: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(record: VideoRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, on_record=interrupt)
    monkeypatch.setattr(mgdali, "__version__", "9.9")
    with pytest.raises(DatasetError, match=r"was begun with version .*, not 9\.9"):
        run(data, tmp_path)


def test_videos_are_added_with_the_same_encoding_only(data: VideoDataset, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack"
    shutil.copytree(packed, out)
    with pytest.raises(DatasetError, match=f"was packed with quality {Encoding().quality}, not 40"):
        run(data, out, encoding=Encoding(quality=40))
    assert contents(out) == contents(packed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "spark"}, "engine must be one of"),
        ({"timeout": 1.0, "engine": "ray", "num_workers": 1}, "timeout=1.0 is not possible"),
        ({"num_workers": -1}, "num_workers must be an integer >= 0"),
        ({"shard_size": 1000}, "shard_size must be an integer >= 1048576"),
        ({"representations": []}, "at least one"),
        ({"representations": [Representation(), Representation()]}, "differ in kind"),
        ({"work_dir": "."}, "only possible if out is a URL"),
    ],
)
def test_arguments_out_of_range_are_refused(
    options: dict[str, Any], message: str, data: VideoDataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run(data, tmp_path / "pack", **options)
    assert not (tmp_path / "pack").exists()


def test_a_file_is_not_a_destination(data: VideoDataset, tmp_path: Path) -> None:
    (tmp_path / "pack").touch()
    with pytest.raises(DatasetError, match="pack is a file: give a folder"):
        run(data, tmp_path / "pack")


def test_a_pack_inside_the_folder_of_its_videos_is_refused(class_folders: Path) -> None:
    with pytest.raises(DatasetError, match="would be inside the folder of its videos"):
        run(class_folders, class_folders / "jump" / "pack")


def test_too_little_space_is_an_error_before_the_start(
    data: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[PackStart] = []
    monkeypatch.setattr(pack_module, "estimate_bytes", lambda *_, **options: 10**18)
    with pytest.raises(DatasetError, match=r"about 1000000000\.00 GB \(an estimate\)"):
        run(data, tmp_path, on_start=started.append)
    assert started[0].estimated_bytes == 10**18
    assert not list(tmp_path.glob("shard-*"))


def test_a_missing_encoder_is_an_error_before_the_start(
    data: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoding, "encoder", property(lambda self: "no_encoder"))
    with pytest.raises(DatasetError, match="needs the encoder no_encoder"):
        run(data, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()
