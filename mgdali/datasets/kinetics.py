"""Kinetics-400, -600 and -700: their lists of clips cut from YouTube, of which some are always gone."""

from __future__ import annotations

import os
import warnings
from typing import NamedTuple

from mgdali.datasets.layout import Places, files_below, known_split
from mgdali.datasets.listing import AnyPath, Listing, class_numbers, label_of, read_rows
from mgdali.errors import DatasetError

__all__ = ["CLIP_ENDINGS", "kinetics"]

CLIP_ENDINGS = (".mp4", ".mkv", ".webm", ".avi")
"""What clips' names end in: downloading tools choose among them."""

_ORIGIN = "DeepMind gives it out, as does the CVD Foundation with its copy of Kinetics"
_SPLITS = {"train": ("train",), "validation": ("val", "validate", "validation"), "test": ("test",)}
_FOLDERS = ("{}", "videos/{}", "videos_{}")


class _Clip(NamedTuple):
    """A row of a list: its line, the clip's file name without an ending, and its label, "" where there is none."""

    line: int
    name: str
    label: str


def kinetics(
    root: AnyPath,
    split: str,
    *,
    annotations: AnyPath | None = None,
    videos: AnyPath | None = None,
    all_listed: bool = False,
) -> Listing:
    """A split of Kinetics: CSV, clips named ``<youtube_id>_<start>_<end>.mp4``, classes sorted by name.

    Clips are looked up by name in the split's folder and the folders in it, however those are named. Those without a
    file are left out, with a warning that counts them.

    Args:
        root: the folder that holds lists and videos.
        split: ``"train"``, ``"validation"`` or ``"test"``, which has labels in some releases only.
        annotations: a folder to look in for lists, or the split's list itself. Classes are those of the training list
            where it lies beside the split's.
        videos: a folder to look in for videos.
        all_listed: keep clips without a file, under the name they should have.

    Raises:
        DatasetError: a file or folder is missing, a line is not as it should be, or no listed clip has a file.
    """
    split = known_split(split, *_SPLITS)
    source, training = _lists(root, split, annotations)
    clips = _read_clips(source)
    words = [clip.label for clip in (clips if training == source else _read_clips(training))]
    classes = sorted({*words} - {""})
    known = class_numbers(training, classes)
    labelled = any(clip.label for clip in clips)
    labels = [label_of(source, f"line {clip.line}", clip.label, known, training) for clip in clips if labelled]
    folder = Places(root, None, videos, _ORIGIN).folder(*(f.format(name) for f in _FOLDERS for name in _SPLITS[split]))
    files = {os.path.splitext(entry.name)[0]: entry.path for entry in files_below(folder, CLIP_ENDINGS)}
    kept = [index for index, clip in enumerate(clips) if all_listed or clip.name in files]
    _tell_of_missing(clips, len(kept), source, folder)
    paths = [files.get(clips[index].name) or os.path.join(folder, f"{clips[index].name}.mp4") for index in kept]
    return Listing(source, folder, paths, [labels[index] for index in kept] if labelled else None, classes)


def _lists(root: AnyPath, split: str, annotations: AnyPath | None) -> tuple[str, str]:
    """The split's list, and the one that names the classes."""
    if annotations is not None and os.path.isfile(annotations):
        source = os.fspath(annotations)
        places = Places(root, os.path.dirname(source) or ".", None, _ORIGIN)
    else:
        places = Places(root, annotations, None, _ORIGIN)
        source = places.file(*_names(split))
    return source, source if split == "train" else places.seek(*_names("train")) or source


def _names(split: str) -> list[str]:
    """Names that releases gave a split's list: ``val.csv``, ``kinetics_600_val.csv``, ``kinetics-400_val.csv``."""
    names = _SPLITS[split]
    return [f"{name}.csv" for name in names] + [f"kinetics*[_-]{name}.csv" for name in names]


def _read_clips(source: str) -> list[_Clip]:
    rows = read_rows(source, ",")
    _, header = next(rows, (1, [""]))
    missing = [name for name in ("youtube_id", "time_start", "time_end") if name not in header]
    if missing:
        raise DatasetError(f"{source}, line 1: no column {' or '.join(missing)}; get the official list")
    name, start, end = map(header.index, ("youtube_id", "time_start", "time_end"))
    label = header.index("label") if "label" in header else None
    clips: list[_Clip] = []
    for line, cells in rows:
        try:
            clip = f"{cells[name]}_{int(cells[start]):06d}_{int(cells[end]):06d}"
            clips.append(_Clip(line, clip, "" if label is None else cells[label]))
        except (IndexError, ValueError) as error:
            raise DatasetError(
                f"{source}, line {line}: {','.join(cells)!r} lacks a label, an id or times in seconds; get it again"
            ) from error
    return clips


def _tell_of_missing(clips: list[_Clip], kept: int, source: str, folder: str) -> None:
    if clips and not kept:
        raise DatasetError(
            f"{folder} has none of the {len(clips)} clips in {source}: name them <youtube_id>_<start>_<end>.mp4, with "
            f"the times in seconds as six digits ({clips[0].name}.mp4), in this folder or one folder a class"
        )
    if kept < len(clips):
        warnings.warn(
            f"{len(clips) - kept} of the {len(clips)} clips in {source} are not below {folder} and are left out; "
            "'mgdali data check kinetics' names some",
            stacklevel=4,
        )
