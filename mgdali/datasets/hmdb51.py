"""HMDB51: the lists that Brown University publishes, with three official folds."""

from __future__ import annotations

import os

from mgdali.datasets.layout import OfficialFiles, known_fold, known_split
from mgdali.datasets.listing import AnyPath, Listing, read_lines
from mgdali.errors import DatasetError

__all__ = ["EXTRA_LISTS", "FOLDS", "SPLITS", "read_hmdb51"]

SPLITS = ("train", "test")
EXTRA_LISTS = ("unused",)
FOLDS = (1, 2, 3)

_ORIGIN = "Brown University's Serre Lab distributes it on the page of HMDB"
_LISTS = "testTrainMulti_7030_splits"
_MARKS = {"unused": "0", "train": "1", "test": "2"}


def read_hmdb51(
    root: AnyPath, split: str, fold: int = 1, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Read a split of HMDB51 from its official files.

    Classes are sorted by name. Each video is an AVI file.

    Args:
        root: Folder that contains the lists and the videos.
        split: ``"train"``, ``"test"``, or ``"unused"`` for the videos that the fold does not use.
        fold: Number of the official division into splits, 1 to 3.
        annotations: Another folder to search for lists.
        videos: Another folder to search for videos.

    Raises:
        DatasetError: If a file or folder is missing, or a line is malformed.
    """
    mark = _MARKS[known_split(split, *SPLITS, *EXTRA_LISTS)]
    folders = (_LISTS, f"annotations/{_LISTS}", f"test_train_splits/{_LISTS}")
    files = OfficialFiles(root, annotations, videos, _ORIGIN, folders)
    ending = f"_test_split{known_fold(fold, FOLDS)}.txt"
    # Each class has its own list, named after the class.
    source = os.path.dirname(files.list_file(f"*{ending}", several=True))
    classes = sorted(name.removesuffix(ending) for name in os.listdir(source) if name.endswith(ending))
    folder = files.videos_folder("hmdb51_org", "hmdb51", "HMDB51", "videos", holding=classes)
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        names = _marked_files(os.path.join(source, name + ending), mark)
        paths += [os.path.join(folder, name, file) for file in names]
        labels += [label] * len(names)
    return Listing(f"{os.path.join(source, '*' + ending)} ({split})", folder, paths, labels, classes)


def _marked_files(source: str, mark: str) -> list[str]:
    """Return the files of one list that have this mark: 0 for unused, 1 for train, 2 for test."""
    files: list[str] = []
    for number, line in enumerate(read_lines(source), 1):
        words = line.rsplit(maxsplit=1)
        if words and (len(words) != 2 or words[1] not in _MARKS.values()):
            raise DatasetError(
                f"{source}, line {number}: {line.strip()!r} is not a file and 0, 1 or 2; download the list again"
            )
        if words and words[1] == mark:
            files.append(words[0].strip())
    return files
