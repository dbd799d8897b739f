"""Encoding copies of a video for a packed data set: S is measured and copies are written while it is decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.packing.encoder import Encoder
from mgdali.packing.encoding import Encoding
from mgdali.packing.parts import PartFinder
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.media import Fingerprint, Media
from mgdali.video.meters import Meter, make_meter
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord, index_name
from mgdali.video.time_range import TimeRange

__all__ = ["EncodedVideo", "encode_parts", "encode_video"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedVideo:
    """A copy of a video, or of a part of it, for a packed data set.

    Attributes:
        content: The MP4 file.
        record: Record of the copy, with S of the original. Its ``path`` is empty, its ``fingerprint`` has no time,
            and its ``packet_offsets`` count from the first byte of ``content``.
        origin: Fingerprint of the original, taken before its content was read.
    """

    content: bytes
    record: VideoRecord
    origin: Fingerprint


def encode_video(
    media: Media, encoding: Encoding, representations: tuple[Representation, ...], part: TimeRange | None = None
) -> EncodedVideo:
    """Decode a video once, measure S, and encode a copy.

    Frame t of the copy is frame t of the original, or of the part: scaled, upright, 8-bit 4:2:0. The same video gives
    the same bytes in every process.

    Args:
        media: The video.
        encoding: Settings of the copy.
        representations: Representations for which S of the original is measured.
        part: The part of the video that is copied; None for the whole video.

    Raises:
        VideoDecodeError: If the video cannot be read or decoded, or the part contains no frame, or the encoder fails;
            the error then names it.
    """
    (found,) = encode_parts(media, encoding, representations, (part,))
    if isinstance(found, VideoDecodeError):
        raise found
    return found


def encode_parts(
    media: Media,
    encoding: Encoding,
    representations: tuple[Representation, ...],
    parts: tuple[TimeRange | None, ...],
) -> list[EncodedVideo | VideoDecodeError]:
    """Decode a video once, up to the end of the last part, and encode a copy of each part.

    A copy contains only the frames of its part. The time of the first one is 0, and its S is 0. It does not depend on
    the other parts. The copy of a whole video keeps the times of the original.

    Args:
        media: The video.
        encoding: Settings of the copies.
        representations: Representations for which S of the original is measured.
        parts: The parts, all of one unit. They may overlap. None for the whole video.

    Returns:
        For each part the copy; or the error, if the video cannot be read or decoded up to the end of the part, the part
        contains no frame, or the encoder fails.

    Raises:
        ValueError: If the parts have different units.
    """
    log = _NotingLog()
    finder = PartFinder(parts, log, media.path)
    copies = _Copies(media, encoding, representations, parts, log)
    try:
        # Taken before the content is read. So a file that is written to meanwhile counts as changed.
        origin = media.fingerprint()
        for frame in read_frames(media, log=log):
            for number in finder.advance(frame):
                copies.finish(number, origin)
            if finder.finished:
                break
            if finder.open:
                copies.add(frame, finder.open)
        for number in finder.open:
            copies.finish(number, origin)
    except VideoDecodeError as error:
        copies.fail(error)
    return copies.results()


class _NotingLog(StreamLog):
    """Log of a stream. It also tells whether all of its packets so far have a presentation time."""

    def __init__(self) -> None:
        super().__init__()
        self.all_timed = True

    def add_packet(self, packet: av.Packet[Any]) -> None:
        self.all_timed &= packet.pts is not None
        super().add_packet(packet)


class _PartLog(StreamLog):
    """Log of the frames of a copy.

    Args:
        whole: Log of the video.
        from_zero: Whether the first time is 0; otherwise the times are those of the video.
    """

    def __init__(self, whole: _NotingLog, *, from_zero: bool) -> None:
        super().__init__()
        self._whole = whole
        self._from_zero = from_zero
        self.time_base, self.rate = whole.time_base, whole.rate

    @property
    def times(self) -> NDArray[np.int64] | None:
        times = super().times if self._whole.all_timed else None
        return times - times[0] if times is not None and self._from_zero else times


class _Copies:
    """The copies of the parts of one video, which are encoded frame by frame.

    Args:
        media: The video.
        encoding: Settings of the copies.
        representations: Representations for which S is measured.
        parts: The parts.
        log: Log of the video.
    """

    def __init__(
        self,
        media: Media,
        encoding: Encoding,
        representations: tuple[Representation, ...],
        parts: Sequence[TimeRange | None],
        log: _NotingLog,
    ) -> None:
        self._media, self._encoding, self._parts, self._log = media, encoding, parts, log
        self._representations = representations
        # Parts that overlap share S, which is measured once. The frames between parts are not measured.
        self._meters: list[Meter] = [make_meter(representation) for representation in representations]
        self._measured = 0
        self._under_way: dict[int, _Copy] = {}
        self._results: dict[int, EncodedVideo | VideoDecodeError] = {}

    def add(self, frame: av.VideoFrame, numbers: Sequence[int]) -> None:
        """Add the next frame to the copies of the parts that it belongs to."""
        for meter in self._meters:
            meter.add(frame)
        for number in numbers:
            if number in self._results:
                continue
            try:
                if number not in self._under_way:
                    encoder = Encoder(frame, self._encoding, self._media.path)
                    log = _PartLog(self._log, from_zero=self._parts[number] is not None)
                    self._under_way[number] = _Copy(encoder, log, self._measured)
                self._under_way[number].add(frame)
            except VideoDecodeError as error:
                self._end(number, error)
        self._measured += 1

    def finish(self, number: int, origin: Fingerprint) -> None:
        """Finish the copy of a part after its last frame.

        Args:
            number: Number of the part.
            origin: Fingerprint of the video.
        """
        copy = self._under_way.get(number)
        if copy is not None:
            try:
                self._end(number, self._finished(copy, origin))
            except VideoDecodeError as error:
                self._end(number, error)
        elif number not in self._results:
            self._end(number, self._without_frame(number))

    def fail(self, error: VideoDecodeError) -> None:
        """Note the error that ended decoding, for the parts that are not finished."""
        for number in range(len(self._parts)):
            if number not in self._results:
                self._end(number, error)

    def results(self) -> list[EncodedVideo | VideoDecodeError]:
        """Return the result of each part. A part that was not finished begins after the last frame of the video."""
        return [
            self._results[number] if number in self._results else self._without_frame(number)
            for number in range(len(self._parts))
        ]

    def _end(self, number: int, result: EncodedVideo | VideoDecodeError) -> None:
        self._under_way.pop(number, None)
        self._results[number] = result

    def _finished(self, copy: _Copy, origin: Fingerprint) -> EncodedVideo:
        content = copy.encoder.finish(copy.log)
        facts = copy.encoder.read_back(content)
        # S of the first frame of a part is 0, whatever was before it.
        motions = [[0.0, *meter.motion[copy.first + 1 :]] for meter in self._meters]
        record = replace(
            VideoRecord.from_log(
                "",
                Fingerprint.of_content(content),
                facts.log,
                list(zip(self._representations, motions, strict=True)),
            ),
            origin=index_name(self._media.path),
            extradata=facts.extradata,
            packet_offsets=facts.offsets,
            packet_sizes=facts.sizes,
        )
        return EncodedVideo(content=content, record=record, origin=origin)

    def _without_frame(self, number: int) -> VideoDecodeError:
        part, count = self._parts[number], self._log.num_frames
        assert part is not None
        try:
            part.check_frames((count, count), self._media.path)
        except VideoDecodeError as error:
            return error
        raise AssertionError


@dataclass(frozen=True)
class _Copy:
    """A copy that is being encoded.

    Attributes:
        encoder: Its encoder.
        log: Log of its frames.
        first: Number of measured frames before its first frame.
    """

    encoder: Encoder
    log: _PartLog
    first: int

    def add(self, frame: av.VideoFrame) -> None:
        """Encode the next frame."""
        self.encoder.add(frame)
        self.log.add_frame(frame)
