"""Folders with one subfolder of videos per class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mgdali.datasets.labels import shortened
from mgdali.datasets.listing import AnyPath, Listing
from mgdali.errors import DatasetError
from mgdali.video.media import find_media

__all__ = ["read_class_folders"]


def read_class_folders(root: AnyPath, extensions: Iterable[str], classes: Sequence[str] | None) -> Listing:
    """Return the videos of a folder with one subfolder per class: ``root/<class>/…/<file>``, sorted by name.

    Args:
        root: Path of the folder. Hidden files and folders are ignored.
        extensions: Endings of video files, in lower case, with the dot.
        classes: Names of the classes by index. They need not have a folder or videos. None for the names of the
            subfolders, sorted; each must then contain a video.

    Raises:
        DatasetError: If the folder is missing, contains no video, or has a subfolder that is not a class; or without
            ``classes``, if a subfolder contains no video.
    """
    folder = Path(root)
    if isinstance(extensions, str):
        raise DatasetError(
            f"extensions is one string, {extensions!r}: give a list of endings, such as [{extensions!r}]"
        )
    endings = tuple(extensions)
    names = _class_folders(folder)
    numbers = {name: index for index, name in enumerate(names if classes is None else classes)}
    paths: list[str] = []
    labels: list[int] = []
    for name in names:
        if name not in numbers:
            raise DatasetError(
                f"{folder / name}: {name!r} is not one of the {len(numbers)} classes ({shortened(list(numbers))}): add "
                "it to classes=, or move the folder to another place"
            )
        class_folder = os.path.join(folder, name)
        # JPEG files directly in the class's folder are not a video: it is the folder of a class, not of a video.
        found = [path for path in find_media(class_folder, extensions=endings) if path != class_folder]
        if not found and classes is None:
            raise DatasetError(
                f"{folder / name} contains no video ({_kinds(endings)}): remove the folder, or pass the ending of its "
                "files in extensions="
            )
        paths += found
        labels += [numbers[name]] * len(found)
    if not paths:
        raise DatasetError(
            f"{folder} contains no video ({_kinds(endings)}) in its {len(names)} subfolders: give another folder, or "
            "pass the ending of the files in extensions="
        )
    return Listing(str(folder), str(folder), paths, labels, list(numbers))


def _class_folders(folder: Path) -> list[str]:
    """Return the names of the subfolders, sorted."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DatasetError(f"{folder} {what}: give a folder with one subfolder of videos per class")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DatasetError(
            f"{folder} has no subfolders: put each video into a subfolder named after its class "
            f"({folder}/<class>/<file>), or list the videos in a file and use VideoDataset.from_list"
        )
    return names


def _kinds(endings: Iterable[str]) -> str:
    return f"{', '.join(sorted(endings))}, or folders of JPEG frames"
