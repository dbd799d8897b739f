"""The job of a worker that packs videos: encoding the copy of one video, or the copies of segments of one file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.packing.encode import EncodedVideo, encode_parts
from mgdali.packing.encoding import Encoding
from mgdali.samplers import Representation
from mgdali.video.media import Fingerprint, Media
from mgdali.video.record import VideoRecord
from mgdali.video.time_range import TimeRange

__all__ = ["PackConfig", "PackJob", "PackLoader", "PackResult", "PackedPart"]


@dataclass(frozen=True)
class PackJob:
    """One file to encode.

    Attributes:
        media: The file.
        encoding: Settings of the copies.
        representations: Representations for which S of the original is measured.
        parts: The parts of the file that become videos, all of one unit; None for the whole file.
    """

    media: Media
    encoding: Encoding
    representations: tuple[Representation, ...]
    parts: tuple[TimeRange | None, ...] = (None,)

    @property
    def path(self) -> str:
        """Path of the file, for messages."""
        return self.media.path

    def encode(self) -> list[EncodedVideo | VideoDecodeError]:
        """Return the copy of each part, or the error."""
        return encode_parts(self.media, self.encoding, self.representations, self.parts)


@dataclass(frozen=True, eq=False)
class PackedPart:
    """Facts about one copy.

    Attributes:
        length: Size of the copy, in bytes.
        record: Record of the copy, as in :class:`~mgdali.packing.encode.EncodedVideo`.
        origin: Fingerprint of the original.
    """

    length: int
    record: VideoRecord
    origin: Fingerprint


@dataclass(frozen=True, eq=False)
class PackResult:
    """Facts about the copies of a job. Their bytes are in the memory that the loader allocated, one after another.

    Attributes:
        shape: Shape of the memory, uint8 ``[bytes]``. If it is empty, nothing was allocated.
        parts: The copy of each part of the job, or the error.
    """

    shape: tuple[int]
    parts: tuple[PackedPart | VideoDecodeError, ...]


@dataclass(frozen=True)
class PackConfig:
    """Configuration of workers that pack videos. It is empty: each job contains all settings."""

    def make_loader(self) -> PackLoader:
        """Return the object that encodes videos in a worker."""
        return PackLoader()


class PackLoader:
    """Encodes the videos of one file per job."""

    def load(self, job: PackJob, allocate: Callable[[tuple[int, ...]], NDArray[np.uint8]]) -> PackResult:
        """Write the copies of a file's parts into allocated memory, one after another.

        Args:
            job: The job.
            allocate: Function that returns the memory for the copies.
        """
        encoded = job.encode()
        contents = [each.content for each in encoded if isinstance(each, EncodedVideo)]
        shape = (sum(map(len, contents)),)
        memory = allocate(shape) if contents else np.empty(shape, np.uint8)
        end = 0
        for content in contents:
            start, end = end, end + len(content)
            memory[start:end] = np.frombuffer(content, np.uint8)
        return PackResult(shape, tuple(_facts(each) for each in encoded))


def _facts(encoded: EncodedVideo | VideoDecodeError) -> PackedPart | VideoDecodeError:
    if isinstance(encoded, VideoDecodeError):
        return encoded
    return PackedPart(len(encoded.content), encoded.record, encoded.origin)
