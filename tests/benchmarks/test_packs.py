"""The benchmarks of packed data sets: peers that load packs, packing, loading over HTTP, kills, and the calculation."""

from __future__ import annotations

import http.client
import importlib.util
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from mgdali.bench.peers import child, packs, process, registry, task
from mgdali.packing.encoding import Encoding
from mgdali.packing.pack import pack
from tests.support.benchmark_modules import BENCHMARKS, script
from tests.support.index_records import make_record
from tests.support.videos import moving_square, write_video

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

make_pack, comparisons = script("peers.packs").make_pack, script("peers.comparisons")
workloads, reference = script("peers.workloads"), script("peers.reference")
packing, pack_http, pack_server = script("packing"), script("pack_http"), script("pack_server")
pack_kills, pack_scale = script("pack_kills"), script("pack_scale")

# Cells of frames have 28x28 pixels. In smaller ones, edges that the encoder has blurred change the mean.
TASK = task.Task(num_frames=4, resize=128, crop_size=112, batch_size=2, workers=0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of samples, with two of the videos of the workload ``kinetics``."""
    folder = tmp_path_factory.mktemp("clips")
    for i in range(3):
        (folder / "labelled" / str(i)).mkdir(parents=True)
        write_video(folder / "labelled" / str(i) / "video.mp4", moving_square(9 + 5 * i, 128, 160, seed=i))
    (folder / "formats").mkdir()
    for number, name in enumerate(workloads.KINETICS[:2]):
        write_video(folder / "formats" / name, moving_square(30 + 9 * number, 128, 160, seed=5 + number))
    return folder


@pytest.fixture(scope="module")
def paths(clips: Path) -> list[str]:
    """Paths of videos. One is repeated."""
    own = workloads.short(clips, clips)
    return [own[2], own[0], own[2], own[1]]


@pytest.fixture(scope="module")
def packed(paths: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of the videos."""
    folder = tmp_path_factory.mktemp("packed") / "pack"
    make_pack(paths, folder, "small", 0)
    return folder


# --- Peers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mgdali-packed", "mgdali-feature", "mgdali-segment"])
def test_a_peer_picks_what_the_reference_picks_and_a_fast_one_repeats_the_videos(
    name: str, paths: list[str], packed: Path
) -> None:
    peer = registry.PEERS[name]
    session = child.Session(peer, replace(TASK, pack=str(packed), least_seconds=0.2), paths)
    try:
        session.prepare()
        answer, timed = session.check(), session.epoch()
    finally:
        session.close()
    expected = [reference.expect(path, TASK, feature=peer.held_to == "feature") for path in paths]
    agreement = reference.compare(peer, expected, *(answer[key] for key in ("picks", "means", "looks")))
    assert (agreement.clips, agreement.equal) == (4, 4)
    assert timed["seconds"] >= 0.2
    assert timed["clips"] == 4 * timed["epochs"]


def test_torchcodec_reads_the_picks_from_the_files_of_a_pack(paths: list[str], packed: Path) -> None:
    # Importing it here would fail without FFmpeg's libraries.
    if importlib.util.find_spec("torchcodec") is None:
        pytest.skip("torchcodec is not installed")
    peer = registry.PEERS["torchcodec-known-picks"]
    # In a separate process, which finds FFmpeg's libraries.
    running = process.PeerProcess(peer, replace(TASK, pack=str(packed), workers=1), paths)
    try:
        running.prepare()
        results = running.check()
    finally:
        running.close()
    agreement = reference.compare(peer, [reference.expect(path, TASK) for path in paths], *results)
    assert (agreement.clips, agreement.equal) == (4, 4)


def test_frames_of_a_copy_that_are_others_than_the_picks_are_reported(paths: list[str]) -> None:
    peer = registry.PEERS["mgdali-packed"]
    expected = [reference.expect(path, TASK) for path in paths]
    picks, means = [own.plane for own in expected], [own.means for own in expected]
    looks = [own.looks for own in expected]
    assert reference.compare(peer, expected, picks, means, looks).equal == 4
    # The picks and the means of a clip stay the same if its frames come in another order.
    with pytest.raises(ValueError, match="its frames look different"):
        reference.compare(peer, expected, picks, means, [own[::-1] for own in looks])


def test_a_pack_contains_each_video_once() -> None:
    paths = ["b", "a", "b", "c", "a"]
    assert packs.distinct(paths) == ["b", "a", "c"]
    assert packs.places_in_pack(paths) == [0, 1, 0, 2, 1]


def test_the_workload_kinetics_repeats_its_videos(clips: Path, tmp_path: Path) -> None:
    paths = workloads.kinetics(clips, tmp_path)
    assert len(paths) == 2 * workloads.KINETICS_TIMES
    assert {Path(path).name for path in paths} == set(workloads.KINETICS[:2])
    assert sorted(workloads.files_to_pack("kinetics", clips)) == sorted(set(paths))


def test_ratios_have_the_targets_of_their_workload() -> None:
    epoch = process.Epoch
    epochs = {
        "mgdali-packed": [epoch(1.0, 0), epoch(1.0, 0)],
        "dataloader-pyav": [epoch(8.0, 0), epoch(6.0, 0)],
        "mgdali-feature": [epoch(3.0, 0), epoch(3.0, 0)],
        "mgdali-segment": [epoch(2.0, 0), epoch(1.0, 0)],
    }
    found = {each["figure"]: each for each in comparisons.compared("mixed", epochs, "dataloader-pyav")}
    packed = found["mgdali-packed over the fastest peer, clips/s"]
    assert (packed["ratio"]["values"], packed["target"], packed["met"]) == ([8.0, 6.0], ">= 7", True)
    feature = found["mgdali-feature over mgdali-segment, time per clip"]
    assert (feature["ratio"]["values"], feature["target"], feature["met"]) == ([1.5, 3.0], "<= 2", False)
    assert len(found) == 2
    (alone, _) = comparisons.compared("vp9", epochs, "dataloader-pyav")
    assert (alone["target"], alone["met"]) == (None, None)


# --- Packing ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packing_report(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that ``packing.py`` wrote."""
    out = tmp_path_factory.mktemp("packing") / "packing.json"
    arguments = ["--clips", clips, "--rounds", 1, "--least-videos", 3, "--workers", 1, "--out", out]
    with pytest.MonkeyPatch.context() as patch:
        # Its processes import it from this folder, as when it runs as a script.
        patch.syspath_prepend(str(BENCHMARKS))
        packing.main(list(map(str, arguments)))
    return out


def test_packing_is_compared_with_ffmpeg(packing_report: Path) -> None:
    report = json.loads(packing_report.read_text())
    speed = report["speed"]["kinetics"]
    assert (speed["videos"], speed["frames"]) == (4, 2 * (30 + 39))
    assert set(speed["frames_per_s"]) == {"mgdali.pack", "FFmpeg"}
    assert speed["over_ffmpeg"]["median"] > 0
    (small,) = report["quality"]["kinetics"]
    assert (small["encoding"]["preset"], small["encoding"]["codec"]) == ("small", "h264")
    # At most three frames per pick.
    assert 8 < small["decoded_frames_a_clip"] <= 24
    assert small["psnr"]["worst"] <= small["psnr"]["mean"] < 100
    assert {clip["video"] for clip in small["clips"]} == set(workloads.KINETICS[:2])
    assert small["bytes"] > sum(clip["bytes"] for clip in small["clips"]) == small["video_bytes"]


def test_ffmpegs_libraries_encode_every_frame(paths: list[str], packed: Path, tmp_path: Path) -> None:
    record = packs.read_records(str(packed))[0]
    work = packing.Work(paths[0], record.width, record.height, str(tmp_path / "copy.mp4"), Encoding())
    packing.run_libraries(work)
    packing._check_frames([work], record.num_frames)
    with pytest.raises(SystemExit, match=f"encoded {record.num_frames} frames instead of 7"):
        packing._check_frames([work], 7)


# --- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    """A server of a folder with a shard and another file, with 20 ms of latency."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "shard-000000.tar").write_bytes(bytes(range(100)))
    (tmp_path / "served" / "pack.json").write_text("{}")
    (tmp_path / "secret.tar").write_text("not served")
    started = pack_server.PackServer(tmp_path / "served", 20)
    yield started
    started.close()


def test_the_server_sends_ranges_and_counts_them(server: Any) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)

    def ask(path: str, method: str = "GET", ranges: str | None = None) -> tuple[int, bytes, str | None]:
        connection.request(method, path, headers={} if ranges is None else {"Range": ranges})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Content-Range")

    assert ask("/shard-000000.tar", ranges="bytes=10-19") == (206, bytes(range(10, 20)), "bytes 10-19/100")
    assert ask("/shard-000000.tar", ranges="bytes=90-") == (206, bytes(range(90, 100)), "bytes 90-99/100")
    assert ask("/shard-000000.tar", "HEAD")[:2] == (200, b"")
    assert ask("/shard-000000.tar", ranges="bytes=100-")[0] == 416
    assert ask("/pack.json")[:2] == (200, b"{}")
    assert ask("/none.tar")[0] == 404
    assert ask("/../secret.tar")[0] == 404
    connection.close()
    served = server.served()
    assert (served.shard_bytes, served.connections) == (20, 1)
    # The two ranges and the three refused requests for tars; the header and the manifest.
    assert (served.shard_requests, served.other_requests) == (5, 2)
    assert server.served() == pack_server.Served(0, 0, 0, 0)


def test_the_needs_of_picks_are_their_groups_and_the_packets_up_to_them() -> None:
    record = make_record(
        "a.mp4",
        num_frames=6,
        packets=np.arange(6, dtype=np.int32),
        referenced=np.ones(6, bool),
        key_frames=np.array([0, 3], np.int32),
        packet_offsets=np.arange(6) * 100,
        packet_sizes=np.array([50, 10, 10, 60, 10, 10], np.int32),
    )
    # Two groups, packets 0 and 1, and 3 to 5; then one group, packet 0 only, picked twice.
    needs = pack_http.needs_of([record, record], [[1, 5], [0, 0]])
    assert (needs.groups, needs.bytes) == (3, 60 + 80 + 50)


def test_loading_over_http_is_compared_with_a_folder(clips: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    out = tmp_path / "out.json"
    arguments = ["--workload", "short", "--clips", clips, "--cache", tmp_path, "--rounds", 1, "--workers", 0]
    pack_http.main([*map(str, arguments), "--latency-ms", "1", "--least-seconds", "0", "--out", str(out)])
    report = json.loads(out.read_text())
    assert report["clips"] == 3
    assert set(report["rows"]) == {"local folder", "HTTP"}
    assert report["requests_a_clip"]["median"] > 0
    assert report["bytes_over_needed"]["median"] >= 1
    assert len(report["targets"]) == 3


# --- Kills -----------------------------------------------------------------------------------------------------------


def test_a_killed_and_resumed_pack_is_compared_with_a_whole_one(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = [clips / "labelled", "--kills", 1, "--at-end", 1, "--num-workers", 0, "--out", out]
    pack_kills.main([*map(str, arguments), "--folder", str(tmp_path)])
    report = json.loads(out.read_text())
    (kill,) = report["kills"]
    assert kill["phase"] == "end"
    assert kill["packed"] == report["whole"]["videos"] == 3
    assert all(target["met"] for target in report["targets"])
    assert all(not own["different_files"] for own in report["packs"])


def test_videos_of_a_pack_are_counted_and_files_compared(packed: Path, tmp_path: Path) -> None:
    assert sum(pack_kills.packed_videos(packed).values()) == 3
    assert not pack_kills.packed_videos(tmp_path / "none")
    shutil.copytree(packed, tmp_path / "other")
    assert pack_kills.differences(tmp_path / "other", packed) == []
    with open(tmp_path / "other" / "shard-000000.tar", "r+b") as file:
        file.write(b"?")
    (tmp_path / "other" / "more").touch()
    assert sorted(pack_kills.differences(tmp_path / "other", packed)) == ["more", "shard-000000.tar"]


def test_videos_of_an_unfinished_pack_are_counted(paths: list[str], tmp_path: Path) -> None:
    def stop(record: Any) -> None:
        if sum(pack_kills.packed_videos(tmp_path).values()) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(sorted(set(paths)), tmp_path, num_workers=0, on_record=stop)
    assert sorted(pack_kills.packed_videos(tmp_path)) == [(path, 0) for path in sorted(set(paths))[:2]]


# --- The calculation -------------------------------------------------------------------------------------------------


def test_a_large_pack_is_calculated_from_measured_rates() -> None:
    assumed = pack_scale.Assumptions(
        videos=1000, seconds=10, rate=30, cores=10, machine_price=2, storage_price=0.5, epochs=5
    )
    rates = pack_scale.Rates(
        pack_frames=100,
        encoding="small, h264",
        bytes=2e3,
        origin_bytes=4e3,
        clips={"mgdali-packed": 10.0},
        sizes=["160x128"],
        packing="packing.json",
        loading="throughput.json",
    )
    found = {row["figure"]: (row["value"], row["unit"]) for row in pack_scale.compute(assumed, rates)}
    hours = 300_000 / 100 / 3600
    assert found["frames"] == (0.3, "million")
    assert found["core hours of packing"] == (pytest.approx(hours), "h")
    assert found["packing on 10 machines of 10 cores"] == (pytest.approx(hours / 100), "h")
    assert found["price of packing on 10 machines of 10 cores"] == (pytest.approx(hours / 10 * 2), "$")
    assert found["bytes of the pack"] == (pytest.approx(0.6), "GB")
    assert found["price of storing the originals for a month"] == (pytest.approx(0.6), "$")
    epoch = 1000 / 10 / 10 / 3600
    assert found["an epoch with mgdali-packed on one machine of 10 cores"] == (pytest.approx(epoch), "h")
    price = found["price of 5 epochs with mgdali-packed on one machine of 10 cores"]
    assert price == (pytest.approx(5 * epoch * 2), "$")


def test_the_calculation_names_its_files_and_assumptions(
    packing_report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack_scale.main([str(packing_report), "--machine-price", "7", "--out", str(tmp_path / "scale.json")])
    text = capsys.readouterr().out
    assert "Assumed, not measured: 300,000 videos of 10 s" in text
    assert "at 7 $ per hour" in text
    assert "copies of 160x128) and bytes: packing.json, kinetics." in text
    rates = json.loads((tmp_path / "scale.json").read_text())["rates"]
    speed = json.loads(packing_report.read_text())["speed"]["kinetics"]
    assert rates["pack_frames"] == speed["frames_per_s"]["mgdali.pack"]["median"] / speed["workers"]
    with pytest.raises(SystemExit, match=r"is not a result of packing\.py"):
        pack_scale.main([str(tmp_path / "scale.json")])
