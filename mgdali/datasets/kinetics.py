"""Kinetics-400, -600 and -700: lists of clips cut from YouTube videos. Some clips are no longer available."""

from __future__ import annotations

import os
import warnings
from typing import NamedTuple

from mgdali.datasets.layout import OfficialFiles, files_below, known_split
from mgdali.datasets.listing import AnyPath, Listing, class_numbers, label_of, read_rows
from mgdali.errors import DatasetError

__all__ = ["CLIP_ENDINGS", "SPLITS", "read_all_listed", "read_kinetics"]

CLIP_ENDINGS = (".mp4", ".mkv", ".webm", ".avi")
"""File endings of clips; they differ between download tools."""

_ORIGIN = "DeepMind distributes it, and the CVD Foundation distributes it with a copy of Kinetics"

# Each split's names in the files and folders of the releases.
_NAMES = {"train": ("train",), "validation": ("val", "validate", "validation"), "test": ("test",)}
_FOLDERS = ("{}", "videos/{}", "videos_{}")

SPLITS = tuple(_NAMES)


class _Clip(NamedTuple):
    """A row of a list.

    Attributes:
        line: Line number of the row.
        name: File name of the clip without its ending.
        label: Name of the class; "" if the list has no labels.
    """

    line: int
    name: str
    label: str


def read_kinetics(
    root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Read a split of Kinetics-400, -600 or -700 from its official lists.

    Classes are those of the training list if it is next to the split's list, sorted by name. Clips are found by name in
    the split's folder and its direct subfolders, whatever their names. Listed clips without a file are left out, with a
    warning that counts them, because some clips are no longer on YouTube.

    Args:
        root: Folder that contains the lists and the videos.
        split: ``"train"``, ``"validation"`` (or ``"val"``), or ``"test"``, which has labels only in some releases.
            Videos without labels cannot be loaded.
        annotations: Another folder to search for lists, or the path of the split's list.
        videos: Another folder to search for videos.

    Raises:
        DatasetError: If a file or folder is missing, a line is malformed, or no listed clip has a file.
    """
    return _read(root, split, annotations, videos, all_listed=False)


def read_all_listed(
    root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Read a split like :func:`read_kinetics`, but include clips without a file, under the name they should have."""
    return _read(root, split, annotations, videos, all_listed=True)


def _read(
    root: AnyPath, split: str, annotations: AnyPath | None, videos: AnyPath | None, *, all_listed: bool
) -> Listing:
    split = known_split(split, *SPLITS)
    source, training = _list_files(root, split, annotations)
    clips = _read_clips(source)
    words = [clip.label for clip in (clips if training == source else _read_clips(training))]
    classes = sorted({*words} - {""})
    known = class_numbers(training, classes)
    labelled = any(clip.label for clip in clips)
    labels = [label_of(source, f"line {clip.line}", clip.label, known, training) for clip in clips if labelled]
    files = OfficialFiles(root, None, videos, _ORIGIN)
    folder = files.videos_folder(*(pattern.format(name) for pattern in _FOLDERS for name in _NAMES[split]))
    clip_files = {os.path.splitext(entry.name)[0]: entry.path for entry in files_below(folder, CLIP_ENDINGS)}
    kept = [index for index, clip in enumerate(clips) if all_listed or clip.name in clip_files]
    _report_missing(clips, len(kept), source, folder)
    paths = [clip_files.get(clips[index].name) or os.path.join(folder, f"{clips[index].name}.mp4") for index in kept]
    return Listing(source, folder, paths, [labels[index] for index in kept] if labelled else None, classes)


def _list_files(root: AnyPath, split: str, annotations: AnyPath | None) -> tuple[str, str]:
    """Return the split's list, and the list that defines the classes."""
    if annotations is not None and os.path.isfile(annotations):
        source = os.fspath(annotations)
        files = OfficialFiles(root, os.path.dirname(source) or ".", None, _ORIGIN)
    else:
        files = OfficialFiles(root, annotations, None, _ORIGIN)
        source = files.list_file(*_list_names(split))
    return source, source if split == "train" else files.find_list_file(*_list_names("train")) or source


def _list_names(split: str) -> list[str]:
    """Return the names of a split's list: ``val.csv``, ``kinetics_600_val.csv``, ``kinetics-400_val.csv``."""
    names = _NAMES[split]
    return [f"{name}.csv" for name in names] + [f"kinetics*[_-]{name}.csv" for name in names]


def _read_clips(source: str) -> list[_Clip]:
    rows = read_rows(source, ",")
    _, header = next(rows, (1, [""]))
    missing = [name for name in ("youtube_id", "time_start", "time_end") if name not in header]
    if missing:
        raise DatasetError(f"{source}, line 1: no column {' or '.join(missing)}; use the official list")
    name, start, end = map(header.index, ("youtube_id", "time_start", "time_end"))
    label = header.index("label") if "label" in header else None
    clips: list[_Clip] = []
    for line, cells in rows:
        try:
            clip = f"{cells[name]}_{int(cells[start]):06d}_{int(cells[end]):06d}"
            clips.append(_Clip(line, clip, "" if label is None else cells[label]))
        except (IndexError, ValueError) as error:
            raise DatasetError(
                f"{source}, line {line}: {','.join(cells)!r} lacks a label, an id or times in seconds; download the "
                "list again"
            ) from error
    return clips


def _report_missing(clips: list[_Clip], kept: int, source: str, folder: str) -> None:
    if clips and not kept:
        raise DatasetError(
            f"{folder} contains none of the {len(clips)} clips in {source}: name them "
            "<youtube_id>_<start>_<end>.mp4, with the times in seconds as six digits "
            f"({clips[0].name}.mp4), in this folder or in one subfolder per class"
        )
    if kept < len(clips):
        # The level is that of the caller of the constructor, which calls read_kinetics.
        warnings.warn(
            f"{len(clips) - kept} of the {len(clips)} clips in {source} have no file below {folder} and are left out; "
            "'mgdali data check kinetics' names some of them",
            stacklevel=5,
        )
