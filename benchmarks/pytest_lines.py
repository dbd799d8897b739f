"""A pytest plugin that writes each test's outcome as it comes, and ends a run that would exceed its time limit.

``pytest -p pytest_lines --lines FILE --seconds 60 --case-seconds 30`` writes a line of kind ``started`` before each
test and a line of kind ``case`` after it. Tests that FILE already names do not run again. So if a test ends the
process, the same command continues with the next test.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from deadline import Deadline
from lines import Lines, read_lines

_MESSAGE = 3000
"""Number of characters of a failure that are kept, from its end."""
# pytest redirects the standard error of tests. Stacks go to the original one.
_ERRORS = os.dup(2)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("lines")
    group.addoption("--lines", type=Path, metavar="FILE", help="File to which outcomes are appended, as JSON lines.")
    group.addoption("--seconds", type=float, help="Time after which no further test begins.")
    group.addoption("--case-seconds", type=float, help="Time after which a test is taken as hanging: pytest ends.")


def pytest_configure(config: pytest.Config) -> None:
    """Install the plugin if a file is given."""
    if config.getoption("--lines") is not None:
        config.pluginmanager.register(LineWriter(config), "line-writer")


class LineWriter:
    """The hooks of pytest that write lines and keep the time limits."""

    def __init__(self, config: pytest.Config) -> None:
        path: Path = config.getoption("--lines")
        self._known = {line["case"] for line in read_lines(path) if line["kind"] in ("started", "case")}
        self._lines = Lines(path)
        self._deadline = Deadline.of_process(config.getoption("--seconds"))
        self._case_seconds: float | None = config.getoption("--case-seconds")
        self._left = 0
        self._reports: list[pytest.TestReport] = []

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out the tests that the file already names."""
        known = [item for item in items if item.nodeid in self._known]
        config.hook.pytest_deselected(items=known)
        items[:] = [item for item in items if item.nodeid not in self._known]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write the number of tests to run."""
        self._left = len(session.items)
        self._lines.write("collected", tests=self._left)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Run a test. If it hangs, print the stacks of all threads and end the process."""
        self._lines.write("started", case=item.nodeid)
        self._reports.clear()
        if self._case_seconds is not None:
            faulthandler.dump_traceback_later(self._case_seconds, exit=True, file=_ERRORS)
        try:
            result = yield
        finally:
            faulthandler.cancel_dump_traceback_later()
        self._left -= 1
        self._lines.write("case", case=item.nodeid, **outcome(self._reports))
        if self._deadline.passed and self._left:
            self._lines.write("stopped", left=self._left, why="the time limit is reached")
            item.session.shouldstop = "the time limit is reached"
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the reports of a test's setup, call and teardown."""
        self._reports.append(report)


def outcome(reports: list[pytest.TestReport]) -> dict[str, Any]:
    """Return a test's outcome (``passed``, ``failed`` or ``skipped``), its seconds, and the message of a failure."""
    found: dict[str, Any] = {
        "outcome": "passed" if reports else "failed",
        "seconds": round(sum(report.duration for report in reports), 2),
    }
    for report in reports:
        if report.failed:
            return {**found, "outcome": "failed", "message": report.longreprtext[-_MESSAGE:]}
        if report.skipped:
            # Of a skipped test, pytest gives the file, the line and the reason.
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            found |= {"outcome": "skipped", "message": reason.removeprefix("Skipped: ")}
    return found
