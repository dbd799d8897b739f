"""The files of a published data set: where its lists and videos are located, and the names of its splits and folds."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mgdali.datasets.listing import AnyPath
from mgdali.errors import DatasetError

__all__ = ["OfficialFiles", "files_below", "known_fold", "known_split"]

_OTHER_SPLIT_NAMES = {"val": "validation", "valid": "validation", "validate": "validation"}


@dataclass(frozen=True)
class OfficialFiles:
    """Search paths for the lists and videos of one data set.

    Attributes:
        root: Folder that contains the lists and the videos.
        annotations: Folder to search for lists instead of ``root``; None for ``root``.
        videos: Folder to search for videos instead of ``root``; None for ``root``.
        origin: Sentence that names the publisher of the data set, for errors.
        list_folders: Further folders to search for lists, in addition to ``root``, ``annotations`` and ``labels``.
    """

    root: AnyPath
    annotations: AnyPath | None
    videos: AnyPath | None
    origin: str
    list_folders: tuple[str, ...] = ()

    def list_file(self, *names: str, several: bool = False) -> str:
        """Return the path of a list.

        Args:
            names: File names or patterns (``*``). The first name that exists in any folder is used.
            several: Whether a pattern may match more than one file in a folder. If True, the first match is returned.

        Raises:
            DatasetError: If no file is found, or more than one although ``several`` is False.
        """
        found = self.find_list_file(*names, several=several)
        if not found:
            raise DatasetError(
                f"{names[0]} was not found: looked for {' or '.join(names)} in {', '.join(self._list_folders())}. "
                f"{self.origin}. If the file is in another folder, name that folder with annotations="
            )
        return found

    def find_list_file(self, *names: str, several: bool = False) -> str | None:
        """Return the path of a list as :meth:`list_file` does, but None if no file is found."""
        for name in names:
            for folder in self._list_folders():
                found = sorted(glob.glob(os.path.join(glob.escape(folder), name)))
                if len(found) > 1 and not several:
                    raise DatasetError(
                        f"{folder} contains more than one {name}: {', '.join(map(os.path.basename, found))}. Move the "
                        "files of one release to a separate folder and name that folder with annotations="
                    )
                if found:
                    return found[0]
        return None

    def videos_folder(self, *names: str, holding: Sequence[str] = ()) -> str:
        """Return the path of the folder of videos.

        Args:
            names: Names of the folder, in ``root`` or ``videos``. The first that exists is used. ``videos`` itself
                is tried last; ``root`` itself is tried last if ``holding`` is given.
            holding: Names of subfolders. If given, the folder must contain at least one of them.

        Raises:
            DatasetError: If no such folder exists.
        """
        base = os.fspath(self.root if self.videos is None else self.videos)
        folders = [os.path.join(base, name) for name in names]
        if self.videos is not None or holding:
            folders.append(base)
        for folder in folders:
            if os.path.isdir(folder) and (not holding or any(os.path.isdir(os.path.join(folder, h)) for h in holding)):
                return folder
        subfolders = f", with folders such as {holding[0]}" if holding else ""
        raise DatasetError(
            f"the folder of videos was not found: looked for {' or '.join(folders)}{subfolders}. Unpack the videos "
            "there, or name their folder with videos="
        )

    def _list_folders(self) -> list[str]:
        base = os.fspath(self.root if self.annotations is None else self.annotations)
        return [base, *(os.path.join(base, name) for name in ("annotations", "labels", *self.list_folders))]


def known_split(split: str, *splits: str) -> str:
    """Return the full name of a split: ``"val"``, ``"valid"`` and ``"validate"`` become ``"validation"``.

    Args:
        split: The name that a user gave.
        splits: Full names of the data set's splits.

    Raises:
        DatasetError: If the split is not one of ``splits``.
    """
    name = _OTHER_SPLIT_NAMES.get(split, split)
    if name not in splits:
        raise DatasetError(f"split {split!r} does not exist in this data set: choose one of {', '.join(splits)}")
    return name


def known_fold(fold: int, folds: Sequence[int]) -> int:
    """Return ``fold``.

    Raises:
        DatasetError: If the fold is not one of ``folds``.
    """
    if fold not in folds:
        raise DatasetError(f"fold {fold!r} does not exist in this data set: choose one of {', '.join(map(str, folds))}")
    return fold


def files_below(folder: str, endings: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """Yield the files in a folder and in its direct subfolders whose names end with one of ``endings``, in any case.

    Hidden files and folders are skipped.
    """
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.name.lower().endswith(endings):
            yield entry
        elif entry.is_dir():
            yield from (
                file
                for file in os.scandir(entry)
                if file.name.lower().endswith(endings) and not file.name.startswith(".")
            )
