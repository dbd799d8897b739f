"""What a motion index keeps of a video."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mgdali.errors import VideoDecodeError
from mgdali.samplers import Representation
from mgdali.video.media import Fingerprint
from mgdali.video.packets import StreamLog
from mgdali.video.remote import is_url

__all__ = ["VideoRecord", "filters_digest", "index_name", "representation_key", "was_measured"]


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoRecord:
    """What is known of one video.

    Attributes:
        path: the video, as the index names it.
        fingerprint: of the content that this holds for; None where it could not be read.
        error: why the video could not be decoded; None where it could. The rest is then empty.
        num_frames: T.
        width, height: of the stored picture, in pixels.
        rotation: degrees that the picture is to be turned counterclockwise when shown.
        rate: frames a second on average, as the container says; 0 where it does not.
        codec, pixel_format, container: by FFmpeg's names.
        time_base: seconds a tick, as numerator and denominator.
        times: when each frame is shown, int64 ``[T]`` in ticks; None where the container does not say.
        packets: the number of the packet that gave each frame, int32 ``[T]``; None unless they are one to one.
        referenced: whether other frames may refer to a frame, bool ``[T]``.
        key_frames: frames at which decoding can begin, int32 ``[K]``.
        motion: S by representation (:func:`representation_key`), float32 ``[T]`` each.
        filters: what tells the filters of the feature level's S from others (:func:`filters_digest`); else None.
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

    def motion_of(self, representation: Representation) -> NDArray[np.float64] | None:
        """S as the loader takes it, float64 ``[T]``; None where it was not measured in this way."""
        if not was_measured(representation, self.motion, self.filters):
            return None
        return self.motion[representation_key(representation)].astype(np.float64)

    @classmethod
    def of_log(
        cls,
        path: str,
        fingerprint: Fingerprint,
        log: StreamLog,
        motions: Sequence[tuple[Representation, ArrayLike]],
    ) -> VideoRecord:
        """Of a video that was decoded whole: what was noted, and S of each representation."""
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
    def of_error(cls, path: str, fingerprint: Fingerprint | None, error: VideoDecodeError) -> VideoRecord:
        """Of a video that could not be decoded."""
        where = f"after {error.frame} frames" if error.frame else "before its first frame"
        return cls(path=path, fingerprint=fingerprint, error=f"{error.reason} ({where})")


def index_name(path: str) -> str:
    """A video's name in an index: its URL, or its absolute path."""
    return path if is_url(path) else os.path.abspath(path)


def representation_key(representation: Representation) -> str:
    """The name of S so measured: ``"image"``, ``"image_rgb"`` or ``"feature"``."""
    if representation.motion == "feature":
        return "feature"
    return "image" if representation.channels == "luma" else "image_rgb"


def was_measured(representation: Representation, keys: Container[str], filters: str | None) -> bool:
    """Whether S was measured in this way, by the keys that there are and the digest of the feature level's filters."""
    key = representation_key(representation)
    return key in keys and (key != "feature" or filters == filters_digest(representation))


def filters_digest(representation: Representation) -> str:
    """What tells the feature level's filters from others."""
    return _default_digest() if representation.weights is None else _digest(representation)


@lru_cache
def _default_digest() -> str:
    # Asked for each clip, and the bank is made anew at each call.
    return _digest(Representation(motion="feature"))


def _digest(representation: Representation) -> str:
    return hashlib.blake2b(representation.filters.tobytes(), digest_size=16).hexdigest()
