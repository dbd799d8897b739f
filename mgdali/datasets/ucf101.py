"""UCF101: the lists that UCF publishes, with three official folds."""

from __future__ import annotations

import os

from mgdali.datasets.layout import OfficialFiles, known_fold, known_split
from mgdali.datasets.listing import AnyPath, Listing, class_numbers, label_of, read_lines
from mgdali.errors import DatasetError

__all__ = ["FOLDS", "SPLITS", "read_ucf101"]

SPLITS = ("train", "test")
FOLDS = (1, 2, 3)

_ORIGIN = "UCF's Center for Research in Computer Vision distributes it on the page of UCF101"


def read_ucf101(
    root: AnyPath, split: str, fold: int = 1, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Read a split of UCF101 from its official files.

    Classes have the order of ``classInd.txt``. Each video is an AVI file.

    Args:
        root: Folder that contains the lists and the videos.
        split: ``"train"`` or ``"test"``.
        fold: Number of the official division into splits, 1 to 3.
        annotations: Another folder to search for lists.
        videos: Another folder to search for videos.

    Raises:
        DatasetError: If a file or folder is missing, or a line is malformed.
    """
    split = known_split(split, *SPLITS)
    files = OfficialFiles(root, annotations, videos, _ORIGIN, ("ucfTrainTestlist", "annotations/ucfTrainTestlist"))
    source = files.list_file(f"{split}list0{known_fold(fold, FOLDS)}.txt")
    classes_file = files.list_file("classInd.txt")
    classes = _read_classes(classes_file)
    known = class_numbers(classes_file, classes)
    names: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(read_lines(source), 1):
        # The class is read from the folder's name: only training lists repeat its number after the file's name.
        if words := line.split():
            names.append(words[0])
            labels.append(label_of(source, f"line {number}", words[0].partition("/")[0], known, classes_file))
    folder = files.videos_folder("UCF-101", "UCF101", "videos", holding=classes)
    return Listing(source, folder, [os.path.join(folder, name) for name in names], labels, classes)


def _read_classes(source: str) -> list[str]:
    """Return the classes from lines of a number, counted from 1, and a name."""
    rows = [(number, line.split()) for number, line in enumerate(read_lines(source), 1) if line.strip()]
    for count, (number, words) in enumerate(rows, 1):
        if len(words) != 2 or words[0] != str(count):
            raise DatasetError(
                f"{source}, line {number}: {' '.join(words)!r} is not '{count} <class>'; download the file again"
            )
    return [name for _, (_, name) in rows]
