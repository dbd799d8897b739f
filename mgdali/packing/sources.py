"""The labelled videos that an argument of packing names."""

from __future__ import annotations

import os
from pathlib import Path

from mgdali.datasets.listing import FRAME_TEMPLATE, AnyPath
from mgdali.datasets.named_videos import ListKind, Videos, is_table, media_of, videos_named
from mgdali.datasets.pack_format import is_pack
from mgdali.datasets.shards import ShardIndex, expand_shards, scan_shards
from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.datasets.video_list import lists_frame_folders, read_entries
from mgdali.errors import DatasetError
from mgdali.video.media import Media, find_media
from mgdali.video.remote import is_url

__all__ = ["check_outside", "labelled_videos"]

_IS_PACK = "is a packed data set, whose motion would be measured on copies: pack the originals"


def labelled_videos(
    data: Videos, *, root: AnyPath | None = None, kind: ListKind | None = None, template: str | None = None
) -> VideoDataset:
    """Return the labelled videos that an argument names.

    A folder whose videos are all in subfolders has one class per subfolder. A folder of videos without subfolders, and
    tars and lists of paths without labels, have one class, named ``0``.

    Args:
        data: A data set; a folder; a list with one line ``path label`` or ``folder frames label`` per video; a table
            with a column ``path``, as :meth:`VideoDataset.from_table` reads it, whose videos may be segments; tar
            shards, whose labels are in ``.cls`` files or in the field ``label`` of ``.json`` files; or videos without
            labels, as paths, :class:`Video` or :class:`Media`.
        root: Folder that relative paths in a list or table start from; None for the working directory.
        kind: Lines of a list, as in :func:`mgdali.datasets.named_videos.videos_named`.
        template: File names of the frames of a list or table of frame folders.

    Raises:
        DatasetError: If ``data`` is none of these, cannot be read, contains no videos, or is a packed data set; if a
            folder contains videos beside its subfolders; or if a label is missing.
    """
    if isinstance(data, VideoDataset):
        if data.pack is not None:
            raise DatasetError(f"{data.pack.root} {_IS_PACK}")
        return data
    if not isinstance(data, str | os.PathLike):
        return _without_labels(data)
    path = os.fspath(data)
    if is_pack(path):
        raise DatasetError(f"{path} {_IS_PACK}")
    if kind is None and is_table(path):
        return VideoDataset.from_table(path, root=root or "", template=template)
    # Its errors say what is wrong with the argument.
    media = videos_named(path, root=root, kind=kind, template=template)
    if os.path.isdir(path):
        return _folder(path)
    if media[0].span is not None:
        return _shards(path, media)
    if (
        kind == "frames"
        or template is not None
        or (kind is None and lists_frame_folders(read_entries(path), root or ""))
    ):
        return VideoDataset.from_frame_list(path, root=root or "", template=template or FRAME_TEMPLATE)
    return VideoDataset.from_list(path, root=root or "")


def check_outside(data: AnyPath, out: AnyPath) -> None:
    """Raise a DatasetError if a pack would be inside the folder of its videos, where it would look like a class."""
    folder, inner = os.path.realpath(data), os.path.realpath(out)
    if not is_url(os.fspath(out)) and os.path.commonpath([folder, inner]) == folder:
        raise DatasetError(
            f"the pack {os.fspath(out)} would be inside the folder of its videos, {os.fspath(data)}: give a folder "
            "outside of it"
        )


def _without_labels(data: Videos) -> VideoDataset:
    videos = [data] if isinstance(data, Video | Media) else list(data)  # type: ignore[arg-type]
    labelled = [each for each in videos if isinstance(each, Video)]
    media = media_of(videos)
    if len(labelled) < len(videos):
        return VideoDataset([each.path for each in media], [0] * len(media), spans=[each.span for each in media])
    time_ranges = [each.time_range for each in labelled]
    # None is a missing label, which a data set stores as -1.
    labels = [None if isinstance(each.label, int) and each.label < 0 else each.label for each in labelled]
    return VideoDataset(
        [each.path for each in labelled],
        labels,
        spans=[each.span for each in labelled],
        time_ranges=None if all(each is None for each in time_ranges) else time_ranges,
    )


def _folder(path: str) -> VideoDataset:
    found = find_media(path)
    # A folder of frames is a video: it may be the folder itself.
    direct = [each for each in found if each == path or Path(each).parent == Path(path)]
    if not direct:
        return VideoDataset.from_folder(path)
    if len(direct) < len(found):
        raise DatasetError(
            f"{path} contains videos beside its subfolders, such as {direct[0]}, so their classes are not known: move "
            "each video into a folder named after its class, or list paths and labels in a file"
        )
    return VideoDataset(found, [0] * len(found))


def _shards(pattern: str, media: list[Media]) -> VideoDataset:
    shards = expand_shards(pattern)
    label = _label_place(scan_shards(shards))
    if label is not None:
        return VideoDataset.from_shards(shards, label=label)
    return VideoDataset([each.path for each in media], [0] * len(media), spans=[each.span for each in media])


def _label_place(indices: list[ShardIndex]) -> str | None:
    """Return where the labels of shards are; None if their samples have none."""
    members = [member for index in indices for member in index.members]
    if any(member.name.lower().endswith(".cls") for member in members):
        return "cls"
    texts = [member.text for member in members if member.name.lower().endswith(".json") and member.text]
    if any('"label"' in text for text in texts):
        return "json:label"
    return None
