"""Speed, size and quality of packing: ``python benchmarks/packing.py --help``.

``mgdali.pack`` takes turns with FFmpeg, which decodes, scales and encodes the same videos with the same options, with
one process per core and one thread per process. FFmpeg neither measures motion nor writes shards and an index. If the
program ``ffmpeg`` is installed, it is run once per video. Otherwise the same is done with PyAV's FFmpeg libraries in
processes that are started before the time counts; the report says which it was.

Then the videos are packed with each preset and codec. The report compares the bytes of the shards with those of the
originals, and the luma of the copies with that of the scaled originals.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.pool import Pool, ThreadPool
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import av
import numpy as np
from av.video.frame import PictureType
from command import clips_folder, say, write_report
from figures import heading, in_turn, ratios, spread, table, target, target_rows, with_spread
from peers.workloads import files_to_pack

from mgdali import MotionGuided, Video, VideoDataset
from mgdali.bench import machine
from mgdali.bench.peers.packs import read_records
from mgdali.bench.peers.task import cores
from mgdali.packing.encoding import Encoding
from mgdali.packing.pack import PackReport, pack
from mgdali.packing.report import luma_psnr
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.picked_frames import frames_needed
from mgdali.video.record import VideoRecord

PACKING, FFMPEG = "mgdali.pack", "FFmpeg"
QUIET = {"SVT_LOG": "1"}
"""Environment in which SVT-AV1 does not print its settings for each video."""
RATE = 25
"""Frames per second that the encoder sees."""
PICKS = 8
"""Number of picks per clip."""
LEVELS = {
    "image": (Representation(),),
    "both": (Representation(), Representation(motion="feature")),
}


# --- The same by FFmpeg ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """One video to scale and encode.

    Attributes:
        path: Path of the original.
        width, height: Size of the copy, in pixels.
        to: Path of the copy.
        encoding: Settings of the copy.
    """

    path: str
    width: int
    height: int
    to: str
    encoding: Encoding


def run_ffmpeg(work: Work) -> None:
    """Scale and encode a video with the program ``ffmpeg``."""
    filters = f"scale={work.width}:{work.height}:flags=area,format=yuv420p"
    encoder = [item for name, value in work.encoding.options.items() for item in (f"-{name}", value)]
    # As for packing, the encoder sees a fixed rate, whatever the times of the frames, and gets each frame once.
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1", "-r", str(RATE), "-i", work.path]
    command += ["-map", "0:v:0", "-vf", filters, "-filter_threads", "1", "-fps_mode", "passthrough"]
    command += ["-c:v", work.encoding.encoder, "-threads", "1", *encoder, work.to]
    subprocess.run(command, check=True, env=os.environ | QUIET)


def run_libraries(work: Work) -> None:
    """Scale and encode a video with PyAV: the steps of :func:`run_ffmpeg` in Python."""
    os.environ.update(QUIET)
    with av.open(work.path, metadata_errors="ignore") as source, av.open(work.to, "w") as target:
        stream = source.streams.video[0]
        stream.thread_type = "NONE"
        graph = av.filter.Graph()
        graph.threads = 1
        graph.link_nodes(
            graph.add_buffer(template=stream),
            graph.add("scale", f"{work.width}:{work.height}:flags=area"),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ).configure()
        copy = target.add_stream(work.encoding.encoder, rate=RATE, options=work.encoding.options)
        assert isinstance(copy, av.VideoStream)
        copy.width, copy.height, copy.pix_fmt = work.width, work.height, "yuv420p"
        copy.codec_context.thread_count = 1
        for count, frame in enumerate(source.decode(stream)):
            graph.vpush(frame)
            scaled = graph.vpull()
            scaled.pts, scaled.time_base = count, Fraction(1, RATE)
            # Without this, encoders copy the picture types of the source.
            scaled.pict_type = PictureType.NONE
            target.mux(copy.encode(scaled))
        target.mux(copy.encode(None))


# --- Speed -----------------------------------------------------------------------------------------------------------


def measure_speed(paths: Sequence[str], encoding: Encoding, level: str, rounds: int, workers: int) -> dict[str, Any]:
    """Return frames per second of packing and of FFmpeg, which take turns on the same videos.

    Args:
        paths: Paths of the videos; they may be repeated.
        encoding: Settings of the copies.
        level: Key of :data:`LEVELS`.
        rounds: Number of timed runs of each.
        workers: Number of processes of each.
    """
    program = shutil.which("ffmpeg") is not None
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # The first run is not timed: it reads all files from disk. Its index gives the sizes of the copies.
        frames = _pack(paths, scratch / "first", encoding, LEVELS[level], workers).frames
        works = _works(paths, scratch, encoding)
        # Starting ffmpeg takes milliseconds, starting Python much longer, so these processes are started before.
        pool: Pool = stack.enter_context(
            ThreadPool(workers) if program else multiprocessing.get_context("spawn").Pool(workers)
        )
        run_one = run_ffmpeg if program else run_libraries
        _each(pool, run_one, works)
        _check_frames(works, frames)
        runs: dict[str, Callable[[], object]] = {
            PACKING: lambda: _pack(paths, scratch / "pack", encoding, LEVELS[level], workers),
            FFMPEG: lambda: _each(pool, run_one, works),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(rounds):
            say(f"  round {number + 1} of {rounds}")
            for name in in_turn(list(runs), number):
                shutil.rmtree(scratch / "pack", ignore_errors=True)
                start = time.perf_counter()
                runs[name]()
                seconds[name].append(time.perf_counter() - start)
    return {
        "videos": len(paths),
        "frames": frames,
        "motion": level,
        "encoding": _facts(encoding),
        "workers": workers,
        "ffmpeg": "the program ffmpeg" if program else "FFmpeg's libraries in PyAV",
        "frames_per_s": {name: spread([frames / each for each in own]) for name, own in seconds.items()},
        "over_ffmpeg": ratios(seconds[FFMPEG], seconds[PACKING]),
    }


def _pack(
    paths: Sequence[str], to: Path, encoding: Encoding, representations: Sequence[Representation], workers: int
) -> PackReport:
    report = pack(
        VideoDataset(paths, [0] * len(paths)),
        to,
        encoding=encoding,
        representations=representations,
        num_workers=workers,
    )
    if report.failed:
        path, reason = next(iter(report.failed.items()))
        raise SystemExit(f"packing.py: {path} cannot be packed: {reason}")
    return report


def _works(paths: Sequence[str], scratch: Path, encoding: Encoding) -> list[Work]:
    (scratch / "copies").mkdir()
    records = read_records(str(scratch / "first"))
    return [
        Work(path, record.width, record.height, str(scratch / "copies" / f"{number}.mp4"), encoding)
        for number, (path, record) in enumerate(zip(paths, records, strict=True))
    ]


def _each(pool: Pool, run_one: Callable[[Work], None], works: list[Work]) -> None:
    for _ in pool.imap_unordered(run_one, works, chunksize=1):
        pass


def _check_frames(works: list[Work], frames: int) -> None:
    """Check that FFmpeg has encoded as many frames as packing."""
    found = 0
    for work in works:
        with av.open(work.to) as container:
            found += container.streams.video[0].frames
    if found != frames:
        raise SystemExit(f"packing.py: FFmpeg encoded {found} frames instead of {frames}")


# --- Size and quality ------------------------------------------------------------------------------------------------


def measure_quality(paths: Sequence[str], encoding: Encoding, workers: int) -> dict[str, Any]:
    """Pack distinct videos and return their bytes, their luma's PSNR and the number of decoded frames."""
    with tempfile.TemporaryDirectory() as scratch:
        report = _pack(paths, Path(scratch, "pack"), encoding, LEVELS["image"], workers)
        clips = [_clip(*each, encoding) for each in zip(*_contents(Path(scratch, "pack"), paths), strict=True)]
    psnr = [each["psnr"] for each in clips]
    return {
        "encoding": _facts(encoding),
        "videos": len(paths),
        "frames": report.frames,
        "origin_bytes": report.origin_bytes,
        "bytes": report.bytes,
        "video_bytes": sum(each["bytes"] for each in clips),
        "share": report.bytes / report.origin_bytes,
        "psnr": {"mean": statistics.mean(psnr), "worst": min(psnr)},
        "decoded_frames_a_clip": statistics.mean(each["decoded_frames"] for each in clips),
        "clips": clips,
    }


def _contents(root: Path, paths: Sequence[str]) -> tuple[Sequence[str], list[Video], list[VideoRecord]]:
    """Return the originals of a pack, its videos and their records, in the same order."""
    return paths, list(VideoDataset.from_pack(root)), read_records(str(root))


def _clip(path: str, copy: Video, record: VideoRecord, encoding: Encoding) -> dict[str, Any]:
    """Return the figures of one video. The picks are those of testing, with motion-guided sampling."""
    sampler = MotionGuided(num_frames=PICKS)
    motion = record.motion_of(sampler.representation)
    picks = sampler.pick(motion, record.num_frames, np.full(PICKS, 0.5))
    assert copy.span is not None
    return {
        "video": Path(path).name,
        "frames": record.num_frames,
        "size": [record.width, record.height],
        "origin_bytes": Media(path).fingerprint().size,
        "bytes": copy.span[1],
        "psnr": luma_psnr(Media(path), copy.media, encoding.short_side),
        "decoded_frames": frames_needed(record, np.unique(picks).tolist()),
    }


def _facts(encoding: Encoding) -> dict[str, Any]:
    names = ("preset", "codec", "encoder", "gop", "quality", "short_side")
    return {name: getattr(encoding, name) for name in names} | {"options": encoding.options}


# --- The command -----------------------------------------------------------------------------------------------------


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Return the report."""
    clips, workers = clips_folder(given.clips), given.workers
    speed: dict[str, Any] = {}
    quality: dict[str, list[dict[str, Any]]] = {}
    for workload in given.workload:
        paths = files_to_pack(workload, clips)[: given.most_videos]
        if not paths:
            raise SystemExit(f"packing.py: {clips} has no videos for the workload {workload}: give another --clips")
        if given.rounds:
            say(f"{workload}: speed")
            repeated = paths * max(1, -(-given.least_videos // len(paths)))
            speed[workload] = measure_speed(
                repeated, Encoding(preset=given.preset[0]), given.motion, given.rounds, workers
            )
        quality[workload] = []
        for preset in given.preset:
            for codec in given.codec:
                say(f"{workload}: {preset}, {codec}")
                quality[workload].append(measure_quality(paths, Encoding(preset=preset, codec=codec), workers))
    return {
        "benchmark": "packing",
        "machine": machine.facts(),
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "rounds": given.rounds,
        "speed": speed,
        "quality": quality,
        "targets": _targets(speed, quality),
    }


def _targets(speed: dict[str, Any], quality: dict[str, Any]) -> list[dict[str, Any]]:
    found = [
        target(f"{workload}: frames/s over those of FFmpeg", own["over_ffmpeg"]["median"], ">=", 0.5)
        for workload, own in speed.items()
    ]
    for own in quality.get("kinetics", []):
        if (own["encoding"]["preset"], own["encoding"]["codec"]) == ("small", "h264"):
            found += [
                target("kinetics, small: bytes over those of the originals", own["share"], "<=", 0.9),
                target("kinetics, small: mean luma PSNR in dB", own["psnr"]["mean"], ">=", 38),
                target("kinetics, small: worst luma PSNR in dB", own["psnr"]["worst"], ">=", 36),
            ]
    return found


def rendered(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    parts = [f"{heading(report)}; {report['rounds']} rounds"]
    for workload, own in report["speed"].items():
        rows = [[name, with_spread(each, ".0f")] for name, each in own["frames_per_s"].items()]
        rows.append([f"{PACKING} over {FFMPEG}", with_spread(own["over_ffmpeg"], ".2f")])
        parts.append(
            f"**{workload}**: {own['videos']} videos, {own['frames']} frames, {own['encoding']['preset']}, motion "
            f"{own['motion']}, {own['workers']} processes; FFmpeg is {own['ffmpeg']}"
        )
        parts.append(table(["", "frames/s"], rows))
    heads = ["", "bytes over originals", "mean PSNR, dB", "worst PSNR, dB", "decoded frames per clip"]
    rows = [_quality_cells(workload, own) for workload, each in report["quality"].items() for own in each]
    parts.append(table(heads, rows))
    parts.append(target_rows(report))
    return "\n\n".join(parts)


def _quality_cells(workload: str, own: dict[str, Any]) -> list[str]:
    encoding = own["encoding"]
    return [
        f"{workload}, {encoding['preset']}, {encoding['codec']}",
        f"{own['share']:.2f}",
        f"{own['psnr']['mean']:.1f}",
        f"{own['psnr']['worst']:.1f}",
        f"{own['decoded_frames_a_clip']:.1f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    workloads = ("kinetics", "mixed", "short")
    add("--workload", nargs="+", choices=workloads, default=["kinetics"], help="Workloads (default: kinetics).")
    presets, codecs = ("small", "fast", "archive"), ("h264", "hevc", "av1")
    add("--preset", nargs="+", choices=presets, default=["small"], help="Presets; the speed is the first one's.")
    add("--codec", nargs="+", choices=codecs, default=["h264"], help="Codecs of size and quality (default: h264).")
    add("--motion", choices=list(LEVELS), default="image", help="Motion measured while packing (default: image).")
    add("--rounds", type=int, default=5, help="Timed runs; 0 measures size and quality only (default: %(default)s).")
    add(
        "--least-videos",
        type=int,
        default=48,
        help="The videos are repeated to at least so many, so that starting the workers does not count much.",
    )
    add("--workers", type=int, default=cores(), help="Number of processes (default: all cores).")
    add("--most-videos", type=int, metavar="N", help="Take only the first N videos of a workload.")
    add("--clips", type=Path, metavar="DIR", help="Folder of sample videos, with labelled/, formats/ and frames/.")
    add("--out", type=Path, metavar="FILE.json", help="File to write the results to.")
    given = parser.parse_args(arguments)
    report = measure(given)
    write_report(report, given.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
