"""Diving48: the lists that UCSD publishes, with corrected labels (version 2) or the first ones (version 1)."""

from __future__ import annotations

import os

from mgdali.datasets.layout import OfficialFiles, known_split
from mgdali.datasets.listing import AnyPath, Listing, read_json_array, read_json_objects
from mgdali.errors import DatasetError

__all__ = ["SPLITS", "VERSIONS", "read_diving48"]

SPLITS = ("train", "test")
VERSIONS = (1, 2)

_ORIGIN = "UCSD's Statistical Visual Computing Lab distributes it on the page of Diving48"


def read_diving48(
    root: AnyPath, split: str, *, version: int = 2, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Read a split of Diving48 from its official files.

    Classes have the order of the vocabulary and names such as ``Back 15som 05Twis FREE``. Each video is an MP4 file.

    Args:
        root: Folder that contains the lists and the videos. Lists may be located in its ``annotations``.
        split: ``"train"`` or ``"test"``.
        version: Version of the labels: 2, in which wrong labels were corrected, or 1.
        annotations: Another folder to search for lists.
        videos: Another folder to search for videos.

    Raises:
        DatasetError: If a file or folder is missing, or an entry is malformed.
    """
    split = known_split(split, *SPLITS)
    if version not in VERSIONS:
        raise DatasetError(f"version {version!r} of Diving48's labels does not exist: choose 1 or 2")
    files = OfficialFiles(root, annotations, videos, _ORIGIN)
    source = files.list_file(f"Diving48_V2_{split}.json" if version == 2 else f"Diving48_{split}.json")
    vocabulary = files.list_file("Diving48_vocab.json")
    classes = _read_vocabulary(vocabulary)
    entries = read_json_objects(source, ["vid_name", "label"])
    for number, entry in enumerate(entries, 1):
        if entry["label"] not in range(len(classes)):
            raise DatasetError(
                f"{source}, entry {number}: label {entry['label']!r} is not the number of one of the {len(classes)} "
                f"classes in {vocabulary}; use both files from the same release"
            )
    folder = files.videos_folder("rgb", "videos")
    paths = [os.path.join(folder, f"{entry['vid_name']}.mp4") for entry in entries]
    return Listing(source, folder, paths, [int(entry["label"]) for entry in entries], classes)


def _read_vocabulary(source: str) -> list[str]:
    """Return the classes. The file lists each as four words: takeoff, somersaults, twists, flight position."""
    vocabulary = read_json_array(source, "classes")
    for number, words in enumerate(vocabulary, 1):
        if not isinstance(words, list):
            raise DatasetError(f"{source}, entry {number}: {words!r} is not a list of words; download the file again")
    return [" ".join(map(str, words)) for words in vocabulary]
