"""The parts of ``make gpu-check``: their commands and time limits, and the result of one part.

The command of a part appends JSON lines to a file while it runs. The result of the part contains these lines. It is
written again and again while the part runs, so that a part that is killed, or a machine that is taken away, loses at
most the last second.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from limited_run import TOLD, Ended, run_limited
from lines import Line, Lines, read_lines, replace_json

__all__ = ["ALL_TESTS", "DONE", "PARTS", "ROUTE_TESTS", "Part", "run_part"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

State = Literal["running", "passed", "failed", "out of time", "interrupted"]
Result = dict[str, Any]
Command = Callable[[Path, float], list[str]]
"""Function that returns the command of a part, given the file for its lines and the seconds that it may take."""

DONE: tuple[State, ...] = ("passed", "failed", "out of time")
"""States of a part that does not run again unless that is asked for."""
CASE_SECONDS = 40.0
"""Time after which a single test is taken as hanging, in seconds."""
_WORTH = 10.0
"""Smallest time for which a part is started again after one of its tests ended the process, in seconds."""

ROUTE_TESTS = (
    "test_both_routes_pick_within_one_frame and written and image",
    "test_picks_without_motion_are_equal_on_both_routes",
    "test_pixels_of_both_routes_are_near",
    "test_known_picks_give_the_bytes_of_measured_ones and few",
    "test_a_seed_gives_the_same_bytes_with_any_number_of_workers and image",
    "test_videos_that_nvdec_rejects_are_decoded_by_pyav_in_the_same_batch",
    "test_both_routes_pick_within_one_frame and formats and image",
    "test_every_strategy_runs",
)
"""The few tests of the GPU route that say the most, as expressions of pytest's ``-k``."""


@dataclass(frozen=True)
class Part:
    """One part of the check.

    Attributes:
        name: Name on the command line, and of the file of its result.
        what: What it finds out, in a few words.
        seconds: Its time limit, in seconds.
        command: Its command.
        continues: Whether the command continues after the last started case when it is run again with the same file.
    """

    name: str
    what: str
    seconds: float
    command: Command
    continues: bool = False

    def file(self, folder: Path) -> Path:
        """Return the path of the part's result."""
        return folder / f"{self.name}.json"


# --- The commands ----------------------------------------------------------------------------------------------------


def doctor(lines: Path, seconds: float) -> list[str]:
    return [sys.executable, str(HERE / "gpu_doctor.py"), "--lines", str(lines)]


def script(name: str, *arguments: str) -> Command:
    """Return the command of a benchmark that has the options ``--lines`` and ``--seconds``."""

    def command(lines: Path, seconds: float) -> list[str]:
        given = ["--lines", str(lines), "--seconds", f"{seconds:.1f}"]
        return [sys.executable, str(HERE / f"{name}.py"), *given, *arguments]

    return command


def pytest_on(*files: str, chosen: Sequence[str] = ()) -> Command:
    """Return the command of tests in ``tests/gpu``. Only pytest is needed, not the plugins that the project uses.

    Args:
        *files: Names of the files.
        chosen: Expressions of ``-k``; a test runs if it matches one of them, or if there are no expressions.
    """

    def command(lines: Path, seconds: float) -> list[str]:
        found = [sys.executable, "-m", "pytest", "-p", "pytest_lines", "-m", "gpu", "-q", "-rs"]
        found += ["-o", "addopts=", "-p", "no:cacheprovider"]
        if importlib.util.find_spec("hypothesis") is None:
            found.append("--noconftest")
        # In one word: pytest takes an existing file that stands alone for one of the tests' files.
        found += [f"--lines={lines}", "--seconds", f"{seconds:.1f}", "--case-seconds", f"{CASE_SECONDS:.1f}"]
        if chosen:
            found += ["-k", " or ".join(f"({expression})" for expression in chosen)]
        return [*found, *(str(ROOT / "tests" / "gpu" / file) for file in files)]

    return command


_PEERS = ("peers", "peers-index")

PARTS = (
    Part("doctor", "the machine, and whether NVDEC can be used", 40, doctor),
    Part("kernel-tests", "the kernels' results", 70, pytest_on("test_kernels_on_gpu.py"), continues=True),
    Part(
        "route-tests",
        "the GPU route's results on few clips",
        70,
        pytest_on("test_route_on_gpu.py", chosen=ROUTE_TESTS),
        continues=True,
    ),
    Part("kernel-speed", "the kernels' times over their floors", 65, script("kernel_speed")),
    Part(
        "route-speed", "the GPU route's speed", 130, script("route", "--quick", "--groups", "loader", "index", "graphs")
    ),
    Part("peers", "the same work by other decoders", 100, script("route", "--quick", "--groups", *_PEERS)),
)
"""The parts in the order in which they run: by the value of what they find out. Their limits add up to 475 seconds."""

ALL_TESTS = Part(
    "all-tests",
    "all tests that need a GPU",
    400,
    pytest_on("test_kernels_on_gpu.py", "test_route_on_gpu.py"),
    continues=True,
)
"""A part that runs only if it is named."""


# --- Running a part --------------------------------------------------------------------------------------------------


def run_part(part: Part, folder: Path, limit: float, *, allowed_skip: str) -> Result:
    """Run a part within its time limit, and return its result, which is also in the part's file.

    Args:
        part: The part.
        folder: Folder of the results.
        limit: Time limit, in seconds.
        allowed_skip: Text of the only accepted reason for skipping a test.

    Raises:
        KeyboardInterrupt: If the user interrupts the check. The part's file has the state ``interrupted`` then.
    """
    with tempfile.TemporaryDirectory() as scratch:
        attempts = _Attempts(part, folder, Path(scratch) / "lines.jsonl", limit, allowed_skip)
        try:
            attempts.run()
        except BaseException:
            attempts.write("interrupted", "the check was interrupted")
            raise
        return attempts.finish()


class _Attempts:
    """The runs of a part's command: one, or more if single tests end the process."""

    def __init__(self, part: Part, folder: Path, lines: Path, limit: float, allowed_skip: str) -> None:
        self._part, self._folder, self._lines, self._limit = part, folder, lines, limit
        self._allowed_skip = allowed_skip
        self._date = datetime.datetime.now(datetime.timezone.utc)
        self._ended: list[Ended] = []
        self._seen = -1

    def run(self) -> None:
        while (left := self._limit - self._seconds()) > 0:
            command = self._part.command(self._lines, TOLD * left)
            ended = run_limited(
                command, left, folder=ROOT, environment=environment(), look=self._look, look_seconds=min(1.0, left / 4)
            )
            self._ended.append(ended)
            hanging = unfinished(read_lines(self._lines))
            if not (self._part.continues and hanging) or ended.signals:
                return
            why = f"the process ended during this test, with status {ended.status}"
            Lines(self._lines).write("case", case=hanging, outcome="failed", message=f"{why}\n{ended.printed}")
            if self._limit - self._seconds() < _WORTH:
                Lines(self._lines).write("stopped", left=None, why="the time limit is reached")
                return

    def finish(self) -> Result:
        """Judge the part and write its result."""
        lines, ended = read_lines(self._lines), self._ended[-1]
        problems = found_problems(lines, self._allowed_skip)
        if self._part.continues and not any(line["kind"] == "case" for line in lines):
            problems.append("no test ran")
        stopped = [line for line in lines if line["kind"] == "stopped"]
        if ended.status and not (problems or stopped or ended.signals):
            last = ended.printed.strip().rpartition("\n")[2][:300]
            problems.append(": ".join(filter(None, [f"exit status {ended.status}", last])))
        if ended.signals:
            problems.append(f"not finished after {self._limit:.0f} s: {', '.join(ended.signals)} sent")
            if hanging := unfinished(lines):
                problems.append(f"unfinished: {hanging}")
        if ended.signals or stopped:
            return self.write("out of time", "; ".join([*problems, *(line["why"] for line in stopped)]))
        return self.write("failed" if problems else "passed", "; ".join(problems) or None)

    def write(self, state: State, error: str | None) -> Result:
        """Write the result with the lines so far."""
        lines = read_lines(self._lines)
        result = {
            "part": self._part.name,
            "what": self._part.what,
            "state": state,
            "error": error,
            "date": self._date.isoformat(timespec="seconds"),
            "seconds": round(self._seconds(), 1),
            "limit": round(self._limit, 1),
            "counts": dict(Counter(line["outcome"] for line in lines if line["kind"] == "case")),
            "lines": lines,
            "printed": self._ended[-1].printed if self._ended else "",
        }
        replace_json(self._part.file(self._folder), result)
        return result

    def _look(self) -> None:
        """Write the result if there are new lines."""
        if (size := self._lines.stat().st_size if self._lines.exists() else 0) != self._seen:
            self._seen = size
            self.write("running", None)

    def _seconds(self) -> float:
        return (datetime.datetime.now(datetime.timezone.utc) - self._date).total_seconds()


def environment() -> dict[str, str]:
    """Return the environment of the commands: they import this checkout's package, tests and benchmarks."""
    paths = [str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


def unfinished(lines: Sequence[Line]) -> str | None:
    """Return the test that was started and has no outcome; None if all have one."""
    ended = {line["case"] for line in lines if line["kind"] == "case"}
    return next((line["case"] for line in lines if line["kind"] == "started" and line["case"] not in ended), None)


def found_problems(lines: Sequence[Line], allowed_skip: str) -> list[str]:
    """Return what the lines of a part report as wrong: failed tests, unexpected skips, wrong results."""
    cases = [line for line in lines if line["kind"] == "case"]
    failed = [line["case"] for line in cases if line["outcome"] == "failed"]
    skipped = {line["message"] for line in cases if line["outcome"] == "skipped"}
    problems = [f"{len(failed)} failed, first {failed[0]}"] if failed else []
    problems += [f"skipped: {reason}" for reason in sorted(skipped) if allowed_skip not in reason]
    problems += [f"wrong: {line['why']}" for line in lines if line["kind"] == "wrong"]
    return problems
