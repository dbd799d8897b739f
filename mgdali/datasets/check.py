"""Comparing the official lists of a published data set with the files on disk."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations

from mgdali.datasets.layout import files_below, known_split
from mgdali.datasets.listing import AnyPath, Listing
from mgdali.datasets.registry import published_data_sets
from mgdali.errors import DatasetError

__all__ = ["DataCheck", "Names", "Overlap", "Part", "check_data", "to_json"]

_EXAMPLES = 5
_FRAME_ENDINGS = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Names:
    """Names that were found: their number, and the first few of them."""

    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """Return the number of names and the first few, sorted."""
        found = sorted(names)
        return cls(len(found), tuple(found[:_EXAMPLES]))


@dataclass(frozen=True)
class Part:
    """The result for one split, or for one split of one fold.

    Attributes:
        split, fold: The split and the fold; the fold is None if the data set has no folds.
        error: Reason its lists or the videos' folder cannot be used; all other attributes are then empty. Else None.
        listed: Number of entries in the list.
        labelled: Whether the list has labels.
        missing: Listed videos that are not on disk.
        empty: Listed videos that are files of 0 bytes or folders without a JPEG file.
        repeated: Videos that are listed more than once.
        idle_classes: Classes that have no video of this split on disk.
    """

    split: str
    fold: int | None
    error: str | None
    listed: int = 0
    labelled: bool = False
    missing: Names = Names(0, ())
    empty: Names = Names(0, ())
    repeated: Names = Names(0, ())
    idle_classes: Names = Names(0, ())


@dataclass(frozen=True)
class Overlap:
    """Videos that are in two splits of the same fold."""

    fold: int | None
    splits: tuple[str, str]
    videos: Names


@dataclass(frozen=True)
class DataCheck:
    """The result of a check. Its JSON has the same names as keys, nested like the classes.

    Attributes:
        name, root: The data set and its folder.
        complete: Whether all lists exist and no listed video is missing or empty.
        parts: The result for each split and fold.
        overlaps: Splits of the same fold that share videos.
        unlisted: Videos on disk that are in no list; None if some of the lists were not read.
    """

    name: str
    root: str
    complete: bool
    parts: tuple[Part, ...]
    overlaps: tuple[Overlap, ...]
    unlisted: Names | None


def check_data(
    name: str,
    root: AnyPath,
    *,
    splits: Sequence[str] | None = None,
    annotations: AnyPath | None = None,
    videos: AnyPath | None = None,
) -> DataCheck:
    """Compare the official lists of a data set with the files on disk. No video is opened.

    Args:
        name: Name of the data set in :func:`mgdali.datasets.registry.published_data_sets`.
        root: Folder that contains the lists and the videos.
        splits: Splits to check; None for all.
        annotations, videos: Other folders to search for lists and videos.

    Raises:
        DatasetError: If the name or a split is unknown, or ``root`` is not a folder. All other problems are in the
            result.
    """
    known = published_data_sets()
    if name not in known:
        raise DatasetError(f"data set {name!r} is not one of {', '.join(known)}")
    if not os.path.isdir(root):
        raise DatasetError(f"{root} is not a folder: give the folder that contains the lists and the videos")
    described = known[name]
    chosen = [known_split(split, *described.splits) for split in splits or described.splits]
    read = partial(described.read_all_listed, root, annotations=annotations, videos=videos)
    keys = [(fold, split) for fold in described.folds for split in dict.fromkeys(chosen)]
    listings = {key: _attempt(read, *key) for key in keys}
    folders = {listing.folder for listing in listings.values() if isinstance(listing, Listing)}
    on_disk = {path: empty for folder in sorted(folders) for path, empty in _scan(folder, described.endings)}
    parts = tuple(_part(split, fold, listing, on_disk) for (fold, split), listing in listings.items())
    others = [_attempt(read, fold, split) for fold in described.folds for split in described.extra_lists]
    every = [*listings.values(), *others] if set(chosen) == set(described.splits) else [None]
    return DataCheck(
        name=name,
        root=os.fspath(root),
        complete=not any(part.error or part.missing.count or part.empty.count for part in parts),
        parts=parts,
        overlaps=tuple(_overlaps(listings)),
        unlisted=_unlisted(on_disk, every),
    )


def to_json(check: DataCheck) -> str:
    """Return the result as JSON: an object with the keys of :class:`DataCheck`."""
    return json.dumps(asdict(check), indent=2)


def _attempt(read: Callable[..., Listing], fold: int | None, split: str) -> Listing | DatasetError:
    try:
        return read(split) if fold is None else read(split, fold=fold)
    except DatasetError as error:
        return error


def _scan(folder: str, endings: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Yield each video in a folder and whether it is empty."""
    if endings:
        yield from ((entry.path, entry.stat().st_size == 0) for entry in files_below(folder, endings))
        return
    for entry in os.scandir(folder):
        if entry.is_dir() and not entry.name.startswith("."):
            with os.scandir(entry) as frames:
                yield entry.path, not any(frame.name.lower().endswith(_FRAME_ENDINGS) for frame in frames)


def _part(split: str, fold: int | None, listing: Listing | DatasetError, on_disk: dict[str, bool]) -> Part:
    if isinstance(listing, DatasetError):
        return Part(split, fold, str(listing))
    labels, classes = listing.labels or [], listing.classes or []
    used = {label for path, label in zip(listing.paths, labels, strict=False) if path in on_disk}
    names = partial(_names, listing.folder)
    return Part(
        split=split,
        fold=fold,
        error=None,
        listed=len(listing.paths),
        labelled=listing.labels is not None,
        missing=names({path for path in listing.paths if path not in on_disk}),
        empty=names({path for path in listing.paths if on_disk.get(path)}),
        repeated=names(path for path, count in Counter(listing.paths).items() if count > 1),
        idle_classes=Names.of(name for label, name in enumerate(classes) if labels and label not in used),
    )


def _names(folder: str, paths: Iterable[str]) -> Names:
    return Names.of(os.path.relpath(path, folder) for path in paths)


def _overlaps(listings: dict[tuple[int | None, str], Listing | DatasetError]) -> Iterator[Overlap]:
    """Yield the overlaps, by file names, because the splits of Kinetics have separate folders."""
    names = {
        key: {os.path.basename(path) for path in listing.paths}
        for key, listing in listings.items()
        if isinstance(listing, Listing)
    }
    for ((fold, one), ours), ((other_fold, other), theirs) in combinations(names.items(), 2):
        if fold == other_fold and ours & theirs:
            yield Overlap(fold, (one, other), Names.of(ours & theirs))


def _unlisted(on_disk: dict[str, bool], listings: Sequence[Listing | DatasetError | None]) -> Names | None:
    known: set[str] = set()
    for listing in listings:
        if not isinstance(listing, Listing):
            return None
        known.update(listing.paths)
    return Names.of(path for path in on_disk if path not in known)
