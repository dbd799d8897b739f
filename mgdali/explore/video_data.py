"""Motion and pictures of the videos of a collection, measured and decoded when they are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mgdali.errors import VideoDecodeError, check_integer
from mgdali.explore.bounded_cache import BoundedCache
from mgdali.explore.decoder_slots import DecoderSlots
from mgdali.explore.frames import KnownFrames, check_range, read_pictures
from mgdali.explore.measuring import (
    Measured,
    Measurement,
    Stopped,
    VideoMotion,
    errors_of_video,
    frames_of_record,
    motion_of_record,
    usable_record,
)
from mgdali.one_video.source import is_pipe
from mgdali.samplers import Motion
from mgdali.video.media import Fingerprint

if TYPE_CHECKING:
    from mgdali.explore.collection import Entry

__all__ = ["HEIGHTS", "MOST_PICTURES", "Progress", "VideoData", "VideoMotion"]

MOST_PICTURES = 64
"""Largest number of pictures that one call returns."""

HEIGHTS = (16, 720)
"""Smallest and largest height of a picture in pixels."""

# A measurement for which nobody asks during this time is stopped, in seconds.
_UNWANTED_AFTER = 30.0
# Background threads end within this time after closing, in seconds, unless reading a file takes longer.
_END_WITHIN = 5.0
# Size of an entry of a cache beyond its content, roughly, in bytes.
_ENTRY = 500


@dataclass(frozen=True)
class Progress:
    """A measurement that is not done yet.

    Attributes:
        frames: Number of frames that were decoded so far.
    """

    frames: int


class VideoData:
    """Motion and pictures of videos, for any number of threads.

    A video's motion is taken from its record, if that has S of the wanted level. Otherwise the video is decoded once,
    in a background thread, however many threads ask for it. It is then known which frames can be decoded without the
    others. Results are kept within a memory limit; the least recently used ones are dropped first.

    Args:
        memory: Largest number of bytes of results that are kept, >= 1.
        decoders: Largest number of videos that are decoded at a time, >= 1.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, *, memory: int = 256 << 20, decoders: int = 2) -> None:
        check_integer("memory", memory, least=1)
        check_integer("decoders", decoders, least=1)
        self._cache: BoundedCache[Hashable, Any] = BoundedCache(memory)
        self._slots = DecoderSlots(decoders)
        self._lock = threading.Lock()
        self._running: dict[Hashable, Measurement] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def motion(self, entry: Entry, level: Motion, *, wait: float = 2.0) -> VideoMotion | Progress:
        """Return the motion of a video or a segment.

        Args:
            entry: The video.
            level: ``"image"`` or ``"feature"``, with default settings.
            wait: Time to wait for a measurement, in seconds. The measurement goes on afterwards. It is stopped if
                nobody asks for it during 30 seconds.

        Returns:
            The motion, or the progress of a measurement that takes longer.

        Raises:
            VideoDecodeError: If the video cannot be decoded, or has changed since its record was made.
            RuntimeError: If this object was closed.
        """
        self._check_open()
        _refuse_pipe(entry)
        record = usable_record(entry)
        if record is not None:
            _check_unchanged(entry, record.fingerprint)
            known = motion_of_record(entry, record, level)
            if known is not None:
                return known
        found = self._found(entry, level, wait)
        if isinstance(found, Measured) and not self._is_valid(entry, found):
            self._forget(entry)
            found = self._found(entry, level, wait)
        if isinstance(found, Measured):
            return found.result()
        if not found.done.wait(max(wait, 0.0)):
            return Progress(found.frames)
        if found.measured is None:
            self._check_open()
            return Progress(found.frames)
        return found.measured.result()

    def pictures(self, entry: Entry, frames: Sequence[int], height: int) -> dict[int, bytes]:
        """Return JPEG pictures of frames: upright, with the aspect ratio of the stored picture.

        Args:
            entry: The video.
            frames: Indices of frames in the file, at most 64.
            height: Height of the pictures in pixels, 16 to 720; a smaller video's pictures have its own height.

        Returns:
            The pictures by index.

        Raises:
            ValueError: If an argument is out of range, or a frame is outside the video or the segment.
            VideoDecodeError: If a frame cannot be decoded, or the video has changed since it was measured.
            RuntimeError: If this object was closed.
        """
        self._check_open()
        wanted = _checked(frames, height)
        if not wanted:
            return {}
        _refuse_pipe(entry)
        fingerprint, known = self._known_frames(entry)
        if known.part is not None:
            check_range(wanted, known.part, entry.video.path)
        found = self._kept_pictures(entry, fingerprint, wanted, height)
        if len(found) == len(wanted):
            return found
        with self._slots.one(self._check_open, short=True):
            # Another thread may have made the pictures during the wait.
            found = self._kept_pictures(entry, fingerprint, wanted, height)
            missing = [t for t in wanted if t not in found]
            if missing:
                with errors_of_video(entry.video):
                    made = read_pictures(entry.video, missing, height, known, self._check_open)
                _check_unchanged(entry, fingerprint)
                for t, picture in made.items():
                    self._cache.put((entry.id, fingerprint, t, height), picture, len(picture) + _ENTRY)
                found |= made
        return {t: found[t] for t in wanted}

    def close(self) -> None:
        """Stop all measurements and drop all results. Nothing can be asked for afterwards."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        end = time.monotonic() + _END_WITHIN
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.0))
        self._cache.clear()

    def _found(self, entry: Entry, level: Motion, wait: float) -> Measured | Measurement:
        """Return a result that is kept, or else the measurement, which is started unless it is in progress."""
        key = (entry.id, level)
        with self._lock:
            self._check_open()
            kept: Measured | None = self._cache.get(key)
            if kept is not None:
                return kept
            measurement = self._running.get(key)
            if measurement is None:
                measurement = self._running[key] = Measurement(entry, level, self._check_wanted)
                thread = threading.Thread(
                    target=self._run, args=(measurement,), name=f"measure {entry.name}", daemon=True
                )
                self._threads.add(thread)
                thread.start()
            until = time.monotonic() + max(wait, 0.0) + _UNWANTED_AFTER
            measurement.wanted_until = max(measurement.wanted_until, until)
            return measurement

    def _run(self, measurement: Measurement) -> None:
        """Measure a video and keep the result: the main program of a background thread."""
        try:
            with self._slots.one(measurement.check, short=False):
                measured = measurement.run()
        except Stopped:
            measured = None
        with self._lock:
            measurement.measured = measured
            if measured is not None and not self._closed:
                self._keep(measurement.key, measured)
            if self._running.get(measurement.key) is measurement:
                del self._running[measurement.key]
            self._threads.discard(threading.current_thread())
        measurement.done.set()

    def _keep(self, key: tuple[int, Motion], measured: Measured) -> None:
        motion, frames = measured.motion, measured.frames
        if motion is not None and frames is not None:
            # The frames have a separate entry, because they are the same for both levels.
            kept = Measured(measured.fingerprint, frames=frames)
            self._cache.put((key[0], "frames"), kept, frames.cost + _ENTRY)
            self._cache.put(key, Measured(measured.fingerprint, motion), motion.cost + _ENTRY)
        elif isinstance(measured.error, VideoDecodeError) and measured.fingerprint is not None:
            self._cache.put(key, measured, 2 * _ENTRY)

    def _check_wanted(self, measurement: Measurement) -> None:
        if time.monotonic() <= measurement.wanted_until and not self._closed:
            return
        with self._lock:
            # Looked at again: a thread may have asked in between.
            if time.monotonic() <= measurement.wanted_until and not self._closed:
                return
            if self._running.get(measurement.key) is measurement:
                del self._running[measurement.key]
        raise Stopped

    def _is_valid(self, entry: Entry, measured: Measured) -> bool:
        """Return whether a video still has the content that was measured."""
        if measured.fingerprint is None:
            return False
        with errors_of_video(entry.video):
            return entry.video.media.unchanged(measured.fingerprint)

    def _forget(self, entry: Entry) -> None:
        """Drop what was measured before a video changed."""
        for part in ("image", "feature", "frames"):
            self._cache.drop((entry.id, part))

    def _known_frames(self, entry: Entry) -> tuple[Fingerprint, KnownFrames]:
        """Return the fingerprint of a video, and what is known about its frames. Nothing is decoded."""
        measured: Measured | None = self._cache.get((entry.id, "frames"))
        if measured is not None and measured.frames is not None and measured.fingerprint is not None:
            _check_unchanged(entry, measured.fingerprint)
            return measured.fingerprint, measured.frames
        record = usable_record(entry)
        if record is not None and record.fingerprint is not None:
            _check_unchanged(entry, record.fingerprint)
            return record.fingerprint, frames_of_record(entry.video, record)
        with errors_of_video(entry.video):
            return entry.video.media.fingerprint(), KnownFrames(None, None, None)

    def _kept_pictures(
        self, entry: Entry, fingerprint: Fingerprint, frames: list[int], height: int
    ) -> dict[int, bytes]:
        kept = ((t, self._cache.get((entry.id, fingerprint, t, height))) for t in frames)
        return {t: picture for t, picture in kept if picture is not None}

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the data of the videos was closed")


def _checked(frames: Sequence[int], height: int) -> list[int]:
    """Return the different frames in order, after checks of the arguments of :meth:`VideoData.pictures`."""
    check_integer("height", height, least=HEIGHTS[0])
    if height > HEIGHTS[1]:
        raise ValueError(f"height must be {HEIGHTS[0]} to {HEIGHTS[1]} pixels, got {height!r}")
    if len(frames) > MOST_PICTURES:
        raise ValueError(f"frames must be at most {MOST_PICTURES} at a time, got {len(frames)}")
    for frame in frames:
        check_integer("frame", frame, least=0)
    return sorted({int(frame) for frame in frames})


def _refuse_pipe(entry: Entry) -> None:
    if is_pipe(entry.video.media):
        raise VideoDecodeError(
            entry.video.path, 0, "it is a pipe, which can be read only once", "Write its content to a file."
        )


def _check_unchanged(entry: Entry, fingerprint: Fingerprint | None) -> None:
    """Raise a VideoDecodeError if a video is missing or has another content than before."""
    assert fingerprint is not None
    with errors_of_video(entry.video):
        unchanged = entry.video.media.unchanged(fingerprint)
    if not unchanged:
        raise VideoDecodeError(
            entry.video.path,
            0,
            "the file has changed since its motion was measured",
            "Open the video again; if its motion is from an index, build the index again.",
        )
