"""What a pack is shown to contain."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mgdali import VideoDataset, pack
from mgdali.errors import VideoDecodeError
from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Encoding
from mgdali.packing.report import luma_psnr, summarize_pack
from mgdali.video.media import Media
from tests.support.packs import encode_once, table
from tests.support.videos import moving_square, write_video


@pytest.fixture(autouse=True)
def _copies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    encode_once(monkeypatch)


def test_a_summary_has_the_settings_sizes_and_quality(packed: Path, class_folders: Path) -> None:
    summary = summarize_pack(packed)
    assert (summary.videos, summary.frames, summary.shards, summary.classes) == (7, 63, 1, 3)
    assert (summary.settings["preset"], summary.settings["motion"]) == ("small", ["image"])
    assert summary.origin_bytes == sum(path.stat().st_size for path in class_folders.rglob("*.mp4"))
    assert summary.left_out == ()
    quality = summary.quality
    assert quality is not None
    assert (quality.videos, quality.missing) == (7, 0)
    row = table(packed)[0]
    copy = Media(f"{packed}/shard-000000.tar::{row['key']}.mp4", (row["offset"], row["length"]))
    assert quality.mean is not None
    assert quality.worst is not None
    assert 25 < quality.worst <= luma_psnr(Media(row["origin"]), copy, 256)
    assert quality.worst < quality.mean


def test_the_sample_is_limited_and_missing_originals_are_counted(class_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(class_folders, folder)
    pack(VideoDataset.from_folder(folder), tmp_path / "pack", num_workers=0)
    assert summarize_pack(tmp_path / "pack", sample=0).quality is None
    quality = summarize_pack(tmp_path / "pack", sample=3).quality
    assert quality is not None
    assert (quality.videos, quality.missing) == (3, 0)
    (folder / "jump" / "clip0.mp4").unlink()
    write_video(folder / "jump" / "clip6.mp4", moving_square(4, 48, 64))
    quality = summarize_pack(tmp_path / "pack", sample=3).quality
    assert quality is not None
    assert (quality.videos, quality.missing) == (1, 2)
    shutil.rmtree(folder)
    quality = summarize_pack(tmp_path / "pack", sample=3).quality
    assert quality is not None
    assert (quality.videos, quality.missing, quality.mean, quality.worst_video) == (0, 3, None, None)


def test_originals_in_tars_are_found(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "tars")
    data = VideoDataset.from_shards(str(tmp_path / "tars" / "*.tar"), label="json:label")
    pack(data, tmp_path / "again", num_workers=0)
    quality = summarize_pack(tmp_path / "again", sample=2).quality
    assert quality is not None
    assert quality.videos == 2


def test_the_decoded_frames_of_a_clip_are_those_of_the_structure(class_folders: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", moving_square(90, 48, 64))
    data = VideoDataset([tmp_path / "long.mp4"], [0])
    found = {}
    for preset in ("small", "fast", "archive"):
        pack(data, tmp_path / preset, encoding=Encoding(preset=preset), num_workers=0)
        found[preset] = summarize_pack(tmp_path / preset, sample=0).decoded_frames or 0
    assert found["fast"] <= 8
    assert found["fast"] < found["small"] <= 24
    assert found["archive"] > found["small"]


def test_the_psnr_is_that_of_its_definition(tmp_path: Path) -> None:
    frames = moving_square(6, 48, 64)
    original = write_video(tmp_path / "a.mp4", frames, options={"crf": "0"})
    same = luma_psnr(Media(str(original)), Media(str(original)), 256)
    assert same == 100.0
    content = encode_video(Media(str(original)), Encoding(quality=40), ()).content
    (tmp_path / "b.mp4").write_bytes(content)

    def luma(path: Path) -> np.ndarray:
        import av

        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray()[:48] for frame in container.decode(video=0)]).astype(float)

    error = np.square(luma(original) - luma(tmp_path / "b.mp4")).mean()
    measured = luma_psnr(Media(str(original)), Media(str(tmp_path / "b.mp4")), 256)
    assert measured == pytest.approx(10 * np.log10(255**2 / error))


def test_a_copy_with_other_frames_is_refused(tmp_path: Path) -> None:
    long = write_video(tmp_path / "a.mp4", moving_square(6, 48, 64))
    short = write_video(tmp_path / "b.mp4", moving_square(5, 48, 64))
    with pytest.raises(VideoDecodeError, match="fewer or smaller frames"):
        luma_psnr(Media(str(long)), Media(str(short)), 256)
    with pytest.raises(VideoDecodeError, match="more frames than the original"):
        luma_psnr(Media(str(short)), Media(str(long)), 256)
