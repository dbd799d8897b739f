"""Reading packed data sets: their videos, and errors about files that are missing or do not fit."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest

from mgdali import DatasetError, VideoDataset
from mgdali.datasets.named_videos import media_of
from mgdali.datasets.pack_format import FORMAT, INDEX, MANIFEST, TABLE, PackManifest, read_manifest
from mgdali.datasets.packs import check_representation, open_pack, read_table
from mgdali.samplers import Representation
from tests.support.faulty_server import FaultyServer
from tests.support.packed import LENGTHS, write_originals, write_pack


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoDataset, Path]:
    """The originals, and the folder of their packed data set."""
    folder = tmp_path_factory.mktemp("packs")
    originals = write_originals(folder / "videos")
    return originals, write_pack(originals, folder / "pack")


@pytest.fixture
def copied(packed: tuple[VideoDataset, Path], tmp_path: Path) -> Path:
    """A copy of the packed data set, which tests may change."""
    return Path(shutil.copytree(packed[1], tmp_path / "copied"))


def test_a_pack_brings_order_labels_classes_and_columns(packed: tuple[VideoDataset, Path]) -> None:
    originals, folder = packed
    dataset = VideoDataset.from_pack(folder)
    assert [video.label for video in dataset] == [video.label for video in originals]
    assert dataset.classes == ["run", "jump", "sit"]
    assert dataset.columns == originals.columns
    assert dataset.pack is not None
    assert dataset.pack.manifest.videos == len(LENGTHS)


def test_each_path_and_span_is_that_of_a_video_of_the_original_length(packed: tuple[VideoDataset, Path]) -> None:
    for length, media in zip(LENGTHS, media_of(VideoDataset.from_pack(packed[1])), strict=True):
        with av.open(io.BytesIO(media.read())) as container:
            assert sum(1 for _ in container.decode(video=0)) == length


def test_a_subset_keeps_the_pack_and_its_columns(packed: tuple[VideoDataset, Path]) -> None:
    dataset = VideoDataset.from_pack(packed[1])
    subset = dataset[5:1:-2]
    assert subset.pack is dataset.pack
    assert subset.columns == {"id": [dataset.columns["id"][row] for row in (5, 3)]}
    assert subset.paths == [dataset.paths[row] for row in (5, 3)]


def test_the_folder_of_a_pack_names_its_videos(packed: tuple[VideoDataset, Path]) -> None:
    assert media_of(packed[1]) == [video.media for video in VideoDataset.from_pack(packed[1])]


def test_a_pack_is_read_from_a_server(copied: Path, server: FaultyServer) -> None:
    dataset = VideoDataset.from_pack(f"{server.url}/copied/")
    local = VideoDataset.from_pack(copied)
    assert [video.media.read() for video in dataset] == [video.media.read() for video in local]


@pytest.mark.slow
def test_shards_are_ordinary_ones_for_webdataset(packed: tuple[VideoDataset, Path]) -> None:
    webdataset = pytest.importorskip("webdataset")
    originals, folder = packed
    shards = [str(folder / shard.name) for shard in read_manifest(folder).shards]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert len(samples) == len(originals)
    for sample, video, length in zip(samples, originals, LENGTHS, strict=True):
        described = json.loads(sample["json"])
        assert described["label"] == video.label
        assert described["class"] == originals.classes[video.label]
        assert described["path"] == video.path
        assert described["id"] == f"video {video.label}"
        with av.open(io.BytesIO(sample["mp4"])) as container:
            assert sum(1 for _ in container.decode(video=0)) == length


def test_shards_are_ordinary_ones_for_from_shards(packed: tuple[VideoDataset, Path]) -> None:
    originals, folder = packed
    dataset = VideoDataset.from_shards(folder / "shard-*.tar", label="json:class", classes=originals)
    assert [video.label for video in dataset] == [video.label for video in originals]


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _newer(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": FORMAT + 1}))


def _newer_table(folder: Path) -> None:
    table = pq.read_table(folder / TABLE)
    pq.write_table(table.replace_schema_metadata({b"mgdali.format": b"%d" % (FORMAT + 1)}), folder / TABLE)


def _short_table(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / TABLE)[1:], folder / TABLE)


def _cut(folder: Path) -> None:
    shard = folder / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove(MANIFEST), "not a complete packed data set.*run the same command again"),
        (_remove(INDEX), "has no index that can be read.*never measured"),
        (_remove(TABLE), "cannot read the table of videos"),
        (_remove("shard-000000.tar"), "shard-000000.tar is missing: copy it again"),
        (_cut, "shard-000000.tar has .* bytes instead of"),
        (_newer, "has format 3.*install a newer version"),
        (_newer_table, "has format '3'.*install a newer version"),
        (_short_table, "lists 7 videos, but the manifest 8"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "not the manifest of a packed data set"),
        (lambda folder: (folder / TABLE).write_text("{}"), "cannot read the table of videos"),
    ],
)
def test_a_pack_that_is_not_whole_is_an_error_that_names_the_file(
    copied: Path, change: Callable[[Path], None], message: str
) -> None:
    change(copied)
    with pytest.raises(DatasetError, match=message):
        VideoDataset.from_pack(copied)


def test_a_pack_that_a_server_does_not_have_is_an_error(server: FaultyServer) -> None:
    with pytest.raises(DatasetError, match="cannot read .*/missing/pack.json: .*give the folder or URL"):
        VideoDataset.from_pack(f"{server.url}/missing")


def test_entries_and_columns_that_this_version_does_not_know_are_ignored(copied: Path) -> None:
    manifest = json.loads((copied / MANIFEST).read_text())
    (copied / MANIFEST).write_text(json.dumps({**manifest, "mood": "good"}))
    table = read_table(str(copied))
    pq.write_table(table.append_column("mood", [["good"] * len(table)]), copied / TABLE)
    assert len(VideoDataset.from_pack(copied)) == len(LENGTHS)


def test_a_manifest_comes_back_from_its_json(packed: tuple[VideoDataset, Path]) -> None:
    manifest = read_manifest(packed[1])
    assert PackManifest.from_json(manifest.to_json(), "again") == manifest


def test_motion_that_a_pack_does_not_contain_is_refused(packed: tuple[VideoDataset, Path]) -> None:
    pack = open_pack(packed[1])
    check_representation(pack, None)
    check_representation(pack, Representation())
    with pytest.raises(DatasetError, match="no motion 'feature'.*contains: image.*--motion"):
        check_representation(pack, Representation(motion="feature"))
