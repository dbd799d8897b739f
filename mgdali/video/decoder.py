"""Decoding a video, or a part of it, for the frames that its sampler picks.

All frames up to the end of the part are decoded. With the video's record from a motion index, only the frames that the
picks need are decoded. If the frames do not fit into memory, those of the picks are decoded a second time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.samplers import Sampler, needs_times, sampled_picks
from mgdali.video.frames import OneThreadAtATime, RGBConverter, as_media, read_frames
from mgdali.video.measured_part import MeasuredPart, measure_part, motion_of_part
from mgdali.video.media import Media
from mgdali.video.packets import StreamLog
from mgdali.video.picked_frames import frames_needed, read_checked, read_picked
from mgdali.video.record import VideoRecord
from mgdali.video.time_range import TimeRange, frame_seconds

__all__ = ["MEMORY_BUDGET", "DecodedVideo", "Decoder", "Picture", "known_picks", "motion_of_part"]

Picture: TypeAlias = Any
"""What the ``picture`` function of :meth:`Decoder.decode` makes of a picked frame.

By default the whole upright frame, uint8 RGB ``[H, W, 3]``; from :meth:`mgdali.video.crop.Cropper.crop` the clip's
window, uint8 ``[3, H, W]``; for several views the decoded frame itself.
"""

MEMORY_BUDGET = 512 << 20
"""Default limit of the decoded frames that are kept in memory for one video, in bytes."""


@dataclass(frozen=True)
class DecodedVideo:
    """Picks of a video and their pictures.

    Attributes:
        frames: Pictures of the picked frames, by index of the frame in the video.
        picks: Indices of the picked frames in the video, int64 ``[N]``; of V views, ``[V, N]``.
        num_frames: Number of frames in the video or in the part of it, T.
        frames_decoded: Number of frames that the decoder returned; more than T if the video was decoded twice, or if
            the part does not begin with the video's first frame.
        first: Index of the first frame of the part; 0 for a whole video.
        seconds: Time of each frame of the part, float64 ``[T]`` (:class:`~mgdali.video.time_range.FrameClock`), NaN if
            it is not known; None if the decoder does not note times, or the frames were not all decoded.
        rate: Average number of frames per second according to the container, with ``seconds``; 0 if it is not known.
        motion: Measured motion S of the video or the part, float64 ``[T]``, rounded to float32; None if it was not
            measured. S of the first frame is 0.
        whole_motion: S of the whole video, if a log was given; otherwise None.
        log_is_complete: Whether a log was given and describes the whole video, because nothing was damaged.
        damage: Error at which decoding ended, if the frames before it were used; otherwise None.
    """

    frames: dict[int, Picture]
    picks: NDArray[np.int64]
    num_frames: int
    frames_decoded: int
    first: int = 0
    seconds: NDArray[np.float64] | None = None
    rate: float = 0.0
    motion: NDArray[np.float64] | None = None
    whole_motion: NDArray[np.float64] | None = None
    log_is_complete: bool = False
    damage: VideoDecodeError | None = None


def known_picks(
    sampler: Sampler,
    record: VideoRecord | None,
    offsets: NDArray[np.float64],
    part: tuple[int, int] | None = None,
) -> NDArray[np.int64] | None:
    """Return the picks of a video, or of a part of it, without decoding it; None if the record is not sufficient.

    Args:
        sampler: Sampling strategy.
        record: Record of the video; None if the index does not contain it.
        offsets: Offsets for the sampler, float64 ``[N]`` in [0, 1); or those of V views of the video, ``[V, N]``.
        part: First frame and end of the part, at least one frame; None for the whole video.

    Returns:
        Indices of frames of the video, int64 ``[N]`` or ``[V, N]``.

    Raises:
        ValueError: If the sampler does not return N indices of frames of the video or the part.
    """
    if record is None or record.error is not None:
        return None
    representation = sampler.representation
    motion = None if representation is None else record.motion_of(representation)
    if representation is not None and motion is None:
        return None
    first, end = part or (0, record.num_frames)
    own = None if motion is None else motion_of_part(motion, first, end)
    seconds = frame_seconds(record) if needs_times(sampler) else None
    if seconds is None and needs_times(sampler):
        return None
    return sampled_picks(sampler, own, end - first, offsets, None if seconds is None else seconds[first:end]) + first


class Decoder:
    """Decodes videos one at a time: measures the motion, calls the sampler, and makes pictures of the picked frames.

    Only one thread may use a decoder at a time.

    Args:
        sampler: Sampling strategy.
        memory_budget: Number of bytes of decoded frames to keep until the picks are known. A video that needs more is
            decoded twice: once for its motion, once for the picks.
        keep_damaged: Whether to treat a damaged video as if it ended before the damage. A video that has fewer than N
            frames before the damage is an error in any case.
        note_times: Whether to note the time of each frame that is decoded. The times are noted anyway if the strategy
            needs them.
    """

    def __init__(
        self, sampler: Sampler, *, memory_budget: int, keep_damaged: bool = False, note_times: bool = False
    ) -> None:
        self._sampler = sampler
        self._representation = sampler.representation
        self._memory_budget = memory_budget
        self._keep_damaged = keep_damaged
        self._needs_times = needs_times(sampler)
        self._note_times = note_times or self._needs_times
        self._to_rgb = RGBConverter()
        self._use = OneThreadAtATime(self)

    def decode(
        self,
        video: str | os.PathLike[str] | Media,
        offsets: NDArray[np.float64],
        *,
        picture: Callable[[av.VideoFrame], Picture] | None = None,
        record: VideoRecord | None = None,
        time_range: TimeRange | None = None,
        part: tuple[int, int] | None = None,
        log: StreamLog | None = None,
    ) -> DecodedVideo:
        """Decode one video for the frames its sampler picks.

        Args:
            video: Path as :class:`~mgdali.video.media.Media` takes it, or the media.
            offsets: Offsets for the sampler, float64 ``[N]`` in [0, 1); or those of V views of the video, ``[V, N]``.
            picture: Function that returns the picture of a decoded frame; by default the whole upright frame, uint8
                RGB ``[H, W, 3]``.
            record: Record of the video, with which fewer frames are decoded. It must match the video's content.
            time_range: The part of the video from which frames are picked; None for the whole video.
            part: That part as indices of frames (:meth:`TimeRange.frames`), without which the record of a video is not
                used; None if it is not known, or for the whole video.
            log: Log in which packets and frames are noted. With it, a video is decoded to its last frame, and the
                motion of all frames is measured, although only a part may be wanted.

        Raises:
            VideoDecodeError: If the video cannot be decoded, or the part contains no frame; if damaged videos are
                kept, only if it has fewer than N frames before the damage.
            ValueError: If the sampler does not return N indices of frames of the video.
            RuntimeError: If another thread is using the decoder.
        """
        with self._use:
            media = as_media(video)
            known = None
            if time_range is None or part is not None:
                known = self._decode_picked(media, offsets, picture or self._to_rgb, record, time_range, part)
            return known or self._decode_all(media, offsets, picture or self._to_rgb, time_range, log)

    def _decode_picked(
        self,
        media: Media,
        offsets: NDArray[np.float64],
        picture: Callable[[av.VideoFrame], Picture],
        record: VideoRecord | None,
        time_range: TimeRange | None,
        part: tuple[int, int] | None,
    ) -> DecodedVideo | None:
        """Decode the frames that a record's picks need; return None if this is not possible."""
        if record is not None and record.error is None and time_range is not None and part is not None:
            time_range.check_frames(part, media.path)
        picks = known_picks(self._sampler, record, offsets, part)
        if record is None or picks is None:
            return None
        wanted = np.unique(picks).tolist()
        first, end = part or (0, record.num_frames)
        try:
            frames = {t: picture(frame) for t, frame in read_picked(media, record, wanted)}
            return DecodedVideo(frames, picks, end - first, frames_needed(record, wanted), first)
        except VideoDecodeError:
            # S of a packed video is that of its original, which decoding the copy does not give.
            if record.origin is not None:
                raise
            # The video may be damaged in a way that matters only if decoding begins in the middle.
            return None

    def _decode_all(
        self,
        media: Media,
        offsets: NDArray[np.float64],
        picture: Callable[[av.VideoFrame], Picture],
        time_range: TimeRange | None,
        log: StreamLog | None,
    ) -> DecodedVideo:
        """Decode all frames, and decode the picked ones again if the frames did not fit into the memory budget."""
        # A part is decoded up to its end only, so that a log of it serves the second pass alone.
        noted = StreamLog() if log is None and (time_range is not None or self._note_times) else log
        found = measure_part(
            media,
            self._representation,
            time_range=time_range,
            log=noted,
            memory_budget=self._memory_budget,
            note_times=self._note_times,
            whole=log is not None,
            enough_frames=self._sampler.num_frames if self._keep_damaged else None,
        )
        if self._needs_times and (found.seconds is None or np.isnan(found.seconds).any()):
            raise VideoDecodeError(
                media.path,
                found.decoded,
                "neither its frames nor its container tell the time",
                f"Choose another sampler than {self._sampler!r}, or copy it to a container with times.",
            )
        picks = sampled_picks(self._sampler, found.motion, found.end - found.first, offsets, found.seconds)
        picks = picks + found.first
        wanted = np.unique(picks).tolist()
        decoded = found.decoded
        if found.kept:
            frames = {t: picture(found.kept[t - found.first]) for t in wanted}
        else:
            frames, again = self._second_pass(media, wanted, picture, found, noted)
            decoded += again
        return DecodedVideo(
            frames,
            picks,
            found.end - found.first,
            decoded,
            found.first,
            found.seconds,
            0.0 if noted is None else noted.rate,
            found.motion,
            found.whole_motion,
            found.log_is_complete,
            found.damage,
        )

    def _second_pass(
        self,
        media: Media,
        wanted: list[int],
        picture: Callable[[av.VideoFrame], Picture],
        found: MeasuredPart,
        log: StreamLog | None,
    ) -> tuple[dict[int, Picture], int]:
        """Decode the picked frames again. Return their pictures, and the number of frames that were decoded."""
        if log is not None:
            record = VideoRecord.from_log(media.path, None, log, [])
            with suppress(VideoDecodeError):
                checked = read_checked(media, record, wanted, found.checksums, first=found.first)
                return {t: picture(frame) for t, frame in checked}, frames_needed(record, wanted)
        return self._decode_again(media, wanted, picture), wanted[-1] + 1

    def _decode_again(
        self, media: Media, wanted: list[int], picture: Callable[[av.VideoFrame], Picture]
    ) -> dict[int, Picture]:
        """Decode all frames again up to the last pick."""
        frames = {}
        for t, frame in enumerate(read_frames(media)):
            if t in wanted:
                frames[t] = picture(frame)
                if t == wanted[-1]:
                    return frames
        raise VideoDecodeError(media.path, t + 1, "it has fewer frames when it is decoded again")
