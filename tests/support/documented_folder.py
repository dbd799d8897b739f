"""The folder in which blocks of documents run, and the names that pages take for granted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from mgdali import MotionGuided, VideoDataset, build_index, pack
from mgdali.demo.synthetic import plan_action_videos, write_action_videos
from tests.support.documented_blocks import Block
from tests.support.loading import load
from tests.support.videos import moving_square, write_video

__all__ = ["names_of", "prepare_command", "write_documented_folder"]


def write_documented_folder(folder: Path) -> Path:
    """Write the files that the pages name: videos, lists, two indexes and a pack.

    - ``video.mp4`` takes two minutes, and ``talk.mp4`` more than three seconds.
    - ``videos/``, ``train/`` and ``val/`` contain one folder per class.
    - ``mgdali-demo/videos/`` contains the files of the demo; all of a class are the same video.
    - ``videos.parquet`` is the index of ``videos/``, ``clips.parquet`` that of ``video.mp4``; ``part1.parquet``,
      ``part2.parquet`` and ``new.parquet`` are those of parts.
    - ``packed/`` is a pack of ``videos/``.
    - The lists of Something-Something V2 are those of MMAction2.
    """
    for name in ("videos", "train", "val"):
        for i, path in enumerate(("run/a.mp4", "run/b.mp4", "jump/a.mp4", "jump/b.mp4")):
            _write(folder / name / path, 12 + i, seed=i)
    write_action_videos(folder / "few", videos_per_class=1)
    for video in plan_action_videos():
        target = folder / "mgdali-demo" / "videos" / video.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "few" / video.action / "00.mp4", target)
    shutil.rmtree(folder / "few")
    _write(folder / "more" / "c.mp4", 12)
    write_video(folder / "video.mp4", moving_square(120, 48, 64), times=range(0, 120_000, 1000))
    _write(folder / "talk.mp4", 100)
    for name in ("train", "val"):
        (folder / f"sthv2_{name}_list_videos.txt").write_text("a.mp4 0\nb.mp4 1\n")
    for name in ("a", "b"):
        _write(folder / f"data/sthv2/videos/{name}.mp4", 12)
    build_index(folder / "videos", folder / "videos.parquet", num_workers=0)
    build_index([folder / "video.mp4"], folder / "clips.parquet", num_workers=0)
    for name, part in {"part1": "videos/run", "part2": "videos/jump", "new": "more"}.items():
        build_index(folder / part, folder / f"{name}.parquet", num_workers=0)
    pack(VideoDataset.from_folder(folder / "videos"), folder / "packed", num_workers=0)
    return folder


def names_of(block: Block, folder: Path) -> dict[str, Any]:
    """Return the names that a block takes for granted, such as a data set; change the folder as it needs."""
    page = block.page.name
    dataset = VideoDataset.from_folder(folder / "videos")
    if page in ("motion-index.md", "gpu.md", "tutorial.md", "install.md"):
        return {"dataset": dataset}
    if str(block) == "packs.md: Segments of files":
        # The block packs other videos into a folder of this name.
        shutil.rmtree(folder / "packed")
    if str(block) == "packs.md: Reading with other tools":
        for i in range(1, 4):
            shutil.copy(folder / "packed/shard-000000.tar", folder / f"packed/shard-{i:06}.tar")
    if page == "pick_frames.md":
        return {"paths": [folder / "videos/run/a.mp4", folder / "videos/jump/a.mp4"]}
    if page == "resuming.md":
        loader = load(dataset, sampler=MotionGuided(2), batch_size=2)
        return {"loader": loader, "checkpoint": None, "epochs": 2}
    return {}


def prepare_command(words: list[str], folder: Path) -> None:
    """Change the folder as a command of ``mgdali`` needs it."""
    if words[1:3] == ["index", "merge"] and words.count("videos.parquet") == 1 and "part1.parquet" in words:
        # The command creates this file.
        (folder / "videos.parquet").unlink()
    if "--template" in words:
        frames = folder / "frames" / "run_a"
        frames.mkdir(parents=True)
        for i, image in enumerate(moving_square(3, 48, 64), start=1):
            Image.fromarray(image).save(frames / f"{i:06d}.jpg")
        (folder / "train.txt").write_text("run_a 3 3\n")
    elif "train.txt" in words:
        (folder / "train.txt").write_text("run/a.mp4 3\n")


def _write(path: Path, num_frames: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, moving_square(num_frames, 48, 64, seed=seed))
