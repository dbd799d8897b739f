"""The main loop of a worker process."""

from __future__ import annotations

import os
import pickle
import traceback
from functools import partial
from multiprocessing.connection import Connection

from mgdali.errors import VideoDecodeError, WorkerError
from mgdali.video.frames import keep_decoder_messages
from mgdali.workers.protocols import Outcome
from mgdali.workers.shared_memory import NUMBER_BYTES, SlotMemory

__all__ = ["run_worker"]


def run_worker(config: bytes, jobs: int, results: int, memory_file: int, slots: int, workers: int, number: int) -> None:
    """Run jobs and send their outcomes, until the main process closes the pipe of jobs.

    Args:
        config: Pickled configuration, which makes the loader.
        jobs: File descriptor of the pipe from which slots with jobs are read.
        results: File descriptor of the connection to which slots with outcomes are sent.
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
    sender = Connection(results, readable=False)
    while message := os.read(jobs, NUMBER_BYTES):
        slot = int.from_bytes(message, "little")
        memory.set_current_slot(number, slot)
        outcome: Outcome
        job = memory.read_job(slot)
        try:
            outcome = loader.load(job, partial(memory.array, slot)) if job else None
        except VideoDecodeError as error:
            outcome = error
        except Exception:
            outcome = WorkerError(f"a decoding worker failed:\n{traceback.format_exc()}")
        try:
            sender.send((slot, outcome))
        except BrokenPipeError:
            return
