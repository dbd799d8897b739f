"""Keys of videos in packs."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mgdali import TimeRange
from mgdali.packing.keys import make_keys


def test_keys_are_the_paths_below_the_shared_folder() -> None:
    assert make_keys(["/d/run/a.mp4", "/d/jump/b.avi"]) == ["run_a", "jump_b"]
    assert make_keys(["/d/run/a.mp4"]) == ["a"]
    assert make_keys(["s3://b/v/a.mp4", "s3://b/w/b.mkv"]) == ["v_a", "w_b"]
    assert make_keys(["x.tar::000/a.mp4", "y.tar::000/a.mp4"])[0].startswith("x_tar_000_a-")
    assert make_keys(["/d/one/img_%05d.jpg", "/d/two/img_%05d.jpg"]) == ["one", "two"]
    assert make_keys(["/d/frames/00001", "/d/frames/00002"]) == ["00001", "00002"]
    assert make_keys([]) == []


def test_equal_names_in_different_folders_and_repeated_rows_have_different_keys() -> None:
    keys = make_keys(["/d/a_b/c.mp4", "/d/a/b_c.mp4", "/d/a_b/c.avi", "/d/a_b/c.mp4", "/d/a_b/c.mp4"])
    assert keys[0] == "a_b_c"
    assert len(set(keys)) == 5
    assert all(re.fullmatch(r"a_b_c-[0-9a-f]{8}", key) for key in keys[1:])


def test_dots_and_other_alphabets_are_replaced_and_a_hash_tells_them_apart() -> None:
    keys = make_keys(["/d/v1.2.mp4", "/d/v1_2.mp4", "/d/Rübe.mp4", "/d/跑步.mp4", "/d/跳跃.mp4"])
    assert re.fullmatch(r"v1_2-[0-9a-f]{8}", keys[0])
    assert keys[1] == "v1_2"
    assert re.fullmatch(r"Rube-[0-9a-f]{8}", keys[2])
    assert keys[3] != keys[4]
    assert all(re.fullmatch(r"video-[0-9a-f]{8}", key) for key in keys[3:])


def test_taken_keys_are_not_used_again() -> None:
    assert make_keys(["/d/a.mp4", "/d/b.mp4"], {"a"})[1] == "b"
    assert make_keys(["/d/a.mp4", "/d/b.mp4"], {"a"})[0] != "a"


def test_long_names_keep_their_end() -> None:
    (key,) = make_keys([f"/d/{'x' * 300}end.mp4"])
    assert len(key) == 80
    assert re.search(r"xend-[0-9a-f]{8}$", key)


def test_keys_of_segments_contain_start_and_end() -> None:
    parts = [TimeRange(1.5, 3), TimeRange(0, None), TimeRange(45, 90, "frames"), TimeRange(45, None, "frames"), None]
    assert make_keys(["/d/run/talk.mp4"] * 5, (), parts) == [
        *("talk_1500ms-3000ms", "talk_0ms-end", "talk_45-90", "talk_45-end", "talk"),
    ]


def test_segments_that_would_have_the_key_of_another_video_get_a_hash() -> None:
    paths = ["/d/a_1-2.mp4", *["/d/a.mp4"] * 5]
    thirds = TimeRange(1 / 3, 2 / 3)
    parts = [None, *[TimeRange(1, 2, "frames")] * 2, thirds, TimeRange(0.33333, 0.66667), TimeRange(0.333, 0.667)]
    keys = make_keys(paths, (), parts)
    assert (keys[0], keys[5]) == ("a_1-2", "a_333ms-667ms")
    assert [key.rpartition("-")[0] for key in keys[1:5]] == ["a_1-2"] * 2 + ["a_333ms-667ms"] * 2
    assert len(set(keys)) == 6
    # The hash is that of path and segment: it does not depend on other segments.
    assert make_keys(["/d/b_b.mp4", "/d/a.mp4"], (), [None, thirds])[1] == keys[3]


@settings(max_examples=15)
@given(st.lists(st.text(max_size=90), max_size=4))
def test_keys_are_unique_short_and_plain_whatever_the_paths(paths: list[str]) -> None:
    keys = make_keys(paths)
    assert len(set(keys)) == len(paths)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", key) for key in keys)
    assert make_keys(paths) == keys
