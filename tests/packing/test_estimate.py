"""The estimated space of a pack."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mgdali import TimeRange
from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Encoding
from mgdali.packing.estimate import estimate_bytes
from mgdali.video.media import Media
from tests.support.videos import moving_square, write_video


class Deadly(Media):
    """A video that ends the process that opens it."""

    def open(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def test_whole_short_videos_give_nearly_their_size(class_folders: Path) -> None:
    media = [Media(str(path)) for path in sorted(class_folders.rglob("*.mp4"))]
    expected = sum(len(encode_video(each, Encoding(), ()).content) for each in media)
    estimate = estimate_bytes(media, Encoding(), num_workers=0)
    assert estimate is not None
    # The sizes of the packets are compared, and small files consist mainly of headers.
    assert expected < estimate < 3 * expected


def test_a_long_video_is_tried_at_its_beginning_only(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(150, 48, 64))
    estimate = estimate_bytes([Media(str(path))], Encoding(), num_workers=0)
    whole = len(encode_video(Media(str(path)), Encoding(), ()).content)
    assert estimate == pytest.approx(whole, rel=0.3)


def test_every_kind_of_video_can_be_tried(real_videos: Path) -> None:
    for path in sorted((real_videos / "formats").iterdir()):
        assert estimate_bytes([Media(str(path))], Encoding(), num_workers=0) is not None, path.name
    frames = next((real_videos / "frames").iterdir())
    estimate = estimate_bytes([Media(str(frames))], Encoding(), num_workers=0)
    assert estimate is not None
    assert estimate < sum(os.path.getsize(path) for path in frames.iterdir())


def test_videos_that_cannot_be_tried_give_no_estimate(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    os.mkfifo(tmp_path / "pipe.mp4")
    media = [Media(str(tmp_path / f"{name}.mp4")) for name in ("bad", "none", "pipe")]
    assert estimate_bytes([], Encoding(), num_workers=0) is None
    assert estimate_bytes(media, Encoding(), num_workers=0) is None


def test_videos_that_are_packed_already_give_the_ratio(tmp_path: Path) -> None:
    (tmp_path / "any.mp4").write_bytes(bytes(1000))
    media = [Media(str(tmp_path / "any.mp4"))] * 3
    assert estimate_bytes(media, Encoding(), num_workers=0, packed=[(100, 60), (100, 40)]) == 1500
    assert estimate_bytes(media, Encoding(), num_workers=0, packed=[(0, 40)]) is None
    assert estimate_bytes([], Encoding(), num_workers=0, packed=[(100, 50)]) is None


def test_segments_are_estimated_by_their_lengths(tmp_path: Path) -> None:
    media = Media(str(write_video(tmp_path / "a.mp4", moving_square(150, 48, 64))))
    parts = [TimeRange(0.0, 2.0), TimeRange(60, 120, "frames"), TimeRange(2.0)]
    expected = sum(len(encode_video(media, Encoding(), (), part).content) for part in parts[:2])
    # Copies of whole files that are packed already say nothing about segments.
    estimate = estimate_bytes([media] * 2, Encoding(), parts[:2], num_workers=0, packed=[(1000, 10)])
    assert estimate == pytest.approx(expected, rel=0.3)
    # A segment up to the end of its file counts like the others.
    assert estimate_bytes([media] * 3, Encoding(), parts, num_workers=0) == pytest.approx(1.5 * estimate, rel=0.01)
    assert estimate_bytes([media], Encoding(), parts[2:], num_workers=0) is None
    both = estimate_bytes([media] * 2, Encoding(), [None, parts[0]], num_workers=0, packed=[(1000, 1000)])
    assert both == pytest.approx(os.path.getsize(media.path) + estimate / 2, rel=0.01)


@pytest.mark.slow
def test_a_video_that_ends_its_process_is_left_out_of_the_estimate(class_folders: Path) -> None:
    paths = sorted(map(str, class_folders.rglob("*.mp4")))[:2]
    expected = estimate_bytes([Media(paths[0])] * 2, Encoding(), num_workers=0)
    assert expected is not None
    media = [Media(paths[0]), Deadly(paths[0])]
    assert estimate_bytes(media, Encoding(), num_workers=2) == expected
