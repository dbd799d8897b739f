"""The content of the server's answers, as values that JSON can store. Nothing here depends on HTTP."""

from __future__ import annotations

import base64
import math
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

import mgdali
from mgdali.choices import draw
from mgdali.errors import VideoDecodeError
from mgdali.explore.collection import Collection, Entry
from mgdali.explore.parameters import (
    STRATEGY_PARAMETERS,
    BadParameterError,
    Parameters,
    read_num_frames,
    read_strategy,
)
from mgdali.explore.table import Query, Sort
from mgdali.explore.video_data import HEIGHTS, MOST_PICTURES, Progress, VideoData, VideoMotion
from mgdali.one_video.explanation import explain, number_of_frames
from mgdali.samplers import Motion, sampled_picks
from mgdali.video.time_range import TimeRange

__all__ = ["Answers", "MeasuringError", "NoVideoError", "UnreadableVideoError"]


class NoVideoError(LookupError):
    """An id that no video of the collection has."""


class UnreadableVideoError(RuntimeError):
    """A video that cannot be read or decoded. The message is for the user of the page."""


class MeasuringError(RuntimeError):
    """Motion that is still being measured.

    Attributes:
        frames: Number of frames that are measured.
    """

    def __init__(self, frames: int) -> None:
        super().__init__(f"{frames} frames are measured so far")
        self.frames = frames


class Answers:
    """Answers about the videos of a collection. Several threads may use it at the same time.

    Each method takes the query of a request, as pairs of names and values, and returns a dict that JSON can store:
    without NaN and infinity. The methods that take ``video`` also need its id in the collection.

    All methods raise BadParameterError for a bad query. With ``video``, they also raise NoVideoError or
    UnreadableVideoError, and MeasuringError if its motion is not complete yet.

    Args:
        collection: The videos.
        data: What is decoded of them.
    """

    def __init__(self, collection: Collection, data: VideoData) -> None:
        self._collection = collection
        self._data = data
        self._reported: set[int] = set()

    def collection(self, query: list[tuple[str, str]]) -> dict[str, Any]:
        """Describe the collection."""
        Parameters(query, ())
        return {
            "title": self._collection.title,
            "count": len(self._collection),
            "classes": self._collection.classes,
            "complete": self._collection.query(Query(count=1)).complete,
            "version": mgdali.__version__,
            "sorts": list(get_args(Sort)),
        }

    def videos(self, query: list[tuple[str, str]]) -> dict[str, Any]:
        """Return some rows of the list of videos."""
        page = self._collection.query(_wanted(query))
        rows = [
            {
                "id": row.id,
                "name": row.name,
                "class": row.class_name,
                "frames": row.frames,
                "motion": _finite(row.motion),
                "still": _finite(row.still),
                "error": row.error,
            }
            for row in page.rows
        ]
        return {"total": page.total, "first": page.first, "complete": page.complete, "rows": rows}

    def place(self, query: list[tuple[str, str]], video: int) -> dict[str, Any]:
        """Return the position of a video in the list; None if the list does not contain it."""
        entry = self._entry(video)
        return {"place": self._collection.place(entry.id, _wanted(query))}

    def video(self, query: list[tuple[str, str]], video: int) -> dict[str, Any]:
        """Return a video's motion, times and properties."""
        level = Parameters(query, ("level",)).level()
        entry = self._entry(video)
        measured = self._motion(entry, level)
        start, end = _seconds_of_part(entry.video.time_range, measured)
        return {
            "id": entry.id,
            "name": entry.name,
            "class": entry.class_name,
            "level": level,
            # What a user writes in Python to open the same video.
            "path": entry.video.path,
            "start": start,
            "end": end,
            "title_total": number_of_frames(len(measured.motion), measured.first_frame),
            "first_frame": measured.first_frame,
            "total": len(measured.motion),
            "frame_rate": measured.frame_rate,
            "width": measured.width,
            "height": measured.height,
            "motion": _numbers(measured.motion),
            "seconds": None if measured.seconds is None else _numbers(measured.seconds),
        }

    def frames(self, query: list[tuple[str, str]], video: int) -> dict[str, Any]:
        """Return pictures of frames as data URLs, by the index of the frame in the file."""
        parameters = Parameters(query, ("at", "height"))
        at = parameters.integers("at", most_values=MOST_PICTURES)
        height = parameters.integer("height", 144, least=HEIGHTS[0], most=HEIGHTS[1])
        entry = self._entry(video)
        try:
            pictures = self._data.pictures(entry, at, height)
        except VideoDecodeError as error:
            raise _unreadable(entry, error) from error
        except ValueError as error:
            raise BadParameterError(str(error)) from error
        start = "data:image/jpeg;base64,"
        return {"frames": {str(t): start + base64.b64encode(jpeg).decode() for t, jpeg in pictures.items()}}

    def offsets(self, query: list[tuple[str, str]]) -> dict[str, Any]:
        """Return random offsets, as :func:`mgdali.pick_frames` uses them with the same seed."""
        parameters = Parameters(query, ("num_frames", "seed"))
        chosen = draw(parameters.integer("seed", 0), 0, 0, read_num_frames(parameters), training=True)
        return {"offsets": chosen.offsets.tolist()}

    def explanation(self, query: list[tuple[str, str]], video: int) -> dict[str, Any]:
        """Return :class:`~mgdali.one_video.explanation.Explanation` as a dict, computed by the reference."""
        strategy = read_strategy(Parameters(query, STRATEGY_PARAMETERS))
        entry = self._entry(video)
        measured = self._motion(entry, strategy.level)
        sampler, total, offsets = strategy.sampler, len(measured.motion), strategy.offsets
        try:
            # An overflow raises an error, whose message is better than the warning.
            with np.errstate(over="ignore"):
                motion = None if sampler.representation is None else measured.motion
                picks = measured.first_frame + sampled_picks(sampler, motion, total, offsets)
                explanation = explain(
                    sampler,
                    picks,
                    motion=measured.motion,
                    total=total,
                    offsets=offsets,
                    first_frame=measured.first_frame,
                    seconds=measured.seconds,
                    title=f"{entry.name}: {len(picks)} of {number_of_frames(total, measured.first_frame)}",
                )
        except ValueError as error:
            raise BadParameterError(str(error)) from error
        return explanation.as_dict()

    def _entry(self, video: int) -> Entry:
        try:
            return self._collection.entry(video)
        except IndexError:
            last = len(self._collection) - 1
            raise NoVideoError(f"video {video} is unknown: ids are from 0 to {last}") from None

    def _motion(self, entry: Entry, level: Motion) -> VideoMotion:
        try:
            found = self._data.motion(entry, level)
        except VideoDecodeError as error:
            unreadable = _unreadable(entry, error)
            if self._is_first(entry):
                self._collection.failed(entry.id, str(unreadable))
            raise unreadable from error
        if isinstance(found, Progress):
            raise MeasuringError(found.frames)
        if level == "image" and self._is_first(entry):
            self._collection.measured(entry.id, found.motion, width=found.width, height=found.height)
        return found

    def _is_first(self, entry: Entry) -> bool:
        """Return whether the list has not been told yet about a video. Each change of it costs another sorting."""
        told = entry.id in self._reported
        self._reported.add(entry.id)
        return not told


def _wanted(query: list[tuple[str, str]]) -> Query:
    """Return what a request for the list asks for."""
    parameters = Parameters(query, ("search", "class", "sort", "descending", "first", "count"))
    try:
        return Query(
            search=parameters.text("search"),
            class_name=parameters.text("class") or None,
            sort=parameters.choice("sort", get_args(Sort), "name"),  # type: ignore[arg-type]
            descending=parameters.switch("descending"),
            first=parameters.integer("first", 0),
            count=parameters.integer("count", 100),
        )
    except BadParameterError:
        raise
    except ValueError as error:
        raise BadParameterError(str(error)) from error


def _seconds_of_part(part: TimeRange | None, measured: VideoMotion) -> tuple[float | None, float | None]:
    """Return start and end of a segment in seconds, as :func:`mgdali.pick_frames` takes them; None if not given."""
    if part is None or part.unit == "seconds":
        return (None, None) if part is None else (part.start, part.end)
    if measured.seconds is None:
        return None, None
    # The end does not belong to a segment: it must be later than the last frame, and not later than the next one.
    last = float(measured.seconds[-1])
    return float(measured.seconds[0]), None if part.end is None else math.nextafter(last, math.inf)


def _unreadable(entry: Entry, error: VideoDecodeError) -> UnreadableVideoError:
    """Return the error with the name that the user sees, in place of the path."""
    return UnreadableVideoError(f"cannot decode {entry.name}: {error.details}. {error.advice}")


def _finite(value: float | None) -> float | None:
    """Return a number for JSON, which has neither NaN nor infinity."""
    return value if value is not None and math.isfinite(value) else None


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    numbers: list[float | None] = values.tolist()
    return numbers if np.isfinite(values).all() else [_finite(value) for value in numbers]
