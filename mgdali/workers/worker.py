"""The main loop of a worker process."""

from __future__ import annotations

import os
import pickle
import traceback
from functools import partial

from mgdali.errors import TransformError, VideoDecodeError, WorkerError
from mgdali.video.frames import keep_decoder_messages
from mgdali.workers.outcomes import OutcomeSender
from mgdali.workers.protocols import Outcome
from mgdali.workers.shared_memory import NUMBER_BYTES, SlotMemory

__all__ = ["run_worker"]


def run_worker(
    config: bytes, jobs: int, results: int, wake: int, memory_file: int, slots: int, workers: int, number: int
) -> None:
    """Run jobs and send their outcomes, until the main process closes the pipe of jobs.

    Args:
        config: Pickled configuration, which makes the loader.
        jobs: File descriptor of the pipe from which tickets and slots of jobs are read.
        results: File descriptor of the pipe to which tickets and outcomes are written.
        wake: File descriptor of the eventfd that wakes up the main process.
        memory_file: File descriptor of the shared memory.
        slots: Number of slots in the shared memory.
        workers: Number of workers.
        number: Number of this worker, from 0.
    """
    keep_decoder_messages()
    memory = SlotMemory(memory_file, slots, workers)
    # The configuration may contain a user-defined sampler. If unpickling it fails, the traceback is printed and the
    # worker ends.
    loader = pickle.loads(config).make_loader()
    sender = OutcomeSender(results, wake, memory, number)
    while message := os.read(jobs, 2 * NUMBER_BYTES):
        ticket, slot = (int.from_bytes(part, "little") for part in (message[:NUMBER_BYTES], message[NUMBER_BYTES:]))
        memory.begin_job(number, ticket)
        if not memory.has_job(slot, ticket):
            # Another worker has done this job: the pool submitted it again because it seemed lost.
            continue
        job = memory.read_job(slot)
        outcome: Outcome
        try:
            outcome = loader.load(job, partial(memory.array, slot)) if job else None
        except (VideoDecodeError, TransformError) as error:
            outcome = error
        except Exception:
            outcome = WorkerError(f"a decoding worker failed:\n{traceback.format_exc()}")
        try:
            sender.send(ticket, outcome)
        except BrokenPipeError:
            return
