"""Decoding a video for the frames that its sampler picks: all of it, or with a record of it no more than they need."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.samplers import Sampler, checked_picks
from mgdali.video.frames import RGBConverter, as_media, read_frames
from mgdali.video.media import Media
from mgdali.video.meters import make_meter
from mgdali.video.packets import StreamLog
from mgdali.video.picked_frames import frames_needed, read_picked
from mgdali.video.record import VideoRecord

__all__ = ["MEMORY_BUDGET", "DecodedVideo", "Decoder", "Picture", "known_picks"]

Picture = NDArray[np.uint8]
"""What becomes of a picked frame, uint8 RGB ``[H, W, 3]``: by default the upright frame."""

MEMORY_BUDGET = 512 << 20
"""Bytes of decoded frames that are held for a video's picks, unless the user says otherwise."""


@dataclass(frozen=True)
class DecodedVideo:
    """What decoding a video for its picks gives.

    Attributes:
        frames: the pictures of the picked frames by index.
        picks: int64 ``[N]`` in ``[0, num_frames)``.
        num_frames: T, frames in the video.
        frames_decoded: frames the decoder put out, more than T where a second pass was needed.
        motion: S as it was measured, float64 ``[T]``; None where it was not.
    """

    frames: dict[int, Picture]
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int
    motion: NDArray[np.float64] | None = None


def known_picks(sampler: Sampler, record: VideoRecord | None, offsets: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """A video's picks, int64 ``[N]``, from what is known of it; None where it does not suffice.

    Raises:
        ValueError: the sampler picked frames that are not there.
    """
    if record is None or record.error is not None:
        return None
    representation = sampler.representation
    motion = None if representation is None else record.motion_of(representation)
    if representation is not None and motion is None:
        return None
    return checked_picks(sampler, sampler.pick(motion, record.num_frames, offsets), record.num_frames)


class Decoder:
    """Decodes videos one at a time: measures motion, lets the sampler pick, makes pictures of the picks.

    Args:
        sampler: the sampling strategy.
        memory_budget: bytes of decoded frames to hold while the picks are not yet known. A video that needs more is
            decoded twice: once for its motion, once for the picks.
    """

    def __init__(self, sampler: Sampler, *, memory_budget: int) -> None:
        self._sampler = sampler
        self._representation = sampler.representation
        self._memory_budget = memory_budget
        self._to_rgb = RGBConverter()

    def decode(
        self,
        video: str | os.PathLike[str] | Media,
        offsets: NDArray[np.float64],
        *,
        picture: Callable[[av.VideoFrame], Picture] | None = None,
        record: VideoRecord | None = None,
        log: StreamLog | None = None,
    ) -> DecodedVideo:
        """Decode one video for the frames its sampler picks.

        Args:
            video: a path, as :class:`~mgdali.video.media.Media` takes them, or a member of a tar.
            offsets: float64 ``[N]`` in [0, 1), for the sampler.
            picture: makes a frame's picture; by default the upright frame in RGB.
            record: what is known of the video, so that less need be decoded; it must still hold.
            log: where the stream is noted where it is decoded whole.

        Raises:
            VideoDecodeError: it cannot be decoded.
            ValueError: the sampler picked frames that are not there.
        """
        media = as_media(video)
        picture = picture or self._to_rgb
        picks = known_picks(self._sampler, record, offsets)
        if record is not None and picks is not None:
            wanted = np.unique(picks).tolist()
            try:
                frames = {t: picture(frame) for t, frame in read_picked(media, record, wanted)}
                return DecodedVideo(frames, picks, record.num_frames, frames_needed(record, wanted))
            except VideoDecodeError:
                # Damage that only shows when decoding begins in the middle: the whole is what counts.
                pass
        return self._decode_whole(media, offsets, picture, log)

    def _decode_whole(
        self,
        media: Media,
        offsets: NDArray[np.float64],
        picture: Callable[[av.VideoFrame], Picture],
        log: StreamLog | None,
    ) -> DecodedVideo:
        meter = None if self._representation is None else make_meter(self._representation)
        held: list[av.VideoFrame] = []
        total = frame_bytes = 0
        for frame in read_frames(media, log=log):
            if meter is not None:
                meter.add(frame)
            total += 1
            # All frames of a video are of one size and format.
            frame_bytes = frame_bytes or sum(plane.buffer_size for plane in frame.planes)
            if total * frame_bytes <= self._memory_budget:
                held.append(frame)
            else:
                held.clear()
        # As an index keeps it, so that an index changes no pick.
        motion = None if meter is None else np.array(meter.motion, np.float32).astype(np.float64)
        picks = checked_picks(self._sampler, self._sampler.pick(motion, total, offsets), total)
        wanted = np.unique(picks).tolist()
        if held:
            frames = {t: picture(held[t]) for t in wanted}
            return DecodedVideo(frames, picks, total, total, motion)
        frames = self._decode_again(media, wanted, picture)
        return DecodedVideo(frames, picks, total, total + wanted[-1] + 1, motion)

    def _decode_again(
        self, media: Media, wanted: list[int], picture: Callable[[av.VideoFrame], Picture]
    ) -> dict[int, Picture]:
        frames = {}
        for t, frame in enumerate(read_frames(media)):
            if t in wanted:
                frames[t] = picture(frame)
                if t == wanted[-1]:
                    return frames
        raise VideoDecodeError(media.path, t + 1, "it gave fewer frames when decoded again")
