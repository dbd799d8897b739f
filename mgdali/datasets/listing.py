"""Lists of videos: text, CSV and JSON files, read with errors that name the line, and lists of frame folders."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mgdali.errors import DatasetError

__all__ = [
    "FRAME_TEMPLATE",
    "AnyPath",
    "Listing",
    "class_numbers",
    "label_of",
    "printf_template",
    "read_frame_list",
    "read_json",
    "read_json_array",
    "read_json_objects",
    "read_lines",
    "read_rows",
]

AnyPath: TypeAlias = str | os.PathLike[str]

FRAME_TEMPLATE = "img_{:05d}.jpg"
"""File names of the frames in the folders of a list, unless stated otherwise."""

# "{:05d}", "{:05}", "{:d}" or "{}" of Python; "%05d" or "%d" of C.
_NUMBER = re.compile(r"\{(?::(0[1-9][0-9]*)?d?)?\}|%(0[1-9][0-9]*)?d")


@dataclass(frozen=True)
class Listing:
    """The content of a list of videos. The videos need not exist.

    Attributes:
        source: Name of the list, for errors.
        folder: Folder that contains the videos.
        paths: Path of each video: a file, a folder of frames, or a pattern of frames such as ``folder/img_%05d.jpg``.
        labels: Class index of each video; None if the list has no labels.
        classes: Name of each class, by index; None if the list contains only numbers.

    Raises:
        DatasetError: If the list is empty.
    """

    source: str
    folder: str
    paths: list[str]
    labels: list[int] | None
    classes: list[str] | None

    def __post_init__(self) -> None:
        if not self.paths:
            raise DatasetError(f"{self.source} lists no video: download the file again, or give another one")
        if self.labels is not None and len(self.labels) != len(self.paths):
            raise ValueError(f"{self.source}: {len(self.paths)} paths and {len(self.labels)} labels")

    def needed_labels(self) -> list[int]:
        """Return the labels.

        Raises:
            DatasetError: If the list has no labels.
        """
        if self.labels is None:
            raise DatasetError(
                f"{self.source} has no labels: the publishers often keep those of the test split. Load another split, "
                "or put the published answers (test-answers.csv) next to the list"
            )
        return self.labels


def read_lines(path: AnyPath, advice: str = "give a text file") -> list[str]:
    """Return the lines of a UTF-8 text file without line ends, which may be those of Windows.

    A byte order mark is removed.

    Args:
        path: The file.
        advice: What to do if the file cannot be read, for the error.

    Raises:
        DatasetError: If the file cannot be read or is not UTF-8.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read the list {path}: {error.strerror}; {advice}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise DatasetError(
            f"{path}, line {number}: the text is not UTF-8 ({error.reason}); save the list as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").split("\n")


def read_rows(path: AnyPath, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row of a CSV file. Blank rows are skipped; cells are stripped.

    Raises:
        DatasetError: If the file cannot be read, or a quotation mark is not closed.
    """
    reader = csv.reader(read_lines(path), delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {number}: {error}; correct the quotation marks or download the file again"
        ) from error


def read_json(path: AnyPath) -> Any:
    """Return the content of a JSON file.

    Raises:
        DatasetError: If the file cannot be read or is not JSON.
    """
    try:
        return json.loads("\n".join(read_lines(path, "give a JSON file")))
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{path}, line {error.lineno}: the text is not JSON ({error.msg}); download the file again"
        ) from error


def read_json_array(path: AnyPath, elements: str) -> list[Any]:
    """Return the content of a JSON file that contains one array.

    Args:
        path: The file.
        elements: What the array should contain, for the error.

    Raises:
        DatasetError: If the file cannot be read, is not JSON, or contains something else.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError(f"{path} is not a list of {elements}; download the file again")
    return content


def read_json_objects(path: AnyPath, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the content of a JSON file that contains an array with one object per video.

    Args:
        path: The file.
        keys: Keys that each object must have.

    Raises:
        DatasetError: If the file cannot be read, is not JSON, or an object lacks a key.
    """
    content = read_json_array(path, "videos")
    for number, entry in enumerate(content, 1):
        if not isinstance(entry, dict) or any(key not in entry for key in keys):
            raise DatasetError(
                f"{path}, entry {number}: {str(entry)[:80]} lacks one of {', '.join(keys)}; download the file again"
            )
    return content


def read_frame_list(path: AnyPath, root: AnyPath, template: str) -> Listing:
    """Read a list with one line ``folder frames label`` per video, as TSM and MMAction2 write for frames in JPEG files.

    Folder names may contain spaces. There are no comments, because the name of a video may begin with ``#``.

    Args:
        path: The list, in UTF-8.
        root: Folder that relative folders in the list start from.
        template: File name of the frames, as in :func:`printf_template`.

    Raises:
        DatasetError: If the list cannot be read, is empty, or has a malformed line; the message names the line.
    """
    name = printf_template(template)
    paths: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(read_lines(path), 1):
        words = line.rsplit(maxsplit=2)
        if not words:
            continue
        if len(words) != 3 or not (words[1].isdecimal() and words[2].isdecimal()):
            raise DatasetError(
                f"{path}, line {number}: {line.strip()!r} is not 'folder frames label', where frames and label are "
                "numbers" + ("; VideoDataset.from_list reads lists of 'path label'" if len(words) == 2 else "")
            )
        if int(words[1]) < 1:
            raise DatasetError(f"{path}, line {number}: {words[0]} has no frames; remove the line")
        paths.append(os.path.join(root, words[0].lstrip(), name))
        labels.append(int(words[2]))
    return Listing(str(path), str(root), paths, labels, None)


def printf_template(template: str) -> str:
    """Convert a template for the file names of frames to printf's form: ``img_{:05d}.jpg`` to ``img_%05d.jpg``.

    Args:
        template: File name with one placeholder for a number, Python's (``{:05d}``, ``{:05}``, ``{}``) or C's
            (``%05d``).

    Raises:
        DatasetError: If the template has no placeholder, several, or other special characters.
    """
    found = _NUMBER.findall(template)
    rest = _NUMBER.sub("", template)
    if len(found) != 1 or set(rest) & set("{}%/"):
        raise DatasetError(
            f"template {template!r} is not a file name with one placeholder for the frame number: "
            "write it like 'img_{:05d}.jpg' or 'img_%05d.jpg'"
        )
    return _NUMBER.sub(lambda place: f"%{place[1] or place[2] or ''}d", template)


def class_numbers(source: str, classes: Sequence[str]) -> dict[str, int]:
    """Return the index of each class by name.

    Raises:
        DatasetError: If two classes have the same name.
    """
    known = {name: index for index, name in enumerate(classes)}
    if len(known) < len(classes):
        twice = next(name for index, name in enumerate(classes) if known[name] != index)
        raise DatasetError(f"{source} has the class {twice!r} twice; download the file again")
    return known


def label_of(source: str, place: str, name: str, known: Mapping[str, int], classes_file: str) -> int:
    """Return the index of a class.

    Args:
        source: List that names the class, for the error.
        place: Line or entry of the list, for the error.
        name: The class.
        known: Index of each class.
        classes_file: File that defines the classes, for the error.

    Raises:
        DatasetError: If the class is unknown.
    """
    if name not in known:
        raise DatasetError(
            f"{source}, {place}: {name!r} is not a class in {classes_file}; use both files from the same release"
        )
    return known[name]
