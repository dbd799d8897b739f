"""The count of the memory that DALI's decoder takes."""

from __future__ import annotations

from mgdali.gpu.decoder_memory import decoding_bytes, session_bytes, session_cache_bytes

FRAME = 3 * 256 * 340
LARGE = 3 * 1088 * 1920


def test_a_video_takes_its_frames_its_picks_and_eight_more() -> None:
    assert decoding_bytes(100, 16, FRAME) == 124 * 261_120


def test_a_session_has_22_surfaces_of_12_bits_per_pixel() -> None:
    assert session_bytes(FRAME) == 22 * 256 * 340 * 3 // 2 == 2_872_320


def test_a_size_has_as_many_sessions_as_decoders_that_used_it_at_once() -> None:
    assert session_cache_bytes({}, 6) == 0
    assert session_cache_bytes({FRAME: 2}, 6) == 2 * 2_872_320
    assert session_cache_bytes({FRAME: 500}, 6) == 6 * 2_872_320
    assert session_cache_bytes({FRAME: 500, LARGE: 1}, 6) == 6 * 2_872_320 + 68_935_680


def test_at_most_100_sessions_are_kept_and_the_largest_are_counted() -> None:
    sizes = {3 * 16 * width: 9 for width in range(16, 16 + 40)}
    largest = sorted(sizes, reverse=True)
    expected = 5 * sum(map(session_bytes, largest[:20]))
    assert session_cache_bytes(sizes, 5) == expected
    # Sessions in use are never closed.
    assert session_cache_bytes({FRAME: 1000}, 150) == 150 * 2_872_320
