"""The picked frames of one video, as :func:`mgdali.pick_frames` returns them."""

from __future__ import annotations

import base64
import html
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mgdali.samplers import Sampler

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PickedClip"]

# Thumbnails in notebooks: the longer side in pixels, the largest number, and the quality of JPEG.
_THUMBNAIL = 160
_MOST_THUMBNAILS = 48
_QUALITY = 80


@dataclass(frozen=True, eq=False)
class PickedClip:
    """Picked frames of one video, and the motion by which they were picked.

    Attributes:
        frames: The frames in the order of the picks, upright, uint8 RGB ``[N, H, W, 3]``, values from 0 to 255.
        indices: Index of each frame in the video, int64 ``[N]``, counted from 0.
        seconds: Time of each frame in seconds after the video's first frame, float64 ``[N]``: its presentation time; in
            containers without presentation times, such as AVI, its index divided by the average frame rate. NaN if the
            file tells neither.
        motion: S of the video, or of the part from ``start`` to ``end``, float64 ``[T]``, rounded to float32, in the
            units of :mod:`mgdali.motion`. S of the first frame is 0. If the strategy uses no motion, it is the
            image-level S.
        first_frame: Index in the video of the frame that ``motion[0]`` belongs to; 0 unless ``start`` was given.
        sampler: The strategy that picked the frames.
        name: Path or URL of the video; ``"<bytes>"``, or ``"<file>"`` for a file object without a name.
        frame_rate: Average number of frames per second according to the container; 0 if it does not specify it.
    """

    frames: NDArray[np.uint8] = field(repr=False)
    indices: NDArray[np.int64]
    seconds: NDArray[np.float64]
    motion: NDArray[np.float64] = field(repr=False)
    first_frame: int
    sampler: Sampler
    name: str
    frame_rate: float

    def __post_init__(self) -> None:
        count = len(self.indices)
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 [N, H, W, 3], got {self.frames.dtype} {list(self.frames.shape)}")
        if not len(self.frames) == count == len(self.seconds):
            raise ValueError(
                f"frames, indices and seconds must have one entry per pick, got {len(self.frames)}, {count} and "
                f"{len(self.seconds)}"
            )

    def __len__(self) -> int:
        return len(self.indices)

    def images(self) -> list[Any]:
        """Return the frames as PIL images, mode ``RGB``, a list of length N.

        Raises:
            ImportError: If Pillow is not installed.
        """
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError(f"images() needs Pillow: pip install 'mgdali[plot]' ({error})") from error
        return [Image.fromarray(frame) for frame in self.frames]

    def plot(self, *, compare: bool = True) -> Figure:
        """Draw the motion, its running sum, and the picked frames.

        Args:
            compare: Whether to show the picks of evenly spread frames too, for comparison.

        Returns:
            The matplotlib figure. Notebooks show it; ``figure.savefig("picks.png")`` writes a file.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from mgdali.one_video.picture import picks_figure

        return picks_figure(self, compare=compare)

    def _repr_html_(self) -> str:
        """Return small pictures of the frames with their indices and times, as notebooks show them."""
        figures = [
            f'<figure style="display:inline-block;margin:2px"><img src="{_thumbnail(frame)}" alt="frame {index}">'
            f'<figcaption style="text-align:center">{_caption(index, seconds)}</figcaption></figure>'
            for frame, index, seconds in zip(
                self.frames[:_MOST_THUMBNAILS], self.indices.tolist(), self.seconds.tolist(), strict=False
            )
        ]
        more = len(self) - len(figures)
        heading = f"{html.escape(self.name)}: {len(self)} of {len(self.motion)} frames"
        return f"<div>{heading}<br>{''.join(figures)}{f'<br>and {more} more' if more else ''}</div>"


def _caption(index: int, seconds: float) -> str:
    return str(index) if math.isnan(seconds) else f"{index} · {seconds:.2f} s"


def _thumbnail(frame: NDArray[np.uint8]) -> str:
    """Return a small JPEG image of a frame as a data URI."""
    scale = min(_THUMBNAIL / max(frame.shape[:2]), 1.0)
    height, width = (max(round(side * scale), 1) for side in frame.shape[:2])
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
