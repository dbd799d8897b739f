"""Memory and time of picking frames of one long video: ``python benchmarks/pick_memory.py --help``.

A clip of ten seconds is encoded, 1280×720 with 30 frames per second, and its packets are repeated, with later times, up
to the wanted length. A fresh process then calls :func:`mgdali.pick_frames` once. Its peak memory is the system's high
water mark (VmHWM), which includes Python and all packages. The returned frames are subtracted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import av
import numpy as np
from command import say, write_report
from numpy.typing import NDArray

from mgdali.bench import machine

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MIB = 300
HEIGHT, WIDTH, RATE, CLIP_SECONDS = 720, 1280, 30, 10
_MIB = 1 << 20

# Run in a fresh process, which imports only what a user's program would import.
_CHILD = """
import json, sys, time
import mgdali

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

video, num_frames, motion = sys.argv[1], int(sys.argv[2]), sys.argv[3]
mgdali.pick_frames
imported, start = peak(), time.perf_counter()
clip = mgdali.pick_frames(video, sampler=mgdali.MotionGuided(num_frames, motion=motion))
seconds = time.perf_counter() - start
print(json.dumps({
    "seconds": seconds, "cpu_seconds": time.process_time(), "peak_bytes": peak(), "imported_bytes": imported,
    "returned_bytes": clip.frames.nbytes,
    "frames": len(clip.motion), "indices": clip.indices.tolist(), "torch": "torch" in sys.modules,
}))
"""


def clip_frames() -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a clip, uint8 RGB ``[720, 1280, 3]``: a texture that moves at a changing speed."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 8, 3), np.uint8)
    texture = coarse.repeat(16, axis=0).repeat(16, axis=1)
    left = 0.0
    for t in range(CLIP_SECONDS * RATE):
        left += 3 + 3 * np.sin(t / 20)
        yield np.ascontiguousarray(texture[:, int(left) % WIDTH :][:, :WIDTH])


def write_clip(path: Path) -> None:
    """Encode the clip with x264: B-frames, and key frames that are 250 frames apart, as by default."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "28", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in clip_frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def repeat(clip: Path, path: Path, minutes: float) -> None:
    """Write a file with the packets of a clip, repeated up to a length in minutes."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        template = source.streams.video[0]
        stream = target.add_stream_from_template(template)
        packets = [(bytes(packet), packet) for packet in source.demux(template) if packet.size]
        assert template.time_base is not None
        step = int(CLIP_SECONDS / template.time_base)
        for number in range(max(round(minutes * 60 / CLIP_SECONDS), 1)):
            for content, original in packets:
                assert original.pts is not None
                assert original.dts is not None
                packet = av.Packet(content)
                packet.stream, packet.time_base = stream, template.time_base
                packet.pts, packet.dts = original.pts + number * step, original.dts + number * step
                packet.duration = int(Fraction(1, RATE) / template.time_base)
                packet.is_keyframe = original.is_keyframe
                target.mux(packet)


def measure(minutes: float, num_frames: int, levels: list[str]) -> dict[str, Any]:
    """Return the report: time and memory of one call in a fresh process per level of motion."""
    with tempfile.TemporaryDirectory() as place:
        clip, video = Path(place, "clip.mp4"), Path(place, "video.mp4")
        say(f"writing {minutes:g} minutes of {WIDTH}×{HEIGHT}")
        write_clip(clip)
        repeat(clip, video, minutes)
        results = {}
        for level in levels:
            say(f"picking {num_frames} frames, {level} level")
            command = [sys.executable, "-c", _CHILD, str(video), str(num_frames), level]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
            result = json.loads(done.stdout)
            beyond = result["peak_bytes"] - result["returned_bytes"]
            results[level] = {**result, "beyond_frames_mib": beyond / _MIB}
        return {
            "machine": machine.facts(),
            "minutes": minutes,
            "size": [WIDTH, HEIGHT],
            "file_bytes": video.stat().st_size,
            "num_frames": num_frames,
            "limit_mib": LIMIT_MIB,
            "levels": results,
        }


def render(report: dict[str, Any]) -> str:
    """Return the report as a Markdown table."""
    facts = report["machine"]
    lines = [
        f"{facts['date'][:10]}, {facts['cpu']}, {facts['cpu_cores']} cores; {report['minutes']:g} minutes of "
        f"{report['size'][0]}×{report['size'][1]}, a file of {report['file_bytes'] / _MIB:.0f} MiB, "
        f"{report['num_frames']} picks.",
        "",
        "| level | frames | seconds | CPU time, s | peak, MiB | imported, MiB | beyond the frames, MiB | limit, MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for level, own in report["levels"].items():
        lines.append(
            f"| {level} | {own['frames']} | {own['seconds']:.1f} | {own['cpu_seconds']:.1f} | "
            f"{own['peak_bytes'] / _MIB:.0f} | {own['imported_bytes'] / _MIB:.0f} | "
            f"{own['beyond_frames_mib']:.0f} | {report['limit_mib']} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="Length of the video (default: %(default)s).")
    parser.add_argument("--num-frames", type=int, default=16, help="Number of picks (default: %(default)s).")
    levels = ["image", "feature"]
    parser.add_argument("--levels", nargs="+", choices=levels, default=levels[:1], help="Levels (default: image).")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="File to write the results to.")
    given = parser.parse_args(arguments)
    report = measure(given.minutes, given.num_frames, given.levels)
    write_report(report, given.out)
    print(render(report))


if __name__ == "__main__":
    main()
