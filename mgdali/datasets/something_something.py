"""Something-Something V1 and V2, and Jester: the lists that 20BN published, now distributed by Qualcomm."""

from __future__ import annotations

import os
import re
from typing import Any

from mgdali.datasets.layout import OfficialFiles, known_split
from mgdali.datasets.listing import (
    AnyPath,
    Listing,
    class_numbers,
    label_of,
    read_json,
    read_json_objects,
    read_rows,
)
from mgdali.errors import DatasetError

__all__ = ["SPLITS", "read_jester", "read_v1", "read_v2"]

SPLITS = ("train", "validation", "test")

_ORIGIN = "Qualcomm distributes it on its page of AI data sets (formerly 20BN's)"


def read_v1(root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None) -> Listing:
    """Read a split of Something-Something V1 from its official files.

    Classes have the order of the file of labels. Each video is a folder of JPEG files.

    Args:
        root: Folder that contains the lists and the videos. Lists may be located in its ``annotations`` or ``labels``,
            and may lack the prefix (``labels/train.csv``).
        split: ``"train"``, ``"validation"`` (or ``"val"``) or ``"test"``, which has labels only if
            ``test-answers.csv`` exists. Videos without labels cannot be loaded.
        annotations: Another folder to search for lists.
        videos: Another folder to search for videos.

    Raises:
        DatasetError: If a file or folder is missing, or a line is malformed.
    """
    return _read_csv(OfficialFiles(root, annotations, videos, _ORIGIN), "something-something-v1", split)


def read_jester(
    root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Read a split of Jester V1 from its official files.

    Classes have the order of the file of labels. Each video is a folder of JPEG files.

    Args:
        root: Folder that contains the lists and the videos. Lists may be located in its ``annotations`` or ``labels``,
            and may lack the prefix (``labels/train.csv``).
        split: ``"train"``, ``"validation"`` (or ``"val"``) or ``"test"``, which has labels only if
            ``test-answers.csv`` exists. Videos without labels cannot be loaded.
        annotations: Another folder to search for lists.
        videos: Another folder to search for videos.

    Raises:
        DatasetError: If a file or folder is missing, or a line is malformed.
    """
    return _read_csv(OfficialFiles(root, annotations, videos, _ORIGIN), "jester-v1", split)


def read_v2(root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None) -> Listing:
    """Read a split of Something-Something V2 from its official files.

    Classes have the numbers of the file of labels. Each video is a WebM file.

    Args:
        root: Folder that contains the lists and the videos. Lists may be located in its ``annotations`` or ``labels``,
            and may lack the prefix (``labels/train.json``).
        split: ``"train"``, ``"validation"`` (or ``"val"``) or ``"test"``, which has labels only if
            ``test-answers.csv`` exists. Videos without labels cannot be loaded.
        annotations: Another folder to search for lists.
        videos: Another folder to search for videos.

    Raises:
        DatasetError: If a file or folder is missing, or an entry is malformed.
    """
    split = known_split(split, *SPLITS)
    files = OfficialFiles(root, annotations, videos, _ORIGIN)
    prefix = "something-something-v2"
    classes_file = files.list_file(f"{prefix}-labels.json", "labels.json")
    classes = _numbered_classes(classes_file)
    known = class_numbers(classes_file, classes)
    answers = files.find_list_file(*_answers(prefix)) if split == "test" else None
    if answers:
        source, (ids, labels) = answers, _ids_and_labels(answers, known, classes_file)
    else:
        source = files.list_file(f"{prefix}-{split}.json", f"{split}.json")
        entries = read_json_objects(source, ["id"] if split == "test" else ["id", "template"])
        ids = [str(entry["id"]) for entry in entries]
        labels = None if split == "test" else _template_labels(source, entries, known, classes_file)
    folder = files.videos_folder(f"20bn-{prefix}", f"videos/20bn-{prefix}", "videos")
    return Listing(source, folder, [os.path.join(folder, f"{name}.webm") for name in ids], labels, classes)


def _read_csv(files: OfficialFiles, prefix: str, split: str) -> Listing:
    """Read the CSV format of Something-Something V1 and Jester."""
    split = known_split(split, *SPLITS)
    classes_file = files.list_file(f"{prefix}-labels.csv", "labels.csv")
    classes = [cells[0] for _, cells in read_rows(classes_file, ";")]
    source = files.find_list_file(*_answers(prefix)) if split == "test" else None
    source = source or files.list_file(f"{prefix}-{split}.csv", f"{split}.csv")
    known = class_numbers(classes_file, classes)
    ids, labels = _ids_and_labels(source, known, classes_file, labels_optional=split == "test")
    folder = files.videos_folder(f"20bn-{prefix}", f"videos/20bn-{prefix}", "videos", "frames", "rawframes")
    return Listing(source, folder, [os.path.join(folder, name) for name in ids], labels, classes)


def _answers(prefix: str) -> tuple[str, str]:
    """Return the file names of the published labels of the test split."""
    return f"{prefix}-test-answers.csv", "test-answers.csv"


def _ids_and_labels(
    source: str, known: dict[str, int], classes_file: str, *, labels_optional: bool = False
) -> tuple[list[str], list[int] | None]:
    """Read rows ``id;label``. If ``labels_optional``, all rows may consist of an id only."""
    rows = list(read_rows(source, ";"))
    ids = [cells[0] for _, cells in rows]
    if labels_optional and all(len(cells) == 1 for _, cells in rows):
        return ids, None
    for line, cells in rows:
        if len(cells) != 2 or not cells[0]:
            raise DatasetError(f"{source}, line {line}: {';'.join(cells)!r} is not 'id;label'; download the file again")
    return ids, [label_of(source, f"line {line}", label, known, classes_file) for line, (_, label) in rows]


def _numbered_classes(source: str) -> list[str]:
    """Return the classes from an object of ``name: number``; a number may also be text."""
    content = read_json(source)
    try:
        numbers = {name: int(number) for name, number in content.items()}
    except (AttributeError, TypeError, ValueError):
        numbers = {}
    if sorted(numbers.values()) != list(range(len(numbers) or 1)):
        raise DatasetError(f"{source} does not number the classes 0, 1, 2, …; download the file again")
    return sorted(numbers, key=lambda name: numbers[name])


def _template_labels(source: str, entries: list[dict[str, Any]], known: dict[str, int], classes_file: str) -> list[int]:
    """Return labels from templates, which are class names with brackets: ``Holding [something]``."""
    names = [re.sub(r"[\[\]]", "", str(entry["template"])) for entry in entries]
    return [label_of(source, f"entry {number}", name, known, classes_file) for number, name in enumerate(names, 1)]
