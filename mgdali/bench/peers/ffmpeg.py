"""PyAV's FFmpeg libraries for torchcodec and SPDL, which contain none and search for an installed FFmpeg.

With them, as many peers as possible decode with the same build. Wheels rename the libraries that they contain, so
a folder of links provides the names that the dynamic loader searches for.
"""

from __future__ import annotations

import re
from pathlib import Path

import av

_CARRIED = re.compile(r"(lib(?:av|sw)[a-z]+)-[0-9a-f]+\.so\.(\d+)(?:\.\d+)*")


def link_libraries(folder: Path) -> bool:
    """Fill an empty folder for ``LD_LIBRARY_PATH`` with links to PyAV's FFmpeg libraries.

    Returns:
        Whether PyAV contains libraries. If it was built from source, it uses the system's.
    """
    carried = Path(av.__file__).resolve().parents[1] / "av.libs"
    if not carried.is_dir():
        return False
    for library in carried.iterdir():
        # Also linked under their own names, because the libraries search for each other in the same folder.
        (folder / library.name).symlink_to(library)
        if match := _CARRIED.fullmatch(library.name):
            (folder / f"{match[1]}.so.{match[2]}").symlink_to(library)
    return True
