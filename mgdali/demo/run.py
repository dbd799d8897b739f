"""The demo: load a data set for a few epochs, print the speed, and show what motion-guided sampling picks."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from mgdali.datasets.video_dataset import VIDEO_EXTENSIONS, VideoDataset
from mgdali.demo.synthetic import plan_action_videos, write_action_videos
from mgdali.errors import DatasetError, VideoDecodeError, check_integer
from mgdali.interrupts import ctrl_c_held
from mgdali.one_video.explanation import explain
from mgdali.one_video.picture import draw_explanation, save_figure
from mgdali.quantities import counted
from mgdali.samplers import Motion, MotionGuided, Segment
from mgdali.sampling import sample_segment
from mgdali.video.decoder import MEMORY_BUDGET, Decoder
from mgdali.video.meters import measure_motion

if TYPE_CHECKING:
    from mgdali.iterator import MGDaliIterator

__all__ = ["DemoOptions", "run_demo"]


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Options of the demo.

    Args:
        videos: Folder of videos, either ``<class>/<file>`` or files only; None for synthetic videos.
        data: Folder for the synthetic videos. They are written if it does not contain them.
        picture: Path of the PNG file to write.
        num_frames: Argument of :class:`~mgdali.MotionGuided`, as are ``mu`` and ``motion``.
        batch_size: Argument of :class:`~mgdali.MGDaliIterator`, as are ``num_workers``, ``on_error`` and ``seed``.
        epochs: Number of epochs, >= 1.
        show: Number of videos whose picks are printed, >= 1.

    Raises:
        ValueError: If ``epochs``, ``show`` or ``picture`` is invalid. :func:`run_demo` checks the other options.
    """

    videos: Path | None = None
    data: Path = Path("mgdali-demo/videos")
    picture: Path = Path("mgdali-demo/picks.png")
    num_frames: int = 8
    mu: float = 0.5
    motion: Motion = "image"
    batch_size: int = 8
    num_workers: int | None = None
    epochs: int = 2
    on_error: Literal["raise", "replace"] = "replace"
    seed: int = 0
    show: int = 3

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, least=1)
        check_integer("show", self.show, least=1)
        if self.picture.suffix.lower() != ".png":
            raise ValueError(f"picture must be a file name that ends in .png, got {os.fspath(self.picture)!r}")


@dataclass(frozen=True)
class _Epoch:
    """Measurements of one epoch; times in seconds."""

    number: int
    clips: int
    frames_decoded: int
    seconds: float
    first_batch: float


@dataclass(frozen=True)
class _Comparison:
    """Motion of one video, and its motion-guided and evenly spread picks at the middle of each part."""

    path: str
    class_name: str
    motion: NDArray[np.float64]
    guided: NDArray[np.int64]
    even: NDArray[np.int64]

    @property
    def difference(self) -> float:
        """Mean distance between a motion-guided pick and its evenly spread pick, as a fraction of the video."""
        return float(np.abs(self.guided - self.even).mean()) / len(self.motion)


def run_demo(options: DemoOptions, console: Console) -> None:
    """Run the demo: print to ``console``, write the picture and, if no folder of videos is given, synthetic videos.

    Raises:
        DatasetError: If the folder has no videos, or if ``data`` contains other files.
        VideoDecodeError: If a video cannot be decoded with ``on_error="raise"``, or if no video can be decoded.
        WorkerError: If a decoding worker ended.
        ValueError: If an option is out of range.
        OSError: If the videos or the picture cannot be written.
    """
    sampler = MotionGuided(num_frames=options.num_frames, mu=options.mu, motion=options.motion)
    dataset = _synthetic_videos(options.data, console) if options.videos is None else _videos_in(options.videos)
    with warnings.catch_warnings():
        # A warning would break the progress bar. Videos that cannot be decoded are listed at the end instead.
        warnings.filterwarnings("ignore", "(?s).* is replaced by another video", RuntimeWarning)
        epochs, bad = _load(dataset, sampler, options, console)
    console.print(_table(epochs))
    shown = _spread_over_classes(dataset, options.show, leave_out=bad)
    with console.status(f"Measuring the motion of {counted(len(shown), 'video')}"):
        comparisons = [_compare(dataset, index, sampler) for index in shown]
    for comparison in comparisons:
        _print_picks(comparison, console)
    _save_picture(max(comparisons, key=lambda comparison: comparison.difference), sampler, options.picture)
    _print_bad(bad, console)
    _say(console, f"\nPicture: {options.picture}")


def _synthetic_videos(folder: Path, console: Console) -> VideoDataset:
    """Return the synthetic videos; write them if they are missing."""
    videos = plan_action_videos()
    if all((folder / video.name).is_file() for video in videos):
        _say(console, f"Using the {len(videos)} videos that an earlier demo wrote to {folder}")
    else:
        with console.status(f"Writing {len(videos)} videos"):
            write_action_videos(folder)
        size = sum((folder / video.name).stat().st_size for video in videos)
        _say(console, f"Wrote {len(videos)} videos, {decimal(size)}, to {folder}")
    return VideoDataset.from_folder(folder)


def _videos_in(folder: Path) -> VideoDataset:
    """Return the videos of a folder: one class per subfolder, or a single class if it contains only files."""
    if folder.is_dir():
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        files = [entry for entry in entries if entry.suffix.lower() in VIDEO_EXTENSIONS and entry.is_file()]
        if not any(entry.is_dir() for entry in entries):
            if not files:
                raise DatasetError(
                    f"{folder} has no videos: give a folder of videos, or a folder with one folder of videos per class"
                )
            return VideoDataset(files, [0] * len(files), [folder.resolve().name])
    return VideoDataset.from_folder(folder)


def _load(
    dataset: VideoDataset, sampler: MotionGuided, options: DemoOptions, console: Console
) -> tuple[list[_Epoch], dict[str, VideoDecodeError]]:
    """Load all epochs; return their measurements, and the videos that could not be decoded."""
    # The iterator imports torch and DALI, which takes seconds. Imported here, a wrong path is reported without waiting.
    with ctrl_c_held():
        from mgdali.iterator import MGDaliIterator

    started = time.perf_counter()
    with MGDaliIterator(
        dataset,
        sampler=sampler,
        batch_size=options.batch_size,
        shuffle=True,
        training=True,
        seed=options.seed,
        num_workers=options.num_workers,
        return_meta=True,
        on_error=options.on_error,
    ) as loader:
        workers = counted(loader.num_workers, "worker") if loader.num_workers else "no workers"
        _say(
            console,
            f"{counted(len(dataset), 'video')}, {counted(len(dataset.classes), 'class', 'classes')}; "
            f"{counted(sampler.num_frames, 'frame')} per clip by {sampler.motion}-level motion, mu {sampler.mu:g}; "
            f"batches of {options.batch_size}, {workers}",
        )
        epochs = []
        with _progress(console) as progress:
            for number in range(options.epochs):
                task = progress.add_task(f"Epoch {number + 1}", total=len(dataset), rate="")
                loader.set_epoch(number)
                epochs.append(_run_epoch(loader, started, progress, task))
                started = time.perf_counter()
        return epochs, loader.bad_videos


def _run_epoch(loader: MGDaliIterator, started: float, progress: Progress, task: TaskID) -> _Epoch:
    number, decoded_before = loader.epoch, loader.frames_decoded
    clips, first_batch = 0, 0.0
    for batch, _, _ in loader:
        now = time.perf_counter() - started
        first_batch = first_batch or now
        clips += len(batch)
        progress.update(task, completed=clips, rate=f"{clips / now:.0f} clips/s")
    seconds = time.perf_counter() - started
    return _Epoch(number, clips, loader.frames_decoded - decoded_before, seconds, first_batch)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"))
    return Progress(*columns, TextColumn("{task.fields[rate]}"), console=console)


def _table(epochs: list[_Epoch]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="frames/s: frames decoded per second. Epoch 1 includes the start of the workers.",
        caption_justify="left",
    )
    for name in ("epoch", "clips", "seconds", "clips/s", "frames decoded", "frames/s", "first batch"):
        table.add_column(name, justify="right")
    for epoch in epochs:
        table.add_row(
            str(epoch.number + 1),
            str(epoch.clips),
            f"{epoch.seconds:.2f}",
            f"{epoch.clips / epoch.seconds:.1f}",
            str(epoch.frames_decoded),
            f"{epoch.frames_decoded / epoch.seconds:.0f}",
            f"{epoch.first_batch:.2f} s",
        )
    return table


def _spread_over_classes(dataset: VideoDataset, count: int, *, leave_out: Iterable[str]) -> list[int]:
    """Return the indices of ``count`` videos, or of all if there are fewer, from as many classes as possible."""
    seen: Counter[int] = Counter()
    ranked: list[tuple[int, int, int]] = []
    bad = set(leave_out)
    for index, video in enumerate(dataset):
        if video.path not in bad:
            ranked.append((seen[video.label], video.label, index))
            seen[video.label] += 1
    ranked.sort()
    # The first video of each class, then the second of each class, and so on. If there are more classes than ``count``,
    # the classes are spread evenly.
    first_of_each = ranked[: len(seen)]
    chosen = ranked[:count] if count > len(seen) else [first_of_each[i] for i in sample_segment(len(seen), count)]
    return [index for _, _, index in chosen]


def _compare(dataset: VideoDataset, index: int, sampler: MotionGuided) -> _Comparison:
    video = dataset[index]
    motion = measure_motion(video.path, sampler.representation)
    middle = np.full(sampler.num_frames, 0.5)
    guided = sampler.pick(motion, len(motion), middle)
    even = sample_segment(len(motion), sampler.num_frames)
    return _Comparison(video.path, dataset.classes[video.label], motion, guided, even)


def _print_picks(comparison: _Comparison, console: Console) -> None:
    frames = counted(len(comparison.motion), "frame")
    _say(console, f"\n{comparison.path} (class {comparison.class_name}, {frames})")
    width = len(str(len(comparison.motion)))
    for name, picks in (("motion-guided", comparison.guided), ("evenly spread", comparison.even)):
        _say(console, f"  {name}  " + " ".join(f"{t:{width}}" for t in picks))


def _save_picture(comparison: _Comparison, sampler: MotionGuided, path: Path) -> None:
    frames: dict[int, NDArray[np.uint8]] = {}
    for rule in (sampler, Segment(num_frames=sampler.num_frames)):
        decoder = Decoder(rule, memory_budget=MEMORY_BUDGET)
        frames |= decoder.decode(comparison.path, np.full(sampler.num_frames, 0.5)).frames
    explanation = explain(
        sampler,
        comparison.guided,
        motion=comparison.motion,
        total=len(comparison.motion),
        title=f"{comparison.path}: {sampler.num_frames} of {counted(len(comparison.motion), 'frame')}",
        compared_images=True,
    )
    save_figure(draw_explanation(explanation, frames), path)


def _print_bad(bad: dict[str, VideoDecodeError], console: Console) -> None:
    if bad:
        _say(console, f"\n{counted(len(bad), 'video')} could not be decoded; other videos were used instead:")
    for path, error in bad.items():
        _say(console, f"  {path}: {error.reason}")


def _say(console: Console, line: str) -> None:
    # Paths are printed unchanged: markup in them is not interpreted, and no line breaks are inserted.
    console.print(Text(line), soft_wrap=True)
