"""Progress of work on many videos: counts and speed, shown as one line of text or in the cell of a notebook.

A notebook needs no package of widgets for it: the cell contains one output, which is replaced while the work goes on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mgdali.video.record import VideoRecord

__all__ = ["VideoCounts", "VideoProgress", "has_kernel", "in_notebook"]

# An update takes a message from the kernel to the browser.
_SECONDS_BETWEEN = 0.25
_BAR = 20


def has_kernel() -> bool:
    """Return whether this process is the kernel of a notebook, so that it can show HTML."""
    # Without IPython in memory, no notebook runs this code.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def in_notebook() -> bool:
    """Return whether output goes to a cell of a notebook: from its kernel, or from a command that it has started.

    Such a command may have a terminal, but the cell understands only some of a terminal's control characters.
    """
    return has_kernel() or "JPY_PARENT_PID" in os.environ


class VideoCounts:
    """Numbers of videos and frames that are done.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._started = clock()
        self._frames = 0
        self.todo = self.done = self.failed = 0

    def start(self, todo: int) -> None:
        """Set the number of videos, and begin to measure the time."""
        self.todo = todo
        self._started = self._clock()

    def count(self, *, failed: bool, num_frames: int | None = None) -> None:
        """Count a video that is done; frames per second are reported if its number of frames is given."""
        self.done += 1
        self.failed += failed
        self._frames += num_frames or 0

    @property
    def seconds(self) -> float:
        """Time since the start in seconds."""
        return self._clock() - self._started

    @property
    def rate(self) -> str:
        """The speed as text, such as ``"2.5 videos/s, 300 frames/s"``; empty before the first video."""
        if not self.done or not self.seconds:
            return ""
        rate = f"{self.done / self.seconds:.1f} videos/s"
        return f"{rate}, {self._frames / self.seconds:.0f} frames/s" if self._frames else rate


class VideoProgress:
    """A line that shows how many videos are done, as a context manager.

    A notebook shows a bar and this line in one output. A terminal shows the line, which is replaced while the work goes
    on. Another file gets the last line only.

    Args:
        doing, done: What is done with the videos, such as ``"Measuring"``, and the same after the last one, such as
            ``"Measured"``.
        file: Where a line of text is written; by default ``sys.stderr``. A kernel shows HTML instead.
        shown: Whether anything is shown.
    """

    def __init__(self, doing: str, done: str, *, file: IO[str] | None = None, shown: bool = True) -> None:
        self._doing, self._finished = doing, done
        self._counts = VideoCounts()
        self._kept = 0
        self._started = False
        self._next = 0.0
        self._place = _place(file) if shown else None

    def __enter__(self) -> VideoProgress:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if self._started:
            self._show("stopped" if error else "", last=True)

    def start(self, todo: int, kept: int = 0) -> None:
        """Set the number of videos to work on, and of videos that need no work."""
        self._counts.start(todo)
        self._kept = kept
        self._started = True
        self._show("", last=False)

    def count(self, record: VideoRecord) -> None:
        """Count a video by its record."""
        self.count_video(failed=record.error is not None, num_frames=record.num_frames)

    def count_video(self, *, failed: bool, num_frames: int | None = None) -> None:
        """Count a video; frames per second are shown if its number of frames is given."""
        self._counts.count(failed=failed, num_frames=num_frames)
        if time.monotonic() >= self._next:
            self._show("", last=False)

    def _show(self, note: str, *, last: bool) -> None:
        if self._place is None:
            return
        self._next = time.monotonic() + _SECONDS_BETWEEN
        counts = self._counts
        share = counts.done / counts.todo if counts.todo else float(last and not note)
        verb = self._finished if last and not note else self._doing
        if counts.todo:
            done = f"{counts.done}/{counts.todo} videos" + (f" in {counts.seconds:.1f} s" if last else "")
            facts = [done, counts.rate]
        else:
            facts = ["no new videos"]
        if self._kept:
            facts.append(f"{self._kept} unchanged")
        if counts.failed:
            facts.append(f"{counts.failed} failed")
        facts.append(note)
        self._place.show(verb, share, ", ".join(filter(None, facts)), last=last)


class _Place(Protocol):
    """Where progress is shown: a verb, the share that is done in [0, 1], and facts."""

    def show(self, verb: str, share: float, facts: str, *, last: bool) -> None: ...


class _Line:
    """A line of text that is written again from its start, without other control characters than that."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._live = file.isatty()
        self._length = 0

    def show(self, verb: str, share: float, facts: str, *, last: bool) -> None:
        if not (self._live or last):
            return
        text = _text(verb, share, facts)
        # Spaces cover the rest of a longer line before.
        start = "\r" if self._length else ""
        self._file.write(f"{start}{text.ljust(self._length)}" + ("\n" if last else ""))
        self._file.flush()
        self._length = len(text)


class _Cell:
    """One output of a notebook's cell, which is replaced."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, verb: str, share: float, facts: str, *, last: bool) -> None:
        from IPython.display import display

        bar = f'<progress max="1" value="{share:.3f}" style="vertical-align:middle"></progress>'
        html = f"<div>{verb} {bar} {_percent(share)}, {facts}</div>"
        content = {"text/plain": _text(verb, share, facts), "text/html": html}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(content, raw=True)


def _place(file: IO[str] | None) -> _Place:
    return _Cell() if has_kernel() else _Line(sys.stderr if file is None else file)


def _text(verb: str, share: float, facts: str) -> str:
    full = int(share * _BAR)
    return f"{verb} {'█' * full}{'░' * (_BAR - full)} {_percent(share)}, {facts}"


def _percent(share: float) -> str:
    # Rounded down, so that 100 % means all.
    return f"{int(100 * share)} %"
