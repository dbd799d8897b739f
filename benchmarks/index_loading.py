"""``index.py loading``: clips per second of the loader with a motion index and without."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import heading, in_turn, ratios, spread, table, target, target_rows, with_spread

from mgdali import MotionGuided, MotionIndex, Segment, VideoDataset, build_index
from mgdali.bench import machine
from mgdali.samplers import Sampler
from mgdali.video.media import Media, find_media
from mgdali.video.record import VideoRecord

if TYPE_CHECKING:
    from mgdali import MGDaliIterator

BATCH_SIZE = 8
NUM_FRAMES = 8
LONG = 100
"""Smallest number of frames of a long video."""
LEAST_CLIPS = 64
"""Smallest number of clips per epoch. Fewer videos are repeated."""
SAMPLERS: dict[str, Sampler] = {
    "motion-guided": MotionGuided(num_frames=NUM_FRAMES),
    "segment": Segment(num_frames=NUM_FRAMES),
}


@dataclass(frozen=True)
class Clips:
    """A data set to load.

    Attributes:
        name: Name of the data set in the report.
        paths: Paths of the videos of one epoch. Videos are repeated if there are few.
        frames: Number of frames of all videos of one epoch.
        distinct: Number of different videos.
    """

    name: str
    paths: list[str]
    frames: int
    distinct: int


@dataclass
class Epochs:
    """Seconds and decoded frames of a loader, one entry per epoch."""

    seconds: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def row(self, clips: int) -> dict[str, Any]:
        """Return the spreads of clips per second and of decoded frames."""
        return {"clips_per_s": spread([clips / each for each in self.seconds]), "frames_decoded": spread(self.frames)}


def measure_loading(folders: list[Path], long: list[Path], rounds: int) -> dict[str, Any]:
    """Return the report: each data set with each sampler, with an index and without.

    Args:
        folders: Folders of videos.
        long: Folders from which only videos of at least :data:`LONG` frames are loaded.
        rounds: Number of timed epochs of each loader.
    """
    with tempfile.TemporaryDirectory() as scratch:
        media = [Media(path) for folder in (*folders, *long) for path in find_media(folder)]
        build_index(media, Path(scratch) / "clips.parquet")
        index = MotionIndex(Path(scratch) / "clips.parquet")
        compared = [
            _compare_loaders(clips, name, index, rounds)
            for clips in _data_sets(index, folders, long)
            for name in SAMPLERS
        ]
    return {
        "benchmark": "index loading",
        "machine": machine.facts(),
        "rounds": rounds,
        "batch_size": BATCH_SIZE,
        "picks": NUM_FRAMES,
        "loaders": "both run at the same time and take turns; the batches of a warm-up epoch were equal to the byte",
        "compared": compared,
        "targets": [
            target(
                f"{own['data']}, motion-guided, clips/s with an index over without", own["ratio"]["median"], ">=", 1.3
            )
            for own in compared
            if own["sampler"] == "motion-guided"
        ],
    }


def _data_sets(index: MotionIndex, folders: list[Path], long: list[Path]) -> list[Clips]:
    """Return up to three data sets: the videos of ``folders``, the long videos of ``long``, and both together."""
    own = [record for folder in folders for record in _records(index, folder)]
    others = [record for folder in long for record in _records(index, folder) if record.num_frames >= LONG]
    sets = [_clips(", ".join(folder.name for folder in folders), own)]
    if others:
        sets.append(_clips(f"{', '.join(folder.name for folder in long)} from {LONG} frames on", others))
        sets.append(_clips("both", own + others))
    return sets


def _records(index: MotionIndex, folder: Path) -> Iterator[VideoRecord]:
    """Yield the records of the folder's videos that can be decoded."""
    found = (index.find(path) for path in find_media(folder))
    return (record for record in found if record is not None and record.error is None)


def _clips(name: str, records: list[VideoRecord]) -> Clips:
    taken = records * -(-LEAST_CLIPS // len(records))
    return Clips(name, [record.path for record in taken], sum(record.num_frames for record in taken), len(records))


def _compare_loaders(clips: Clips, sampler: str, index: MotionIndex, rounds: int) -> dict[str, Any]:
    # Imported here because it imports torch: the worker processes of `index.py build` import this module too.
    from mgdali import MGDaliIterator

    dataset = VideoDataset(clips.paths, [0] * len(clips.paths))
    with ExitStack() as stack:
        loaders = {
            name: stack.enter_context(
                MGDaliIterator(
                    dataset,
                    sampler=SAMPLERS[sampler],
                    batch_size=BATCH_SIZE,
                    shuffle=True,
                    training=True,
                    device="cpu",
                    index=given,
                )
            )
            for name, given in (("without", None), ("with", index))
        }
        _check_batches(loaders["without"], loaders["with"], clips)
        epochs = {name: Epochs() for name in loaders}
        for number in range(1, rounds + 1):
            for name in in_turn(list(loaders), number):
                _time_epoch(loaders[name], number, epochs[name])
    return {
        "data": clips.name,
        "sampler": sampler,
        "clips": len(clips.paths),
        "distinct_videos": clips.distinct,
        "frames": clips.frames,
        **{name: own.row(len(clips.paths)) for name, own in epochs.items()},
        "ratio": ratios(epochs["without"].seconds, epochs["with"].seconds),
    }


def _check_batches(plain: MGDaliIterator, indexed: MGDaliIterator, clips: Clips) -> None:
    """Run the warm-up epoch; end the command if the batches differ or the index is not used for every video."""
    import torch

    for ours, theirs in zip(plain, indexed, strict=True):
        if not all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)):
            raise SystemExit(f"index.py: {clips.name}: batches with an index differ from those without")
    if plain.frames_decoded != clips.frames:
        raise SystemExit(f"index.py: {clips.name}: decoded {plain.frames_decoded} frames, expected {clips.frames}")
    if indexed.unindexed:
        raise SystemExit(f"index.py: {clips.name}: the index was not used for {indexed.unindexed}")


def _time_epoch(loader: MGDaliIterator, number: int, epochs: Epochs) -> None:
    loader.set_epoch(number)
    before, start = loader.frames_decoded, time.perf_counter()
    for clips, _ in loader:
        del clips
    epochs.seconds.append(time.perf_counter() - start)
    epochs.frames.append(loader.frames_decoded - before)


def render_loading(report: dict[str, Any]) -> str:
    """Return the report as Markdown tables."""
    rows = [
        [
            f"{own['data']}, {own['sampler']}",
            f"{own['clips']} of {own['distinct_videos']} videos",
            *(with_spread(own[name]["clips_per_s"]) for name in ("without", "with")),
            with_spread(own["ratio"], ".2f"),
            *(f"{own[name]['frames_decoded']['median']:.0f}" for name in ("without", "with")),
        ]
        for own in report["compared"]
    ]
    heads = ["data, sampler", "clips", "clips/s without", "with", "ratio", "frames decoded without", "with"]
    return "\n\n".join([heading(report), table(heads, rows), target_rows(report)])
