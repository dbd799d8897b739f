"""Memory that processes share: jobs, arrays, and the memory that is returned to the system."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest

from mgdali.choices import draw
from mgdali.video.media import Media
from mgdali.workers.clip_job import ClipJob
from mgdali.workers.shared_memory import SlotMemory

JOB = ClipJob(Media("a.mp4"), draw(0, 0, 0, 4, training=False))


@pytest.fixture
def memory() -> Iterator[SlotMemory]:
    made = SlotMemory.create(slots=3, workers=2)
    yield made
    made.close()


def test_a_job_is_read_in_another_mapping_until_it_is_removed(memory: SlotMemory) -> None:
    memory.write_job(1, 7, JOB)
    other = SlotMemory(memory.file, memory.slots, memory.workers)
    assert other.has_job(1, 7)
    assert not other.has_job(1, 6)
    job = other.read_job(1)
    assert job is not None
    assert job.path == "a.mp4"
    assert other.read_job(2) is None
    memory.clear_job(1, 7)
    assert other.has_job(1, 7)
    assert other.read_job(1) is None


def test_arrays_of_slots_do_not_overlap(memory: SlotMemory) -> None:
    arrays = [memory.array(slot, (5, 7)) for slot in range(3)]
    for slot, array in enumerate(arrays):
        array[:] = slot + 1
    assert [np.unique(array).tolist() for array in arrays] == [[1], [2], [3]]


def test_the_last_job_of_each_worker_is_known_until_its_number_is_free(memory: SlotMemory) -> None:
    assert memory.last_job(0)[0] == 0
    memory.begin_job(0, 4)
    memory.begin_job(1, 2)
    time.sleep(0.02)
    assert [memory.last_job(worker)[0] for worker in (0, 1)] == [4, 2]
    assert 0.02 <= memory.last_job(0)[1] < 10
    memory.reset_worker(0)
    assert [memory.last_job(worker)[0] for worker in (0, 1)] == [0, 2]


@pytest.mark.parametrize(("size", "freed"), [(1 << 20, False), (30 << 20, True)])
def test_only_the_memory_of_large_arrays_is_returned(memory: SlotMemory, size: int, freed: bool) -> None:
    memory.array(0, (size,))[:] = 1
    before = os.fstat(memory.file).st_blocks * 512
    memory.trim(0)
    after = os.fstat(memory.file).st_blocks * 512
    assert before >= size
    assert (after < before) == freed
    assert after <= 9 << 20


def test_an_array_larger_than_a_slot_is_rejected_with_its_shape(memory: SlotMemory) -> None:
    with pytest.raises(ValueError, match=r"\[100000, 1000, 1000, 3\].*4 GiB.*fewer frames"):
        memory.array(0, (100_000, 1000, 1000, 3))
    assert np.count_nonzero(memory.array(0, (2, 3))) == 0
