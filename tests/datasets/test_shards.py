import gzip
import io
import json
import os
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mgdali.datasets.shards import Member, ShardIndex, expand_shards, labelled_videos, scan_shard, scan_shards
from mgdali.errors import DatasetError
from mgdali.video.media import Media
from tests.support.faulty_server import FaultyServer


def write_shard(path: Path, files: Mapping[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return str(path)


def samples(count: int, size: int = 3000) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for i in range(count):
        files[f"{i:03}/clip.mp4"] = bytes([i % 256]) * (size + i)
        files[f"{i:03}/clip.cls"] = str(i % 3).encode()
    return files


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "mgdali" / "shards"


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_file_is_found_at_its_place(tmp_path: Path, layout: int) -> None:
    files = {**samples(5), f"{'long' * 20}/{'name' * 24}.mp4": b"video" * 999, "empty.mp4": b""}
    with tarfile.open(tmp_path / "a.tar", "w", format=layout) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    shard = str(tmp_path / "a.tar")
    found = scan_shard(shard)
    assert [member.name for member in found.members] == list(files)
    for member in found.members:
        assert Media(f"{shard}::{member.name}", (member.offset, member.length)).read() == files[member.name]
        assert member.text == (files[member.name].decode() if member.name.endswith(".cls") else None)


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "in" / "run").mkdir(parents=True)
    for name in ("a.mp4", "._a.mp4", ".DS_Store"):
        (tmp_path / "in" / "run" / name).write_bytes(b"x")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "in", ".")
    assert [member.name for member in scan_shard(str(tmp_path / "a.tar")).members] == ["./run/a.mp4"]


def test_an_index_is_made_once_and_stored_next_to_the_shard(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", samples(5))
    first = scan_shard(shard)
    index = tmp_path / "a.tar.index.json"
    content = json.loads(index.read_text())
    content["names"][0] = "known/by/the/index.mp4"
    index.write_text(json.dumps(content))
    again = scan_shard(shard)
    assert again.members[0] == Member("known/by/the/index.mp4", first.members[0].offset, first.members[0].length)
    assert again.members[1:] == first.members[1:]
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "a.tar.index.json"]


def test_an_index_is_made_again_for_another_shard(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", samples(5))
    scan_shard(shard)
    write_shard(tmp_path / "a.tar", samples(6))
    assert len(scan_shard(shard).members) == 12


def test_an_index_is_made_again_for_another_shard_of_the_same_size(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", {"a.mp4": b"1", "a.cls": b"1"})
    written = os.stat(shard).st_mtime_ns
    scan_shard(shard)
    write_shard(tmp_path / "a.tar", {"b.mp4": b"1", "b.cls": b"1"})
    os.utime(shard, ns=(0, written + 1))
    assert [member.name for member in scan_shard(shard).members] == ["b.mp4", "b.cls"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 1}', b"\xff"])
def test_a_damaged_index_is_made_again(tmp_path: Path, damage: bytes) -> None:
    shard = write_shard(tmp_path / "a.tar", samples(2))
    first = scan_shard(shard)
    index = tmp_path / "a.tar.index.json"
    good = index.read_bytes()
    index.write_bytes(damage)
    assert scan_shard(shard) == first
    assert index.read_bytes() == good


def test_if_a_folder_cannot_be_written_the_index_is_in_the_users_cache(tmp_path: Path, cache: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", samples(2))
    # A folder at the index's path simulates a missing write permission, which root always has.
    (tmp_path / "a.tar.index.json").mkdir()
    first = scan_shard(shard)
    assert len(os.listdir(cache)) == 1
    assert scan_shard(shard) == first
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "a.tar.index.json"]


def test_a_cache_folder_that_was_given_is_used_for_all_shards(tmp_path: Path, cache: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", samples(2))
    scan_shard(shard, cache_dir=tmp_path / "indices" / "here")
    assert len(os.listdir(tmp_path / "indices" / "here")) == 1
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "indices"]
    assert not cache.exists()


def test_a_shard_is_read_even_if_its_index_cannot_be_stored(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", samples(2))
    (tmp_path / "file").write_bytes(b"")
    assert len(scan_shard(shard, cache_dir=tmp_path / "file").members) == 4


def test_several_threads_can_make_the_index_at_once(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", samples(40))
    found: list[ShardIndex] = []
    threads = [threading.Thread(target=lambda: found.append(scan_shard(shard))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [scan_shard(shard)] * 8
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "a.tar.index.json"]


@pytest.mark.parametrize("kept", [0, 300, 512 + 1500, 3 * 512 + 4000, 5 * 512 + 6144 + 200], ids=str)
def test_a_truncated_shard_is_named(tmp_path: Path, kept: int) -> None:
    content = Path(write_shard(tmp_path / "a.tar", samples(3))).read_bytes()
    (tmp_path / "a.tar").write_bytes(content[:kept])
    with pytest.raises(DatasetError, match=r"a\.tar is not a tar.*write it again"):
        scan_shard(str(tmp_path / "a.tar"))


def test_a_truncated_shard_never_loses_samples_silently(tmp_path: Path) -> None:
    content = Path(write_shard(tmp_path / "a.tar", {"a.mp4": bytes(600), "a.cls": b"1"})).read_bytes()
    end = 512 + 1024 + 512 + 512
    for kept in range(0, end + 1, 64):
        (tmp_path / "a.tar").write_bytes(content[:kept])
        with pytest.raises(DatasetError, match=r"a\.tar"):
            scan_shard(str(tmp_path / "a.tar"))
    (tmp_path / "a.tar").write_bytes(content[: end + 512])
    assert len(scan_shard(str(tmp_path / "a.tar")).members) == 2


def test_a_shard_that_is_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    content = bytearray(Path(write_shard(tmp_path / "a.tar", samples(3))).read_bytes())
    second = content.index(b"001/clip.mp4")
    content[second : second + 512] = b"?" * 512
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a\.tar is not a tar, .*at byte {second}, after 2 files"):
        scan_shard(str(tmp_path / "a.tar"))


@pytest.mark.parametrize("content", [b"no tar at all" * 100, bytes(range(256)) * 10])
def test_a_file_that_is_not_a_tar_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.tar is not a tar"):
        scan_shard(str(tmp_path / "a.tar"))


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_the_error_for_a_compressed_shard_says_to_unpack_it(tmp_path: Path, mode: str) -> None:
    with tarfile.open(str(tmp_path / "a.tar"), mode) as tar:  # type: ignore[call-overload]
        tar.addfile(tarfile.TarInfo("a.mp4"))
    with pytest.raises(DatasetError, match=r"a\.tar is compressed .*plain \.tar"):
        scan_shard(str(tmp_path / "a.tar"))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read the shard .*nowhere\.tar: No such file"):
        scan_shard(str(tmp_path / "nowhere.tar"))
    with pytest.raises(DatasetError, match="cannot read the shard .*: Is a directory"):
        scan_shard(str(tmp_path))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_place_of_a_video_is_named(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        entry = tarfile.TarInfo("run/b.mp4")
        entry.type, entry.linkname = kind, "a.mp4"
        tar.addfile(entry)
    with pytest.raises(DatasetError, match=r"a\.tar: run/b\.mp4 is a link.*--dereference"):
        scan_shard(str(tmp_path / "a.tar"))


@pytest.mark.parametrize("faults", [[], ["503", "drop", "", "503", "cut", "short", ""] * 3], ids=["well", "badly"])
def test_a_remote_shard_is_read_by_its_headers(
    tmp_path: Path, server: FaultyServer, cache: Path, faults: list[str]
) -> None:
    files = samples(20, size=200_000)
    write_shard(tmp_path / "a.tar", files)
    server.faults = list(faults)
    found = scan_shard(f"{server.url}/a.tar")
    assert not server.faults
    assert found.members == scan_shard(str(tmp_path / "a.tar")).members
    parts = [asked.removeprefix("bytes=").split("-") for command, asked in server.requests if asked]
    read = sum(int(last) - int(first) + 1 for first, last in parts)
    assert read < (1 + len(faults)) * sum(map(len, files.values()))
    if not faults:
        assert read < 0.5 * sum(map(len, files.values()))
        assert len(parts) <= 22
    assert len(os.listdir(cache)) == 1


def test_a_remote_shards_index_is_kept_until_the_shard_changes(tmp_path: Path, server: FaultyServer) -> None:
    write_shard(tmp_path / "a.tar", {"a.mp4": b"1", "a.cls": b"1"})
    first = scan_shard(f"{server.url}/a.tar")
    server.requests.clear()
    assert scan_shard(f"{server.url}/a.tar") == first
    assert [command for command, _ in server.requests] == ["HEAD"]
    write_shard(tmp_path / "a.tar", {"b.mp4": b"1", "b.cls": b"1"})
    assert [member.name for member in scan_shard(f"{server.url}/a.tar").members] == ["b.mp4", "b.cls"]


def test_a_remote_shard_that_cannot_be_read_is_named(tmp_path: Path, server: FaultyServer) -> None:
    write_shard(tmp_path / "a.tar", samples(2))
    server.always = "503"
    with pytest.raises(DatasetError, match=rf"cannot read the shard {server.url}/a\.tar: .*503.*\(tried 5 times\)"):
        scan_shard(f"{server.url}/a.tar")


def test_shards_keep_the_given_order(tmp_path: Path) -> None:
    shards = [write_shard(tmp_path / f"{i}.tar", samples(i + 1)) for i in range(5)]
    assert [index.shard for index in scan_shards(shards[::-1])] == shards[::-1]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("s-{000..003}.tar", ["s-000.tar", "s-001.tar", "s-002.tar", "s-003.tar"]),
        ("s-{8..11}.tar", ["s-8.tar", "s-9.tar", "s-10.tar", "s-11.tar"]),
        ("s-{08..11}.tar", ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]),
        ("s-{2..0}.tar", ["s-2.tar", "s-1.tar", "s-0.tar"]),
        ("{train,val}-{0..1}.tar", ["train-0.tar", "train-1.tar", "val-0.tar", "val-1.tar"]),
        ("s3://b/{a,}/x.tar", ["s3://b/a/x.tar", "s3://b//x.tar"]),
        ("s-{x}.tar", ["s-{x}.tar"]),
        ("plain.tar", ["plain.tar"]),
        ("https://h/a.tar?key=1", ["https://h/a.tar?key=1"]),
    ],
)
def test_braces_expand_to_every_number(pattern: str, expected: list[str]) -> None:
    assert expand_shards(pattern) == expected
    assert expand_shards([pattern, Path("more.tar")]) == [*expected, "more.tar"]


def test_stars_match_existing_files(tmp_path: Path) -> None:
    for name in ("b-1.tar", "a-2.tar", "a-1.tar", "a-1.tar.index.json", "a[1].tar"):
        (tmp_path / name).touch()
    assert expand_shards(tmp_path / "{b,a}-*") == [f"{tmp_path}/{name}" for name in ("b-1.tar", "a-1.tar", "a-2.tar")]
    assert expand_shards(tmp_path / "a[1].tar") == [f"{tmp_path}/a[1].tar"]
    with pytest.raises(DatasetError, match=r"no shard matches .*/c-\*\.tar: correct the pattern"):
        expand_shards([tmp_path / "a-*", tmp_path / "c-*.tar"])


def test_unbalanced_braces_name_the_pattern() -> None:
    with pytest.raises(DatasetError, match=r"train-\{000\.\.099\.tar.*correct the pattern"):
        expand_shards("train-{000..099.tar")


def test_an_empty_list_of_shards_is_rejected() -> None:
    with pytest.raises(DatasetError, match="at least one shard, got none"):
        expand_shards([])


def labelled(tmp_path: Path, files: Mapping[str, bytes], label: str = "cls") -> list[tuple[str, str]]:
    found = labelled_videos(scan_shard(write_shard(tmp_path / "a.tar", files)), label)
    for path, span in zip(found.paths, found.spans.tolist(), strict=True):
        assert Media(path, tuple(span)).read() == files[path.partition("::")[2]]
    assert found.spans.dtype == np.int64
    return [(path.removeprefix(f"{tmp_path}/"), word) for path, word in zip(found.paths, found.labels, strict=True)]


@pytest.mark.parametrize(
    ("label", "expected"), [("cls", "7"), ("txt", "long jump"), ("json:name", "jump"), ("json:id", "12")]
)
def test_labels_are_read_from_the_member_that_label_names(tmp_path: Path, label: str, expected: str) -> None:
    content = json.dumps({"name": "jump", "id": 12}).encode()
    files = {"0/a.mp4": b"v", "0/a.cls": b" 7\n", "0/a.txt": b"\xef\xbb\xbflong jump\n", "0/a.json": content}
    assert labelled(tmp_path, files, label) == [("a.tar::0/a.mp4", expected)]


def test_files_of_one_sample_need_not_be_adjacent(tmp_path: Path) -> None:
    files = {"a.cls": b"1", "b.mp4": b"vb", "notes.md": b"x", "a.mp4": b"va", "b.cls": b"2", "only.json": b"{}"}
    assert labelled(tmp_path, files) == [("a.tar::b.mp4", "2"), ("a.tar::a.mp4", "1")]


def test_a_key_ends_at_the_first_dot_of_the_name(tmp_path: Path) -> None:
    files = {"v.1/a.left.mp4": b"va", "v.1/a.cls": b"1", "v.2/a.mp4": b"vb", "v.2/a.cls": b"2"}
    assert labelled(tmp_path, files) == [("a.tar::v.1/a.left.mp4", "1"), ("a.tar::v.2/a.mp4", "2")]


@pytest.mark.parametrize(
    ("files", "label", "message"),
    [
        ({"a.mp4": b"v"}, "cls", r"a\.tar::a\.mp4 has no label: .*'cls'.*none"),
        ({"a.mp4": b"v", "a.txt": b"x"}, "cls", r"a\.tar::a\.mp4 has no label: .*'cls'.*txt"),
        ({"a.mp4": b"v", "a.cls": b" \n"}, "cls", r"a\.tar::a\.mp4: its label file a\.cls is empty"),
        ({"a.mp4": b"v", "a.txt": bytes(70_000)}, "txt", r"a\.tar::a\.mp4: .*label file a\.txt .*70000 bytes"),
        ({"a.mp4": b"v", "a.json": b"{"}, "json:x", r"a\.tar::a\.mp4: a\.json is not JSON"),
        ({"a.mp4": b"v", "a.json": b"{}"}, "json:x", r"a\.tar::a\.mp4: a\.json has None for 'x'"),
        ({"a.mp4": b"v", "a.json": b"[1]"}, "json:x", r"a\.tar::a\.mp4: a\.json has None for 'x'"),
        ({"a.mp4": b"v", "a.json": b'{"x": true}'}, "json:x", r"a\.tar::a\.mp4: a\.json has True for 'x'"),
        ({"a.mp4": b"v", "a.json": b'{"x": 0.5}'}, "json:x", r"a\.tar::a\.mp4: a\.json has 0\.5 for 'x'"),
        ({"v/a.mp4": b"v", "v/a.b.mp4": b"v"}, "cls", r"a\.tar: v/a\.mp4 and v/a\.b\.mp4 are two videos of one sample"),
        ({"a.cls": b"1", "a.jpg": b"x"}, "cls", r"a\.tar contains no video .*\.mp4.*: remove the shard"),
        ({}, "cls", r"a\.tar contains no video"),
        ({"a.mp4": b"v"}, "json", "label 'json' .*'cls' or 'txt', or 'json:<field>'"),
        ({"a.mp4": b"v"}, "cls:x", "label 'cls:x' "),
        ({"a.mp4": b"v"}, "png", "label 'png' "),
    ],
)
def test_invalid_samples_are_named(tmp_path: Path, files: dict[str, bytes], label: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        labelled(tmp_path, files, label)


def test_two_videos_of_the_same_name_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.mp4"))
        tar.addfile(tarfile.TarInfo("a.mp4"))
    with pytest.raises(DatasetError, match=r"a\.mp4 and a\.mp4 are two videos of one sample"):
        labelled_videos(scan_shard(str(tmp_path / "a.tar")), "cls")


def test_a_compressed_file_within_a_shard_is_accepted(tmp_path: Path) -> None:
    assert len(scan_shard(write_shard(tmp_path / "a.tar", {"a.gz": gzip.compress(b"x")})).members) == 1
