"""Lists of videos: text, CSV and JSON files read with errors that name the line, and the formats of frame lists."""

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
    "AnyPath",
    "Listing",
    "class_numbers",
    "label_of",
    "printf_template",
    "read_frame_list",
    "read_json",
    "read_lines",
    "read_rows",
]

AnyPath: TypeAlias = str | os.PathLike[str]

# "{:05d}", "{:05}", "{:d}" or "{}" of Python; "%05d" or "%d" of C.
_NUMBER = re.compile(r"\{(?::(0[1-9][0-9]*)?d?)?\}|%(0[1-9][0-9]*)?d")


@dataclass(frozen=True)
class Listing:
    """What a list says. Whether the videos are there has not been looked at.

    Attributes:
        source: the list, as errors name it.
        folder: where the videos lie.
        paths: a video each: a file, a folder of frames, or a pattern of frames such as ``folder/img_%05d.jpg``.
        labels: a class index each; None where the list gives no labels.
        classes: the classes' names, by index; None where the list gives numbers only.

    Raises:
        DatasetError: the list is empty.
    """

    source: str
    folder: str
    paths: list[str]
    labels: list[int] | None
    classes: list[str] | None

    def __post_init__(self) -> None:
        if not self.paths:
            raise DatasetError(f"{self.source} lists no video: get the file again, or give another")
        if self.labels is not None and len(self.labels) != len(self.paths):
            raise ValueError(f"{self.source}: {len(self.paths)} paths and {len(self.labels)} labels")

    def needed_labels(self) -> list[int]:
        """The labels.

        Raises:
            DatasetError: the list gives none.
        """
        if self.labels is None:
            raise DatasetError(
                f"{self.source} has no labels, as its makers keep those of the test split: load another split, "
                "or put the answers beside it where they were given out (test-answers.csv)"
            )
        return self.labels


def read_lines(path: AnyPath, give: str = "give a text file") -> list[str]:
    """A UTF-8 text file's lines, without their ends. A byte order mark and Windows' line ends are passed over.

    Args:
        path: the file.
        give: what to do where it cannot be read, for the error.

    Raises:
        DatasetError: the file cannot be read or is not UTF-8.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read the list {path}: {error.strerror}; {give}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise DatasetError(
            f"{path}, line {number}: it is not UTF-8 text ({error.reason}); save the list as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").split("\n")


def read_rows(path: AnyPath, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not blank, each with the number of its line; cells are stripped.

    Raises:
        DatasetError: the file cannot be read, or a quotation is not closed.
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
        raise DatasetError(f"{path}, line {number}: {error}; correct its quotation marks or get it again") from error


def read_json(path: AnyPath) -> Any:
    """What a JSON file holds.

    Raises:
        DatasetError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads("\n".join(read_lines(path, "give a JSON file")))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}, line {error.lineno}: it is not JSON ({error.msg}); get the file again") from error


def read_frame_list(path: AnyPath, root: AnyPath, template: str) -> Listing:
    """A list with a line ``folder frames label`` a video, as TSM and MMAction2 write it for frames in JPEG files.

    Folders may hold spaces. No line is a comment: names of videos may begin with ``#``.

    Args:
        path: the list, UTF-8.
        root: a folder that the list's folders start from; absolute ones stay as they are.
        template: the frames' names, as in :func:`printf_template`.

    Raises:
        DatasetError: the list cannot be read, is empty, or has a line of another form; the message names it.
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
                f"{path}, line {number}: {line.strip()!r} is not 'folder frames label', with numbers for the last two"
                + ("; VideoDataset.from_list reads lists of 'path label'" if len(words) == 2 else "")
            )
        if int(words[1]) < 1:
            raise DatasetError(f"{path}, line {number}: {words[0]} has no frames; take the line out")
        paths.append(os.path.join(root, words[0].lstrip(), name))
        labels.append(int(words[2]))
    return Listing(str(path), str(root), paths, labels, None)


def printf_template(template: str) -> str:
    """A template of frames' names in printf's form: ``img_{:05d}.jpg`` becomes ``img_%05d.jpg``.

    Args:
        template: a file name with one place for a number, Python's (``{:05d}``, ``{:05}``, ``{}``) or C's (``%05d``).

    Raises:
        DatasetError: it has none or several, or other signs that stand for something.
    """
    found = _NUMBER.findall(template)
    rest = _NUMBER.sub("", template)
    if len(found) != 1 or set(rest) & set("{}%/"):
        raise DatasetError(
            f"template {template!r} is not a file name with one place for the frame's number: "
            "write it like 'img_{:05d}.jpg' or 'img_%05d.jpg'"
        )
    return _NUMBER.sub(lambda place: f"%{place[1] or place[2] or ''}d", template)


def class_numbers(source: str, classes: Sequence[str]) -> dict[str, int]:
    """Each class's index, by its name.

    Raises:
        DatasetError: two classes share a name.
    """
    known = {name: index for index, name in enumerate(classes)}
    if len(known) < len(classes):
        twice = next(name for index, name in enumerate(classes) if known[name] != index)
        raise DatasetError(f"{source} has the class {twice!r} twice; get the file again")
    return known


def label_of(source: str, place: str, name: str, known: Mapping[str, int], classes_file: str) -> int:
    """The index of a class that is named at ``place`` in the list ``source``.

    Raises:
        DatasetError: ``known`` has no such class.
    """
    if name not in known:
        raise DatasetError(
            f"{source}, {place}: {name!r} is no class of {classes_file}; get both files from the same release"
        )
    return known[name]
