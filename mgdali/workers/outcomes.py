"""Outcomes of jobs on their way from the workers to the main process.

Each worker has a separate pipe. So no lock is shared, and the end of a pipe reports the end of its worker.

The main process does not wake up for each outcome. After a sleep, the processor's caches contain the data of a decoder,
and receiving a single outcome takes ten times as long as one of several. So the main process says how many outcomes it
waits for, and the worker that sends the last of them wakes it up. If that fails, for example because a worker died
before it had counted its outcome, the main process wakes up when its wait has lasted :data:`CTRL_C_SECONDS`.
"""

from __future__ import annotations

import array
import fcntl
import os
import pickle
import select
import termios
from collections.abc import Iterator

from mgdali.interrupts import CTRL_C_SECONDS
from mgdali.workers.protocols import Outcome
from mgdali.workers.shared_memory import NUMBER_BYTES, SlotMemory

__all__ = ["OutcomePipe", "OutcomeSender", "OutcomeWaiter", "unread_bytes"]

# Default capacity of a pipe on Linux. A read of this size empties it.
_PIPE_BYTES = 64 << 10
# A worker must not wait for room in its pipe while the main process waits to be woken up. A pipe has room for so many
# outcomes of up to this size, and for a piece of a larger one. After each piece, the worker wakes up the main process.
_MOST_UNREAD, _SMALL_BYTES, _PIECE_BYTES = 64, 512, 16 << 10
# A number of outcomes that is not reached.
_NEVER = 1 << 62


class OutcomeSender:
    """A worker's end of its pipe.

    Args:
        pipe: File descriptor of the pipe.
        wake: File descriptor of the eventfd that wakes up the main process.
        memory: Memory that the worker shares with the main process.
        number: Number of the worker, from 0.
    """

    def __init__(self, pipe: int, wake: int, memory: SlotMemory, number: int) -> None:
        self._pipe = pipe
        self._wake = wake
        self._memory = memory
        self._number = number

    def send(self, ticket: int, outcome: Outcome) -> None:
        """Send the outcome of a job.

        Raises:
            BrokenPipeError: If the main process has closed the pipe.
        """
        body = pickle.dumps((ticket, outcome))
        message = len(body).to_bytes(NUMBER_BYTES, "little") + body
        # The video of an error may be replaced by another one, which then has to be decoded.
        urgent = len(message) > _SMALL_BYTES or isinstance(outcome, Exception)
        # Counted before and compared after a system call, which is a memory barrier: of two workers that send their
        # outcomes at the same time, at least one finds both counted.
        self._memory.count_outcome(self._number)
        while message:
            message = message[os.write(self._pipe, message[:_PIECE_BYTES]) :]
            if urgent or self._memory.outcomes_suffice():
                os.eventfd_write(self._wake, 1)


class OutcomePipe:
    """The main process's end of a worker's pipe.

    Attributes:
        file: File descriptor of the pipe.
        received: Number of outcomes that were read.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self.received = 0
        self._unfinished = b""

    @property
    def unread(self) -> bool:
        """Whether an outcome has arrived, or a part of one, and was not read yet."""
        return bool(self._unfinished) or unread_bytes(self.file) > 0

    def read(self) -> list[tuple[int, Outcome]]:
        """Return tickets and outcomes that have arrived. Waits if there is nothing to read.

        Raises:
            EOFError: If the worker has ended.
        """
        content = os.read(self.file, _PIPE_BYTES)
        if not content:
            raise EOFError
        messages = list(self._messages(self._unfinished + content if self._unfinished else content))
        self.received += len(messages)
        return messages

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.file)

    def _messages(self, content: bytes) -> Iterator[tuple[int, Outcome]]:
        """Yield the messages in ``content``, and keep its rest for the next call."""
        start = 0
        while len(content) >= (body := start + NUMBER_BYTES):
            end = body + int.from_bytes(content[start:body], "little")
            if len(content) < end:
                break
            yield pickle.loads(content[body:end])
            start = end
        self._unfinished = content[start:]


class OutcomeWaiter:
    """Waits for the outcomes of several workers.

    Args:
        memory: Memory that the workers share with the main process.

    Attributes:
        wake: File descriptor of the eventfd by which workers wake up the main process.
    """

    def __init__(self, memory: SlotMemory) -> None:
        self.wake = os.eventfd(0)
        self._memory = memory
        self._pipes: list[OutcomePipe] = []
        self._readable = select.poll()
        self._woken = select.poll()
        self._woken.register(self.wake, select.POLLIN)

    def add(self, pipe: OutcomePipe) -> None:
        """Wait for a worker's outcomes from now on."""
        self._pipes.append(pipe)
        self._readable.register(pipe.file, select.POLLIN)
        # A pipe reports its end even if no event is asked for.
        self._woken.register(pipe.file, 0)

    def remove(self, pipe: OutcomePipe) -> None:
        """Stop waiting for a worker's outcomes."""
        self._pipes.remove(pipe)
        self._readable.unregister(pipe.file)
        self._woken.unregister(pipe.file)

    def readable(self) -> list[int]:
        """Return the file descriptors of the pipes that contain outcomes or have ended."""
        return [file for file, _ in self._readable.poll(0)]

    def wait(self, count: int) -> bool:
        """Wait a short time for outcomes that were not read from the pipes yet.

        Args:
            count: Number of outcomes, >= 1. If it is above :data:`_MOST_UNREAD`, so many are waited for.

        Returns:
            Whether so many outcomes have come, a worker has ended, or an outcome needs to be read now.
        """
        self._memory.want_outcomes(sum(pipe.received for pipe in self._pipes) + min(count, _MOST_UNREAD))
        # No worker reports an outcome that came before this.
        woken = bool(self.readable())
        if not woken:
            files = [file for file, _ in self._woken.poll(1e3 * CTRL_C_SECONDS)]
            woken = bool(files)
            if self.wake in files:
                os.eventfd_read(self.wake)
        self._memory.want_outcomes(_NEVER)
        return woken

    def close(self) -> None:
        """Close the eventfd."""
        os.close(self.wake)


def unread_bytes(pipe: int) -> int:
    """Return the number of bytes in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]
