"""What the arguments of ``mgdali explore`` name: each as a source of videos."""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from mgdali.datasets.named_videos import TAR_ENDINGS, is_table, media_exists, shard_videos
from mgdali.datasets.pack_format import INDEX, MANIFEST, is_pack, join
from mgdali.datasets.shards import expand_shards
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.datasets.video_list import check_one_label, lists_frame_folders, read_entries
from mgdali.errors import DatasetError
from mgdali.explore.sources import IndexedVideos, ListedVideos, Source
from mgdali.index.find_media import MediaFinder
from mgdali.index.packed_rows import packed_index
from mgdali.index.reader import MotionIndex
from mgdali.video.media import VIDEO_EXTENSIONS, Media, find_media
from mgdali.video.record import index_name
from mgdali.video.remote import is_url, remote_info

__all__ = ["open_sources"]

_PARQUET = (".parquet", ".pq")
# Bytes of a file that tell whether it is text.
_BEGINNING = 4096


def open_sources(names: Sequence[str], index: MotionIndex | None) -> list[Source]:
    """Open what the user names.

    Args:
        names: Paths and URLs.
        index: Motion index of the videos; None without one.

    Raises:
        DatasetError: If something cannot be read or contains no videos.
        ImportError: If a URL needs a package that is not installed.
    """
    distinct = list(dict.fromkeys(names))
    return [_open(name, index, alone=len(distinct) == 1) for name in distinct]


def _open(name: str, index: MotionIndex | None, *, alone: bool) -> Source:
    """Open what one argument names; ``alone`` if there are no others, so that short names are clear."""
    if not name or "\0" in name:
        raise DatasetError(f"{name!r} is neither a path nor a URL: give videos, or what contains videos")
    if is_url(name):
        return _open_url(name, index, alone=alone)
    if os.path.isdir(name):
        return _open_folder(name, index, alone=alone)
    lower = name.lower()
    if lower.endswith(_PARQUET) and _is_index(name):
        folder = os.path.dirname(name) or "."
        if os.path.basename(name) == INDEX and is_pack(folder):
            return _open_pack(folder, alone=alone)
        return _open_index(name, alone=alone)
    if is_table(name):
        return _open_table(name, index)
    if "::" in name and not os.path.exists(name):
        return _open_member(name, index)
    if lower.endswith(TAR_ENDINGS) or (not os.path.exists(name) and ("{" in name or glob.has_magic(name))):
        return _open_shards(name, index)
    if not os.path.exists(name) and not _is_pattern(name):
        raise DatasetError(f"{name} does not exist: give the path of a video, or of what contains videos")
    if lower.endswith(tuple(VIDEO_EXTENSIONS)) or not _is_text(name):
        return _one_video(Media(name), index, alone=alone)
    return _open_list(name, index)


def _open_url(url: str, index: MotionIndex | None, *, alone: bool) -> Source:
    lower = url.lower()
    if lower.endswith(_PARQUET):
        # Only its columns tell whether the file is an index or a table.
        try:
            return _open_index(url, alone=alone)
        except DatasetError as error:
            try:
                return _open_table(url, index)
            except DatasetError as second:
                raise DatasetError(
                    f"{url} is neither a motion index ({error}) nor a table of videos ({second})"
                ) from second
    if lower.endswith(tuple(VIDEO_EXTENSIONS)):
        return _one_video(Media(url), index, alone=alone)
    if is_table(url):
        return _open_table(url, index)
    if "::" in url:
        return _open_member(url, index)
    if lower.endswith(TAR_ENDINGS) or "{" in url:
        return _open_shards(url, index)
    try:
        remote_info(join(url, MANIFEST))
    except OSError:
        return _one_video(Media(url), index, alone=alone)
    return _open_pack(url, alone=alone)


def _open_folder(folder: str, index: MotionIndex | None, *, alone: bool) -> Source:
    if is_pack(folder):
        return _open_pack(folder, alone=alone)
    paths = find_media(folder)
    if paths == [folder]:
        return _one_video(Media(folder), index, alone=alone)
    if not paths:
        raise DatasetError(f"{folder} and its subfolders contain no videos: give another folder")
    below = [os.path.relpath(path, folder) for path in paths]
    return ListedVideos(
        VideoDataset(paths, None),
        names=below if alone else paths,
        classes=[os.path.dirname(name) or None for name in below],
        index=index,
    )


def _one_video(media: Media, index: MotionIndex | None, *, alone: bool) -> Source:
    path = media.path
    name = path if is_url(path) or not alone else os.path.basename(os.path.abspath(path))
    return ListedVideos(_dataset_of([media]), names=[name], index=index)


def _open_index(name: str, *, alone: bool) -> Source:
    index = MotionIndex(name)
    if not len(index):
        raise DatasetError(f"the index {name} contains no videos: give another, or build it with `mgdali index build`")
    return IndexedVideos(index, whole_names=not alone)


def _open_pack(root: str, *, alone: bool) -> Source:
    dataset = VideoDataset.from_pack(root)
    assert dataset.pack is not None
    # A path is the path or URL of the pack, a slash, and the name in the pack.
    start = len(join(root, ""))
    names = [path[start:] for path in dataset.paths] if alone else None
    return ListedVideos(dataset, names=names, index=packed_index(dataset.pack))


def _open_table(name: str, index: MotionIndex | None) -> Source:
    if not is_url(name) and not os.path.exists(name):
        raise DatasetError(f"{name} does not exist: give the path of a table of videos, or of a motion index")
    return ListedVideos(_below_a_root(name, _table), index=index)


def _open_list(name: str, index: MotionIndex | None) -> Source:
    read = _frame_list if any(lists_frame_folders(read_entries(name), root) for root in _roots(name)) else _list
    return ListedVideos(_below_a_root(name, read), index=index)


def _open_shards(name: str, index: MotionIndex | None) -> Source:
    try:
        return ListedVideos(VideoDataset.from_shards(name), index=index)
    except DatasetError:
        # There are no labels, or none that can be read. Errors of the tars themselves occur here too.
        media = shard_videos(expand_shards(name))
    if not media:
        raise DatasetError(f"{name} contains no videos: give tars with files such as a.mp4")
    return ListedVideos(_dataset_of(media), index=index)


def _open_member(name: str, index: MotionIndex | None) -> Source:
    media = MediaFinder()(index_name(name))
    if media is None:
        tar, _, member = name.rpartition("::")
        raise DatasetError(f"{tar} is not a tar file that contains {member!r}: correct the name, or give the tar file")
    return ListedVideos(_dataset_of([media]), names=[name], index=index)


def _dataset_of(media: Sequence[Media]) -> VideoDataset:
    members = any(each.span is not None for each in media)
    return VideoDataset([each.path for each in media], None, spans=[each.span for each in media] if members else None)


def _roots(name: str) -> list[str]:
    """Return where relative paths in a file may start: the working directory, or the folder of the file."""
    return list(dict.fromkeys(["", "" if is_url(name) else os.path.dirname(name)]))


def _below_a_root(name: str, read: Callable[[str, str], VideoDataset]) -> VideoDataset:
    """Return the videos of a list or table, whose relative paths start at that of the roots where some video exists.

    Raises:
        DatasetError: If the file cannot be read, or none of its videos exists.
    """
    for root in _roots(name):
        dataset = read(name, root)
        if any(media_exists(Media(path)) for path in dict.fromkeys(dataset.paths)):
            return dataset
    raise DatasetError(
        f"none of the {len(dataset)} videos in {name} exists, for example {dataset.paths[0]}: correct the paths; "
        "relative ones start at the working directory or at the folder of the file"
    )


def _table(name: str, root: str) -> VideoDataset:
    try:
        return VideoDataset.from_table(name, columns=(), root=root)
    except DatasetError:
        # There are no labels, or none that can be read. Errors of the table itself occur again.
        return VideoDataset.from_table(name, label=None, columns=(), root=root)


def _list(name: str, root: str) -> VideoDataset:
    try:
        return VideoDataset.from_list(name, root=root)
    except DatasetError:
        entries = read_entries(name)
        check_one_label(name, entries, root)
        return VideoDataset([os.path.join(root, entry.path) for entry in entries], None)


def _frame_list(name: str, root: str) -> VideoDataset:
    dataset = VideoDataset.from_frame_list(name, root=root)
    if any(media_exists(Media(path)) for path in dataset.paths):
        return dataset
    # The frames have other names. Without a pattern, all JPEG files of a folder are the frames.
    return VideoDataset(map(os.path.dirname, dataset.paths), dataset.labels, dataset.classes)


def _is_index(path: str) -> bool:
    """Return whether a Parquet file on this machine is a motion index, and not another table.

    Raises:
        DatasetError: If it is an index of a newer format.
    """
    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        # Opening it as an index gives the reason.
        return True
    return {"path", "num_frames", "motion_image", "packets"} <= set(names)


def _is_pattern(path: str) -> bool:
    """Return whether a path is a pattern of JPEG frames that exist."""
    return "%" in os.path.basename(path) and media_exists(Media(path))


def _is_text(path: str) -> bool:
    """Return whether a file begins like text, as a list of videos does."""
    if _is_pattern(path):
        return False
    try:
        with open(path, "rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; give a file that can be read") from error
    try:
        # A character at the end may be cut off.
        codecs.getincrementaldecoder("utf-8-sig")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return b"\0" not in beginning
