"""The record of one video in a motion index."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mgdali.errors import VideoDecodeError
from mgdali.samplers import Representation
from mgdali.video.media import Fingerprint
from mgdali.video.packets import StreamLog
from mgdali.video.remote import is_url
from mgdali.video.separable_motion import luma_bank

__all__ = ["VideoRecord", "filters_digest", "index_name", "path_named", "representation_key", "was_measured"]

_ESCAPED = re.compile(r"\\x([89a-f][0-9a-f])")

# Types of the arrays, as in an index file.
_ARRAYS = {
    "times": np.int64,
    "packets": np.int32,
    "referenced": np.bool_,
    "key_frames": np.int32,
    "packet_offsets": np.int64,
    "packet_sizes": np.int32,
    "key_times": np.int64,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoRecord:
    """Facts about one video, measured while the whole video was decoded.

    Attributes:
        path: Name of the video in the index (:func:`index_name`).
        fingerprint: Fingerprint of the content that was measured; None if the content could not be read.
        error: Reason the video could not be decoded; None if it was decoded. With an error, all attributes below have
            their default values.
        num_frames: Number of frames, T.
        width, height: Size of the stored picture, in pixels.
        rotation: Angle by which to turn the stored picture counterclockwise for display, in degrees, a multiple of 90.
        rate: Average number of frames per second according to the container; 0 if it does not specify it.
        codec, pixel_format, container: FFmpeg's names of the codec, the pixel format and the container format.
        time_base: Duration of a tick in seconds, as numerator and denominator.
        times: Presentation time of each frame, int64 ``[T]`` in ticks; None unless all are known and increasing.
        packets: Number of the packet of each frame, int32 ``[T]``; None unless each packet contains exactly one frame.
        referenced: Whether other frames may refer to each frame, bool ``[T]``.
        key_frames: Frames at which decoding can begin, int32 ``[K]``, increasing; empty if ``packets`` is None.
        motion: Motion S per representation (:func:`representation_key`), float32 ``[T]`` each, >= 0.
        filters: Digest of the filters with which S was measured at the feature level (:func:`filters_digest`); None if
            S was not measured there.
        origin: Path of the original video, if this one is a copy in a packed data set; else None. S is then that of the
            original, and the attributes below are known.
        extradata: Headers that FFmpeg's decoder gets before the first packet; None if unknown.
        packet_offsets: Position of each packet in the encoded file, int64 ``[P]``, in bytes; None if unknown.
        packet_sizes: Size of each packet, int32 ``[P]``, in bytes; None if unknown.
        key_times: Presentation times of the key frames, int64 ``[K]`` in ticks, in a record whose ``times`` were left
            out (:meth:`without_times`); otherwise None. An index does not contain them.
    """

    path: str
    fingerprint: Fingerprint | None = None
    error: str | None = None
    num_frames: int = 0
    width: int = 0
    height: int = 0
    rotation: int = 0
    rate: float = 0.0
    codec: str = ""
    pixel_format: str = ""
    container: str = ""
    time_base: tuple[int, int] = (0, 1)
    times: NDArray[np.int64] | None = None
    packets: NDArray[np.int32] | None = None
    referenced: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    key_frames: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    motion: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    filters: str | None = None
    origin: str | None = None
    extradata: bytes | None = None
    packet_offsets: NDArray[np.int64] | None = None
    packet_sizes: NDArray[np.int32] | None = None
    key_times: NDArray[np.int64] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A record is pickled for each clip, and pickle takes ten times as long for an array as for its bytes.
        values = dict(vars(self))
        for name, dtype in _ARRAYS.items():
            if values[name] is not None:
                values[name] = np.asarray(values[name], dtype).tobytes()
        values["motion"] = {key: np.asarray(each, np.float32).tobytes() for key, each in self.motion.items()}
        if self.fingerprint is not None:
            known = self.fingerprint
            values["fingerprint"] = (known.size, known.mtime_ns, known.head)
        return _unpickled, (values,)

    def without_times(self) -> VideoRecord:
        """Return the record with ``key_times`` in place of ``times``.

        They take 8 bytes per frame when a record is sent to another process, and only those of key frames are needed.
        """
        if self.times is None:
            return self
        other = object.__new__(VideoRecord)
        other.__dict__.update(self.__dict__, times=None, key_times=self.times[self.key_frames])
        return other

    def time_of_key(self, frame: int) -> int | None:
        """Return the presentation time of a key frame, in ticks; None if it is not known.

        Args:
            frame: Index of the frame, which is one of ``key_frames``.
        """
        if self.times is not None:
            return int(self.times[frame])
        if self.key_times is None:
            return None
        return int(self.key_times[np.searchsorted(self.key_frames, frame)])

    def motion_of(self, representation: Representation) -> NDArray[np.float64] | None:
        """Return S of a representation, float64 ``[T]``; None if the video was not measured in this representation."""
        if not was_measured(representation, self.motion, self.filters):
            return None
        return self.motion[representation_key(representation)].astype(np.float64)

    @classmethod
    def from_log(
        cls,
        path: str,
        fingerprint: Fingerprint | None,
        log: StreamLog,
        motions: Sequence[tuple[Representation, ArrayLike]],
    ) -> VideoRecord:
        """Return the record of a video that was decoded as a whole.

        Args:
            path: Name of the video in the index.
            fingerprint: Fingerprint of the content; None for a record that is not stored.
            log: Log of all packets and frames.
            motions: Representations with S of the video in each, ``[T]``.
        """
        motion = {representation_key(measured): np.asarray(values, np.float32) for measured, values in motions}
        filters = [filters_digest(measured) for measured, _ in motions if measured.motion == "feature"]
        return cls(
            path=path,
            fingerprint=fingerprint,
            num_frames=log.num_frames,
            width=log.width,
            height=log.height,
            rotation=log.rotation,
            rate=log.rate,
            codec=log.codec,
            pixel_format=log.pixel_format,
            container=log.container,
            time_base=(log.time_base.numerator, log.time_base.denominator),
            times=log.times,
            packets=log.packets,
            referenced=log.referenced,
            key_frames=log.key_frames,
            motion=motion,
            filters=filters[0] if filters else None,
        )

    @classmethod
    def from_error(cls, path: str, fingerprint: Fingerprint | None, error: VideoDecodeError) -> VideoRecord:
        """Return the record of a video that could not be decoded."""
        return cls(path=path, fingerprint=fingerprint, error=error.details)


def _unpickled(values: dict[str, Any]) -> VideoRecord:
    """Return the record of the values that :meth:`VideoRecord.__reduce__` returned. Its arrays cannot be written to."""
    for name, dtype in _ARRAYS.items():
        if values[name] is not None:
            values[name] = np.frombuffer(values[name], dtype)
    values["motion"] = {key: np.frombuffer(each, np.float32) for key, each in values["motion"].items()}
    if values["fingerprint"] is not None:
        values["fingerprint"] = Fingerprint(*values["fingerprint"])
    return VideoRecord(**values)


def index_name(path: str) -> str:
    """Return the name of a video in an index: its URL or its absolute path.

    Names are text. A byte of a path that is not UTF-8 is written as ``\\xNN`` (:func:`path_named`).
    """
    name = path if is_url(path) else os.path.abspath(path)
    return name if name.isascii() else os.fsencode(name).decode(errors="backslashreplace")


def path_named(name: str) -> str:
    """Return the path of a file with a name in an index, or ``name`` itself if that is its path."""
    if "\\x" not in name or os.path.exists(name):
        return name
    parts = _ESCAPED.split(name)
    return os.fsdecode(b"".join(bytes.fromhex(part) if i % 2 else os.fsencode(part) for i, part in enumerate(parts)))


def representation_key(representation: Representation) -> str:
    """Return the name of a representation in an index: ``"image"``, ``"image_rgb"`` or ``"feature"``."""
    if representation.motion == "feature":
        return "feature"
    return "image" if representation.channels == "luma" else "image_rgb"


def was_measured(representation: Representation, keys: Container[str], filters: str | None) -> bool:
    """Return whether a record contains S of a representation.

    Args:
        representation: The representation.
        keys: Names of the representations in the record (:func:`representation_key`).
        filters: Digest of the record's filters at the feature level; None if it contains no S of that level.
    """
    key = representation_key(representation)
    return key in keys and (key != "feature" or filters == filters_digest(representation))


def filters_digest(representation: Representation) -> str:
    """Return a digest of the filters of a representation and of how they are measured, 32 hexadecimal digits.

    Version 0.1 measured all filters on RGB. Filters that are now measured on luma planes have another digest than then,
    so that the rows of version 0.1 count as not measured.
    """
    return _default_digest() if representation.weights is None else _digest(representation)


@lru_cache
def _default_digest() -> str:
    # The digest is needed for each clip, and Representation.filters builds the filters again at each access.
    return _digest(Representation(motion="feature"))


def _digest(representation: Representation) -> str:
    filters = representation.filters
    way = b"" if luma_bank(filters) is None else b"luma"
    return hashlib.blake2b(filters.tobytes(), digest_size=16, person=way).hexdigest()
