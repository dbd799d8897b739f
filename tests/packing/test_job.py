"""The worker's job: the copy is written to allocated memory, also in another process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mgdali.errors import VideoDecodeError
from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Encoding
from mgdali.packing.job import PackConfig, PackedPart, PackJob, PackResult
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.workers.pool import LocalPool, WorkerPool
from mgdali.workers.protocols import Outcome, Pool
from tests.support.coded_videos import CODED

LEVELS = (Representation(),)


def outcome_of(pool: Pool, job: PackJob) -> Outcome:
    pool.submit(0, job)
    while True:
        for slot, outcome in pool.receive():
            assert slot == 0
            return outcome


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_worker_returns_what_encoding_here_returns(workers: int, tmp_path: Path) -> None:
    media = Media(str(CODED["h264-uneven-times"].write(tmp_path)))
    encoded = encode_video(media, Encoding(gop=4), LEVELS)
    pool = WorkerPool(workers, 1, PackConfig()) if workers else LocalPool(PackConfig())
    try:
        job = PackJob(media, Encoding(gop=4), LEVELS)
        assert job.path == media.path
        result = outcome_of(pool, job)
        assert isinstance(result, PackResult)
        assert pool.memory(0, result.shape).tobytes() == encoded.content
        pool.release(0)
    finally:
        pool.close()
    (part,) = result.parts
    assert isinstance(part, PackedPart)
    assert (part.origin, part.length) == (encoded.origin, len(encoded.content))
    assert part.record.fingerprint == encoded.record.fingerprint
    assert (part.record.origin, part.record.path) == (media.path, "")
    np.testing.assert_array_equal(part.record.packet_offsets, encoded.record.packet_offsets)
    np.testing.assert_array_equal(part.record.motion["image"], encoded.record.motion["image"])


def test_an_unreadable_video_is_an_error_in_the_result(tmp_path: Path) -> None:
    def allocate(shape: tuple[int, ...]) -> np.ndarray:
        raise AssertionError("nothing is written")

    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    result = PackConfig().make_loader().load(PackJob(Media(str(path)), Encoding(), LEVELS), allocate)
    assert result.shape == (0,)
    (error,) = result.parts
    assert isinstance(error, VideoDecodeError)
    assert error.path == str(path)
