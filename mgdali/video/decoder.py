"""Decoding a video for the frames that its sampler picks.

The whole video is decoded. With its record from a motion index, only the frames that the picks need are decoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.samplers import Sampler, checked_picks
from mgdali.video.frames import OneThreadAtATime, RGBConverter, as_media, read_frames
from mgdali.video.media import Media
from mgdali.video.meters import make_meter
from mgdali.video.packets import StreamLog
from mgdali.video.picked_frames import frames_needed, read_picked
from mgdali.video.record import VideoRecord

__all__ = ["MEMORY_BUDGET", "DecodedVideo", "Decoder", "Picture", "known_picks"]

Picture = NDArray[np.uint8]
"""Picture of a picked frame, uint8 RGB.

The whole upright frame, ``[H, W, 3]``, or what the ``picture`` function of :meth:`Decoder.decode` returns: from
:meth:`mgdali.video.crop.Cropper.crop` it is the clip's window, ``[3, S, S]``.
"""

MEMORY_BUDGET = 512 << 20
"""Default limit of the decoded frames that are kept in memory for one video, in bytes."""


@dataclass(frozen=True)
class DecodedVideo:
    """Picks of a video and their pictures.

    Attributes:
        frames: Pictures of the picked frames, by index of the frame.
        picks: Indices of the picked frames, int64 ``[N]`` in ``[0, num_frames)``.
        num_frames: Number of frames in the video, T.
        frames_decoded: Number of frames that the decoder returned; more than T if the video was decoded twice.
        motion: Measured motion S, float64 ``[T]``, rounded to float32; None if it was not measured.
        damage: Error at which decoding ended after T frames, if these were kept; None if the whole video was decoded.
    """

    frames: dict[int, Picture]
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int
    motion: NDArray[np.float64] | None = None
    damage: VideoDecodeError | None = None


def known_picks(sampler: Sampler, record: VideoRecord | None, offsets: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return a video's picks without decoding it, int64 ``[N]``; None if the record is not sufficient.

    Args:
        sampler: Sampling strategy.
        record: Record of the video; None if the index does not contain it.
        offsets: Offsets for the sampler, float64 ``[N]`` in [0, 1).

    Raises:
        ValueError: If the sampler does not return N indices of frames of the video.
    """
    if record is None or record.error is not None:
        return None
    representation = sampler.representation
    motion = None if representation is None else record.motion_of(representation)
    if representation is not None and motion is None:
        return None
    return checked_picks(sampler, sampler.pick(motion, record.num_frames, offsets), record.num_frames)


class Decoder:
    """Decodes videos one at a time: measures the motion, calls the sampler, and makes pictures of the picked frames.

    Only one thread may use a decoder at a time.

    Args:
        sampler: Sampling strategy.
        memory_budget: Number of bytes of decoded frames to keep until the picks are known. A video that needs more is
            decoded twice: once for its motion, once for the picks.
        keep_damaged: Whether to treat a damaged video as if it ended before the damage. A video that has fewer than N
            frames before the damage is an error in any case.
    """

    def __init__(self, sampler: Sampler, *, memory_budget: int, keep_damaged: bool = False) -> None:
        self._sampler = sampler
        self._representation = sampler.representation
        self._memory_budget = memory_budget
        self._keep_damaged = keep_damaged
        self._to_rgb = RGBConverter()
        self._use = OneThreadAtATime(self)

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
            video: Path as :class:`~mgdali.video.media.Media` takes it, or the media.
            offsets: Offsets for the sampler, float64 ``[N]`` in [0, 1).
            picture: Function that returns the picture of a decoded frame; by default the whole upright frame, uint8
                RGB ``[H, W, 3]``.
            record: Record of the video, with which fewer frames are decoded. It must match the video's content.
            log: Log in which packets and frames are noted if the whole video is decoded.

        Raises:
            VideoDecodeError: If the video cannot be decoded; if damaged videos are kept, only if it has fewer than N
                frames before the damage.
            ValueError: If the sampler does not return N indices of frames of the video.
            RuntimeError: If another thread is using the decoder.
        """
        with self._use:
            return self._decode(as_media(video), offsets, picture or self._to_rgb, record, log)

    def _decode(
        self,
        media: Media,
        offsets: NDArray[np.float64],
        picture: Callable[[av.VideoFrame], Picture],
        record: VideoRecord | None,
        log: StreamLog | None,
    ) -> DecodedVideo:
        """Decode the frames that a record's picks need, or all frames."""
        picks = known_picks(self._sampler, record, offsets)
        if record is not None and picks is not None:
            wanted = np.unique(picks).tolist()
            try:
                frames = {t: picture(frame) for t, frame in read_picked(media, record, wanted)}
                return DecodedVideo(frames, picks, record.num_frames, frames_needed(record, wanted))
            except VideoDecodeError:
                # S of a packed video is that of its original, which decoding the copy does not give.
                if record.origin is not None:
                    raise
                # The video may be damaged in a way that matters only if decoding begins in the middle.
        return self._decode_whole(media, offsets, picture, log)

    def _decode_whole(
        self,
        media: Media,
        offsets: NDArray[np.float64],
        picture: Callable[[av.VideoFrame], Picture],
        log: StreamLog | None,
    ) -> DecodedVideo:
        """Decode all frames, and decode the picked ones again if the frames did not fit into the memory budget."""
        meter = None if self._representation is None else make_meter(self._representation)
        kept: list[av.VideoFrame] = []
        total = frame_bytes = 0
        damage: VideoDecodeError | None = None
        try:
            for frame in read_frames(media, log=log):
                if meter is not None:
                    meter.add(frame)
                total += 1
                # read_frames() converts all frames to one size and format.
                frame_bytes = frame_bytes or sum(plane.buffer_size for plane in frame.planes)
                if total * frame_bytes <= self._memory_budget:
                    kept.append(frame)
                else:
                    kept.clear()
        except VideoDecodeError as error:
            if not self._keep_damaged or total < self._sampler.num_frames:
                raise
            # A copy without the traceback, which refers to all kept frames.
            damage = VideoDecodeError(*error.args)
        # An index stores S as float32. It is rounded here too, so that the picks are equal with and without an index.
        motion = None if meter is None else np.array(meter.motion, np.float32).astype(np.float64)
        picks = checked_picks(self._sampler, self._sampler.pick(motion, total, offsets), total)
        wanted = np.unique(picks).tolist()
        if kept:
            frames = {t: picture(kept[t]) for t in wanted}
            return DecodedVideo(frames, picks, total, total, motion, damage)
        frames = self._decode_again(media, wanted, picture)
        return DecodedVideo(frames, picks, total, total + wanted[-1] + 1, motion, damage)

    def _decode_again(
        self, media: Media, wanted: list[int], picture: Callable[[av.VideoFrame], Picture]
    ) -> dict[int, Picture]:
        frames = {}
        for t, frame in enumerate(read_frames(media)):
            if t in wanted:
                frames[t] = picture(frame)
                if t == wanted[-1]:
                    return frames
        raise VideoDecodeError(media.path, t + 1, "it has fewer frames when it is decoded again")
