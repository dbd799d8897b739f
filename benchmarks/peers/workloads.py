"""What the peers load: the sample videos, or others made from them, mixed up but in the same order for all."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from command import clips_folder

from mgdali.cache import cache_folder
from mgdali.errors import DatasetError
from mgdali.gpu.nvdec import StreamFacts, probe
from mgdali.video.media import find_media
from peers.encoding import H264, MPEG4, VP9, jpeg_frames, repeated, transcoded

LONG_FRAMES = 600
"""Frames that a long video has at least."""
LONG_BYTES = 512 << 20
"""What a long video's frames take as RGB at most, unless it is as large by itself: some peers hold all of them."""
_TO_REPEAT = 100
"""Frames from which on a sample is taken for a long video."""


def short(clips: Path, cache: Path) -> list[str]:
    """Many short clips: one codec, one size, half a second to two seconds each."""
    return find_media(clips / "labelled")


def mixed(clips: Path, cache: Path) -> list[str]:
    """The short clips among videos of many lengths, sizes, codecs and pixel formats."""
    return _shuffled([*short(clips, cache), *(path for path, _ in _common(clips, cache))])


def long_tail(clips: Path, cache: Path) -> list[str]:
    """The short clips among a few videos that take as long as dozens of them."""
    long = [_lengthened(path, facts, cache) for path, facts in _common(clips, cache) if facts.num_frames >= _TO_REPEAT]
    return _shuffled([*short(clips, cache), *long])


def frames(clips: Path, cache: Path) -> list[str]:
    """Folders of JPEG files: the short clips' frames, and the sample folder."""
    own = [jpeg_frames(path, cache) for path in short(clips, cache)]
    return _shuffled([*own, *find_media(clips / "frames")])


def vp9(clips: Path, cache: Path) -> list[str]:
    """The short clips in VP9."""
    return [transcoded(path, cache, VP9) for path in short(clips, cache)]


def formats(clips: Path, cache: Path) -> list[str]:
    """The samples of formats as they are, which not every peer takes."""
    return find_media(clips / "formats")


WORKLOADS: dict[str, Callable[[Path, Path], list[str]]] = {
    "short": short,
    "mixed": mixed,
    "long-tail": long_tail,
    "frames": frames,
    "vp9": vp9,
    "formats": formats,
}


def add_places(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where videos come from and figures go."""
    add = parser.add_argument
    add("--clips", type=Path, metavar="DIR", help="sample videos: labelled/, formats/ and frames/")
    add("--cache", type=Path, metavar="DIR", default=cache_folder() / "benchmarks", help="made videos")
    add("--out", type=Path, metavar="FILE.json", help="where the figures go")


def videos_of(name: str, given: argparse.Namespace) -> list[str]:
    """A workload's videos; a folder that has none for it ends the command with one line."""
    clips, command = clips_folder(given.clips), Path(sys.argv[0]).name
    try:
        paths = WORKLOADS[name](clips, given.cache)
    except DatasetError as error:
        raise SystemExit(f"{command}: {error}") from None
    if not paths:
        raise SystemExit(f"{command}: {clips} holds nothing for the workload {name}")
    return paths


def _common(clips: Path, cache: Path) -> Iterator[tuple[str, StreamFacts]]:
    """The samples of formats in a form that every peer takes: without AV1, which the FFmpeg builds in OpenCV's and
    decord's wheels do not decode, and with MP4 in place of AVI, of which torchcodec reads no ranges.
    """
    for path in formats(clips, cache):
        facts = probe(Path(path).read_bytes(), path)
        if facts.codec == "av1":
            continue
        if path.endswith(".avi"):
            path = transcoded(path, cache, MPEG4 if facts.codec == "mpeg4" else H264)
        yield path, facts


def _lengthened(path: str, facts: StreamFacts, cache: Path) -> str:
    wanted = -(-LONG_FRAMES // facts.num_frames)
    times = min(wanted, LONG_BYTES // (facts.frame_bytes * facts.num_frames))
    return repeated(path, cache, times) if times > 1 else path


def _shuffled(paths: list[str]) -> list[str]:
    return random.Random(0).sample(paths, len(paths))
