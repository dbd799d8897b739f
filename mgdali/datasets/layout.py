"""Where the files of a published data set lie, and which of its parts there are."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mgdali.datasets.listing import AnyPath
from mgdali.errors import DatasetError

__all__ = ["Places", "files_below", "known_fold", "known_split"]

_SHORT_SPLITS = {"val": "validation", "valid": "validation", "validate": "validation"}
_FOLDS = (1, 2, 3)


@dataclass(frozen=True)
class Places:
    """Where one set's files may lie.

    Attributes:
        root: the folder that holds all of it.
        annotations, videos: folders to look in instead.
        origin: who gives the set out, as errors say it.
        folders: folders that annotation files may lie in, beside root, ``annotations`` and ``labels``.
    """

    root: AnyPath
    annotations: AnyPath | None
    videos: AnyPath | None
    origin: str
    folders: tuple[str, ...] = ()

    def file(self, *names: str, several: bool = False) -> str:
        """The annotation file of the first of these names that is there.

        Args:
            names: names or patterns (``*``).
            several: a pattern may fit more than one file of a folder, and the first is taken.

        Raises:
            DatasetError: none is there, or several are that should not be.
        """
        found = self.seek(*names, several=several)
        if not found:
            raise DatasetError(
                f"{names[0]} was not found: looked for {' or '.join(names)} in {', '.join(self._annotation_folders())}."
                f" {self.origin}; where it lies elsewhere, say so with annotations="
            )
        return found

    def seek(self, *names: str, several: bool = False) -> str | None:
        """As :meth:`file`, but None where none is there."""
        for name in names:
            for folder in self._annotation_folders():
                found = sorted(glob.glob(os.path.join(glob.escape(folder), name)))
                if len(found) > 1 and not several:
                    raise DatasetError(
                        f"{folder} has more than one {name}: {', '.join(map(os.path.basename, found))}; put those of "
                        "one release into a folder of their own and name it with annotations="
                    )
                if found:
                    return found[0]
        return None

    def folder(self, *names: str, holding: Sequence[str] = ()) -> str:
        """The videos' folder: the first of these that is there and holds one of the folders ``holding``.

        Raises:
            DatasetError: there is none.
        """
        base = os.fspath(self.root if self.videos is None else self.videos)
        folders = [os.path.join(base, name) for name in names]
        if self.videos is not None or holding:
            folders.append(base)
        for folder in folders:
            if os.path.isdir(folder) and (not holding or any(os.path.isdir(os.path.join(folder, h)) for h in holding)):
                return folder
        what = f", with folders such as {holding[0]}" if holding else ""
        raise DatasetError(
            f"the folder of videos was not found: looked for {' or '.join(folders)}{what}. Unpack the videos there; "
            "where they lie elsewhere, say so with videos="
        )

    def _annotation_folders(self) -> list[str]:
        base = os.fspath(self.root if self.annotations is None else self.annotations)
        return [base, *(os.path.join(base, name) for name in ("annotations", "labels", *self.folders))]


def known_split(split: str, *splits: str) -> str:
    """The split's full name.

    Raises:
        DatasetError: it is not one of ``splits``.
    """
    name = _SHORT_SPLITS.get(split, split)
    if name not in splits:
        raise DatasetError(f"split {split!r} is not one of this set's: {', '.join(splits)}")
    return name


def known_fold(fold: int) -> int:
    """The fold.

    Raises:
        DatasetError: it is not 1, 2 or 3.
    """
    if fold not in _FOLDS:
        raise DatasetError(f"fold {fold!r} is not one of this set's: 1, 2, 3")
    return fold


def files_below(folder: str, endings: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """The files in a folder, and in the folders in it, whose names end so, in any case, and are not hidden."""
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
