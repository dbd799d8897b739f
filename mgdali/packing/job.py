"""The job of a worker that packs videos: encoding the copy of one video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Encoding
from mgdali.samplers import Representation
from mgdali.video.media import Fingerprint, Media
from mgdali.video.record import VideoRecord

__all__ = ["PackConfig", "PackJob", "PackLoader", "PackResult"]


@dataclass(frozen=True)
class PackJob:
    """One video to encode.

    Attributes:
        media: The video.
        encoding: Settings of the copy.
        representations: Representations for which S of the original is measured.
    """

    media: Media
    encoding: Encoding
    representations: tuple[Representation, ...]

    @property
    def path(self) -> str:
        """Path of the video, for messages."""
        return self.media.path


@dataclass(frozen=True, eq=False)
class PackResult:
    """Facts about a copy. Its bytes are in the memory that the loader allocated.

    Attributes:
        shape: Shape of the copy, uint8 ``[bytes]``.
        record: Record of the copy, as in :class:`~mgdali.packing.encode.EncodedVideo`.
        origin: Fingerprint of the original.
    """

    shape: tuple[int]
    record: VideoRecord
    origin: Fingerprint


@dataclass(frozen=True)
class PackConfig:
    """Configuration of workers that pack videos. It is empty: each job contains all settings."""

    def make_loader(self) -> PackLoader:
        """Return the object that encodes videos in a worker."""
        return PackLoader()


class PackLoader:
    """Encodes one video per job."""

    def load(self, job: PackJob, allocate: Callable[[tuple[int, ...]], NDArray[np.uint8]]) -> PackResult:
        """Write the copy of a video into allocated memory.

        Args:
            job: The video.
            allocate: Function that returns the memory for the copy.

        Raises:
            VideoDecodeError: If the video cannot be read or decoded, or the encoder fails.
        """
        encoded = encode_video(job.media, job.encoding, job.representations)
        shape = (len(encoded.content),)
        allocate(shape)[:] = np.frombuffer(encoded.content, np.uint8)
        return PackResult(shape=shape, record=encoded.record, origin=encoded.origin)
