"""The command that shows the page."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("uvicorn")

from tests.support.commands import ENVIRONMENT, MGDALI, run_here
from tests.support.videos import moving_square, write_video


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for seed in range(2):
        write_video(tmp_path / f"{seed}.mp4", moving_square(12, 48, 64, seed))
    return tmp_path


@contextmanager
def exploring(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; the block gets its process and its link."""
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("DISPLAY", "BROWSER")}
    process = subprocess.Popen(
        [*MGDALI, "explore", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, line.split()[-1] if line else ""
    finally:
        process.kill()
        process.communicate()


def test_help_names_the_arguments() -> None:
    done = run_here("explore", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("VIDEOS|INDEX|PACK", "--index", "--host", "--port", "--no-browser"):
        assert name in done.stdout


def test_wrong_usage_ends_with_2() -> None:
    assert run_here("explore").returncode == 2
    assert run_here("explore", ".", "--port", "65536").returncode == 2


def test_bad_sources_are_one_line_on_stderr(tmp_path: Path) -> None:
    done = run_here("explore", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert str(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line_on_stderr(videos: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_here("explore", videos, "--no-browser", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: cannot listen at 127.0.0.1, port {port}: ")
    assert done.stderr.count("\n") == 1


def test_without_the_extra_it_is_named_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules is Python's own way to say that a module cannot be imported.
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "mgdali.explore.server", raising=False)
    done = run_here("explore", "missing.mp4")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'mgdali[explore]'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_no_package_of_the_loader_is_imported() -> None:
    code = (
        "import sys, mgdali.cli.explore, mgdali.explore.collection, mgdali.explore.server\n"
        "print(*{'torch', 'nvidia.dali', 'cupy', 'matplotlib', 'numba', 'pandas'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.slow
def test_the_page_is_served_until_ctrl_c_which_ends_with_130(videos: Path) -> None:
    with exploring(str(videos)) as (process, url):
        assert urlsplit(url).hostname == "127.0.0.1"
        with urllib.request.urlopen(f"{url}api/collection", timeout=30) as response:
            assert b'"count":2' in response.read()
        assert process.stdout is not None
        assert process.stdout.readline() == "Open the link in a browser. Ctrl-C ends it.\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted\n")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=5)


@pytest.mark.slow
def test_ctrl_c_ends_at_once_while_a_client_is_connected(videos: Path) -> None:
    with (
        exploring(str(videos), "--no-browser") as (process, url),
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\n")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted\n")


@pytest.mark.slow
def test_other_addresses_are_a_warning(videos: Path) -> None:
    with exploring(str(videos), "--host", "0.0.0.0", "--no-browser") as (process, _):
        assert process.stdout is not None
        assert process.stdout.readline().startswith("From other machines: http://")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert errors.startswith("warning: everybody who can reach 0.0.0.0 and has the link can see these videos")
