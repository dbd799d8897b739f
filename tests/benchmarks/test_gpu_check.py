"""``make gpu-check`` with parts that need no GPU: real processes that print, fail, hang or are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.benchmark_modules import BENCHMARKS, script

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GIVE_UP = 60.0
"""Time after which a wait of a test fails, in seconds."""


@pytest.fixture(scope="module")
def parts() -> Any:
    return script("gpu_parts")


@pytest.fixture(scope="module")
def gpu_check() -> Any:
    return script("gpu_check")


@pytest.fixture
def part(parts: Any) -> Callable[..., Any]:
    """Function that returns a part whose command is Python code; ``line(kind, **fields)`` appends a line."""

    def make(name: str, code: str, seconds: float = 15.0) -> Any:
        def command(lines: Path, told: float) -> list[str]:
            start = f"import os, signal, subprocess, sys, time\nfrom lines import Lines\nTOLD = {told}\n"
            return [
                sys.executable,
                "-c",
                f"{start}line = Lines(__import__('pathlib').Path({str(lines)!r})).write\n{code}",
            ]

        return parts.Part(name, f"what {name} finds", seconds, command)

    return make


def result_of(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + GIVE_UP
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- The parts -------------------------------------------------------------------------------------------------------


def test_limits_of_the_parts_add_up_to_less_than_eight_minutes(parts: Any, gpu_check: Any) -> None:
    limits = [part.seconds for part in parts.PARTS]
    assert sum(limits) <= gpu_check.ALL_SECONDS < 480
    assert sum(limits[:3]) <= 180
    names = ["doctor", "kernel-tests", "route-tests", "kernel-speed", "route-speed", "peers"]
    assert [part.name for part in parts.PARTS] == names


def test_each_expression_of_the_few_route_tests_names_a_test(parts: Any) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/gpu/test_route_on_gpu.py"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    tests = [line for line in done.stdout.splitlines() if "::" in line]
    for expression in parts.ROUTE_TESTS:
        assert any(all(word in test for word in expression.split(" and ")) for test in tests), expression


@pytest.mark.parametrize("number", range(6))
def test_each_part_starts_a_program_of_the_checkout_with_its_time_limit(
    parts: Any, tmp_path: Path, number: int
) -> None:
    command = parts.PARTS[number].command(tmp_path / "lines.jsonl", 12.5)
    assert command[0] == sys.executable
    assert f"--lines {tmp_path / 'lines.jsonl'}" in " ".join(command).replace("--lines=", "--lines ")
    files = [word for word in command if word.endswith(".py")]
    assert all(Path(file).is_file() for file in files)
    assert "12.5" in command or parts.PARTS[number].name == "doctor"
    assert files or "pytest" in command


# --- Running parts ---------------------------------------------------------------------------------------------------


def test_parts_run_in_order_and_one_that_fails_does_not_stop_the_next(
    gpu_check: Any, part: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    note = f"open({str(log)!r}, 'a').write(NAME)"
    chosen = [
        part("first", f"NAME = 'a'; {note}; line('case', case='one', outcome='passed', seconds=0.1)"),
        part(
            "second",
            f"NAME = 'b'; {note}; line('fact', value=7); print('last words', flush=True); os.kill(os.getpid(), 11)",
        ),
        part("third", f"NAME = 'c'; {note}; line('targets', targets=[dict(met=True), dict(met=False)])"),
    ]
    report = gpu_check.check(chosen, tmp_path / "out")
    assert log.read_text() == "abc"
    assert [(name, own["state"]) for name, own in report["parts"].items()] == [
        ("first", "passed"),
        ("second", "failed"),
        ("third", "passed"),
    ]
    second = result_of(tmp_path / "out", "second")
    assert second["error"] == "exit status -11: last words"
    assert second["lines"] == [{"kind": "fact", "value": 7}]
    assert second["printed"] == "last words\n"
    assert not report["passed"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == report
    printed = capsys.readouterr().out
    assert "1 passed" in printed
    assert "1 of 2 targets met" in printed


def test_a_part_that_ignores_interrupts_is_killed_at_its_limit_and_keeps_its_lines(
    gpu_check: Any, part: Any, tmp_path: Path
) -> None:
    deaf = "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]\n"
    # A process that the part leaves behind ends with it.
    child = "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    code = f"{deaf}{child}line('child', pid=child.pid)\nprint('hanging', flush=True)\ntime.sleep(600)"
    chosen = [part("deaf", code, seconds=6.0), part("next", "line('fact')")]
    start = time.monotonic()
    report = gpu_check.check(chosen, tmp_path)
    assert 6 <= time.monotonic() - start < 30
    deaf_result = result_of(tmp_path, "deaf")
    assert deaf_result["state"] == "out of time"
    assert "SIGINT, SIGTERM, SIGKILL" in deaf_result["error"]
    assert deaf_result["printed"] == "hanging\n"
    (pid,) = (line["pid"] for line in deaf_result["lines"])
    wait_for(lambda: not alive(pid))
    assert report["parts"]["next"]["state"] == "passed"


def test_a_part_is_interrupted_before_its_limit_so_that_it_can_finish(
    gpu_check: Any, part: Any, tmp_path: Path
) -> None:
    code = "try: time.sleep(600)\nexcept KeyboardInterrupt: line('case', case='last', outcome='passed', seconds=1)"
    gpu_check.check([part("polite", code, seconds=8.0)], tmp_path)
    found = result_of(tmp_path, "polite")
    assert (found["state"], found["counts"]) == ("out of time", {"passed": 1})
    assert found["error"] == "not finished after 8 s: SIGINT sent"
    assert found["seconds"] < 8


def test_a_part_knows_a_limit_that_ends_before_the_interrupt(gpu_check: Any, part: Any, tmp_path: Path) -> None:
    code = "line('told', seconds=TOLD); line('stopped', left=2, why='the time limit is reached')"
    gpu_check.check([part("punctual", code, seconds=10.0)], tmp_path)
    found = result_of(tmp_path, "punctual")
    assert 8 < found["lines"][0]["seconds"] < 9
    assert (found["state"], found["error"]) == ("out of time", "the time limit is reached")


def test_no_part_begins_when_the_time_of_the_call_is_used_up(gpu_check: Any, part: Any, tmp_path: Path) -> None:
    chosen = [part("long", "time.sleep(600)", seconds=2.0), part("late", "line('fact')")]
    report = gpu_check.check(chosen, tmp_path, seconds=3.0)
    assert list(report["parts"]) == ["long"]
    assert list(gpu_check.check(chosen, tmp_path)["parts"]) == ["late", "long"]


@pytest.mark.parametrize(
    ("reason", "state"), [("NVDEC's library is missing: no such file", "passed"), ("no CUDA device", "failed")]
)
def test_a_test_may_be_skipped_for_one_reason_only(
    gpu_check: Any, part: Any, tmp_path: Path, reason: str, state: str
) -> None:
    code = f"line('case', case='one', outcome='skipped', seconds=0, message={reason!r})"
    gpu_check.check([part("skips", code)], tmp_path)
    assert result_of(tmp_path, "skips")["state"] == state


# --- A second call ---------------------------------------------------------------------------------------------------


def test_a_second_call_runs_only_parts_without_a_result(gpu_check: Any, part: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    count = f"open({str(log)!r}, 'a').write('.')"
    out = tmp_path / "out"
    good, bad = part("good", count), part("bad", f"{count}; sys.exit(3)")
    gpu_check.check([good, bad], out)
    assert log.read_text() == ".."
    report = gpu_check.check([good, bad, part("new", count)], out)
    assert log.read_text() == "..."
    assert {name: own["state"] for name, own in report["parts"].items()} == {
        "good": "passed",
        "bad": "failed",
        "new": "passed",
    }
    gpu_check.check([good], out, again=True)
    assert log.read_text() == "...."
    # Other files in the folder do not matter.
    (out / "list.json").write_text("[]")
    (out / "cut.json").write_text("{")
    # A part that was cut off has a file, but no result.
    for state in ("running", "interrupted"):
        (out / "good.json").write_text(json.dumps(result_of(out, "good") | {"state": state}))
        gpu_check.check([good], out)
        assert result_of(out, "good")["state"] == "passed"
    assert log.read_text() == "......"


SCRIPT = """
import signal, sys
from pathlib import Path
import gpu_check, gpu_parts

def command(lines, told):
    code = f"import os; from lines import Lines; from pathlib import Path; w = Lines(Path({str(lines)!r})).write; "
    code += "w('pid', pid=os.getpid()); import time; time.sleep(600)"
    return [sys.executable, "-c", code]

first = gpu_parts.Part("first", "a part that ends", 30, lambda lines, told: [sys.executable, "-c", ""])
chosen = (first, gpu_parts.Part("endless", "a part that does not end", 600, command))
gpu_check.PARTS, gpu_check.missing_gpu = chosen, lambda: None
gpu_check.main(["--out", sys.argv[1]])
"""


@pytest.fixture
def running(tmp_path: Path) -> Any:
    """The command in a process, which runs an endless part, and the process of this part."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{BENCHMARKS}"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    file = tmp_path / "endless.json"
    try:
        wait_for(lambda: file.exists() and bool(result_of(tmp_path, "endless")["lines"]))
        yield process, result_of(tmp_path, "endless")["lines"][0]["pid"]
    finally:
        process.kill()
        process.communicate()
        for line in result_of(tmp_path, "endless")["lines"] if file.exists() else []:
            if alive(line["pid"]):
                os.kill(line["pid"], signal.SIGKILL)


def test_results_are_in_the_folder_while_a_part_runs(running: Any, tmp_path: Path) -> None:
    process, pid = running
    process.kill()
    process.wait()
    found = result_of(tmp_path, "endless")
    assert found["state"] == "running"
    assert [line["kind"] for line in found["lines"]] == ["pid"]
    assert json.loads((tmp_path / "summary.json").read_text())["parts"]["first"]["state"] == "passed"
    assert alive(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_part_and_writes_its_result(running: Any, tmp_path: Path, number: int) -> None:
    process, pid = running
    process.send_signal(number)
    _, errors = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 1
    assert errors.strip() == f"gpu_check.py: interrupted; the results so far are in {tmp_path}"
    wait_for(lambda: not alive(pid))
    assert result_of(tmp_path, "endless")["state"] == "interrupted"
    assert json.loads((tmp_path / "summary.json").read_text())["parts"]["endless"]["state"] == "interrupted"


def test_a_file_that_is_replaced_is_never_half_written(tmp_path: Path) -> None:
    lines = script("lines")
    path, stop = tmp_path / "some.json", threading.Event()
    lines.replace_json(path, [0] * 100_000)

    def write() -> None:
        for number in range(1, 1000):
            if stop.is_set():
                return
            lines.replace_json(path, [number] * 100_000)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(50):
        found = json.loads(path.read_text())
        assert len(found) == 100_000
        assert len(set(found)) == 1
    stop.set()
    writer.join()


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    lines = script("lines")
    assert lines.read_lines(tmp_path / "missing.jsonl") == []
    path = tmp_path / "some.jsonl"
    writer = lines.Lines(path)
    writer.write("one", value=1)
    writer.write("two", text="a\nb")
    with open(path, "a") as file:
        file.write('{"kind": "thr')
    assert lines.read_lines(path) == writer.written == [{"kind": "one", "value": 1}, {"kind": "two", "text": "a\nb"}]


# --- Tests as a part -------------------------------------------------------------------------------------------------

TESTS = """
import os, time
import pytest

pytestmark = pytest.mark.gpu

def test_good(): pass

def test_bad(): assert 1 == 2, "not equal"

def test_skipped(): pytest.skip("NVDEC's library is missing")

@pytest.fixture
def broken(): raise ValueError("no fixture")

def test_of_a_broken_fixture(broken): pass

def test_that_ends_the_process(): os._exit(9)

def test_after_it(): pass

def test_that_hangs(): time.sleep(600)

def test_last(): pass
"""


def test_a_test_that_ends_the_process_or_hangs_does_not_stop_the_others(
    parts: Any, gpu_check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "CASE_SECONDS", 5.0)
    file = tmp_path / "test_some.py"
    file.write_text(TESTS)
    tests = parts.Part("tests", "some tests", 90.0, parts.pytest_on(str(file)), continues=True)
    gpu_check.check([tests], tmp_path)
    found = result_of(tmp_path, "tests")
    cases = {line["case"].partition("::")[2]: line for line in found["lines"] if line["kind"] == "case"}
    assert {name: line["outcome"] for name, line in cases.items()} == {
        "test_good": "passed",
        "test_bad": "failed",
        "test_skipped": "skipped",
        "test_of_a_broken_fixture": "failed",
        "test_that_ends_the_process": "failed",
        "test_after_it": "passed",
        "test_that_hangs": "failed",
        "test_last": "passed",
    }
    assert "not equal" in cases["test_bad"]["message"]
    assert "no fixture" in cases["test_of_a_broken_fixture"]["message"]
    assert cases["test_skipped"]["message"] == "NVDEC's library is missing"
    assert "status 9" in cases["test_that_ends_the_process"]["message"]
    assert "in test_that_hangs" in cases["test_that_hangs"]["message"]
    assert found["state"] == "failed"
    assert found["error"].startswith("4 failed")


def test_tests_stop_by_themselves_at_the_time_limit(parts: Any, gpu_check: Any, tmp_path: Path) -> None:
    file = tmp_path / "test_many.py"
    file.write_text(
        "import time, pytest\npytestmark = pytest.mark.gpu\n"
        "@pytest.mark.parametrize('i', range(500))\ndef test_it(i): time.sleep(0.1)"
    )
    tests = parts.Part("tests", "some tests", 16.0, parts.pytest_on(str(file)), continues=True)
    gpu_check.check([tests], tmp_path)
    found = result_of(tmp_path, "tests")
    (stopped,) = (line for line in found["lines"] if line["kind"] == "stopped")
    assert found["state"] == "out of time"
    assert 0 < found["counts"]["passed"] == 500 - stopped["left"]


def test_tests_of_which_none_runs_fail(parts: Any, gpu_check: Any, tmp_path: Path) -> None:
    file = tmp_path / "test_none.py"
    file.write_text("def test_without_the_marker(): pass")
    tests = parts.Part("tests", "some tests", 60.0, parts.pytest_on(str(file)), continues=True)
    gpu_check.check([tests], tmp_path)
    assert result_of(tmp_path, "tests")["error"] == "no test ran"


# --- The command -----------------------------------------------------------------------------------------------------


def test_results_go_to_the_folder_out_or_to_one_per_day(gpu_check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUT", "/some/folder")
    assert gpu_check.default_folder() == Path("/some/folder")
    monkeypatch.delenv("OUT")
    folder = gpu_check.default_folder()
    assert folder.parent == BENCHMARKS / "results"
    assert folder.name.startswith("gpu-20")


def test_without_a_gpu_the_command_prints_one_line_and_writes_nothing(tmp_path: Path) -> None:
    # If the machine has a GPU, it is hidden.
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_check.py"), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gpu_check.py: no GPU: ")
    assert not (tmp_path / "out").exists()


def test_nvdecs_library_is_looked_up_first() -> None:
    doctor = script("gpu_doctor")
    library = doctor.nvdec_library()
    assert (library["path"] is None) == (library["error"] is not None)
