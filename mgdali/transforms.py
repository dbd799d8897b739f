"""Crop windows and flips, and the data type, layout and normalization of the clips."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from mgdali.choices import Draw
from mgdali.errors import check_integer

CropPosition = Literal["start", "center", "end"]
DType = Literal["float32", "float16", "uint8"]
Layout = Literal["NTCHW", "NCTHW", "NTHWC"]

# Vertical and horizontal position: the four corners and the centre.
_PLACES: list[tuple[CropPosition, CropPosition]] = [
    ("start", "start"),
    ("start", "end"),
    ("end", "start"),
    ("end", "end"),
    ("center", "center"),
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "CropPosition",
    "DType",
    "Layout",
    "OutputFormat",
    "SpatialTransform",
    "Window",
]


class Window(NamedTuple):
    """A rectangle within a frame, in pixels from the frame's top left corner."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, kw_only=True)
class SpatialTransform:
    """Crop window and flip of a clip. All frames of a clip have the same.

    Training uses the paper's multi-scale corner crop (from TSN). Height and width of the window are the frame's shorter
    side times one of ``scales`` each; their positions in ``scales`` differ by at most ``max_distort``. The window is in
    one of the four corners or in the centre.

    Testing resizes the shorter side to ``resize`` and crops one square: in the centre, or at an end of the longer side.

    In both cases the window is then resized to ``crop_size`` by ``crop_size``. Windows begin at even pixels and have
    even sizes, unless they take the whole side, because most videos store one chroma sample for two by two pixels.

    Args:
        training: Whether to crop and flip at random.
        crop_size: Height and width of the clip, in pixels, >= 1.
        resize: In testing, the size of the shorter side before the square is cropped, in pixels, >= ``crop_size``.
        crop_position: In testing, the position of the square along the frame's longer side: ``"start"`` (left of a wide
            frame, top of a tall one), ``"center"`` or ``"end"``. Along the shorter side it is centred.
        scales: In training, sizes of the window relative to the frame's shorter side, each in (0, 1].
        max_distort: In training, the largest difference between the positions of height and width in ``scales``, >= 0.
        flip_prob: In training, probability that a clip is mirrored left to right, in [0, 1]. Use 0 if labels mention
            left or right, as in Something-Something.

    Raises:
        ValueError: If an argument is out of range.
    """

    training: bool = False
    crop_size: int = 224
    resize: int = 256
    crop_position: CropPosition = "center"
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    max_distort: int = 1
    flip_prob: float = 0.5

    def __post_init__(self) -> None:
        check_integer("crop_size", self.crop_size, least=1)
        check_integer("resize", self.resize, least=1 if self.training else self.crop_size)
        if self.crop_position not in get_args(CropPosition):
            raise ValueError(f"crop_position must be one of {get_args(CropPosition)}, got {self.crop_position!r}")
        if self.training and self.crop_position != "center":
            raise ValueError(
                f"crop_position requires training=False, because training crops at random; got {self.crop_position!r}"
            )
        check_integer("max_distort", self.max_distort, least=0)
        try:
            scales = tuple(scale for scale in self.scales if 0 < scale <= 1)
            fine = 0 < len(scales) == len(self.scales)
        except TypeError:
            fine = False
        if not fine:
            raise ValueError(f"scales must be numbers in (0, 1], got {self.scales!r}")
        object.__setattr__(self, "scales", scales)
        try:
            fine = 0 <= self.flip_prob <= 1
        except TypeError:
            fine = False
        if not fine:
            raise ValueError(f"flip_prob must be in [0, 1], got {self.flip_prob!r}")

    @cached_property
    def _sizes(self) -> list[tuple[float, float]]:
        """Possible pairs of height and width, relative to the shorter side."""
        numbered = list(enumerate(self.scales))
        return [(h, w) for (i, h), (j, w) in itertools.product(numbered, numbered) if abs(i - j) <= self.max_distort]

    def window(self, height: int, width: int, choices: Draw) -> Window:
        """Return the part of a ``height`` by ``width`` frame that becomes the clip."""
        side = min(height, width)
        if not self.training:
            edge = _even_size(side * self.crop_size / self.resize, side)
            tall = height > width
            top = _place(height - edge, self.crop_position if tall else "center")
            left = _place(width - edge, "center" if tall else self.crop_position)
            return Window(top, left, top + edge, left + edge)
        scale_high, scale_wide = self._sizes[_choose(choices.crop[0], len(self._sizes))]
        high, wide = _even_size(side * scale_high, side), _even_size(side * scale_wide, side)
        down, right = _PLACES[_choose(choices.crop[1], len(_PLACES))]
        top, left = _place(height - high, down), _place(width - wide, right)
        return Window(top, left, top + high, left + wide)

    def flip(self, choices: Draw) -> bool:
        """Return whether the clip is mirrored left to right."""
        return self.training and choices.flip < self.flip_prob


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """Data type, layout and normalization of the clips.

    Args:
        dtype: ``"float32"``, ``"float16"`` or ``"uint8"``, or the torch dtype. With ``"uint8"`` pixels are returned as
            decoded, 0 to 255, and ``mean`` and ``std`` must be None.
        layout: Order of the axes: N videos, T frames, C channels (R, G, B), H rows, W columns.
        mean: Mean of R, G and B in units of [0, 1], which is subtracted, <= 1; by default ImageNet's.
        std: Standard deviation of R, G and B in units of [0, 1], by which clips are divided, in (0, 1]; by default
            ImageNet's.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    dtype: DType = "float32"
    layout: Layout = "NTCHW"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        name = str(self.dtype).removeprefix("torch.")
        if name not in get_args(DType):
            raise ValueError(f"dtype must be one of {get_args(DType)}, got {self.dtype!r}")
        object.__setattr__(self, "dtype", name)
        if self.layout not in get_args(Layout):
            raise ValueError(f"layout must be one of {get_args(Layout)}, got {self.layout!r}")
        if name == "uint8":
            if self.mean is not None or self.std is not None:
                raise ValueError('dtype="uint8" returns pixels without normalization: do not pass mean and std')
            return
        for field, default in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            given = getattr(self, field)
            try:
                values = default if given is None else tuple(float(value) for value in given)
            except (TypeError, ValueError):
                values = ()
            if len(values) != 3 or not all(map(math.isfinite, values)):
                raise ValueError(f"{field} must be three finite numbers, for R, G and B, got {given!r}")
            if max(values) > 1:
                raise ValueError(
                    f"{field} must be in units of [0, 1], got {given!r}, which is in units of 0 to 255: divide each "
                    "number by 255"
                )
            object.__setattr__(self, field, values)
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be > 0, got {self.std!r}")


def _even_size(length: float, most: int) -> int:
    """Return the even number nearest to a length, at most ``most``; ``most`` itself for the whole side."""
    return most if length >= most else min(most, max(2, 2 * round(length / 2)))


def _place(spare: int, position: CropPosition) -> int:
    """Return the first pixel of a window, an even number, if ``spare`` pixels remain outside the window."""
    return {"start": 0, "center": spare // 4 * 2, "end": spare // 2 * 2}[position]


def _choose(uniform: float, count: int) -> int:
    return min(int(uniform * count), count - 1)
