"""Progress bar of commands that decode many videos, and the list of failed videos."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mgdali.cli.console import one_line, say
from mgdali.video.record import VideoRecord

__all__ = ["VideoBar", "counted", "say_failed"]

_FAILED_SHOWN = 20


class VideoBar:
    """Progress bar that counts videos and shows the speed.

    Args:
        console: Where it is shown.
        doing: What is done with the videos, such as ``"Measuring"``.
        before: What is done before the number of videos is known.
        ending: What is done after the last video.
    """

    def __init__(self, console: Console, doing: str, *, before: str = "Comparing", ending: str = "Writing") -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"))
        rest = (TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[failed]}"))
        self._doing = doing
        self._ending = ending
        self._progress = Progress(*columns, *rest, console=console)
        self._task = self._progress.add_task(before, total=None, rate="", failed="")
        self._started = 0.0
        self._done = self._todo = self._frames = self._failed = 0

    def __enter__(self) -> VideoBar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.update(self._task, description="Ended" if any(error) else "Done")
        self._progress.stop()

    def start(self, todo: int) -> None:
        """Set the number of videos, once it is known."""
        self._started = time.perf_counter()
        self._todo = todo
        self._progress.update(self._task, description=self._doing if todo else self._ending, total=todo)

    def count(self, record: VideoRecord) -> None:
        """Count a video that was decoded, by its record."""
        self.count_video(failed=record.error is not None, num_frames=record.num_frames)

    def count_video(self, *, failed: bool, num_frames: int | None = None) -> None:
        """Count a video that is done; the frames per second are shown if the number of its frames is given."""
        self._done += 1
        self._failed += failed
        seconds = time.perf_counter() - self._started
        rate = f"{self._done / seconds:.1f} videos/s"
        if num_frames is not None:
            self._frames += num_frames
            rate += f", {self._frames / seconds:.0f} frames/s"
        self._progress.update(
            self._task,
            completed=self._done,
            description=self._doing if self._done < self._todo else self._ending,
            rate=rate,
            failed=f"{self._failed} failed" if self._failed else "",
        )


def say_failed(console: Console, failed: Mapping[str, str], everything: str) -> None:
    """Print the videos that could not be decoded, with the reasons, sorted by name.

    Args:
        console: Where they are printed.
        failed: Reasons by the names of the videos.
        everything: Command that lists all of them, for the case that only some are printed.
    """
    if not failed:
        return
    say(console, f"\n{counted(len(failed))} cannot be decoded:")
    for name, reason in sorted(failed.items())[:_FAILED_SHOWN]:
        say(console, f"  {name}: {one_line(reason)}")
    if len(failed) > _FAILED_SHOWN:
        say(console, f"  and {len(failed) - _FAILED_SHOWN} more: {everything}")


def counted(count: int, what: str = "video") -> str:
    """Return a number of things as text, such as ``"1 video"`` or ``"2 videos"``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
