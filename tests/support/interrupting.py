"""Ctrl-C, sent by a test."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def ctrl_c_in_another_thread(*, after: float) -> Iterator[None]:
    """Interrupt the block by Ctrl-C ``after`` seconds. Another thread receives the signal, so no wait here is woken."""
    done = threading.Event()
    receiver = threading.Thread(target=done.wait)
    receiver.start()
    # The timer's thread starts later and inherits this mask, so it does not receive the signal either.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        threading.Timer(after, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        done.set()
        receiver.join()
