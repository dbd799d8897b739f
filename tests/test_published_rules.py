"""The rules of TSM and MMAction2, held to tables that were worked out by hand from their published code.

A random integer r below n is given as the offset (r + 1/2) / n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.published_rules import (
    OutOfBound,
    TSMMode,
    count_frames,
    count_tsm,
    count_uniform,
    sample_frames,
    sample_tsm,
    sample_uniform,
)

TWICE = [0, 1, 1, 2, 3, 4, 4, 5, 0, 0, 1, 2, 3, 3, 4, 5]
"""Six frames, eight parts of 3/4: their middles, then their beginnings."""


def offsets_of(integers: list[int], below: int, count: int) -> NDArray[np.float64]:
    """Return ``count`` offsets that begin with those of the integers; the rule must not use the others."""
    offsets = np.full(count, 0.999)
    offsets[: len(integers)] = (np.array(integers) + 0.5) / below
    return offsets


def runs(starts: list[int], length: int, step: int = 1) -> list[int]:
    """Return ``length`` numbers from each start."""
    return [start + i * step for start in starts for i in range(length)]


# T, N, L, random integers, their bound, picks.
TSM_TRAIN: list[tuple[int, int, int, list[int], int, list[int]]] = [
    # a = T // N
    (20, 8, 1, [0, 1, 0, 1, 1, 0, 1, 0], 2, [0, 3, 4, 7, 9, 10, 13, 14]),
    (30, 4, 1, [6, 0, 3, 1], 7, [6, 7, 17, 22]),
    (9, 8, 1, [0] * 8, 1, [0, 1, 2, 3, 4, 5, 6, 7]),
    (8, 8, 1, [0] * 8, 1, [0, 1, 2, 3, 4, 5, 6, 7]),
    (14, 3, 5, [2, 0, 1], 3, runs([2, 3, 7], 5)),
    # T <= N and a = 0
    (7, 8, 1, [], 1, [0] * 8),
    (1, 2, 1, [], 1, [0, 0]),
    (3, 3, 3, [], 1, [0, 1, 2] * 3),
    (2, 3, 3, [], 1, [0, 1, 1] * 3),
    # T > N but a = 0: sorted
    (4, 3, 3, [1, 0, 1], 2, [0, 1, 2, 1, 2, 3, 1, 2, 3]),
    (10, 8, 5, [5, 0, 3, 3, 1, 4, 2, 0], 6, runs([0, 0, 1, 2, 3, 3, 4, 5], 5)),
    # N < T < L: TSM's code fails
    (4, 2, 6, [], 1, [0, 1, 2, 3, 3, 3] * 2),
]

# T, N, L, picks.
TSM_VAL: list[tuple[int, int, int, list[int]]] = [
    (1, 8, 1, [0] * 8),
    (6, 8, 1, [0] * 8),
    (8, 8, 1, [0] * 8),
    (9, 8, 1, [0, 1, 2, 3, 5, 6, 7, 8]),
    (20, 8, 1, [1, 3, 6, 8, 11, 13, 16, 18]),
    (4, 2, 3, [0, 1, 2] * 2),
    (5, 2, 3, [0, 1, 2, 2, 3, 4]),
]
TSM_TEST: list[tuple[int, int, int, list[int]]] = [
    (1, 8, 1, [0] * 8),
    (6, 8, 1, TWICE[:8]),
    (8, 8, 1, [0, 1, 2, 3, 4, 5, 6, 7]),
    (20, 8, 1, [1, 3, 6, 8, 11, 13, 16, 18]),
    # Shorter than a segment: the files before the first one do not exist, so TSM loads the first one.
    (3, 2, 5, [0, 1, 2, 2, 2] * 2),
    (2, 2, 5, [0, 1, 1, 1, 1, 0, 0, 1, 1, 1]),
]
TSM_TWICE: list[tuple[int, int, int, list[int]]] = [
    (6, 8, 1, TWICE),
    (20, 4, 1, [2, 7, 12, 17, 0, 5, 10, 15]),
    (5, 2, 3, [0, 1, 2, 2, 3, 4, 0, 1, 2, 1, 2, 3]),
]

# T, N, random integer, its bound, picks.
TSM_DENSE: list[tuple[int, int, int, int, list[int]]] = [
    (10, 8, 0, 1, [0, 8, 6, 4, 2, 0, 8, 6]),
    (1, 4, 0, 1, [0, 0, 0, 0]),
    (64, 8, 0, 1, [0, 8, 16, 24, 32, 40, 48, 56]),
    (65, 8, 0, 1, [0, 8, 16, 24, 32, 40, 48, 56]),
    (66, 8, 1, 2, [1, 9, 17, 25, 33, 41, 49, 57]),
    (100, 8, 30, 36, [30, 38, 46, 54, 62, 70, 78, 86]),
    (80, 5, 15, 16, [15, 27, 39, 51, 63]),
    (100, 70, 35, 36, [35] * 70),
]
TSM_DENSE_TEST: list[tuple[int, int, list[int]]] = [
    (10, 2, [0, 2] * 10),
    (73, 2, runs([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 2, 32)),
    (70, 2, runs([0, 0, 1, 2, 2, 3, 4, 4, 5, 6], 2, 32)),
]


@pytest.mark.parametrize(("total", "segments", "length", "integers", "below", "expected"), TSM_TRAIN)
def test_tsm_in_training(
    total: int, segments: int, length: int, integers: list[int], below: int, expected: list[int]
) -> None:
    offsets = offsets_of(integers, below, segments * length)
    assert sample_tsm(total, segments, new_length=length, mode="train", offsets=offsets).tolist() == expected


@pytest.mark.parametrize(("mode", "table"), [("val", TSM_VAL), ("test", TSM_TEST), ("twice", TSM_TWICE)])
def test_tsm_in_validation_and_testing(mode: TSMMode, table: list[tuple[int, int, int, list[int]]]) -> None:
    for total, segments, length, expected in table:
        picks = sample_tsm(total, segments, new_length=length, mode=mode, offsets=0.999)
        assert picks.tolist() == expected, (total, segments, length)


@pytest.mark.parametrize(("total", "segments", "integer", "below", "expected"), TSM_DENSE)
def test_tsm_dense(total: int, segments: int, integer: int, below: int, expected: list[int]) -> None:
    offsets = offsets_of([integer], below, segments)
    assert sample_tsm(total, segments, mode="dense", offsets=offsets).tolist() == expected


@pytest.mark.parametrize(("total", "segments", "expected"), TSM_DENSE_TEST)
def test_tsm_dense_in_testing_picks_ten_clips(total: int, segments: int, expected: list[int]) -> None:
    assert sample_tsm(total, segments, mode="dense_test", offsets=0.999).tolist() == expected


# Arguments, random integers, their bound, picks.
FRAMES_TRAIN: list[tuple[dict[str, Any], list[int], int, list[int]]] = [
    # a > 0
    ({"total": 20, "clip_len": 1, "num_clips": 8}, [0, 1, 0, 1, 1, 0, 1, 0], 2, [0, 3, 4, 7, 9, 10, 13, 14]),
    ({"total": 9, "clip_len": 1, "num_clips": 8}, [0] * 8, 1, [0, 1, 2, 3, 4, 5, 6, 7]),
    ({"total": 20, "clip_len": 4, "frame_interval": 2}, [12], 13, [12, 14, 16, 18]),
    # T > max(N, L * s) but a = 0: sorted
    ({"total": 9, "clip_len": 4, "frame_interval": 2, "num_clips": 3}, [1, 0, 1], 2, runs([0, 1, 1], 4, 2)),
    # a = 0: halves are rounded to the even integer (1.5 and 4.5)
    ({"total": 6, "clip_len": 1, "num_clips": 8}, [], 1, [0, 1, 2, 2, 3, 4, 4, 5]),
    ({"total": 4, "clip_len": 2, "num_clips": 4}, [], 1, [0, 1, 1, 2, 2, 3, 2, 3]),
    ({"total": 8, "clip_len": 4, "frame_interval": 2, "num_clips": 3}, [], 1, runs([0, 0, 1], 4, 2)),
    ({"total": 7, "clip_len": 4, "frame_interval": 2, "num_clips": 3}, [], 1, [0, 2, 4, 6] * 3),
    # a < 0, and past the end
    ({"total": 6, "clip_len": 4, "frame_interval": 2}, [], 1, [0, 2, 4, 0]),
    ({"total": 3, "clip_len": 4, "frame_interval": 2}, [], 1, [0, 2, 1, 0]),
    ({"total": 3, "clip_len": 4, "frame_interval": 2, "out_of_bound_opt": "repeat_last"}, [], 1, [0, 2, 2, 2]),
    # The last pick of the clip within the video, not the last frame of the video
    ({"total": 6, "clip_len": 4, "frame_interval": 4, "out_of_bound_opt": "repeat_last"}, [], 1, [0, 4, 4, 4]),
    ({"total": 6, "clip_len": 3, "frame_interval": 2**70 + 3}, [], 1, [0, 1, 2]),
    ({"total": 6, "clip_len": 3, "frame_interval": 2**70, "out_of_bound_opt": "repeat_last"}, [], 1, [0, 0, 0]),
    # floor(i * 2.5 + 2.5 * offset), with offsets of tenths
    ({"total": 10, "clip_len": 1, "num_clips": 4, "keep_tail_frames": True}, [5, 5, 5, 9], 10, [1, 3, 6, 9]),
    ({"total": 3, "clip_len": 4, "keep_tail_frames": True}, [], 1, [0, 1, 2, 0]),
]

# Arguments, picks.
FRAMES_TEST: list[tuple[dict[str, Any], list[int]]] = [
    ({"total": 6, "clip_len": 1, "num_clips": 8}, TWICE[:8]),
    ({"total": 6, "clip_len": 1, "num_clips": 8, "twice_sample": True}, TWICE),
    ({"total": 20, "clip_len": 1, "num_clips": 8}, [1, 3, 6, 8, 11, 13, 16, 18]),
    ({"total": 1, "clip_len": 1, "num_clips": 3}, [0, 0, 0]),
    # The parts are 6/7; 3.5 of them are 2.9999999999999996.
    ({"total": 6, "clip_len": 1, "num_clips": 7}, [0, 1, 2, 2, 3, 4, 5]),
    # Clips of four at interval 2 can begin at 0 to 13: half of it is 6.5, rounded to 6.
    ({"total": 20, "clip_len": 4, "frame_interval": 2, "num_clips": 3}, runs([0, 6, 13], 4, 2)),
    ({"total": 20, "clip_len": 4, "frame_interval": 2}, [6, 8, 10, 12]),
    # MMAction2 divides by N - 1 with twice_sample too: clips begin at 0, 13, 26 and 39.
    (
        {"total": 20, "clip_len": 4, "frame_interval": 2, "num_clips": 2, "twice_sample": True},
        [0, 2, 4, 6, 13, 15, 17, 19, 6, 8, 10, 12, 19, 1, 3, 5],
    ),
    (
        {
            "total": 20, "clip_len": 4, "frame_interval": 2, "num_clips": 2, "twice_sample": True,
            "out_of_bound_opt": "repeat_last",
        },
        [0, 2, 4, 6, 13, 15, 17, 19, 0, 0, 0, 0, 0, 0, 0, 0],
    ),
    ({"total": 5, "clip_len": 4, "frame_interval": 2}, [0, 2, 4, 1]),
    ({"total": 5, "clip_len": 4, "frame_interval": 2, "out_of_bound_opt": "repeat_last"}, [0, 2, 4, 4]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "integers", "below", "expected"), FRAMES_TRAIN)
def test_sample_frames_in_training(
    arguments: dict[str, Any], integers: list[int], below: int, expected: list[int]
) -> None:
    offsets = offsets_of(integers, below, len(expected))
    # The only rule without random integers: a random number in [0, 1), here in tenths.
    if arguments.get("keep_tail_frames"):
        offsets[: len(integers)] = np.array(integers) / below
    assert sample_frames(**arguments, offsets=offsets).tolist() == expected


@pytest.mark.parametrize(("arguments", "expected"), FRAMES_TEST)
def test_sample_frames_in_testing(arguments: dict[str, Any], expected: list[int]) -> None:
    assert sample_frames(**arguments, test_mode=True, offsets=0.999).tolist() == expected


def test_the_picks_of_six_frames_have_mmaction2s_numbers() -> None:
    # The numbers of frame files, which begin at 1.
    assert (sample_frames(6, 1, num_clips=8, test_mode=True) + 1).tolist() == [1, 2, 2, 3, 4, 5, 5, 6]
    assert (sample_frames(6, 1, num_clips=8, offsets=0.0) + 1).tolist() == [1, 2, 3, 3, 4, 5, 5, 6]


# T, L, offsets, picks.
UNIFORM_TRAIN: list[tuple[int, int, list[float], list[int]]] = [
    # Parts from 0, 4, 8, 12 to 16, both ends included: integers below 5.
    (17, 4, [0.9, 0.1, 0.5, 0.9], [4, 4, 10, 16]),
    # Parts begin at 0, 0.625, 1.25, 1.875, 2.5, 3.125, 3.75, 4.375 and 5, rounded to 0, 1, 1, 2, 2, 3, 4, 4 and 5.
    (6, 8, [0.0] * 8, [0, 1, 1, 2, 2, 3, 4, 4]),
    (6, 8, [0.99] * 8, [1, 1, 2, 2, 3, 4, 4, 5]),
    (1, 3, [0.99] * 3, [0, 0, 0]),
]
# T, L, N, picks.
UNIFORM_TEST: list[tuple[int, int, int, list[int]]] = [
    (17, 4, 1, [2, 6, 10, 14]),
    (17, 4, 3, [1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15]),
    (6, 8, 1, [0, 1, 1, 2, 2, 3, 4, 4]),
    (1, 2, 2, [0, 0, 0, 0]),
]


@pytest.mark.parametrize(("total", "clip_len", "offsets", "expected"), UNIFORM_TRAIN)
def test_uniform_sample_in_training(total: int, clip_len: int, offsets: list[float], expected: list[int]) -> None:
    assert sample_uniform(total, clip_len, offsets=offsets).tolist() == expected


@pytest.mark.parametrize(("total", "clip_len", "clips", "expected"), UNIFORM_TEST)
def test_uniform_sample_in_testing(total: int, clip_len: int, clips: int, expected: list[int]) -> None:
    assert sample_uniform(total, clip_len, num_clips=clips, test_mode=True, offsets=0.999).tolist() == expected


def check_picks(rule: Callable[..., NDArray[np.int64]], count: int, **arguments: Any) -> None:
    rng = np.random.default_rng(0)
    for total in range(1, 201):
        for offsets in (0.0, 0.5, 1 - 2**-53, rng.random(count)):
            picks = rule(total, **arguments, offsets=offsets)
            assert picks.dtype == np.int64
            assert picks.shape == (count,)
            assert picks.min() >= 0
            assert picks.max() < total


@pytest.mark.parametrize("mode", get_args(TSMMode))
def test_picks_of_tsm_are_in_range(mode: TSMMode) -> None:
    for segments, length in ((8, 1), (5, 6)):
        check_picks(sample_tsm, count_tsm(segments, length, mode), num_segments=segments, new_length=length, mode=mode)


@pytest.mark.parametrize("out_of_bound_opt", get_args(OutOfBound))
@pytest.mark.parametrize(
    "options", [{}, {"keep_tail_frames": True}, {"test_mode": True}, {"test_mode": True, "twice_sample": True}]
)
def test_picks_of_sample_frames_are_in_range(options: dict[str, bool], out_of_bound_opt: OutOfBound) -> None:
    for clip_len, interval, clips in ((1, 1, 8), (8, 3, 2)):
        count = count_frames(clip_len, clips, options.get("twice_sample", False))
        arguments: dict[str, Any] = {"clip_len": clip_len, "frame_interval": interval, "num_clips": clips, **options}
        check_picks(sample_frames, count, **arguments, out_of_bound_opt=out_of_bound_opt)


def test_picks_of_uniform_sample_are_in_range() -> None:
    check_picks(sample_uniform, count_uniform(8, 1), clip_len=8)
    check_picks(sample_uniform, count_uniform(7, 3), clip_len=7, num_clips=3, test_mode=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_tsm(0, 8), "total must be .* got 0"),
        (lambda: sample_tsm(5, 0), "num_segments must be .* got 0"),
        (lambda: sample_tsm(5, 2, new_length=1.5), "new_length must be .* got 1.5"),
        (lambda: sample_tsm(5, 2, mode="valid"), "mode must be one of .*'twice'.* got 'valid'"),
        (lambda: sample_tsm(5, 2, offsets=1.0), r"offsets must be in \[0, 1\), got 1.0"),
        (lambda: sample_tsm(5, 2, offsets=[0.1, 0.2, 0.3]), r"offsets must .* \[2\], got shape \[3\]"),
        (lambda: sample_frames(0, 1), "total must be .* got 0"),
        (lambda: sample_frames(5, 0), "clip_len must be .* got 0"),
        (lambda: sample_frames(5, 1, frame_interval=0), "frame_interval must be .* got 0"),
        (lambda: sample_frames(5, 1, num_clips=-1), "num_clips must be .* got -1"),
        (lambda: sample_frames(5, 1, test_mode="yes"), "test_mode must be True or False, got 'yes'"),
        (lambda: sample_frames(5, 1, out_of_bound_opt="last"), "out_of_bound_opt must be one of .* got 'last'"),
        (lambda: sample_frames(5, 1, twice_sample=True), "twice_sample=True needs test_mode=True"),
        (lambda: sample_frames(5, 1, test_mode=True, keep_tail_frames=True), "keep_tail_frames=True needs"),
        (lambda: sample_frames(5, 2, test_mode=True, twice_sample=True), "clip_len=2 needs num_clips >= 2, got 1"),
        (lambda: sample_uniform(0, 1), "total must be .* got 0"),
        (lambda: sample_uniform(5, 0), "clip_len must be .* got 0"),
        (lambda: sample_uniform(5, 1, num_clips=2), "num_clips=2 needs test_mode=True"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
