"""Reading each part of a video once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mgdali import VideoDecodeError
from mgdali.video.kept_parts import KeptParts
from mgdali.video.media import Media


def test_a_part_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(range(100)))
    media = Media(f"{path}::a.mp4", (10, 80))
    calls: list[Sequence[tuple[int, int]]] = []
    read = Media.read_parts

    def noted(media: Media, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        calls.append(spans)
        return read(media, spans)

    monkeypatch.setattr(Media, "read_parts", noted)
    kept = KeptParts.of(media)
    assert kept.read_parts([(0, 4), (20, 2)]) == [bytes(range(10, 14)), bytes([30, 31])]
    assert kept.read_parts([(20, 2), (0, 4)]) == [bytes([30, 31]), bytes(range(10, 14))]
    assert kept.read_parts([(30, 1), (0, 4)]) == [bytes([40]), bytes(range(10, 14))]
    assert calls == [[(0, 4), (20, 2)], [(30, 1)]]


def test_it_is_the_same_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"content")
    media = Media(str(path))
    kept = KeptParts.of(media)
    assert (kept.read(), kept.fingerprint()) == (media.read(), media.fingerprint())
    assert KeptParts.of(media.loaded()).read_parts([(3, 2)]) == [b"te"]


def test_a_part_beyond_the_end_is_an_error_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"content")
    kept = KeptParts.of(Media(str(path)))
    for _ in range(2):
        with pytest.raises(VideoDecodeError, match="before the end of the part"):
            kept.read_parts([(0, 8)])
