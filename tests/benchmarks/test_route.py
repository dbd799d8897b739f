"""``benchmarks/route.py`` without a GPU: its videos and picks, turns, time limits, lines and summary."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgdali import MGDaliIterator, MotionGuided, VideoDataset
from tests.support.benchmark_modules import BENCHMARKS, script
from tests.support.videos import moving_square, write_video

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

route, route_videos, route_variants = (
    script("route"),
    script("route_videos"),
    script("route_variants"),
)
route_report, decoders, lines_module = (
    script("route_report"),
    script("decoders"),
    script("lines"),
)
Deadline = script("deadline").Deadline


# --- Videos and picks ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two long videos, a short one, and three that not all decoders decode or that are too large."""
    found = tmp_path_factory.mktemp("clips")
    (found / "sub").mkdir()
    write_video(found / "long.mp4", moving_square(105, 48, 64))
    write_video(found / "sub" / "longer.mp4", moving_square(130, 64, 48, seed=1))
    write_video(found / "short.mp4", moving_square(12, 48, 64, seed=2))
    write_video(found / "other.mp4", moving_square(101, 48, 64), codec="mpeg4")
    write_video(found / "444.mp4", moving_square(101, 48, 64), pixel_format="yuv444p")
    write_video(found / "large.mp4", moving_square(2, 720, 1280))
    (found / "broken.mp4").write_bytes(b"garbage" * 99)
    return found


@pytest.fixture(scope="module")
def loads(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(route_videos, "_LONG_VIDEOS", 5)
        patch.setattr(route_videos, "_SHORT_VIDEOS", 3)
        index = tmp_path_factory.mktemp("index") / "clips.parquet"
        found: list[Any] = route_videos.find_workloads(folder, index, quick=False)
    return found


def test_workloads_hold_videos_that_all_decoders_decode(loads: list[Any]) -> None:
    long, short = loads
    assert (long.name, [Path(path).name for path in long.paths]) == (
        "long",
        ["long.mp4", "longer.mp4", "long.mp4", "longer.mp4", "long.mp4"],
    )
    assert (short.name, [Path(path).name for path in short.paths]) == ("short", ["short.mp4"] * 3)
    assert long.frames == 3 * 105 + 2 * 130
    facts = json.loads(json.dumps(long.facts()))
    assert (facts["videos"], facts["distinct_files"], facts["sizes"]) == (5, 2, ["48x64", "64x48"])
    assert 0 < facts["frames_from_key_frames"] <= long.frames


def test_quick_workloads_are_long_or_else_short(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_videos, "_QUICK_VIDEOS", 2)
    (load,) = route_videos.find_workloads(folder, tmp_path / "all.parquet", quick=True)
    assert (load.name, len(load.videos)) == ("long", 2)
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "short.mp4").write_bytes((folder / "short.mp4").read_bytes())
    (load,) = route_videos.find_workloads(tmp_path / "only", tmp_path / "one.parquet", quick=True)
    assert (load.name, len(load.videos)) == ("short", 2)
    (tmp_path / "none").mkdir()
    assert route_videos.find_workloads(tmp_path / "none", tmp_path / "none.parquet", quick=True) == []


def test_other_decoders_get_the_picks_of_the_loader_and_its_clips(loads: list[Any], tmp_path: Path) -> None:
    long = route_videos.with_references(loads[0], tmp_path)
    dataset = VideoDataset(long.paths, [0] * len(long.paths))
    with MGDaliIterator(
        dataset, sampler=MotionGuided(num_frames=8), device="cpu", dtype="uint8", return_meta=True
    ) as loader:
        for own, (clips, _, meta) in zip(long.videos, loader, strict=True):
            assert meta["frames"].tolist() == [list(own.picks)]
            np.testing.assert_array_equal(np.load(own.reference), clips[0].numpy())


def test_counters_of_a_loader_are_reported_by_name(loads: list[Any]) -> None:
    dataset = VideoDataset(loads[1].paths, [0] * 3)
    with MGDaliIterator(dataset, sampler=MotionGuided(num_frames=8), device="cpu") as loader:
        for clips, _ in loader:
            del clips
        found = route_variants.counters(loader)
        assert (found["frames_decoded"], found["unindexed"]) == (loader.frames_decoded, 0) == (36, 0)


# --- Variants --------------------------------------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path: Path) -> Any:
    return route_variants.Context(engines=7, libraries=tmp_path, answer_seconds=lambda: 60.0, quick=False)


def names_of(group: str, load: Any, context: Any) -> list[str]:
    return [variant.name for variant in route_variants.group_variants(group, load, context)]


def test_variants_have_a_name_each_and_say_what_is_timed(loads: list[Any], context: Any) -> None:
    for group in route_variants.GROUPS:
        names = names_of(group, loads[0], context)
        assert len(names) == len(set(names))
        assert all(variant.timed for variant in route_variants.group_variants(group, loads[0], context))


def test_the_loader_is_compared_with_all_others(loads: list[Any], context: Any) -> None:
    assert names_of("loader", loads[0], context) == [
        "motion-guided image",
        "motion-guided feature",
        "segment",
        "decode only, 7 threads",
        "decode only, 21 threads",
    ]
    assert names_of("index", loads[0], context) == [
        "motion-guided image",
        "motion-guided image, index",
        "segment, index",
    ]
    graphs = names_of("graphs", loads[0], context)
    assert graphs == [
        f"motion-guided image, {number} graphs, {threads} decoder threads"
        for threads in (21, 7)
        for number in (1, 2, 3)
    ]
    peers = ["spdl", "pynvvideocodec", "torchcodec"]
    assert names_of("peers", loads[0], context) == ["motion-guided image"] + [
        f"{peer}, all frames, {threads} threads" for peer in peers for threads in (7, 21)
    ]
    assert names_of("peers-index", loads[0], context) == ["motion-guided image, index"] + [
        f"{peer}, needed frames, {threads} threads" for peer in peers for threads in (7, 21)
    ]


# --- Measuring -------------------------------------------------------------------------------------------------------


class Clock:
    """The clock of deadlines, which only epochs move."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    own = Clock()
    monkeypatch.setattr(variant, "clock", own, raising=False)
    return own


def variant(name: str, seconds: float = 1.0, *, fails_at: int = 99, frames: int = 575) -> Any:
    """A variant whose epochs move the clock. Its epoch number ``fails_at`` (the first one is 0) raises."""
    calls: list[str] = []
    clock: Clock = variant.clock  # type: ignore[attr-defined]

    def epoch() -> Any:
        calls.append(name)
        if len(calls) > fails_at:
            raise RuntimeError(f"{name} does not work\nhere")
        clock.now += seconds
        return route_variants.Timing(seconds, frames, {"calls": len(calls)})

    def prepare(stack: ExitStack) -> Any:
        stack.callback(calls.append, "closed")
        return epoch, epoch()

    found = route_variants.Variant(name, f"what {name} does", prepare)
    object.__setattr__(found, "calls", calls)
    return found


def measured(load: Any, variants: list[Any], *, rounds: int = 3, seconds: float | None = None) -> list[dict[str, Any]]:
    lines = lines_module.Lines(None)
    lines.write("workload", workload=load.name, **load.facts())
    route.measure_group(
        "loader",
        load,
        variants,
        lines,
        rounds=rounds,
        deadline=Deadline(seconds),
        decoder_percent=lambda start, end: 50.0,
    )
    found: list[dict[str, Any]] = lines.written
    return found


def epochs_of(lines: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(line["round"], line["variant"]) for line in lines if line["kind"] == "epoch"]


def test_variants_take_turns_and_each_epoch_is_a_line(loads: list[Any]) -> None:
    variants = [variant("a"), variant("b", 0.02), variant("c")]
    lines = measured(loads[0], variants)
    assert epochs_of(lines) == [
        *((0, name) for name in "abc"),
        *((1, name) for name in "bca"),
        *((2, name) for name in "cab"),
    ]
    assert [line["variant"] for line in lines if line["kind"] == "variant"] == ["a", "b", "c"]
    assert [line["timed"] for line in lines if line["kind"] == "variant"][1] == "what b does"
    assert all(own.calls[-1] == "closed" for own in variants)


def test_a_variant_that_fails_is_left_out_with_the_reason(loads: list[Any]) -> None:
    lines = measured(loads[0], [variant("a"), variant("b", fails_at=0), variant("c", fails_at=2)])
    assert epochs_of(lines) == [(0, "a"), (0, "c"), (1, "a"), (2, "a")]
    assert [(line["variant"], line["reason"]) for line in lines if line["kind"] == "skipped"] == [
        ("b", "RuntimeError: b does not work here"),
        ("c", "RuntimeError: c does not work here"),
    ]
    text = route_report.rendered(lines)
    assert "b was left out: RuntimeError: b does not work here" in text


def test_each_variant_is_measured_once_and_then_only_as_time_permits(
    loads: list[Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script("deadline"), "time", clock)
    # Two seconds for the first epochs, and four more for two rounds.
    lines = measured(loads[0], [variant("a"), variant("b")], rounds=100, seconds=6.5)
    assert epochs_of(lines) == [(0, "a"), (0, "b"), (1, "b"), (1, "a")]
    # No time is left to prepare the third variant if the first two shall be measured.
    lines = measured(loads[0], [variant("a"), variant("b"), variant("c")], rounds=100, seconds=4.0)
    assert epochs_of(lines) == [(0, "a"), (0, "b")]
    assert [line["left"] for line in lines if line["kind"] == "stopped"] == [["c"]]


# --- The summary -----------------------------------------------------------------------------------------------------


def epoch_line(name: str, number: int, seconds: float, decoded: int | None = 1000) -> dict[str, Any]:
    where = {"workload": "long", "group": "loader", "variant": name, "round": number}
    return {"kind": "epoch", **where, "seconds": seconds, "frames_decoded": decoded, "decoder_percent": None}


@pytest.fixture
def known() -> list[dict[str, Any]]:
    """Lines of two rounds, and of a third one that was cut off."""
    names = ["motion-guided image", "segment", "decode only, 7 threads", "decode only, 21 threads"]
    found: list[dict[str, Any]] = [{"kind": "workload", "workload": "long", "videos": 10}]
    for number, name in enumerate(names):
        own = {"workload": "long", "group": "loader", "variant": name, "number": number}
        found.append({"kind": "variant", **own, "frames_decoded": 1000 - number, "frames_expected": 1000})
        found[-1]["facts"] = {"by_pyav": {"odd.mp4": "its size 3x3 is odd"}} if number == 1 else {}
    for number, seconds in enumerate([(2.0, 2.0, 4.0, 1.0), (4.0, 2.0, 8.0, 2.0)]):
        found += [epoch_line(name, number, each) for name, each in zip(names, seconds, strict=True)]
    return [*found, epoch_line("motion-guided image", 2, 100.0)]


def test_ratios_are_taken_within_rounds(known: list[dict[str, Any]]) -> None:
    rows = {row["variant"]: row for row in route_report.summarized(known)}
    image, segment = rows["motion-guided image"], rows["segment"]
    assert image["clips_per_s"]["values"] == [5, 2.5, 0.1]
    assert (image["frames_per_s"], image["ratio"]["median"]) == (250, 1)
    assert segment["ratio"]["values"] == [1, 2]
    assert segment["over"] == "motion-guided image"
    assert (segment["rounds"], image["rounds"]) == (2, 3)
    json.dumps(list(rows.values()))


def test_an_unknown_number_of_frames_gives_no_rate(known: list[dict[str, Any]]) -> None:
    rows = route_report.summarized([*known[:5], epoch_line("segment", 0, 2.0, None)])
    assert (rows[0]["variant"], rows[0]["frames_per_s"], rows[0]["ratio"]) == ("segment", None, None)


def test_targets_compare_with_segment_sampling_and_the_fastest_decoding_alone(known: list[dict[str, Any]]) -> None:
    found = route_report.targets(route_report.summarized(known))
    assert [(own["figure"], own["value"], own["met"]) for own in found] == [
        ("long: motion-guided image, time over segment's", pytest.approx(1.5), False),
        ("long: motion-guided image, clips/s over decode only, 21 threads's", pytest.approx(0.5), False),
    ]


def test_the_report_names_wrong_numbers_of_frames_and_files_that_pyav_decoded(known: list[dict[str, Any]]) -> None:
    text = route_report.rendered(known)
    assert "| segment | 5.0 (5.0 to 5.0) | 1.50 | 500 | 1000 | - | 2 |" in text
    assert "segment decoded 999 frames, not 1000" in text
    assert "segment: PyAV decoded 1 files, such as odd.mp4: its size 3x3 is odd" in text
    assert "decoded 1000 frames, not 1000" not in text


# --- The command -----------------------------------------------------------------------------------------------------


def run_groups(groups: list[str], folder: Path, out: Path, seconds: float | None) -> list[dict[str, Any]]:
    lines = lines_module.Lines(out)
    route.measure(folder, groups, lines, Deadline(seconds), quick=True)
    found: list[dict[str, Any]] = lines_module.read_lines(out)
    assert found == lines.written
    return found


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few videos, and the number of engines of a GPU that does not exist."""
    monkeypatch.setattr(route_videos, "_QUICK_VIDEOS", 2)
    monkeypatch.setattr(route, "find_engines", lambda: 1)
    missing = {"pynvvideocodec": decoders.DECODERS["pynvvideocodec"]}
    monkeypatch.setattr(route_variants, "DECODERS", missing)


@pytest.mark.usefixtures("few")
def test_what_is_missing_is_named_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("PyNvVideoCodec") is not None:
        pytest.skip("PyNvVideoCodec is installed")
    lines = run_groups(["graphs", "peers"], folder, tmp_path / "out.jsonl", None)
    assert [line["kind"] for line in lines[:2]] == ["machine", "workload"]
    assert {line["kind"] for line in lines[2:]} == {"skipped", "utilization"}
    skipped = {(line["group"], line["variant"]): line["reason"] for line in lines if line["kind"] == "skipped"}
    assert "ModuleNotFoundError" in skipped["peers", "pynvvideocodec, all frames, 1 threads"]
    assert "ModuleNotFoundError" in skipped["peers", "pynvvideocodec, all frames, 3 threads"]
    assert ("graphs", "motion-guided image, 2 graphs, 3 decoder threads") in skipped


@pytest.mark.usefixtures("few")
def test_groups_for_which_no_time_is_left_are_named(folder: Path, tmp_path: Path) -> None:
    lines = run_groups(["loader", "index"], folder, tmp_path / "out.jsonl", 0.0)
    (stopped,) = (line for line in lines if line["kind"] == "stopped")
    assert stopped["left"] == ["long videos, loader", "long videos, index"]


@pytest.mark.usefixtures("few")
def test_what_was_measured_is_summarized_after_an_interrupt(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    def variants(group: str, load: Any, context: Any) -> list[Any]:
        first, second = variant("first"), variant("second")
        last = route_variants.Variant("last", "an interrupt", lambda stack: (interrupted, first.prepare(stack)[1]))
        return [first, second, last]

    monkeypatch.setattr(route, "group_variants", variants)
    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        route.main(["--clips", str(folder), "--lines", str(out), "--quick", "--groups", "loader"])
    found = lines_module.read_lines(out)
    (summary,) = (line for line in found if line["kind"] == "summary")
    assert [row["variant"] for row in summary["rows"]] == ["first", "second"]
    assert "| second |" in capsys.readouterr().out


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Function that runs a benchmark as a command on a machine without a GPU; if there is one, it is hidden."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(BENCHMARKS / name), *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        )

    return run


@pytest.mark.parametrize("name", ["route.py", "kernel_speed.py"])
def test_without_a_gpu_the_commands_print_one_line(command: Any, folder: Path, tmp_path: Path, name: str) -> None:
    arguments = ["--clips", str(folder), "--quick"] if name == "route.py" else []
    done = command(name, "--lines", "out.jsonl", "--seconds", "20", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_a_deadline_counts_from_the_start_of_the_process(command: Any) -> None:
    deadline = script("deadline")
    age = deadline.seconds_since_start()
    assert 0 < age < 3600
    assert Deadline.of_process(age + 50).left == pytest.approx(50, abs=5)
    assert Deadline(None).left == float("inf")
    assert Deadline(10.0).share(0.5).left == pytest.approx(5, abs=1)
    assert Deadline(-1.0).passed
    code = "import sys, time; time.sleep(1); sys.path.insert(0, sys.argv[1]); import deadline; "
    code += "print(deadline.Deadline.of_process(5).left)"
    done = subprocess.run([sys.executable, "-c", code, str(BENCHMARKS)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 4
