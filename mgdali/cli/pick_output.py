"""The output of ``mgdali pick`` for one video: numbered images, ``picks.json``, and the picture that explains them."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

import mgdali

if TYPE_CHECKING:
    from mgdali.one_video.clip import PickedClip

__all__ = ["PICTURE", "TABLE", "WRITING", "ImageFormat", "check_free", "image_names", "is_output", "write_output"]

ImageFormat = Literal["jpg", "png"]

TABLE = "picks.json"
PICTURE = "picks.png"

WRITING = threading.Lock()
"""Held while the files of a video are written. Who holds it and ends the process leaves no half-written output."""

_LEAST_DIGITS = 3
_IMAGE_NAME = re.compile(r"[0-9]+\.(jpg|png)")


def image_names(count: int, image_format: ImageFormat) -> list[str]:
    """Return the file names of ``count`` images: ``001.jpg``, ``002.jpg``, …"""
    digits = max(_LEAST_DIGITS, len(str(count)))
    return [f"{number:0{digits}}.{image_format}" for number in range(1, count + 1)]


def is_output(folder: Path) -> bool:
    """Return whether a folder contains the output of an earlier run."""
    return bool(_earlier_files(folder))


def check_free(folder: Path, count: int, image_format: ImageFormat, *, picture: bool) -> None:
    """Check that the output would replace only the output of an earlier run.

    Args:
        folder: Folder of the output.
        count: Number of images.
        image_format: Format of the images.
        picture: Whether the picture is written too.

    Raises:
        ValueError: If the folder is a file, or a file in it has the name of a file of the output, and no earlier run
            wrote it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: move it, or choose another folder with --out")
    earlier = _earlier_files(folder)
    for name in (*image_names(count, image_format), TABLE, *([PICTURE] if picture else [])):
        if name not in earlier and os.path.lexists(folder / name):
            raise ValueError(
                f"{folder / name} exists and was not written by mgdali pick: move it, or choose another folder with "
                "--out"
            )


def write_output(
    folder: Path, clip: PickedClip, image_format: ImageFormat, settings: Mapping[str, Any], picture: bytes | None
) -> None:
    """Write the images of a clip, their table and their picture, in place of the output of an earlier run.

    Each file is complete at every time: it is written under another name first.

    Args:
        folder: The folder. It is created if it is missing.
        clip: The picked frames.
        image_format: Format of the images.
        settings: How the frames were picked, for the table.
        picture: The picture as a PNG file; None to write no picture.

    Raises:
        OSError: If a file cannot be written.
    """
    names = image_names(len(clip), image_format)
    files = {TABLE: _table(clip, names, settings)}
    files |= {name: _encoded(frame, image_format) for name, frame in zip(names, clip.frames, strict=True)}
    if picture is not None:
        files[PICTURE] = picture
    with WRITING:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = _earlier_files(folder)
        # The table first: if the process is killed after it, the table tells the next run which images it may replace.
        for name, content in files.items():
            _write(folder / name, content)
        for name in earlier - files.keys():
            (folder / name).unlink(missing_ok=True)


def _table(clip: PickedClip, names: list[str], settings: Mapping[str, Any]) -> bytes:
    motion = clip.motion[clip.indices - clip.first_frame]
    rows = zip(names, clip.indices.tolist(), clip.seconds.tolist(), motion.tolist(), strict=True)
    height, width = clip.frames.shape[1:3]
    table = {
        "video": clip.name,
        "video_frames": len(clip.motion),
        "first_frame": clip.first_frame,
        "frame_rate": clip.frame_rate or None,
        "width": width,
        "height": height,
        "settings": settings,
        "picks": [
            # JSON has no NaN.
            {"file": name, "index": index, "seconds": seconds if math.isfinite(seconds) else None, "motion": value}
            for name, index, seconds, value in rows
        ],
        "mgdali": mgdali.__version__,
    }
    return f"{json.dumps(table, indent=2)}\n".encode()


def _encoded(frame: NDArray[np.uint8], image_format: ImageFormat) -> bytes:
    done, content = cv2.imencode(f".{image_format}", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError(f"a frame of {frame.shape[1]} x {frame.shape[0]} pixels cannot be written as {image_format}")
    return content.tobytes()


def _earlier_files(folder: Path) -> set[str]:
    """Return the names of the files that an earlier run may have written to the folder; empty if there was no run."""
    try:
        table = json.loads((folder / TABLE).read_bytes())
        names = [pick["file"] for pick in table["picks"]]
        written = isinstance(table["mgdali"], str) and all(map(_IMAGE_NAME.fullmatch, names))
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {TABLE, PICTURE, *names} if written else set()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
