"""Ctrl-C as a test can send it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def ctrl_c_in_another_thread(*, after: float) -> Iterator[None]:
    """A block that Ctrl-C ends ``after`` seconds, received by a thread that is not in it, so that nothing wakes it."""
    done = threading.Event()
    receiver = threading.Thread(target=done.wait)
    receiver.start()
    # The timer, begun after this, does not receive it either.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        threading.Timer(after, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        done.set()
        receiver.join()
