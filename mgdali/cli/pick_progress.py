"""Running ``mgdali pick`` over many videos: threads, progress bar, and the list of failed videos."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mgdali.cli.console import say
from mgdali.cli.pick_names import NamedVideo, name_videos
from mgdali.cli.pick_output import ImageFormat, check_free, write_output
from mgdali.cli.video_bar import VideoBar
from mgdali.errors import VideoDecodeError
from mgdali.index.reader import MotionIndex
from mgdali.index.report_lines import one_line
from mgdali.interrupts import CTRL_C_SECONDS
from mgdali.one_video.clip import PickedClip
from mgdali.one_video.pick import pick_frames
from mgdali.quantities import counted
from mgdali.samplers import Sampler

__all__ = ["PickOptions", "pick_with_progress"]

_WARNINGS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class PickOptions:
    """How frames are picked and written.

    Args:
        sampler: The strategy.
        start, end, size, index: Arguments of :func:`mgdali.pick_frames`.
        image_format: Format of the images.
        draw: Function that returns the picture of a clip as a PNG file; None to write no pictures.
        num_workers: Number of videos that are decoded at the same time, >= 1.
        settings: The options as they are written to ``picks.json``.
    """

    sampler: Sampler
    start: float | None = None
    end: float | None = None
    size: int | None = None
    index: MotionIndex | None = None
    image_format: ImageFormat = "jpg"
    draw: Callable[[PickedClip], bytes] | None = None
    num_workers: int = 1
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def pick_with_progress(
    arguments: Sequence[str], out: Path, options: PickOptions, console: Console, errors: Console
) -> bool:
    """Pick frames of all videos that arguments name, and write them; show progress, and list failed videos.

    Args:
        arguments: Paths and URLs of videos, and folders of videos.
        out: Folder of the output.
        options: How frames are picked and written.
        console: Where progress and summary are shown.
        errors: Where failed videos are listed.

    Returns:
        Whether the frames of all videos were written.

    Raises:
        OSError: If output cannot be written.
    """
    started = time.perf_counter()
    with VideoBar(console, "Picking", "Picked", before="Searching", ending="Picking") as bar:
        videos, failed = name_videos(arguments, out)
        bar.start(len(videos))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            # The title of a picture has boxes for letters that matplotlib's font lacks.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            failed |= _run(videos, options, bar)
    _say_warnings(errors, list(dict.fromkeys(str(warning.message) for warning in caught)))
    done = len(videos) - sum(video.path in failed for video in videos)
    if done:
        seconds = time.perf_counter() - started
        picked = f"{counted(options.sampler.num_frames, 'frame')} of {'each of ' if done > 1 else ''}{counted(done)}"
        say(console, f"Wrote {picked} to {os.fspath(out)} in {seconds:.1f} s")
    if failed:
        say(errors, f"{counted(len(failed))} failed:")
        for path, reason in failed.items():
            say(errors, f"  {path}: {one_line(reason)}")
    return not failed


def _run(videos: Sequence[NamedVideo], options: PickOptions, bar: VideoBar) -> dict[str, str]:
    """Pick and write frames of all videos in threads; return the reasons of failures by video, in order."""
    failed = {}
    # matplotlib is not thread-safe.
    drawing = threading.Lock()
    pool = concurrent.futures.ThreadPoolExecutor(min(options.num_workers, max(len(videos), 1)))
    try:
        futures = {pool.submit(_pick_one, video, options, drawing): video for video in videos}
        waiting = set(futures)
        while waiting:
            done, waiting = concurrent.futures.wait(
                waiting, CTRL_C_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                reason = future.result()
                if reason is not None:
                    failed[futures[future].path] = reason
                bar.count_video(failed=reason is not None)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {video.path: failed[video.path] for video in videos if video.path in failed}


def _pick_one(video: NamedVideo, options: PickOptions, drawing: threading.Lock) -> str | None:
    """Pick and write the frames of one video; return the reason of a failure."""
    sampler, image_format = options.sampler, options.image_format
    try:
        check_free(video.folder, sampler.num_frames, image_format, picture=options.draw is not None)
        clip = pick_frames(
            video.path,
            sampler=sampler,
            start=options.start,
            end=options.end,
            size=options.size,
            index=options.index,
        )
    except VideoDecodeError as error:
        return error.details if error.frame else error.reason
    except (ValueError, ImportError, MemoryError) as error:
        return str(error)
    picture = None
    if options.draw is not None:
        with drawing:
            picture = options.draw(clip)
    write_output(video.folder, clip, image_format, options.settings, picture)
    return None


def _say_warnings(errors: Console, messages: Sequence[str]) -> None:
    for message in messages[:_WARNINGS_SHOWN]:
        say(errors, f"warning: {one_line(message)}")
    if len(messages) > _WARNINGS_SHOWN:
        say(errors, f"and {counted(len(messages) - _WARNINGS_SHOWN, 'warning')} more")
