"""Workloads: the sample videos, or videos made from them, shuffled in the same order for all peers."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from command import clips_folder

from mgdali.cache import cache_folder
from mgdali.errors import DatasetError
from mgdali.video.media import find_media
from mgdali.video.stream_facts import StreamFacts, probe
from peers.encoding import H264, MPEG4, VP9, jpeg_frames, repeated, transcoded

LONG_FRAMES = 600
"""Smallest number of frames of a long video."""
LONG_BYTES = 512 << 20
"""Largest size of a long video's frames as RGB, in bytes, because some peers keep all frames in memory.

A sample that is larger is not repeated.
"""
_TO_REPEAT = 100
"""Smallest number of frames of a sample from which a long video is made."""
KINETICS = (
    "h264_arm_wrestling_340x256_280f.mp4",
    "h264_bikes_640x272_250f.mp4",
    "vp9_bikes_12fps.webm",
    "mpeg4_xvid_320x240_164f.avi",
)
"""Names of the format samples that resemble videos of Kinetics."""
KINETICS_TIMES = 12
"""Number of times that the workload contains each of them, so that an epoch has several batches."""


def short(clips: Path, cache: Path) -> list[str]:
    """Return many short clips: one codec, one size, half a second to two seconds each."""
    return find_media(clips / "labelled")


def mixed(clips: Path, cache: Path) -> list[str]:
    """Return the short clips, mixed with videos of many lengths, sizes, codecs and pixel formats."""
    return _shuffled([*short(clips, cache), *(path for path, _ in _common(clips, cache))])


def kinetics(clips: Path, cache: Path) -> list[str]:
    """Return videos like those of Kinetics, each several times.

    Files of all workloads are read from the page cache, so repetitions change nothing about reading. No loader keeps
    decoded frames.
    """
    found = [readable(path, cache) for path in formats(clips, cache) if Path(path).name in KINETICS]
    return _shuffled(found * KINETICS_TIMES)


def long_tail(clips: Path, cache: Path) -> list[str]:
    """Return the short clips, mixed with a few videos that each take as long as dozens of them."""
    long = [_lengthened(path, facts, cache) for path, facts in _common(clips, cache) if facts.num_packets >= _TO_REPEAT]
    return _shuffled([*short(clips, cache), *long])


def frames(clips: Path, cache: Path) -> list[str]:
    """Return folders of JPEG files: the frames of the short clips, and the sample folders."""
    own = [jpeg_frames(path, cache) for path in short(clips, cache)]
    return _shuffled([*own, *find_media(clips / "frames")])


def vp9(clips: Path, cache: Path) -> list[str]:
    """Return the short clips in VP9."""
    return [transcoded(path, cache, VP9) for path in short(clips, cache)]


def formats(clips: Path, cache: Path) -> list[str]:
    """Return the format samples unchanged. Some peers cannot read all of them."""
    return find_media(clips / "formats")


def files_to_pack(name: str, clips: Path) -> list[str]:
    """Return the distinct videos of a workload as they are in the folder of samples, for measurements of packing.

    Args:
        name: ``"kinetics"``, ``"short"`` or ``"mixed"``.
        clips: Folder of sample videos.
    """
    samples = find_media(clips / "formats")
    chosen = {
        "kinetics": [path for path in samples if Path(path).name in KINETICS],
        "short": find_media(clips / "labelled"),
        "mixed": [*find_media(clips / "labelled"), *(path for path in samples if _facts(path).codec != "av1")],
    }
    return chosen[name]


WORKLOADS: dict[str, Callable[[Path, Path], list[str]]] = {
    "short": short,
    "mixed": mixed,
    "kinetics": kinetics,
    "long-tail": long_tail,
    "frames": frames,
    "vp9": vp9,
    "formats": formats,
}


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options for the folders of sample and generated videos and for the results file."""
    add = parser.add_argument
    add("--clips", type=Path, metavar="DIR", help="Folder of sample videos, with labelled/, formats/ and frames/.")
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        default=cache_folder() / "benchmarks",
        help="Folder for generated videos (default: %(default)s).",
    )
    add("--out", type=Path, metavar="FILE.json", help="File to write the results to.")


def videos_of(name: str, given: argparse.Namespace) -> list[str]:
    """Return a workload's videos. The command ends with one line if the folder contains none."""
    clips, command = clips_folder(given.clips), Path(sys.argv[0]).name
    try:
        paths = WORKLOADS[name](clips, given.cache)
    except DatasetError as error:
        raise SystemExit(f"{command}: {error}") from None
    if not paths:
        raise SystemExit(f"{command}: {clips} has no videos for the workload {name}: pass another folder with --clips")
    return paths


def _common(clips: Path, cache: Path) -> Iterator[tuple[str, StreamFacts]]:
    """Yield the format samples in a form that every peer can read, with the properties of the original streams.

    AV1 is left out, because the FFmpeg builds in the wheels of OpenCV and decord do not decode it.
    """
    for path in formats(clips, cache):
        facts = _facts(path)
        if facts.codec != "av1":
            yield readable(path, cache), facts


def readable(path: str, cache: Path) -> str:
    """Return a video that every peer can read: AVI is converted to MP4, because torchcodec reads no ranges of AVI."""
    if not path.endswith(".avi"):
        return path
    return transcoded(path, cache, MPEG4 if _facts(path).codec == "mpeg4" else H264)


def _facts(path: str) -> StreamFacts:
    return probe(Path(path).read_bytes(), path)


def _lengthened(path: str, facts: StreamFacts, cache: Path) -> str:
    wanted = -(-LONG_FRAMES // facts.num_packets)
    times = min(wanted, LONG_BYTES // (facts.frame_bytes * facts.num_packets))
    return repeated(path, cache, times) if times > 1 else path


def _shuffled(paths: list[str]) -> list[str]:
    return random.Random(0).sample(paths, len(paths))
