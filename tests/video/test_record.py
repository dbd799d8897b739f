"""Records of videos, and their conversion to the columns of Arrow."""

from __future__ import annotations

import hashlib
import pickle
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from mgdali import VideoDecodeError
from mgdali.index.schema import SCHEMA, from_batch, to_batch
from mgdali.motion import default_filters
from mgdali.samplers import Representation
from mgdali.video.media import Fingerprint
from mgdali.video.record import VideoRecord, filters_digest, index_name, path_named, representation_key
from tests.support.index_records import contents, make_record


def round_trip(*records: VideoRecord) -> list[dict[str, object]]:
    batch = to_batch(list(records))
    return [contents(from_batch(batch, row)) for row in range(len(records))]


def test_every_field_comes_back_from_arrow_in_any_row() -> None:
    records = [make_record(f"/videos/{seed}.mp4", 3 + 7 * seed, seed) for seed in range(5)]
    assert all(
        getattr(records[0], field.name) is not None or field.name in ("error", "key_times")
        for field in fields(VideoRecord)
    )
    assert round_trip(*records) == [contents(record) for record in records]


def test_every_field_comes_back_from_pickle_in_its_type() -> None:
    failed = VideoRecord(path="/c.mp4", fingerprint=None, error="broken")
    for record in (make_record("/a.mp4", 30, 2), make_record("/b.mp4", times=None, packets=None, motion={}), failed):
        found = pickle.loads(pickle.dumps(record))
        assert contents(found) == contents(record)
        for field in fields(VideoRecord):
            before, after = getattr(record, field.name), getattr(found, field.name)
            assert type(after) is type(before)
            if isinstance(before, np.ndarray):
                assert after.dtype == before.dtype


def test_the_columns_are_those_of_a_batch() -> None:
    assert to_batch([make_record("a")]).schema == SCHEMA


def test_every_column_is_explained() -> None:
    text = (Path(__file__).parents[2] / "docs" / "motion-index.md").read_text()
    rows = [line.split("|") for line in text.partition("## Columns")[2].splitlines() if line.startswith("| `")]
    explained = {name: cells[2].strip() for cells in rows for name in re.findall("`([a-z_]+)`", cells[1])}
    replaced = {"list<element: ": "list of ", "list<item: ": "list of ", ">": ""}
    types = {}
    for column in SCHEMA:
        types[column.name] = str(column.type)
        for arrows, ours in replaced.items():
            types[column.name] = types[column.name].replace(arrows, ours)
    assert explained == types


@pytest.mark.parametrize(
    "changes",
    [
        {"times": None},
        {"packets": None},
        {"times": None, "packets": None, "key_frames": np.empty(0, np.int32)},
        {"times": np.empty(0, np.int64), "packets": np.empty(0, np.int32)},
        {"motion": {}},
        {"motion": {"image_rgb": np.zeros(5, np.float32)}, "filters": None},
        {"motion": {"image": np.empty(0, np.float32)}},
        {"fingerprint": None},
        {"rate": 0.0, "time_base": (0, 1)},
        {"path": "https://host/ä ö::b.mp4"},
    ],
)
def test_none_and_empty_are_different(changes: dict[str, object]) -> None:
    record = make_record(**({"path": "a.mp4"} | changes))  # type: ignore[arg-type]
    # Between two other records, whose values must not appear in it.
    _, between, _ = round_trip(make_record("before", seed=1), record, make_record("after", seed=2))
    assert between == contents(record)


@pytest.mark.parametrize("fingerprint", [None, Fingerprint(7, 8, "9")])
def test_a_failed_videos_record_comes_back(fingerprint: Fingerprint | None) -> None:
    record = VideoRecord.from_error("a.mp4", fingerprint, VideoDecodeError("a.mp4", 12, "broken"))
    assert record.error == "broken (after 12 frames)"
    assert round_trip(make_record("b"), record)[1] == contents(record)


def test_the_record_of_a_video_that_cannot_be_opened_has_the_reason() -> None:
    assert VideoRecord.from_error("a", None, VideoDecodeError("a", 0, "gone")).error == "gone (before its first frame)"


def test_arrays_are_views_of_the_batch() -> None:
    batch = to_batch([make_record("a", 100)])
    motion = from_batch(batch, 0).motion["image"]
    assert not motion.flags.owndata
    assert not motion.flags.writeable


def test_a_batch_without_times_gives_records_without() -> None:
    batch = to_batch([make_record("a")])
    record = from_batch(batch.drop_columns(["times"]), 0)
    assert contents(record) == contents(make_record("a", times=None))


@pytest.mark.parametrize(
    ("representation", "key"),
    [
        (Representation(), "image"),
        (Representation(channels="rgb"), "image_rgb"),
        (Representation(motion="feature"), "feature"),
    ],
)
def test_motion_is_found_by_how_it_was_measured(representation: Representation, key: str) -> None:
    assert representation_key(representation) == key
    values = np.array([0, 1.5, 2], np.float32)
    record = make_record("a", 3, motion={key: values}, filters=filters_digest(Representation(motion="feature")))
    motion = record.motion_of(representation)
    assert motion is not None
    assert (motion.dtype, motion.tolist()) == (np.float64, values.tolist())
    assert make_record("a", motion={}).motion_of(representation) is None


def test_motion_of_other_filters_is_none() -> None:
    default, other = Representation(motion="feature"), Representation(motion="feature", weights=default_filters() * 2)
    same = Representation(motion="feature", weights=default_filters())
    record = make_record("a", filters=filters_digest(default))
    assert record.motion_of(other) is None
    assert record.motion_of(same) is not None


def test_motion_that_version_0_1_measured_on_rgb_counts_only_for_filters_that_are_still_measured_there() -> None:
    def digest_of_0_1(filters: np.ndarray) -> str:
        return hashlib.blake2b(filters.tobytes(), digest_size=16).hexdigest()

    on_luma, on_rgb = default_filters(), default_filters()[:, ::-1].copy()
    for weights, found in ((None, False), (on_luma, False), (on_luma * 2, False), (on_rgb, True)):
        representation = Representation(motion="feature", weights=weights)
        record = make_record("a", filters=digest_of_0_1(representation.filters))
        assert (record.motion_of(representation) is not None) == found
        assert len(filters_digest(representation)) == 32


def test_a_videos_name_is_its_absolute_path_or_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert index_name("a/../b.mp4") == str(tmp_path / "b.mp4")
    assert index_name("s.tar::a/b.mp4") == str(tmp_path / "s.tar::a/b.mp4")
    assert index_name("s3://bucket/a/../b.mp4") == "s3://bucket/a/../b.mp4"


def test_the_name_of_a_path_that_is_not_utf_8_is_text_and_leads_back_to_the_file(tmp_path: Path) -> None:
    for name in ("ü\udcff\udce9.mp4", "\\xff ü.mp4", "a.mp4"):
        path = tmp_path / name
        path.touch()
        found = index_name(str(path))
        assert found.encode().decode() == found
        assert path_named(found) == str(path)
