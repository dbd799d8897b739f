"""Whether a published data set is all there, by its official lists: ``mgdali data check``."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mgdali.datasets.kinetics import CLIP_ENDINGS, kinetics
from mgdali.datasets.layout import files_below, known_split
from mgdali.datasets.listing import AnyPath, Listing
from mgdali.datasets.official import diving48, hmdb51, jester, something_something_v1, something_something_v2, ucf101
from mgdali.errors import DatasetError

__all__ = ["DataCheck", "Names", "Overlap", "Part", "check_data", "render", "to_json"]

_EXAMPLES = 5
_FRAME_ENDINGS = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Names:
    """Some things found: how many, and the first few by name."""

    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        found = sorted(names)
        return cls(len(found), tuple(found[:_EXAMPLES]))


@dataclass(frozen=True)
class Part:
    """A split, or a fold's.

    Attributes:
        split, fold: which; the fold is None where the set has none.
        error: why its lists or the videos' folder cannot be used, and then all else is empty; else None.
        listed: entries in the list.
        labelled: whether the list gives labels.
        missing: listed videos that are not on disk.
        empty: those that are, as files of 0 bytes or as folders without a JPEG file.
        repeated: videos that are listed more than once.
        idle_classes: classes none of whose videos of this part are on disk.
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
    """Videos that two splits of a fold share."""

    fold: int | None
    splits: tuple[str, str]
    videos: Names


@dataclass(frozen=True)
class DataCheck:
    """What was found. Its JSON has the same names as keys, nested as the classes are.

    Attributes:
        name, root: what was looked at.
        complete: all lists are there, and no listed video is missing or empty.
        parts: every split and fold.
        overlaps: splits of a fold that share videos.
        unlisted: videos on disk that no list names; None where some of the lists were not read.
    """

    name: str
    root: str
    complete: bool
    parts: tuple[Part, ...]
    overlaps: tuple[Overlap, ...]
    unlisted: Names | None


@dataclass(frozen=True)
class _Set:
    """How a set is read.

    Attributes:
        read: gives a split's :class:`Listing`.
        splits: those that are looked at.
        endings: what its files' names end in; none where videos are folders of frames.
        folds: those there are; None alone where the set is not divided so.
        also: further marks in its lists, which only tell which files are known.
    """

    read: Callable[..., Listing]
    splits: tuple[str, ...]
    endings: tuple[str, ...] = ()
    folds: tuple[int | None, ...] = (None,)
    also: tuple[str, ...] = ()


_THREE = ("train", "validation", "test")
_TWO = ("train", "test")
_SETS = {
    "something-something-v1": _Set(something_something_v1, _THREE),
    "something-something-v2": _Set(something_something_v2, _THREE, (".webm",)),
    "jester": _Set(jester, _THREE),
    "diving48": _Set(diving48, _TWO, (".mp4",)),
    "ucf101": _Set(ucf101, _TWO, (".avi",), (1, 2, 3)),
    "hmdb51": _Set(hmdb51, _TWO, (".avi",), (1, 2, 3), ("unused",)),
    "kinetics": _Set(partial(kinetics, all_listed=True), _THREE, CLIP_ENDINGS),
}


def check_data(
    name: str,
    root: AnyPath,
    *,
    splits: Sequence[str] | None = None,
    annotations: AnyPath | None = None,
    videos: AnyPath | None = None,
) -> DataCheck:
    """Compare a set's official lists with what is on disk. No video is opened.

    Args:
        name: ``"something-something-v1"``, ``"something-something-v2"``, ``"jester"``, ``"diving48"``, ``"ucf101"``,
            ``"hmdb51"`` or ``"kinetics"``.
        root: the folder that holds lists and videos.
        splits: those to look at; None for all.
        annotations, videos: folders to look in for lists and videos instead.

    Raises:
        DatasetError: the name or a split is unknown, or root is no folder. All else that is wrong is told in the
            result.
    """
    if name not in _SETS:
        raise DatasetError(f"data set {name!r} is not one of {', '.join(_SETS)}")
    if not os.path.isdir(root):
        raise DatasetError(f"{root} is not a folder: give the one that holds the lists and the videos")
    described = _SETS[name]
    chosen = [known_split(split, *described.splits) for split in splits or described.splits]
    read = partial(described.read, root, annotations=annotations, videos=videos)
    keys = [(fold, split) for fold in described.folds for split in dict.fromkeys(chosen)]
    listings = {key: _attempt(read, *key) for key in keys}
    folders = {listing.folder for listing in listings.values() if isinstance(listing, Listing)}
    on_disk = {path: empty for folder in sorted(folders) for path, empty in _scan(folder, described.endings)}
    parts = tuple(_part(split, fold, listing, on_disk) for (fold, split), listing in listings.items())
    others = [_attempt(read, fold, split) for fold in described.folds for split in described.also]
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
    """What was found, for machines: an object with the keys of :class:`DataCheck`."""
    return json.dumps(asdict(check), indent=2)


def render(check: DataCheck, console: Console) -> None:
    """Print what was found for people."""
    columns = ("Split", "Listed", "Missing", "Empty", "Listed twice", "Classes without videos")
    table = Table(title=f"{check.name} in {check.root}", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for part in check.parts:
        found = (part.missing, part.empty, part.repeated, part.idle_classes)
        counts = ["-"] * 5 if part.error else [f"{part.listed}", *(f"{names.count}" for names in found)]
        if not part.labelled:
            counts[-1] = "-"
        table.add_row(*map(Text, (_title(part.split, part.fold), *counts)))
    console.print(table)
    for line in _lines(check):
        # Lines to copy: the terminal wraps them, no line breaks are put in.
        console.print(Text(line), soft_wrap=True)


def _attempt(read: Callable[..., Listing], fold: int | None, split: str) -> Listing | DatasetError:
    try:
        return read(split) if fold is None else read(split, fold=fold)
    except DatasetError as error:
        return error


def _scan(folder: str, endings: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Each video below a folder, and whether it is empty."""
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
    """By the names of files: Kinetics' splits lie in folders of their own."""
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


def _title(split: str, fold: int | None) -> str:
    return split if fold is None else f"{split}, fold {fold}"


def _lines(check: DataCheck) -> Iterator[str]:
    """What tables have no room for: names, and why lists cannot be used."""
    for part in check.parts:
        title = _title(part.split, part.fold)
        if part.error:
            yield f"{title}: {part.error}"
        yield from _examples(f"{title}: missing", part.missing)
        yield from _examples(f"{title}: empty", part.empty)
        yield from _examples(f"{title}: listed more than once", part.repeated)
        yield from _examples(f"{title}: classes without videos", part.idle_classes)
    for overlap in check.overlaps:
        one, other = overlap.splits
        yield from _examples(f"{_title(one, overlap.fold)}: shared with {other}", overlap.videos)
    if check.unlisted is None:
        yield "Not looked for: videos that no list names, as not all lists were read."
    else:
        yield from _examples("On disk, but in no list", check.unlisted)
    yield "Complete." if check.complete else "Not complete."


def _examples(what: str, names: Names) -> Iterator[str]:
    if names.count:
        more = ", …" if names.count > len(names.first) else ""
        yield f"{what} ({names.count}): {', '.join(names.first)}{more}"
