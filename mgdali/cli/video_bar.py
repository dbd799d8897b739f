"""Progress bar of commands that decode many videos, and the list of failed videos."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mgdali.cli.console import say
from mgdali.index.report_lines import first_lines
from mgdali.index.video_progress import VideoCounts, VideoProgress, in_notebook
from mgdali.quantities import counted
from mgdali.video.record import VideoRecord

__all__ = ["VideoBar", "say_failed"]

_FAILED_SHOWN = 20


class VideoBar:
    """Progress bar that counts videos and shows the speed.

    Args:
        console: Where it is shown. A cell of a notebook shows one line instead of a terminal's bar.
        doing: What is done with the videos, such as ``"Measuring"``.
        done: The same after the last video, such as ``"Measured"``.
        before: What is done before the number of videos is known.
        ending: What is done after the last video.
    """

    def __init__(
        self, console: Console, doing: str, done: str, *, before: str = "Comparing", ending: str = "Writing"
    ) -> None:
        if in_notebook():
            self._bar: _TerminalBar | VideoProgress = VideoProgress(doing, done, file=console.file)
        else:
            self._bar = _TerminalBar(console, doing, before, ending)

    def __enter__(self) -> VideoBar:
        self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._bar.__exit__(kind, *error)

    def start(self, todo: int) -> None:
        """Set the number of videos, once it is known."""
        self._bar.start(todo)

    def count(self, record: VideoRecord) -> None:
        """Count a video that was decoded, by its record."""
        self.count_video(failed=record.error is not None, num_frames=record.num_frames)

    def count_video(self, *, failed: bool, num_frames: int | None = None) -> None:
        """Count a video that is done; the frames per second are shown if the number of its frames is given."""
        self._bar.count_video(failed=failed, num_frames=num_frames)


class _TerminalBar:
    """The bar of a terminal. A file gets its last state."""

    def __init__(self, console: Console, doing: str, before: str, ending: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"))
        rest = (TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[failed]}"))
        self._doing = doing
        self._ending = ending
        self._progress = Progress(*columns, *rest, console=console)
        self._task = self._progress.add_task(before, total=None, rate="", failed="")
        self._counts = VideoCounts()

    def __enter__(self) -> _TerminalBar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.update(self._task, description="Ended" if any(error) else "Done")
        self._progress.stop()

    def start(self, todo: int) -> None:
        self._counts.start(todo)
        self._progress.update(self._task, description=self._doing if todo else self._ending, total=todo)

    def count_video(self, *, failed: bool, num_frames: int | None = None) -> None:
        counts = self._counts
        counts.count(failed=failed, num_frames=num_frames)
        self._progress.update(
            self._task,
            completed=counts.done,
            description=self._doing if counts.done < counts.todo else self._ending,
            rate=counts.rate,
            failed=f"{counts.failed} failed" if counts.failed else "",
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
    for line in first_lines(failed, _FAILED_SHOWN, everything):
        say(console, line)
