"""Examination of files for ``mgdali doctor FILE``: the way in which each is decoded where a GPU is used, and why."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from mgdali.datasets.named_videos import shard_videos
from mgdali.datasets.shards import expand_shards
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.gpu.driver import GPUError
from mgdali.gpu.nvdec import ANY_GPU, NvdecTable, tried_way
from mgdali.video.media import Media, find_media
from mgdali.video.stream_facts import probe

__all__ = ["Decoder", "FileReport", "examine_files", "find_decoder", "to_json"]

_TAR = ".tar"


@dataclass(frozen=True)
class Decoder:
    """The video decoder of a GPU.

    Attributes:
        table: The codecs that it decodes, with its limits.
        note: The GPU to which the reports apply, in one line.
    """

    table: NvdecTable
    note: str


@dataclass(frozen=True)
class FileReport:
    """The way in which a file is decoded.

    Attributes:
        path: Path of the file.
        way: ``"as is"``: DALI on the GPU, the unchanged file; ``"remuxed"``: DALI on the GPU, a copy of the packets in
            another container; ``"PyAV"``: PyAV on the CPU. None if the file cannot be decoded.
        reason: Reason that DALI cannot decode the unchanged file; empty if it can. For a file that cannot be decoded,
            the error.
    """

    path: str
    way: str | None
    reason: str


def find_decoder() -> Decoder:
    """Return the video decoder of the GPU that the loader would use; without one, all codecs that DALI decodes."""
    try:
        # Imported late because it imports torch.
        route = importlib.import_module("mgdali.loading.route").gpu_route()
    except (GPUError, ImportError) as error:
        why = " ".join(str(error).split())
        return Decoder(ANY_GPU, f"The limits of the GPU's decoder are unknown, because no GPU is usable here: {why}")
    return Decoder(route.nvdec, f"The limits are those of {route.device}")


def examine_files(names: Iterable[str], table: NvdecTable) -> Iterator[FileReport]:
    """Yield a report for each file.

    Args:
        names: Paths and URLs of video files; folders of JPEG frames; patterns such as ``img_%05d.jpg``; members of tars
            as ``<tar>::<member>``; tars and folders, for all videos in them.
        table: Codecs and limits of the GPU.

    Raises:
        DatasetError: If a folder or a tar cannot be read or contains no such video.
    """
    for name in names:
        for media in _media_named(name):
            yield _examine(media, table)


def to_json(decoder: Decoder, reports: Iterable[FileReport]) -> str:
    """Return the reports as a JSON object: ``decoder``, a note, and ``files``, a list of objects."""
    return json.dumps({"decoder": decoder.note, "files": list(map(asdict, reports))}, indent=2)


def _examine(media: Media, table: NvdecTable) -> FileReport:
    try:
        content = media.read()
        facts = probe(content, media.path)
    except VideoDecodeError as error:
        return FileReport(media.path, None, error.reason)
    way = tried_way(content, media.path, facts, table)
    return FileReport(media.path, "PyAV" if way.kind == "pyav" else way.kind, way.reason)


def _media_named(name: str) -> list[Media]:
    """Return the videos that an argument names."""
    if os.path.isdir(name):
        found = [Media(path) for path in find_media(name)]
    elif name.lower().endswith(_TAR):
        found = shard_videos(expand_shards(name))
    elif f"{_TAR}::" in name.lower():
        shard = name[: name.lower().rindex(f"{_TAR}::") + len(_TAR)]
        found = [media for media in shard_videos([shard]) if media.path == name]
    else:
        return [Media(name)]
    if not found:
        raise DatasetError(f"{name} names no video: give files, folders or tars of videos, or members of tars")
    return found
