"""How the videos of a packed data set are encoded: presets, and the encoders' options."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal, get_args

import av
import av.codec.codec
from av.video.frame import PictureType

from mgdali.errors import DatasetError

__all__ = ["ENCODERS", "Codec", "Encoding", "Preset"]

Preset = Literal["small", "fast", "archive"]
"""``"small"``: few bytes, and at most 3 decoded frames a pick (H.264 and HEVC). ``"fast"``: every frame is a key frame.
``"archive"``: long groups, the fewest bytes."""

Codec = Literal["h264", "hevc", "av1"]
"""FFmpeg's name of a codec."""

ENCODERS: dict[Codec, str] = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
"""FFmpeg's name of the encoder of each codec."""

_GOPS: dict[Preset, int] = {"small": 8, "fast": 1, "archive": 250}

# `small` was chosen for at least 38 dB (luma against the scaled original) on four real clips of Kinetics' kind.
_QUALITIES: dict[Preset, dict[Codec, int]] = {
    "small": {"h264": 25, "hevc": 26, "av1": 46},
    "fast": {"h264": 26, "hevc": 27, "av1": 56},
    "archive": {"h264": 25, "hevc": 25, "av1": 36},
}
_MOST_QUALITY: dict[Codec, int] = {"h264": 51, "hevc": 51, "av1": 63}

# How long the encoder may search; the encoders' own names.
_EFFORTS: dict[Preset, dict[Codec, str]] = {
    "small": {"h264": "medium", "hevc": "fast", "av1": "8"},
    "fast": {"h264": "medium", "hevc": "fast", "av1": "8"},
    "archive": {"h264": "slow", "hevc": "medium", "av1": "6"},
}

# The encoders' defaults serve the eye: they give up exact pixels for more texture, and bits of busy areas for flat
# areas. Without that, the four clips have 0.3 to 0.7 dB more at the same bytes. Two analyses are also left out:
# - mbtree of x264 (build 165) reads memory that it did not write, so that the bytes differ from run to run;
# - cutree of x265 (4.2) writes beyond the end of an array at small sizes such as 40x40, which ended processes.
_EXACT: dict[Codec, dict[str, int]] = {
    "h264": {"psy": 0, "aq-mode": 0, "no-mbtree": 1},
    "hevc": {"psy-rd": 0, "psy-rdoq": 0, "aq-mode": 0, "cutree": 0},
    "av1": {"aq-mode": 0},
}

# Without these tools, H.264 is decoded at 1.7 times the speed, and takes 1.2 times the bytes at the same quality. HEVC
# gains little.
_QUICKLY_DECODED = {"cabac": 0, "no-deblock": 1, "weightb": 0, "weightp": 0}

# Frames that no frame refers to get fewer bits than by default.
_RATIOS: dict[str, int | str] = {"ipratio": "1.6", "pbratio": "1.5"}

# x265 would start as many threads as there are processors, and write its options and the processor's features into the
# stream.
_X265: dict[str, int | str] = {"pools": "none", "frame-threads": 1, "wpp": 0, "info": 0, "log-level": "error"}

# The encoders refuse more B-frames in a row.
_MOST_B_FRAMES = 16


@dataclass(frozen=True, init=False)
class Encoding:
    """Settings for encoding videos.

    Args:
        preset: Preset, which gives the values that are None.
        codec: Codec; ``"h264"`` in every preset. x265 refuses frames of 8x8 pixels and less, SVT-AV1 of 2x2. AV1 has no
            mark for frames that no frame refers to: a pick needs all frames from its key frame to itself.
        gop: Number of frames in a group, >= 1. Each group begins with a key frame, and no frame refers to a frame of
            another group. 8 in ``"small"``, 1 in ``"fast"``, 250 in ``"archive"``. In ``"small"`` and ``"fast"``, a
            group of n frames of H.264 or HEVC is a key frame, one P-frame and n - 2 B-frames that no frame refers to,
            at most 16 between two other frames.
        quality: Constant rate factor of the encoder: 1 (best) to 51 for H.264 and HEVC, to 63 for AV1. With 0, x264
            would encode without loss, which NVDEC cannot decode.
        short_side: Largest length of the frames' short side, in pixels, >= 2. Larger frames are scaled down.

    Raises:
        ValueError: If a value is not valid.
    """

    preset: Preset
    codec: Codec
    gop: int
    quality: int
    short_side: int

    def __init__(
        self,
        *,
        preset: Preset = "small",
        codec: Codec | None = None,
        gop: int | None = None,
        quality: int | None = None,
        short_side: int = 256,
    ) -> None:
        _check_choice("preset", preset, get_args(Preset))
        codec = "h264" if codec is None else codec
        _check_choice("codec", codec, get_args(Codec))
        gop = _GOPS[preset] if gop is None else gop
        quality = _QUALITIES[preset][codec] if quality is None else quality
        values = {
            "preset": preset,
            "codec": codec,
            "gop": _integer("gop", gop, 1, None),
            "quality": _integer("quality", quality, 1, _MOST_QUALITY[codec]),
            "short_side": _integer("short_side", short_side, 2, None),
        }
        for name, value in values.items():
            # The class is frozen. Its own __init__ makes attributes that are never None of arguments that may be.
            object.__setattr__(self, name, value)

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return ENCODERS[self.codec]

    @property
    def options(self) -> dict[str, str]:
        """Options of the encoder, as FFmpeg takes them. The encoder runs in one thread."""
        options = {"preset": _EFFORTS[self.preset][self.codec], "crf": str(self.quality)}
        if self.codec == "av1":
            # Closed groups (2), one thread. With g=1 every frame is a key frame.
            parameters: dict[str, int | str] = {"irefresh-type": 2, "lp": 1, **_EXACT["av1"]}
            return options | {"g": str(self.gop), "svtav1-params": _joined(parameters)}
        parameters = {"keyint": self.gop, "open-gop": 0, **_EXACT[self.codec]}
        if self.preset != "archive":
            b_frames = min(max(self.gop - 2, 0), _MOST_B_FRAMES)
            parameters |= {"min-keyint": self.gop, "scenecut": 0, "ref": 1}
            parameters |= {"bframes": b_frames, "b-adapt": 0}
            parameters["b-pyramid"] = "none" if self.codec == "h264" else 0
        if self.codec == "hevc":
            parameters |= _X265
        elif self.preset != "archive":
            parameters |= _QUICKLY_DECODED | _RATIOS
        return options | {"forced-idr": "1", f"{self.encoder.removeprefix('lib')}-params": _joined(parameters)}

    def frame_type(self, frame: int, *, last: bool) -> PictureType:
        """Return the type as which the encoder must encode a frame; ``NONE`` if the encoder decides.

        Without given types, x265 splits a run of B-frames at some changes of the scene. A pick then needs four frames.

        Args:
            frame: Number of the frame, from 0.
            last: Whether it is the last frame of the video.
        """
        if self.preset == "archive" or self.codec == "av1":
            return PictureType.NONE
        place = frame % self.gop
        if place == 0:
            return PictureType.I
        ends_run = place == self.gop - 1 or place % (_MOST_B_FRAMES + 1) == 0
        return PictureType.P if ends_run or last else PictureType.B

    def check_encoder(self) -> None:
        """Raise a DatasetError if FFmpeg, as PyAV contains it, lacks the encoder."""
        try:
            av.Codec(self.encoder, "w")
        except av.codec.codec.UnknownCodecError:
            found = [codec for codec, encoder in ENCODERS.items() if encoder in av.codecs_available]
            others = f"choose another codec: {', '.join(found)}" if found else "install PyAV from PyPI, which has it"
            raise DatasetError(
                f"codec={self.codec!r} needs the encoder {self.encoder}, which is not in the FFmpeg of this PyAV "
                f"{av.__version__}: {others}"
            ) from None


def _joined(parameters: dict[str, int | str]) -> str:
    return ":".join(f"{name}={value}" for name, value in parameters.items())


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _integer(name: str, value: int, least: int, most: int | None) -> int:
    """Return an argument as an integer; raise a ValueError if it is not an integer from ``least`` to ``most``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or (most is not None and number > most):
        limits = f">= {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {limits}, got {value!r}")
    return number
