"""The official annotation files of Something-Something, Jester, Diving48, UCF101 and HMDB51.

Each function reads one split of one set. ``root`` is the folder that holds both the annotation files and the videos,
by their official names, in itself or in a folder such as ``annotations`` or ``labels``. ``annotations`` and ``videos``
name other folders to look in. Videos themselves are not looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from mgdali.datasets.layout import Places, known_fold, known_split
from mgdali.datasets.listing import AnyPath, Listing, class_numbers, label_of, read_json, read_lines, read_rows
from mgdali.errors import DatasetError

__all__ = ["diving48", "hmdb51", "jester", "something_something_v1", "something_something_v2", "ucf101"]

_TWENTYBN = "Qualcomm gives it out, on its site of AI data sets (once 20BN's)"
_UCSD = "UCSD's Statistical Visual Computing Lab gives it out, on Diving48's page"
_CRCV = "UCF's Center for Research in Computer Vision gives it out, on UCF101's page"
_SERRE = "Brown University's Serre Lab gives it out, on HMDB's page"


def something_something_v1(
    root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Something-Something V1: CSV with semicolons, a folder of JPEG files a video, classes in their file's order.

    Args:
        root, annotations, videos: see above.
        split: ``"train"``, ``"validation"`` or ``"test"``, which has labels only with ``test-answers.csv``.

    Raises:
        DatasetError: a file or folder is missing, or a line is not as it should be.
    """
    places = Places(root, annotations, videos, _TWENTYBN)
    return _twentybn_csv(places, "something-something-v1", split)


def jester(root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None) -> Listing:
    """Jester V1, in the form of :func:`something_something_v1`."""
    return _twentybn_csv(Places(root, annotations, videos, _TWENTYBN), "jester-v1", split)


def something_something_v2(
    root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Something-Something V2: JSON, a WebM file a video, classes in the order of their numbers in ``labels.json``.

    Args and errors are those of :func:`something_something_v1`.
    """
    split = known_split(split, "train", "validation", "test")
    places = Places(root, annotations, videos, _TWENTYBN)
    prefix = "something-something-v2"
    classes_file = places.file(f"{prefix}-labels.json", "labels.json")
    classes = _numbered_classes(classes_file)
    known = class_numbers(classes_file, classes)
    answers = places.seek(*_answers(prefix)) if split == "test" else None
    if answers:
        source, (ids, labels) = answers, _ids_and_labels(answers, known, classes_file)
    else:
        source = places.file(f"{prefix}-{split}.json", f"{split}.json")
        entries = _entries(source, ["id"] if split == "test" else ["id", "template"])
        ids = [str(entry["id"]) for entry in entries]
        labels = None if split == "test" else _template_labels(source, entries, known, classes_file)
    folder = places.folder(f"20bn-{prefix}", f"videos/20bn-{prefix}", "videos")
    return Listing(source, folder, [os.path.join(folder, f"{name}.webm") for name in ids], labels, classes)


def diving48(
    root: AnyPath, split: str, *, version: int = 2, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Diving48: JSON, an MP4 file a dive, classes in the vocabulary's order, named as ``Back 15som 05Twis FREE``.

    Args:
        root, annotations, videos: see above.
        split: ``"train"`` or ``"test"``.
        version: of the labels: 2, in which wrong ones were corrected, or 1.

    Raises:
        DatasetError: a file or folder is missing, or an entry is not as it should be.
    """
    split = known_split(split, "train", "test")
    if version not in (1, 2):
        raise DatasetError(f"Diving48's labels have the versions 1 and 2, got {version!r}")
    places = Places(root, annotations, videos, _UCSD)
    source = places.file(f"Diving48_V2_{split}.json" if version == 2 else f"Diving48_{split}.json")
    vocabulary = places.file("Diving48_vocab.json")
    classes = _diving48_classes(vocabulary)
    entries = _entries(source, ["vid_name", "label"])
    for number, entry in enumerate(entries, 1):
        if entry["label"] not in range(len(classes)):
            raise DatasetError(
                f"{source}, entry {number}: label {entry['label']!r} is not the number of one of the {len(classes)} "
                f"classes of {vocabulary}; get both files from the same release"
            )
    folder = places.folder("rgb", "videos")
    paths = [os.path.join(folder, f"{entry['vid_name']}.mp4") for entry in entries]
    return Listing(source, folder, paths, [int(entry["label"]) for entry in entries], classes)


def ucf101(
    root: AnyPath, split: str, *, fold: int = 1, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """UCF101: text files, an AVI file a video, classes in the order of ``classInd.txt``.

    Args:
        root, annotations, videos: see above.
        split: ``"train"`` or ``"test"``.
        fold: which of the three official divisions, 1 to 3.

    Raises:
        DatasetError: a file or folder is missing, or a line is not as it should be.
    """
    split = known_split(split, "train", "test")
    places = Places(root, annotations, videos, _CRCV, ("ucfTrainTestlist", "annotations/ucfTrainTestlist"))
    source = places.file(f"{split}list0{known_fold(fold)}.txt")
    classes_file = places.file("classInd.txt")
    classes = _ucf101_classes(classes_file)
    known = class_numbers(classes_file, classes)
    names: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(read_lines(source), 1):
        # Training lists repeat the class's number after the name, test lists don't.
        if words := line.split():
            names.append(words[0])
            labels.append(label_of(source, f"line {number}", words[0].partition("/")[0], known, classes_file))
    folder = places.folder("UCF-101", "UCF101", "videos", holding=classes)
    return Listing(source, folder, [os.path.join(folder, name) for name in names], labels, classes)


def hmdb51(
    root: AnyPath, split: str, *, fold: int = 1, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """HMDB51: a text file a class and fold, an AVI file a video, classes sorted by name.

    Args:
        root, annotations, videos: see above.
        split: ``"train"``, ``"test"``, or ``"unused"``: what a fold leaves out.
        fold: which of the three official divisions, 1 to 3.

    Raises:
        DatasetError: a file or folder is missing, or a line is not as it should be.
    """
    mark = {"unused": "0", "train": "1", "test": "2"}[known_split(split, "train", "test", "unused")]
    lists = "testTrainMulti_7030_splits"
    places = Places(root, annotations, videos, _SERRE, (lists, f"annotations/{lists}", f"test_train_splits/{lists}"))
    ending = f"_test_split{known_fold(fold)}.txt"
    source = os.path.dirname(places.file(f"*{ending}", several=True))
    classes = sorted(name.removesuffix(ending) for name in os.listdir(source) if name.endswith(ending))
    folder = places.folder("hmdb51_org", "hmdb51", "HMDB51", "videos", holding=classes)
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = _marked_files(os.path.join(source, name + ending), mark)
        paths += [os.path.join(folder, name, file) for file in files]
        labels += [label] * len(files)
    return Listing(f"{os.path.join(source, '*' + ending)} ({split})", folder, paths, labels, classes)


def _answers(prefix: str) -> tuple[str, str]:
    return f"{prefix}-test-answers.csv", "test-answers.csv"


def _twentybn_csv(places: Places, prefix: str, split: str) -> Listing:
    split = known_split(split, "train", "validation", "test")
    classes_file = places.file(f"{prefix}-labels.csv", "labels.csv")
    classes = [cells[0] for _, cells in read_rows(classes_file, ";")]
    source = places.seek(*_answers(prefix)) if split == "test" else None
    source = source or places.file(f"{prefix}-{split}.csv", f"{split}.csv")
    ids, labels = _ids_and_labels(source, class_numbers(classes_file, classes), classes_file, bare=split == "test")
    folder = places.folder(f"20bn-{prefix}", f"videos/20bn-{prefix}", "videos", "frames", "rawframes")
    return Listing(source, folder, [os.path.join(folder, name) for name in ids], labels, classes)


def _ids_and_labels(
    source: str, known: dict[str, int], classes_file: str, *, bare: bool = False
) -> tuple[list[str], list[int] | None]:
    """The rows ``id;label``; with ``bare``, rows may also all be ids alone."""
    rows = list(read_rows(source, ";"))
    ids = [cells[0] for _, cells in rows]
    if bare and all(len(cells) == 1 for _, cells in rows):
        return ids, None
    for line, cells in rows:
        if len(cells) != 2 or not cells[0]:
            raise DatasetError(f"{source}, line {line}: {';'.join(cells)!r} is not 'id;label'; get the file again")
    return ids, [label_of(source, f"line {line}", label, known, classes_file) for line, (_, label) in rows]


def _json_list(source: str, what: str) -> list[Any]:
    content = read_json(source)
    if not isinstance(content, list):
        raise DatasetError(f"{source} is not a list of {what}; get the file again")
    return content


def _entries(source: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    content = _json_list(source, "videos")
    for number, entry in enumerate(content, 1):
        if not isinstance(entry, dict) or any(key not in entry for key in keys):
            raise DatasetError(
                f"{source}, entry {number}: {str(entry)[:80]} lacks one of {', '.join(keys)}; get the file again"
            )
    return content


def _numbered_classes(source: str) -> list[str]:
    """The classes in an object of ``name: number``, numbers being text or not."""
    content = read_json(source)
    try:
        numbers = {name: int(number) for name, number in content.items()}
    except (AttributeError, TypeError, ValueError):
        numbers = {}
    if sorted(numbers.values()) != list(range(len(numbers) or 1)):
        raise DatasetError(f"{source} does not give each class a number from 0 on; get the file again")
    return sorted(numbers, key=lambda name: numbers[name])


def _template_labels(source: str, entries: list[dict[str, Any]], known: dict[str, int], classes_file: str) -> list[int]:
    names = [re.sub(r"[\[\]]", "", str(entry["template"])) for entry in entries]
    return [label_of(source, f"entry {number}", name, known, classes_file) for number, name in enumerate(names, 1)]


def _diving48_classes(source: str) -> list[str]:
    """The classes, each of which the vocabulary lists as its parts: takeoff, somersaults, twists, flight."""
    vocabulary = _json_list(source, "classes")
    for number, words in enumerate(vocabulary, 1):
        if not isinstance(words, list):
            raise DatasetError(f"{source}, entry {number}: {words!r} is not a list of words; get the file again")
    return [" ".join(map(str, words)) for words in vocabulary]


def _ucf101_classes(source: str) -> list[str]:
    """The classes in lines of a number, counted from 1, and a name."""
    rows = [(number, line.split()) for number, line in enumerate(read_lines(source), 1) if line.strip()]
    for count, (number, words) in enumerate(rows, 1):
        if len(words) != 2 or words[0] != str(count):
            raise DatasetError(
                f"{source}, line {number}: {' '.join(words)!r} is not '{count} <class>'; get the file again"
            )
    return [name for _, (_, name) in rows]


def _marked_files(source: str, mark: str) -> list[str]:
    """The files of one of HMDB51's lists with this mark: 0 unused, 1 train, 2 test."""
    files: list[str] = []
    for number, line in enumerate(read_lines(source), 1):
        words = line.rsplit(maxsplit=1)
        if words and (len(words) != 2 or words[1] not in ("0", "1", "2")):
            raise DatasetError(
                f"{source}, line {number}: {line.strip()!r} is not a file and 0, 1 or 2; get the list again"
            )
        if words and words[1] == mark:
            files.append(words[0].strip())
    return files
