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
from mgdali.workers.shared_memory import RECORD_BYTES, SlotMemory

__all__ = ["run_worker"]


def run_worker(config: bytes, jobs: int, results: int, memory_file: int, slots: int, workers: int, number: int) -> None:
    """A worker's life: take a job, do it, say so, until the pipe of jobs is closed."""
    keep_decoder_messages()
    memory = SlotMemory(memory_file, slots, workers)
    # The user's own sampler may be in the configuration; what it raises when loaded is shown and ends the worker.
    loader = pickle.loads(config).make_loader()
    sending = Connection(results, readable=False)
    while record := os.read(jobs, RECORD_BYTES):
        slot = int.from_bytes(record, "little")
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
            sending.send((slot, outcome))
        except BrokenPipeError:
            return
