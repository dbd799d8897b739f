"""What an index file knows about videos, which decides whether a build must measure them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mgdali.errors import VideoDecodeError
from mgdali.index.schema import SCHEMA, Rows
from mgdali.index.writer import IndexWriter
from mgdali.samplers import Representation
from mgdali.video.media import Fingerprint, Media
from mgdali.video.record import was_measured
from mgdali.video.remote import is_url, remote_info

__all__ = ["KnownContents", "KnownVideo", "Renaming", "copy_renamed", "read_known"]

_KINDS = ("image", "image_rgb", "feature")
_FACTS = ("path", "size", "mtime_ns", "head", "error", "filters")


@dataclass
class KnownVideo:
    """The part of a video's index row that decides whether the video must be measured again.

    Attributes:
        fingerprint: Fingerprint of the file when it was measured; None if it could not be read.
        error: Reason the video could not be decoded; None if it could.
        measured: Keys of the representations that the row contains S for.
        filters: Digest of the filters with which feature-level S was measured; None without feature-level S.
        packed: Whether S is that of an original, because the video is one of a packed data set.
    """

    fingerprint: Fingerprint | None
    error: str | None
    measured: frozenset[str]
    filters: str | None
    packed: bool = False

    def has(self, representation: Representation) -> bool:
        """Whether S was measured in this way."""
        return was_measured(representation, self.measured, self.filters)


@dataclass(frozen=True)
class Renaming:
    """A row that is copied under another name, because two videos have the same content.

    Attributes:
        source: Name of the row in the file.
        target: Full name of the other video.
        fingerprint: Fingerprint of the other video; it differs from that of the row only in its time.
    """

    source: str
    target: str
    fingerprint: Fingerprint


def read_known(writer: IndexWriter) -> dict[str, KnownVideo]:
    """Return the videos in an index and in its unmerged parts, by name in the file.

    A video that has several rows is described by its newest row.
    """
    known: dict[str, KnownVideo] = {}
    for batch in writer.rows([*_FACTS, "origin", *(f"motion_{kind}" for kind in _KINDS)]):
        there = {kind: batch.column(f"motion_{kind}").is_valid().to_pylist() for kind in _KINDS}
        packed = batch.column("origin").is_valid().to_pylist()
        plain = [batch.column(name).to_pylist() for name in _FACTS]
        # Within a part the later row is the newer one.
        for i in range(batch.num_rows - 1, -1, -1):
            path, size, mtime_ns, head, error, filters = (column[i] for column in plain)
            if path not in known:
                fingerprint = None if size is None else Fingerprint(size, mtime_ns, head)
                measured = frozenset(kind for kind in _KINDS if there[kind][i])
                known[path] = KnownVideo(fingerprint, error, measured, filters, packed[i])
    return known


class KnownContents:
    """The decodable videos of an index by content, to find moved, renamed and copied videos.

    Args:
        known: The videos by name, from :func:`read_known`.
        wanted: Representations that rows should contain S of. Of several videos with the same content, one that has
            all of them is found.
    """

    def __init__(self, known: Mapping[str, KnownVideo], wanted: Iterable[Representation]) -> None:
        representations = tuple(wanted)
        self._names: dict[int, dict[str, str]] = {}
        for name, row in known.items():
            # S of a packed video is that of its original. Measuring the same bytes elsewhere gives another S.
            if row.fingerprint is None or row.error is not None or row.packed:
                continue
            heads = self._names.setdefault(row.fingerprint.size, {})
            if row.fingerprint.head not in heads or all(map(row.has, representations)):
                heads[row.fingerprint.head] = name

    def find(self, media: Media) -> tuple[str, Fingerprint] | None:
        """Return the name of a video with the same size and head, and the fingerprint of ``media``; else None.

        Nothing is read unless a video has the same size. A video that cannot be read is not found.
        """
        with contextlib.suppress(VideoDecodeError, OSError):
            # Even the size is not looked up for a new index, because that is a request for each URL.
            heads = self._names.get(_size(media)) if self._names else None
            if heads:
                fingerprint = media.fingerprint()
                name = heads.get(fingerprint.head)
                return None if name is None else (name, fingerprint)
        return None


def copy_renamed(writer: IndexWriter, renamings: Iterable[Renaming]) -> None:
    """Add a row for each renaming to an index, with the contents of the existing row."""
    by_source: dict[str, list[Renaming]] = {}
    for each in renamings:
        by_source.setdefault(each.source, []).append(each)
    if not by_source:
        return
    # Closed at once if all are found early, because it holds the lock of the index.
    with contextlib.closing(writer.rows(SCHEMA.names)) as batches:
        for batch in batches:
            rows, paths = Rows(batch), batch.column("path").to_pylist()
            for row in range(batch.num_rows - 1, -1, -1):
                copies = by_source.pop(paths[row], ())
                writer.add(*(replace(rows[row], path=each.target, fingerprint=each.fingerprint) for each in copies))
            if not by_source:
                return


def _size(media: Media) -> int:
    """Return the size of a video's content in bytes, as in its fingerprint, without reading the content."""
    if media.span is not None:
        return media.span[1]
    if is_url(media.path):
        return int(remote_info(media.path)["size"])
    files = media.frame_files()
    return sum(os.stat(file).st_size for file in ([media.path] if files is None else files))
