"""Crop windows and flips, and the data type, layout and normalization of the clips."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from mgdali.choices import Draw
from mgdali.errors import check_integer

Crop = Literal["multiscale", "random_resized"]
CropPosition = Literal["start", "center", "end"]
DType = Literal["float32", "float16", "uint8"]
Layout = Literal["NTCHW", "NCTHW", "NTHWC"]

CORNERS_AND_CENTER: tuple[tuple[CropPosition, CropPosition], ...] = (
    ("start", "start"),
    ("start", "end"),
    ("end", "start"),
    ("end", "end"),
    ("center", "center"),
)
"""Vertical and horizontal positions of a window: the four corners and the centre."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# As in torchvision's RandomResizedCrop.
_TRIES = 10

__all__ = [
    "CORNERS_AND_CENTER",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Crop",
    "CropPosition",
    "DType",
    "FrameSizeError",
    "Layout",
    "OutputFormat",
    "SpatialTransform",
    "Window",
]


class FrameSizeError(ValueError):
    """Frames that are smaller than a crop that is taken from them without resizing."""


class Window(NamedTuple):
    """A rectangle within a frame, in pixels from the frame's top left corner."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, kw_only=True)
class SpatialTransform:
    """Crop window and flip of a clip. All frames of a clip have the same.

    Training with ``crop="multiscale"`` uses the paper's multi-scale corner crop (from TSN). Height and width of the
    window are those of the largest window of the clip's shape, times one of ``scales`` each; their positions in
    ``scales`` differ by at most ``max_distort``. The window is in one of the four corners or in the centre. For square
    clips, the largest window is a square of the frame's shorter side.

    Training with ``crop="random_resized"`` chooses the window as torchvision's ``RandomResizedCrop`` does: its share of
    the frame's area is uniform in ``crop_scale``, and the logarithm of width / height is uniform in that of
    ``crop_ratio``. If the window does not fit into the frame in ten tries, it is the largest centred window with a
    ratio in ``crop_ratio``. The position is uniform. The differences to torchvision are that all frames of a clip have
    the same window, that sizes and positions are even numbers, and that the random numbers are others.

    Testing resizes the shorter side to ``resize`` and crops one window of the clip's size: in the centre, or at an end
    of the longer side. If the resized frame is smaller than a rectangular clip in one direction, it is resized to just
    fit.

    In all cases the window is then resized to the clip's size. Windows begin at even pixels and have even sizes, unless
    they take the whole side, because most videos store one chroma sample for two by two pixels.

    Args:
        training: Whether to crop and flip at random.
        crop: In training, the kind of crop: ``"multiscale"`` or ``"random_resized"``.
        crop_size: Height and width of the clip, in pixels, each >= 1; an integer for a square.
        resize: In testing, the size of the shorter side before the window is cropped, in pixels, not less than the
            shorter side of the clip; ``"auto"`` for 256, or for the shorter side of the clip if that is larger. With
            None, frames are not resized in testing: the window has the clip's size in pixels of the frame, also if that
            is odd.
        crop_position: In testing, the position of the window along the frame's longer side: ``"start"`` (left of a wide
            frame, top of a tall one), ``"center"`` or ``"end"``. Along the shorter side it is centred.
        scales: For ``"multiscale"``, sizes of the window relative to the largest one, each in (0, 1].
        max_distort: For ``"multiscale"``, the largest difference between the positions of height and width in
            ``scales``, >= 0.
        crop_scale: For ``"random_resized"``, the least and the largest share of the frame's area, in (0, 1].
        crop_ratio: For ``"random_resized"``, the least and the largest width / height of the window, > 0.
        flip_prob: In training, probability that a clip is mirrored left to right, in [0, 1]. Use 0 if labels mention
            left or right, as in Something-Something.

    Raises:
        ValueError: If an argument is out of range.
    """

    training: bool = False
    crop: Crop = "multiscale"
    crop_size: int | tuple[int, int] = 224
    resize: int | Literal["auto"] | None = "auto"
    crop_position: CropPosition = "center"
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    max_distort: int = 1
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_prob: float = 0.5

    def __post_init__(self) -> None:
        if self.crop not in get_args(Crop):
            raise ValueError(f"crop must be one of {get_args(Crop)}, got {self.crop!r}")
        object.__setattr__(self, "crop_size", _checked_size(self.crop_size))
        resize = max(256, min(self.size)) if self.resize == "auto" else self.resize
        if isinstance(resize, str):
            raise ValueError(f'resize must be an integer, None or "auto", got {resize!r}')
        if resize is not None:
            check_integer("resize", resize, least=1 if self.training else min(self.size))
        object.__setattr__(self, "resize", resize)
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
        object.__setattr__(self, "crop_scale", _checked_range("crop_scale", self.crop_scale, most=1))
        object.__setattr__(self, "crop_ratio", _checked_range("crop_ratio", self.crop_ratio))
        try:
            fine = 0 <= self.flip_prob <= 1
        except TypeError:
            fine = False
        if not fine:
            raise ValueError(f"flip_prob must be in [0, 1], got {self.flip_prob!r}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the clip, in pixels."""
        return self.crop_size if isinstance(self.crop_size, tuple) else (self.crop_size, self.crop_size)

    @property
    def resized_crop(self) -> int:
        """Number of random choices that a random resized crop needs (:func:`mgdali.choices.draw`); 0 without one."""
        return 2 * _TRIES + 2 if self.training and self.crop == "random_resized" else 0

    @cached_property
    def _sizes(self) -> list[tuple[float, float]]:
        """Possible pairs of height and width, relative to the largest window."""
        numbered = list(enumerate(self.scales))
        return [(h, w) for (i, h), (j, w) in itertools.product(numbered, numbered) if abs(i - j) <= self.max_distort]

    def test_window(
        self,
        height: int,
        width: int,
        *,
        along: CropPosition | None = None,
        corner: tuple[CropPosition, CropPosition] | None = None,
    ) -> Window:
        """Return a window of a test clip at another place than ``crop_position``.

        Args:
            height, width: Size of the frame, in pixels.
            along: Position along the frame's longer side; along the other side, the window is centred.
            corner: Vertical and horizontal position, in place of ``along``.

        Raises:
            FrameSizeError: As :meth:`window`.
        """
        high, wide = self._test_size(height, width)
        position = along or self.crop_position
        down, right = corner or ((position, "center") if height > width else ("center", position))
        top, left = _place(height - high, down), _place(width - wide, right)
        return Window(top, left, top + high, left + wide)

    def window(self, height: int, width: int, choices: Draw) -> Window:
        """Return the part of a ``height`` by ``width`` frame that becomes the clip.

        Raises:
            FrameSizeError: If the frame is not resized and is smaller than the clip.
        """
        if not self.training:
            return self.test_window(height, width)
        if self.crop == "random_resized":
            return self._resized_crop(height, width, choices.resized_crop.tolist())
        most_high, most_wide = self._largest(height, width)
        scale_high, scale_wide = self._sizes[_choose(choices.crop[0], len(self._sizes))]
        high, wide = _even_size(most_high * scale_high, most_high), _even_size(most_wide * scale_wide, most_wide)
        down, right = CORNERS_AND_CENTER[_choose(choices.crop[1], len(CORNERS_AND_CENTER))]
        top, left = _place(height - high, down), _place(width - wide, right)
        return Window(top, left, top + high, left + wide)

    def _test_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the window of a test clip."""
        high, wide = self.size
        if self.resize is None:
            if high > height or wide > width:
                raise FrameSizeError(
                    f"its frames of {height} by {width} pixels are smaller than the clip of {high} by {wide}"
                )
            return high, wide
        # "auto" was replaced by a number.
        assert self.resize != "auto"
        most_high, most_wide = self._largest(height, width)
        side = min(height, width)
        return _even_size(side * high / self.resize, most_high), _even_size(side * wide / self.resize, most_wide)

    def _largest(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the largest window of the clip's shape."""
        high, wide = self.size
        if high == wide:
            side = min(height, width)
            return side, side
        if height * wide <= width * high:
            return height, _even_size(height * wide / high, width)
        return _even_size(width * high / wide, height), width

    def _resized_crop(self, height: int, width: int, numbers: list[float]) -> Window:
        """Return the window of a random resized crop."""
        least_share, most_share = self.crop_scale
        least_ratio, most_ratio = self.crop_ratio
        *tries, down, right = numbers
        for area, shape in zip(tries[::2], tries[1::2], strict=True):
            share = least_share + area * (most_share - least_share)
            ratio = least_ratio * (most_ratio / least_ratio) ** shape
            exact_high = math.sqrt(height * width * share / ratio)
            exact_wide = math.sqrt(height * width * share * ratio)
            if round(exact_high) <= height and round(exact_wide) <= width:
                high, wide = _even_size(exact_high, height), _even_size(exact_wide, width)
                top, left = _random_place(height - high, down), _random_place(width - wide, right)
                return Window(top, left, top + high, left + wide)
        high, wide = _even_size(width / least_ratio, height), _even_size(height * most_ratio, width)
        top, left = _place(height - high, "center"), _place(width - wide, "center")
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


def _random_place(spare: int, uniform: float) -> int:
    """Return the first pixel of a window, any even number that leaves the window in the frame."""
    return 2 * _choose(uniform, spare // 2 + 1)


def _checked_size(given: int | tuple[int, int]) -> int | tuple[int, int]:
    """Return a clip's size: an integer, or a tuple of height and width."""
    if not isinstance(given, Iterable):
        check_integer("crop_size", given, least=1)
        return given
    size = tuple(given)
    if len(size) != 2:
        raise ValueError(f"crop_size must be an integer or (height, width), got {given!r}")
    for side in size:
        check_integer("crop_size", side, least=1)
    return size


def _checked_range(name: str, given: tuple[float, float], *, most: float = math.inf) -> tuple[float, float]:
    """Return a range of positive finite numbers, after a check that its ends are in order."""
    try:
        low, high = (float(end) for end in given)
        fine = 0 < low <= high <= most and high < math.inf
    except (TypeError, ValueError):
        fine = False
    if not fine:
        limit = "" if most == math.inf else f", at most {most:g}"
        raise ValueError(f"{name} must be two numbers > 0{limit}, the smaller one first, got {given!r}")
    return low, high


def _choose(uniform: float, count: int) -> int:
    return min(int(uniform * count), count - 1)
