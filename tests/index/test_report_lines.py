"""Tests of reports as few lines of text."""

from __future__ import annotations

from mgdali.index.build import BuildReport
from mgdali.index.report_lines import one_line
from mgdali.packing.pack import PackReport


def test_a_report_of_many_failures_shows_the_first_three_and_where_all_of_them_are() -> None:
    failed = {f"/videos/{i:04}.mp4": f"a worker failed:\nTraceback\n  File\nKeyError: {i}" for i in range(1500)}
    assert repr(BuildReport(measured=2000, kept=0, frames=9000, failed=failed, rows=2000)).splitlines() == [
        "BuildReport(measured=2000, kept=0, frames=9000, failed=1500, rows=2000, copied=0, matched=0)",
        "failed:",
        *[f"  /videos/000{i}.mp4: a worker failed: … KeyError: {i}" for i in range(3)],
        "  and 1497 more: see all in the attribute `failed`",
    ]


def test_a_report_without_failures_is_one_line() -> None:
    report = BuildReport(measured=1, kept=0, frames=9, failed={}, rows=1)
    assert str(report) == "BuildReport(measured=1, kept=0, frames=9, failed=0, rows=1, copied=0, matched=0)"


def test_changed_originals_are_shown_like_failures() -> None:
    numbers = {"packed": 0, "kept": 4, "frames": 0, "videos": 4, "shards": 1, "bytes": 10, "origin_bytes": 20}
    changed = ("d\n.mp4", "c.mp4", "b.mp4", "a.mp4")
    assert repr(PackReport(**numbers, failed={"e.mp4": "broken"}, changed=changed)).splitlines() == [
        "PackReport(packed=0, kept=4, frames=0, failed=1, changed=4, videos=4, shards=1, bytes=10, origin_bytes=20)",
        "failed:",
        "  e.mp4: broken",
        "changed:",
        "  a.mp4",
        "  b.mp4",
        "  c.mp4",
        "  and 1 more: see all in the attribute `changed`",
    ]


def test_a_reason_is_shortened_to_one_line() -> None:
    assert one_line("broken\n") == "broken"
    assert one_line("\n") == ""
    assert one_line("a worker failed:\nTraceback\n  File\nKeyError: 1\n") == "a worker failed: … KeyError: 1"
