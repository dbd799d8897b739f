"""Several views of a video from one decoding: clips at other offsets, and crops at several places of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from mgdali.choices import Draw, draw, transform_seed
from mgdali.errors import check_integer
from mgdali.transforms import CORNERS_AND_CENTER, CropPosition, SpatialTransform

__all__ = ["CropPlace", "NumCrops", "View", "Views", "check_views", "views_of"]

NumCrops = Literal[1, 3, 5, 10]

_ALONG: tuple[CropPosition, ...] = get_args(CropPosition)


class CropPlace(NamedTuple):
    """Place of a test crop.

    Attributes:
        along: Position along the frame's longer side, centred along the other; None if ``corner`` is given.
        corner: Vertical and horizontal position; None if ``along`` is given.
        mirrored: Whether the crop is mirrored left to right.
    """

    along: CropPosition | None = None
    corner: tuple[CropPosition, CropPosition] | None = None
    mirrored: bool = False


class View(NamedTuple):
    """What a worker needs for one view of a video.

    Attributes:
        choices: Random choices for the view.
        place: Place of its crop, in testing; None for the usual crop.
        seed: Seed of the user's function.
    """

    choices: Draw
    place: CropPlace | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Views:
    """Several views of each video, made from one decoding: clips ``[N, V, T, 3, H, W]``, with V = clips x crops.

    In training, each view is drawn at random: picks, crop and flip. In testing, clip c of C picks at offset
    ``(c + 0.5) / C`` within each part, and each clip is cropped at ``crops`` places. The views of a clip follow each
    other.

    Args:
        clips: Number of clips per video, C >= 1.
        crops: Number of crops per clip, in testing: 1, as without views; 3 along the frame's longer side (start,
            centre, end); 5, the four corners and the centre; or 10, these and the same mirrored. 1 in training.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    clips: int = 1
    crops: NumCrops = 1

    def __post_init__(self) -> None:
        check_integer("clips", self.clips, least=1)
        if self.crops not in get_args(NumCrops):
            raise ValueError(f"crops must be one of {get_args(NumCrops)}, got {self.crops!r}")

    @property
    def count(self) -> int:
        """Number of views per video, V."""
        return self.clips * self.crops

    @property
    def places(self) -> tuple[CropPlace | None, ...]:
        """Places of the crops of a test clip."""
        if self.crops == 1:
            return (None,)
        if self.crops == 3:
            return tuple(CropPlace(along=position) for position in _ALONG)
        upright = tuple(CropPlace(corner=corner) for corner in CORNERS_AND_CENTER)
        return upright if self.crops == 5 else upright + tuple(place._replace(mirrored=True) for place in upright)


def check_views(views: Views | None, repeats: int, transform: SpatialTransform) -> None:
    """Check the arguments ``views`` and ``repeats`` of a loader.

    Raises:
        ValueError: If one is out of range, or does not fit training or testing.
    """
    check_integer("repeats", repeats, least=1)
    if views is not None and not isinstance(views, Views):
        raise ValueError(f"views must be a Views, such as Views(clips=2), got {views!r}")
    if not transform.training:
        if repeats > 1:
            raise ValueError(f"repeats={repeats!r} needs training=True: in testing, all repetitions would be equal")
        if views is not None and views.crops > 1 and transform.crop_position != "center":
            raise ValueError(
                f"crop_position={transform.crop_position!r} contradicts {views!r}: leave out crop_position"
            )
    elif views is not None and views.crops > 1:
        raise ValueError(f"{views!r}: several crops need training=False; in training use Views(clips={views.count})")


def views_of(
    views: Views | None,
    repeats: int,
    transform: SpatialTransform,
    num_frames: int,
    *,
    seed: int,
    epoch: int,
    index: int,
    occurrence: int,
    with_function: bool,
) -> tuple[View, ...]:
    """Return the views of a video, R times V: all views of a repetition follow each other.

    The first one is the clip that the loader yields without views.

    Args:
        views: The argument; None for one view.
        repeats: Number of repetitions, R.
        transform: Crop window and flip.
        num_frames: Number of frames to pick, N.
        seed, epoch, index, occurrence: As in :func:`mgdali.choices.draw`.
        with_function: Whether there is a function of the user, which needs seeds.
    """
    count = repeats * (1 if views is None else views.count)
    seeds = [transform_seed(seed, epoch, index, occurrence, view) if with_function else 0 for view in range(count)]
    if transform.training or views is None:
        choices = [
            draw(
                seed,
                epoch,
                index,
                num_frames,
                training=transform.training,
                occurrence=occurrence,
                resized_crop=transform.resized_crop,
                view=view,
            )
            for view in range(count)
        ]
        return tuple(View(own, None, own_seed) for own, own_seed in zip(choices, seeds, strict=True))
    middle = draw(seed, epoch, index, num_frames, training=False)
    clips = [Draw(np.full(num_frames, (c + 0.5) / views.clips), middle.crop, middle.flip) for c in range(views.clips)]
    found = [(own, place) for own in clips for place in views.places]
    return tuple(View(own, place, own_seed) for (own, place), own_seed in zip(found, seeds, strict=True))
